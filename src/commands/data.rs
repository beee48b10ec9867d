//! `pictor-server data`: looks after the data folder of a stopped server.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use pictor::collection::{CatalogSettings, stopped};
use serde_json::json;

use super::print_json;

#[derive(Subcommand)]
pub(crate) enum DataCommand {
    /// Prints what the folder holds, as JSON.
    Inspect(DataArgs),
    /// Checks every record, the index and every segment; prints what it found, and fails if something is wrong.
    Verify(DataArgs),
    /// Removes the segments of the index, also damaged ones, and makes them anew.
    Rebuild(DataArgs),
    /// Gives the room of what was deleted back to the disk.
    Compact(DataArgs),
    /// Lets a server start though its log has lost writes that were durable; what is lost stays lost.
    AcceptLoss(DataArgs),
}

#[derive(Args)]
pub(crate) struct DataArgs {
    /// The folder of a server that does not run.
    #[arg(long, value_name = "DIR", env = "PICTOR_DATA_DIR")]
    data_dir: PathBuf,
    /// Memory of the store in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..))]
    store_memory: u32,
}

impl DataArgs {
    fn bytes(&self) -> usize {
        (self.store_memory as usize) << 20
    }
}

pub(crate) fn run(command: DataCommand) -> anyhow::Result<ExitCode> {
    match command {
        DataCommand::Inspect(args) => print_json(&stopped::inspect(&args.data_dir, args.bytes())?)?,
        DataCommand::Verify(args) => {
            let report = stopped::verify(&args.data_dir, args.bytes())?;
            print_json(&report)?;
            if !report.is_whole() {
                return Ok(ExitCode::FAILURE);
            }
        }
        DataCommand::Rebuild(args) => {
            let settings = CatalogSettings::with_threads(std::thread::available_parallelism()?.get())?;
            let segments = stopped::rebuild(&args.data_dir, args.bytes(), settings)?;
            print_json(&json!({"segments": segments}))?;
        }
        DataCommand::Compact(args) => {
            print_json(&json!({"table_bytes": stopped::compact(&args.data_dir, args.bytes())?}))?;
        }
        DataCommand::AcceptLoss(args) => {
            stopped::accept_loss(&args.data_dir)?;
            print_json(&json!({"accepted": true}))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
