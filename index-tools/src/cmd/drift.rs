//! `pictor eval drift`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use pictor_proto::v1;
use serde_json::{Value, json};

use crate::context::Context;
use crate::eval::queries::{LooksFor, read_open};
use crate::json::{struct_from_json, struct_to_json};
use crate::output::{left, right};
use crate::watch::finish;

const HELP: &str = "Each generation is asked through its own encoder. Without --queries, a sample of stored items stands for what people look \
for, and their texts where the field holds pictures; a text looks for its item. FILE is as for `pictor eval`, without pictures; targets \
may be left out.

Examples:
  pictor eval drift goods --field image --from 1 --to 2
  pictor eval drift goods --field image --queries last-week.jsonl --json";

/// Two generations of a field.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The collection's name or an alias
    collection: String,
    /// The field [default: the collection's]
    #[arg(long, default_value = "", hide_default_value = true)]
    field: String,
    /// The generation before [default: the current one]
    #[arg(long, value_name = "GENERATION")]
    from: Option<u32>,
    /// The generation after [default: the newest other one that is complete]
    #[arg(long, value_name = "GENERATION")]
    to: Option<u32>,
    /// Queries as JSON lines
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Stored items that stand for queries where no file is given
    #[arg(long, value_name = "N", conflicts_with = "queries")]
    sample: Option<u32>,
    /// Hits that are compared
    #[arg(long, value_name = "K", default_value = "10")]
    k: u32,
}

/// Starts the job, waits for its end and shows what it found.
///
/// # Errors
/// If the file is not one of queries, the server refuses, the job fails, or stdout is closed.
pub async fn run(args: Args, context: &Context) -> Result<()> {
    let mut parameters = json!({ "k": args.k });
    for (name, value) in [("from", args.from), ("to", args.to), ("sample", args.sample)] {
        if let Some(value) = value {
            parameters[name] = value.into();
        }
    }
    if let Some(path) = &args.queries {
        let mut queries = Vec::new();
        for query in read_open(path)? {
            let mut line = match query.looks_for {
                LooksFor::Text(text) => json!({ "text": text }),
                LooksFor::Item(id) => json!({ "item": id }),
                LooksFor::Image(_) => bail!("{}:{}: drift takes texts and items", path.display(), query.line),
            };
            if !query.targets.is_empty() {
                line["targets"] = query.targets.into();
            }
            queries.push(line);
        }
        parameters["queries"] = queries.into();
    }
    let request = v1::EvaluateRequest {
        collection: args.collection,
        field: args.field,
        evaluator: "drift".to_owned(),
        parameters: Some(struct_from_json(&parameters)),
    };
    let reply = context.client.training.clone().evaluate(context.request(request)).await?.into_inner();
    let job = finish(reply.job.map(|job| job.id).unwrap_or_default(), context).await?;
    let found = job.result.as_ref().map(struct_to_json).unwrap_or_default();
    if context.output.is_json() {
        return Ok(context.output.object(&found)?);
    }
    show(&found, context)
}

fn show(found: &Value, context: &Context) -> Result<()> {
    let number = |value: &Value| value.as_f64().map_or_else(String::new, |value| format!("{value:.3}"));
    let mut rows = Vec::new();
    for (kind, of) in found["kinds"].as_object().into_iter().flatten() {
        let has_targets = of["with_targets"].as_f64() > Some(0.0);
        let recall = |name: &str| if has_targets { number(&of[name]) } else { String::new() };
        rows.push(vec![
            kind.clone(),
            of["queries"].to_string(),
            number(&of["overlap"]),
            number(&of["same_first"]),
            recall("recall_before"),
            recall("recall_after"),
        ]);
    }
    let columns = [
        left("QUERIES"),
        right("NUMBER"),
        right("SAME HITS"),
        right("SAME FIRST"),
        right("RECALL BEFORE"),
        right("RECALL AFTER"),
    ];
    context.output.table(&columns, &rows)?;
    context.output.say("")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let changed = found["changed"].as_array().into_iter().flatten();
    let rows: Vec<_> = changed
        .map(|change| {
            vec![
                text(&change["query"]),
                number(&change["overlap"]),
                text(&change["first_before"]),
                text(&change["first_after"]),
            ]
        })
        .collect();
    let columns = [left("CHANGED MOST"), right("SAME HITS"), left("FIRST BEFORE"), left("FIRST AFTER")];
    context.output.table(&columns, &rows)?;
    Ok(())
}
