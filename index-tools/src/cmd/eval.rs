//! `pictor eval`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use pictor_proto::v1;
use pictor_proto::v1::field_spec::Source;
use pictor_proto::v1::search_outcome::Outcome;
use serde_json::json;

use super::drift;
use crate::context::Context;
use crate::eval::queries::{LooksFor, Query, read};
use crate::eval::ranking::{Rank, chance, median_rank, recalls};
use crate::failure::{describe_item_error, usage};
use crate::output::{left, right};

/// Queries of one call, and the bytes of their pictures.
const BATCH: usize = 32;
const BATCH_BYTES: usize = 16 << 20;
/// Ids of one lookup of targets.
const IDS: usize = 1000;

const HELP: &str = "FILE has one JSON object a line: one of text, image (a file, relative to FILE) and item (a stored item's id), \
`targets` (ids of the right answers), and if need be `field`. Queries of the same kind on the same field are measured together, \
so one file can hold text-to-image, image-to-text and image-to-image queries.

A figure is the share of queries with a right answer among the first K (R@K), or the median rank of the first right answer. The \
interval is that of 95 of 100 samples of as many queries.

Examples:
  pictor eval goods --queries held-out.jsonl
  pictor eval goods --queries held-out.jsonl --exact --json
  pictor eval drift goods --field image --from 1 --to 2";

/// Queries with known answers, or another measurement by its name.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measured: Option<Measured>,
}

/// Measurements that the server makes.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Show how the rankings of stored queries change from one generation of a field to another
    Drift(drift::Args),
}

/// Queries with known answers.
#[derive(clap::Args, Debug)]
pub struct Measured {
    /// The collection's name or an alias
    collection: String,
    /// Queries with the ids of their right answers, as JSON lines
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// The field to search where a query names none [default: the collection's]
    #[arg(long, value_name = "FIELD")]
    field: Option<String>,
    /// Search only items that satisfy this filter
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Compare with every vector instead of using the index
    #[arg(long)]
    exact: bool,
    /// Depths of recall
    #[arg(long, value_name = "K", value_delimiter = ',', default_value = "1,5,10", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    k: Vec<u32>,
    /// How deep a right answer is looked for; a median rank beyond it is not known
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    depth: u32,
    /// Samples behind the intervals
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    resamples: u32,
    /// Seed of these samples
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

/// Queries of one kind on one field.
#[derive(Default)]
struct Group {
    ranks: Vec<Rank>,
    /// Right answers of each query.
    targets: Vec<u64>,
    /// The most hits of a reply, and whether some reply held all there was.
    hits: u64,
    is_whole: bool,
    generation: u32,
    is_exact: bool,
}

/// Runs the queries and writes one line for each figure.
///
/// # Errors
/// If the file is not one of queries, the server refuses one of them, or stdout is closed.
pub async fn run(args: Args, context: &Context) -> Result<()> {
    match (args.command, args.measured) {
        (Some(Command::Drift(args)), _) => drift::run(args, context).await,
        (None, Some(args)) => measure(args, context).await,
        (None, None) => Err(usage("name a collection and --queries, or a measurement")),
    }
}

async fn measure(args: Measured, context: &Context) -> Result<()> {
    let queries = read(&args.queries)?;
    let request = context.request(v1::GetCollectionRequest { collection: args.collection.clone() });
    let reply = context.client.collections.clone().get_collection(request).await?.into_inner();
    let collection = reply.collection.context("the server sent no collection")?;
    let queries = with_targets(queries, &args, context).await?;
    let field_of = |query: &Query| {
        let named = query.field.as_ref().or(args.field.as_ref());
        named.cloned().unwrap_or_else(|| collection.default_field.clone())
    };
    let mut groups: BTreeMap<(String, &'static str), Group> = BTreeMap::new();
    let mut rest = queries.as_slice();
    while !rest.is_empty() {
        let (batch, after) = batch(rest, &args, &field_of)?;
        let request = context.request(v1::SearchBatchRequest { requests: batch });
        let outcomes = context.client.search.clone().search_batch(request).await?.into_inner().outcomes;
        for (query, outcome) in rest.iter().zip(outcomes) {
            let response = match outcome.outcome {
                Some(Outcome::Response(response)) => response,
                Some(Outcome::Error(error)) => {
                    bail!("{}:{}: {}", args.queries.display(), query.line, describe_item_error(&error))
                }
                None => bail!("the server sent no outcome for a query"),
            };
            groups.entry((field_of(query), query.looks_for.kind())).or_default().add(query, &response, args.depth);
        }
        rest = after;
    }
    let request = v1::CountRequest { collection: args.collection.clone(), filter: super::filter(args.filter.clone()) };
    let count = context.client.items.clone().count(context.request(request)).await?.into_inner().count;
    let mut rows = Vec::new();
    for ((field, kind), group) in &groups {
        let to = collection
            .fields
            .iter()
            .find(|known| known.spec.as_ref().is_some_and(|spec| spec.name == *field))
            .map_or("field", field_kind);
        let from = if *kind == "item" { to } else { kind };
        rows.extend(group.write(&args, (&format!("{from}-to-{to}"), field), count, context)?);
    }
    if !context.output.is_json() {
        let columns = [
            left("QUERIES"),
            right("NUMBER"),
            left("FIELD"),
            right("GALLERY"),
            left("FIGURE"),
            right("VALUE"),
            left("INTERVAL"),
            right("CHANCE"),
        ];
        context.output.table(&columns, &rows)?;
    }
    Ok(())
}

/// Keeps the targets that the collection has; a query without any could not be answered and is left out.
async fn with_targets(mut queries: Vec<Query>, args: &Measured, context: &Context) -> Result<Vec<Query>> {
    let ids: BTreeSet<String> = queries.iter().flat_map(|query| query.targets.iter().cloned()).collect();
    let ids: Vec<String> = ids.into_iter().collect();
    let mut missing = BTreeSet::new();
    for ids in ids.chunks(IDS) {
        let request = v1::GetRequest { collection: args.collection.clone(), ids: ids.to_vec(), select: None };
        let reply = context.client.items.clone().get(context.request(request)).await?.into_inner();
        missing.extend(reply.missing);
    }
    queries.iter_mut().for_each(|query| query.targets.retain(|target| !missing.contains(target)));
    let n_queries = queries.len();
    queries.retain(|query| !query.targets.is_empty());
    if let Some(first) = missing.first() {
        let (n_missing, n_left) = (missing.len(), n_queries - queries.len());
        eprintln!(
            "warning: {} has no item {first:?}, nor {} more of the targets; {n_left} of {n_queries} queries have none left \
             and are not counted",
            args.collection,
            n_missing - 1
        );
    }
    if queries.is_empty() {
        bail!("no query has a target in {}", args.collection);
    }
    Ok(queries)
}

/// The requests of the next call, and the queries after them.
fn batch<'q>(
    queries: &'q [Query],
    args: &Measured,
    field_of: &impl Fn(&Query) -> String,
) -> Result<(Vec<v1::SearchRequest>, &'q [Query])> {
    let (mut requests, mut bytes) = (Vec::new(), 0);
    for query in queries.iter().take(BATCH) {
        let content = query.looks_for.content()?;
        if let v1::query_part::Content::Image(image) = &content {
            bytes += image.len();
        }
        if bytes > BATCH_BYTES && !requests.is_empty() {
            break;
        }
        requests.push(v1::SearchRequest {
            collection: args.collection.clone(),
            field: field_of(query),
            parts: vec![v1::QueryPart { content: Some(content), weight: None }],
            filter: super::filter(args.filter.clone()),
            limit: args.depth.max(args.k.iter().copied().max().unwrap_or_default()),
            exact: args.exact,
            exclude_reference: Some(matches!(query.looks_for, LooksFor::Item(_))),
            ..Default::default()
        });
    }
    let n_taken = requests.len();
    Ok((requests, &queries[n_taken..]))
}

/// What a field's vectors show.
fn field_kind(field: &v1::FieldInfo) -> &'static str {
    match field.spec.as_ref().and_then(|spec| spec.source.as_ref()) {
        Some(Source::Media(_)) => "image",
        Some(Source::Text(_)) => "text",
        Some(Source::Vector(_)) | None => "vector",
    }
}

impl Group {
    fn add(&mut self, query: &Query, response: &v1::SearchResponse, depth: u32) {
        let found = response.hits.iter().find(|hit| query.targets.contains(&hit.id));
        self.ranks.push(found.map(|hit| hit.rank));
        self.targets.push(query.targets.len() as u64);
        self.hits = self.hits.max(response.hits.len() as u64);
        self.is_whole |= response.hits.len() < depth as usize;
        (self.generation, self.is_exact) = (response.generation, response.exact);
    }

    /// Writes the figures as JSON lines, or gives them as rows of the table.
    fn write(
        &self,
        args: &Measured,
        (direction, field): (&str, &str),
        count: u64,
        context: &Context,
    ) -> Result<Vec<Vec<String>>> {
        // A reply that is shorter than asked for holds every item with a vector; otherwise all items are taken to have one.
        let gallery = if self.is_whole { self.hits } else { count };
        let queries = self.ranks.len();
        let mut rows = Vec::new();
        let mut write = |figure: &str, value: Option<f64>, interval: Option<(f64, f64)>, chance: Option<f64>| {
            if context.output.is_json() {
                return context.output.object(&json!({
                    "direction": direction, "field": field, "generation": self.generation, "exact": self.is_exact,
                    "metric": figure, "value": value, "low": interval.map(|interval| interval.0),
                    "high": interval.map(|interval| interval.1), "chance": chance, "queries": queries, "gallery": gallery,
                    "depth": args.depth, "resamples": args.resamples, "seed": args.seed,
                }));
            }
            let number =
                |value: f64| if figure == "median rank" { format!("{value:.1}") } else { format!("{value:.3}") };
            rows.push(vec![
                direction.to_owned(),
                queries.to_string(),
                field.to_owned(),
                gallery.to_string(),
                figure.to_owned(),
                value.map_or_else(|| format!("> {}", args.depth), number),
                interval.map_or_else(String::new, |(low, high)| format!("{low:.3} to {high:.3}")),
                chance.map_or_else(String::new, |chance| format!("{chance:.3}")),
            ]);
            Ok(())
        };
        for (k, estimate) in args.k.iter().zip(recalls(&self.ranks, &args.k, args.resamples, args.seed)) {
            let by_chance =
                self.targets.iter().map(|targets| chance(gallery, *targets, *k)).sum::<f64>() / queries as f64;
            write(&format!("R@{k}"), Some(estimate.value), Some((estimate.low, estimate.high)), Some(by_chance))?;
        }
        let name = if context.output.is_json() { "median_rank" } else { "median rank" };
        write(name, median_rank(&self.ranks), None, None)?;
        Ok(rows)
    }
}
