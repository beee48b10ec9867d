//! `pictor-server train`: runs a recipe in this process.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use clap::Args;
use pictor::model::DeviceChoice;
use pictor::model::device::preload_cuda;
use pictor::resources::Resources;
use pictor::train::trainer::{Outcome, TrainRequest, train};

use super::print_json;

/// The exit code of a run that was asked to stop and can go on (EX_TEMPFAIL).
const STOPPED: u8 = 75;

#[derive(Args)]
pub(crate) struct TrainArgs {
    /// The recipe: a TOML file.
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// A checkpoint of a store.
    #[arg(long, value_name = "CHECKPOINT", required_unless_present = "data_dir", conflicts_with = "data_dir")]
    corpus: Option<PathBuf>,
    /// The data folder of a stopped server.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[arg(long, value_name = "DIR", env = "PICTOR_MODELS_DIR")]
    models_dir: PathBuf,
    /// The run's folder: metrics, checkpoint, result. One that has a checkpoint goes on from it.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads of the network [default: all cores].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Bytes to plan with [default: three quarters of the machine's].
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,
}

/// Panics of torch carry a stack of C++ frames, of which a log needs none.
fn shorten_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without words");
        let frames = ["Exception raised from", "\\nframe #0", "\nframe #0"];
        let end = frames.iter().filter_map(|start| message.find(start)).min().unwrap_or(message.len());
        let words = &message[..end];
        eprintln!("{}: {words}", panic.location().map(ToString::to_string).unwrap_or_default());
    }));
}

pub(crate) fn run(args: TrainArgs) -> anyhow::Result<ExitCode> {
    shorten_panics();
    preload_cuda(args.device)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("listening for signals")?;
    }
    let recipe = std::fs::read_to_string(&args.recipe).with_context(|| format!("reading {}", args.recipe.display()))?;
    let corpus = args.corpus.or(args.data_dir).context("give --corpus or --data-dir")?;
    let request = TrainRequest {
        recipe,
        corpus,
        models_dir: args.models_dir,
        run: args.run,
        device: args.device,
        resources: Resources::divide(args.threads, args.memory)?,
    };
    match train(&request, &stop) {
        Ok(Outcome::Finished(finished)) => {
            print_json(&finished)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Outcome::Stopped) => Ok(ExitCode::from(STOPPED)),
        Err(error) => {
            let json = serde_json::json!({ "reason": error.reason(), "message": error.to_string() });
            // The run's folder may be what cannot be written.
            let _ = std::fs::write(request.run.join("error.json"), json.to_string());
            Err(error.into())
        }
    }
}
