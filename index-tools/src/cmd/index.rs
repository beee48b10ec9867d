//! `pictor index create|drop|list`.

use anyhow::{Context as _, Result};
use pictor_proto::v1;
use serde_json::json;

use crate::context::Context;
use crate::output::{left, right};
use crate::watch::{finish, watch};
use crate::{render, units};

const HELP: &str = "Kinds: keyword holds strings and answers =, !=, <, in and ^=; prefix holds the first 64 bytes of strings, for long \
texts, and answers ^=; number holds integers and doubles, bool booleans, time timestamps. A path may have an index of each kind.

Examples:
  pictor index create goods brand --kind keyword
  pictor index create goods size.width --kind number --no-wait";

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Add an index on a payload path; if the collection has items, a job fills it, and the command waits for its end
    #[command(after_help = HELP)]
    Create {
        /// The collection's name or an alias
        collection: String,
        /// A payload path, like brand or size.width
        path: String,
        /// Which values it holds
        #[arg(long, value_enum)]
        kind: Kind,
        /// Return once the job is queued; filters use the index when it is ready
        #[arg(long)]
        no_wait: bool,
    },
    /// Drop an index; payloads stay
    Drop {
        /// The collection's name or an alias
        collection: String,
        /// The index's path
        path: String,
        /// The index's kind
        #[arg(long, value_enum)]
        kind: Kind,
    },
    /// List a collection's indexes: path, kind, whether it is ready, distinct values, bytes of memory
    List {
        /// The collection's name or an alias
        collection: String,
    },
}

/// Values of `--kind`.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum Kind {
    Keyword,
    Number,
    Bool,
    Time,
    Prefix,
}

impl From<Kind> for v1::PayloadKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Keyword => Self::Keyword,
            Kind::Number => Self::Number,
            Kind::Bool => Self::Bool,
            Kind::Time => Self::Time,
            Kind::Prefix => Self::Prefix,
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// If the server refuses, the job fails, or stdout is closed.
pub async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Create { collection, path, kind, no_wait } => {
            create(collection, spec(path, kind), no_wait, context).await
        }
        Command::Drop { collection, path, kind } => {
            let request = v1::DropPayloadIndexRequest { collection, index: Some(spec(path.clone(), kind)) };
            context.client.collections.clone().drop_payload_index(context.request(request)).await?;
            let kind = render::payload_kind(kind.into());
            let line = format!("dropped the {kind} index on {path}");
            context.output.either(&json!({ "dropped": path, "kind": kind }), &line)?;
            Ok(())
        }
        Command::List { collection } => show(&indexes_of(collection, context).await?, context),
    }
}

fn spec(path: String, kind: Kind) -> v1::PayloadIndexSpec {
    v1::PayloadIndexSpec { path, kind: v1::PayloadKind::from(kind).into() }
}

async fn create(collection: String, index: v1::PayloadIndexSpec, no_wait: bool, context: &Context) -> Result<()> {
    let request = v1::CreatePayloadIndexRequest { collection: collection.clone(), index: Some(index.clone()) };
    let request = context.request(request);
    let reply = context.client.collections.clone().create_payload_index(request).await?.into_inner();
    let Some(job) = reply.job else {
        // There are no items, so it is complete with nothing in it.
        return show(&[v1::PayloadIndexInfo { spec: Some(index), is_ready: true, ..Default::default() }], context);
    };
    if no_wait {
        let line = format!("{}  (fills the index; pictor job watch {} follows it)", job.id, job.id);
        context.output.either(&render::job(&job), &line)?;
        return Ok(());
    }
    if context.output.is_json() {
        // What a reader gets is the index, not the way to it.
        finish(job.id.clone(), context).await?;
    } else {
        watch(job.id.clone(), context).await?;
    }
    let indexes = indexes_of(collection, context).await?;
    // By its job, because the server may write the path otherwise than it was given.
    let filled = indexes.into_iter().find(|index| index.job == job.id);
    show(&[filled.context("the index was filled and has been dropped since")?], context)
}

async fn indexes_of(collection: String, context: &Context) -> Result<Vec<v1::PayloadIndexInfo>> {
    let request = context.request(v1::GetCollectionRequest { collection });
    let reply = context.client.collections.clone().get_collection(request).await?.into_inner();
    Ok(reply.collection.context("the server sent no collection")?.payload_indexes)
}

/// Writes indexes on payloads.
///
/// # Errors
/// If stdout is closed.
pub fn show(indexes: &[v1::PayloadIndexInfo], context: &Context) -> Result<()> {
    let output = &context.output;
    if output.is_json() {
        return indexes.iter().try_for_each(|index| Ok(output.object(&render::payload_index(index))?));
    }
    let row = |index: &v1::PayloadIndexInfo| {
        let spec = index.spec.clone().unwrap_or_default();
        let state = if index.is_ready { "ready".to_owned() } else { format!("filled by {}", index.job) };
        let kind = render::payload_kind(spec.kind()).to_owned();
        vec![spec.path, kind, state, units::count(index.values), units::bytes(index.bytes)]
    };
    let rows: Vec<_> = indexes.iter().map(row).collect();
    let columns = [left("PAYLOAD INDEX"), left("KIND"), left("STATE"), right("VALUES"), right("MEMORY")];
    output.table(&columns, &rows)?;
    Ok(())
}
