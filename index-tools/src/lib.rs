//! The command line client of Pictor. It speaks gRPC only and never links the server.
//!
//! - [`cmd`]: one command a file.
//! - [`ingest`]: readers, the resuming upload, the journal.
//! - [`eval`]: queries with known answers and what their ranks say. [`watch`]: following a job.
//! - [`json`], [`render`]: how values, items and collections are written in JSON. [`answer`]: how a search's answer is written.
//! - [`attention`]: what an operator should look at.
//! - [`field_flags`], [`ranking_flags`]: flags that say much in little, such as `--text-field` and `--boost`.
//! - [`context`], [`output`], [`failure`]: what every command needs: a connection, stdout, errors and exit codes.

pub mod answer;
pub mod attention;
pub mod cmd;
pub mod context;
pub mod eval;
pub mod failure;
pub mod field_flags;
pub mod ingest;
pub mod json;
pub mod output;
pub mod payload_path;
pub mod ranking_flags;
pub mod render;
pub mod row_file;
pub mod units;
pub mod watch;

use std::process::ExitCode;

use clap::Parser as _;

/// What a command did, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Done,
    /// Done, but some items were rejected: exit code 3.
    ItemsRejected,
}

/// Parses the arguments, runs one command, reports its error, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = cmd::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&anyhow::Error::new(error).context("cannot start threads")),
    };
    let result = runtime.block_on(cmd::run(cli));
    // A reader blocked on a slow disk must not delay the exit.
    runtime.shutdown_background();
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::ItemsRejected) => ExitCode::from(3),
        Err(error) => failure::report(&error),
    }
}
