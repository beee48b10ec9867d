//! `pictor train`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use pictor_proto::v1;

use crate::context::Context;
use crate::json::value_to_struct_value;
use crate::render;
use crate::watch::watch;

const HELP: &str =
    "The server freezes the collection as it is now and runs the recipe in a process of its own. The result is a \
model of the recipe's name in the server's models folder; nothing that is served changes, unless the recipe has a `[switch]` table: then \
the run starts from the model that the field is served with, and its result is embedded and switched to if it finds more of what was \
held out.

Examples:
  pictor train goods --recipe finetune.toml --watch
  pictor train goods --recipe finetune-and-switch.toml --watch --set switch.margin=0.05
  pictor train goods --recipe finetune.toml --set optimiser.lr=0.0001 --set objective.0.weight=2
  pictor job list";

/// A training run as a job.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The collection's name or an alias
    collection: String,
    /// The run as a TOML file; its corpus.collection is replaced
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Use only items that satisfy this filter, beside the recipe's own
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Replace an entry of the recipe by its dotted key; the value is JSON, or else a text; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = entry)]
    set: Vec<(String, serde_json::Value)>,
    /// Follow the run until it ends; fails if the run does
    #[arg(long)]
    watch: bool,
}

fn entry(text: &str) -> Result<(String, serde_json::Value), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("expected KEY=VALUE, got {text:?}"))?;
    Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

/// Starts the job, and follows it if asked to.
///
/// # Errors
/// If the recipe cannot be read, the server refuses it, the watched run failed, or stdout is closed.
pub async fn run(args: Args, context: &Context) -> Result<()> {
    let recipe =
        std::fs::read_to_string(&args.recipe).with_context(|| format!("cannot read {}", args.recipe.display()))?;
    let overrides = args.set.iter().map(|(key, value)| (key.clone(), value_to_struct_value(value))).collect();
    let request = v1::TrainRequest {
        collection: args.collection,
        recipe,
        filter: super::filter(args.filter),
        overrides: Some(prost_types::Struct { fields: overrides }),
    };
    let reply = context.client.training.clone().train(context.request(request)).await?.into_inner();
    let job = reply.job.context("the server sent no job")?;
    if args.watch {
        return watch(job.id, context).await;
    }
    let line = format!("{}  (pictor job watch {} follows it)", job.id, job.id);
    context.output.either(&render::job(&job), &line)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_are_json_or_text() {
        assert_eq!(entry("a.b=0.5"), Ok(("a.b".to_owned(), json!(0.5))));
        assert_eq!(entry("a=[1, 2]"), Ok(("a".to_owned(), json!([1, 2]))));
        assert_eq!(entry("a=b=c"), Ok(("a".to_owned(), json!("b=c"))));
        assert!(entry("a").is_err());
    }
}
