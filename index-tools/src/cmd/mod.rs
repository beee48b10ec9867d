//! The commands. A new one is a file here, a `mod` line, a variant and a line in [`run`].

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::Outcome;
use crate::context::{Context, Global};

pub mod alias;
pub mod collection;
pub mod count;
pub mod delete;
pub mod drift;
pub mod eval;
pub mod export;
pub mod facets;
pub mod field;
pub mod generation;
pub mod get;
pub mod index;
pub mod ingest;
pub mod job;
pub mod reembed;
pub mod search;
pub mod snapshot;
pub mod status;
pub mod train;

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 bad usage, 3 done but items were rejected.\nA closed output pipe counts as done.";

/// Find things by picture, by words, or by a picture plus words.
#[derive(Parser, Debug)]
#[command(name = "pictor", version, about, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Every command with its arguments.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create, list, describe and drop collections
    #[command(subcommand)]
    Collection(collection::Command),
    /// Give collections second names that can be switched
    #[command(subcommand)]
    Alias(alias::Command),
    /// Add fields to a collection or drop them
    #[command(subcommand)]
    Field(field::Command),
    /// Create, drop and list indexes on payloads, which filters, facets and orders use
    #[command(subcommand)]
    Index(index::Command),
    /// Store a folder of pictures, a CSV or JSONL file, or a webdataset archive
    Ingest(ingest::Args),
    /// Search by words, pictures, stored items or vectors
    Search(Box<search::Args>),
    /// Show items by id
    Get(get::Args),
    /// Delete items by id or by filter
    Delete(delete::Args),
    /// Count items
    Count(count::Args),
    /// Count the values that items have in their payloads
    Facets(facets::Args),
    /// Write all items as JSON lines, and their pictures into a folder
    Export(export::Args),
    /// Show the server, its collections and its encoders
    Status(status::Args),
    /// Teach an encoder the items of a collection
    Train(train::Args),
    /// Fill a field anew with another encoder, while it is searched
    Reembed(reembed::Args),
    /// Switch a field to another generation or drop one
    #[command(subcommand)]
    Generation(generation::Command),
    /// Measure searches whose right answers are known
    Eval(eval::Args),
    /// Take, list, restore and delete snapshots of everything that the server holds
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// List, watch, cancel and resume jobs
    #[command(subcommand)]
    Job(job::Command),
}

/// Connects and runs the command.
///
/// # Errors
/// Whatever made it fail; [`crate::failure`] turns it into text and an exit code.
pub async fn run(cli: Cli) -> Result<Outcome> {
    if let Command::Search(args) = &cli.command {
        args.check()?;
    }
    let context = Context::connect(&cli.global).await?;
    match cli.command {
        Command::Collection(command) => collection::run(command, &context).await?,
        Command::Alias(command) => alias::run(command, &context).await?,
        Command::Field(command) => field::run(command, &context).await?,
        Command::Index(command) => index::run(command, &context).await?,
        Command::Ingest(args) => return Box::pin(ingest::run(args, &context)).await,
        Command::Search(args) => Box::pin(search::run(*args, &context)).await?,
        Command::Get(args) => get::run(args, &context).await?,
        Command::Delete(args) => delete::run(args, &context).await?,
        Command::Count(args) => count::run(args, &context).await?,
        Command::Facets(args) => facets::run(args, &context).await?,
        Command::Export(args) => export::run(args, &context).await?,
        Command::Status(args) => status::run(args, &context).await?,
        Command::Train(args) => train::run(args, &context).await?,
        Command::Reembed(args) => reembed::run(args, &context).await?,
        Command::Generation(command) => generation::run(command, &context).await?,
        Command::Eval(args) => Box::pin(eval::run(args, &context)).await?,
        Command::Snapshot(command) => snapshot::run(command, &context).await?,
        Command::Job(command) => job::run(command, &context).await?,
    }
    Ok(Outcome::Done)
}

/// A filter in its text form; the server parses it.
#[must_use]
pub fn filter(expression: Option<String>) -> Option<pictor_proto::v1::Filter> {
    use pictor_proto::v1::filter::Node;
    expression.map(|text| pictor_proto::v1::Filter { node: Some(Node::Expression(text)) })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }
}
