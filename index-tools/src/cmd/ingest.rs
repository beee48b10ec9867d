//! `pictor ingest`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use pictor_proto::v1;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;
use crate::context::Context;
use crate::failure::{describe, usage};
use crate::ingest::batch::{self, BatchSize};
use crate::ingest::journal::{self, Found, Identity, Journal, State};
use crate::ingest::ledger::Ledger;
use crate::ingest::object::Columns;
use crate::ingest::progress::Progress;
use crate::ingest::record::Caps;
use crate::ingest::rejects::Rejects;
use crate::ingest::session::Target;
use crate::ingest::source::{Kind, Source};
use crate::ingest::upload::{self, End, Records, Settings};
use crate::units::{self, parse_duration};

/// Bytes of items in one batch; an item that is larger travels alone. Bulk batches are large enough to go past the server's log.
const BATCH_BYTES: usize = 8 << 20;
const BULK_BATCH_BYTES: usize = 32 << 20;
/// Items in one batch unless the user says.
const BATCH: u32 = 128;

const HELP: &str = "Sources:
  folder      pictures (png jpg jpeg gif webp bmp tif tiff), recursively; the id is the path relative to the folder.
              NAME.txt beside NAME.png is its text 'caption'. NAME.json is an object: 'id', 'texts', 'vectors' and
              'payload' as in jsonl, other keys go into the payload. Hidden and other files are ignored.
  csv         a header and rows; .tsv has tabs. The id is in the column 'id' or in --id-column; without one it is the
              first picture's path. Cells of other columns go into the payload: empty cells not at all, else as true or
              false, int, double, RFC 3339 time, or string, the first that fits; '007' stays a string.
  jsonl       an object a line: 'id' (string or whole number), 'texts' {NAME: TEXT or [TEXT, ...]}, 'media' or 'image' (a
              path or [PATH, ...]), 'vectors' {FIELD: [...] or [[...], ...]}, 'payload' {...}; other keys go into the payload.
  webdataset  a plain tar; neighbours with the same name up to the first point are a record: pictures are its media,
              .txt is its text 'caption' (.NAME.txt its text NAME), .json an object as in folders.
  parquet     rows; columns 'id', 'texts', 'vectors' and 'payload' as in jsonl, --vector-columns hold lists of numbers, others go
              into the payload.
  npy, fvecs  vectors alone, for the field that --vector-columns names; the id is the row's number, from 0.
Paths are relative to the source's file and may not leave its folder. A bad record is rejected and never stops the run.
Ids should be unique within a source: which of two records with one id is stored last is not defined.

The journal remembers how far the run has come. After an interruption the same command goes on there; after a complete run
it starts afresh, and what is stored already is reported as unchanged.";

/// What to store and how.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The collection's name or an alias
    collection: String,
    /// A folder or a file
    source: PathBuf,
    /// The source's form
    #[arg(long, value_enum, default_value = "auto")]
    kind: Kind,
    /// The column or key that holds the id [default: id]
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// Columns or keys that become texts of the same name
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    text_columns: Vec<String>,
    /// Columns or keys that hold paths of pictures
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    image_columns: Vec<String>,
    /// Columns or keys that hold vectors for the field of the same name; of .npy and .fvecs the one field that their rows are for
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    vector_columns: Vec<String>,
    /// Write rejected records to this file, as JSON lines of id, position, source, code and reason
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Keep the journal in this file [default: one for each server, collection and source in the user's state folder]
    #[arg(long, value_name = "FILE", conflicts_with = "no_journal")]
    journal: Option<PathBuf>,
    /// Keep no journal
    #[arg(long)]
    no_journal: bool,
    /// Start at the first record even if the journal knows better
    #[arg(long)]
    restart: bool,
    /// Index the items afterwards, in large pieces: faster for a first load, but searches do not find them meanwhile
    #[arg(long)]
    bulk: bool,
    /// Items in one batch, at most [default: 128; with --bulk as many as the server takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Batches on the way at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=64))]
    in_flight: u32,
    /// Whether an acknowledged item survives power loss (sync) or only the server's death (async)
    #[arg(long, value_enum, default_value = "sync")]
    durability: Durability,
    /// Read only the first N records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How long to go on trying while nothing works
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    retry_for: Duration,
}

/// Values of `--durability`.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Durability {
    Sync,
    Async,
}

impl Args {
    fn source(&self) -> Result<Source> {
        let columns = Columns {
            id: self.id_column.clone(),
            texts: self.text_columns.clone(),
            images: self.image_columns.clone(),
            vectors: self.vector_columns.clone(),
        };
        let source = Source::new(&self.source, self.kind, columns, self.limit)?;
        let kind = source.kind_name();
        let has_columns = matches!(source.kind, Kind::Csv | Kind::Jsonl | Kind::Parquet);
        let given = self.id_column.is_some() || !self.text_columns.is_empty() || !self.image_columns.is_empty();
        if given && !has_columns {
            return Err(usage(format!("--id-column, --text-columns and --image-columns do not apply to {kind}")));
        }
        let has_vectors = matches!(source.kind, Kind::Jsonl | Kind::Parquet | Kind::Npy | Kind::Fvecs);
        if !self.vector_columns.is_empty() && !has_vectors {
            return Err(usage(format!("--vector-columns does not apply to {kind}")));
        }
        if source.kind == Kind::Csv && self.text_columns.is_empty() && self.image_columns.is_empty() {
            eprintln!("warning: without --text-columns or --image-columns every column goes into the payload");
        }
        Ok(source)
    }

    /// Opens the journal and says where to begin.
    fn journal(&self, identity: &Identity, version: u64) -> Result<(Option<Journal>, State)> {
        if self.no_journal {
            return Ok((None, State::default()));
        }
        let path = match &self.journal {
            Some(path) => path.clone(),
            None => journal::default_path(identity)?,
        };
        let (journal, found) = Journal::open(&path, identity.clone(), version)?;
        let state = match found {
            Found::Unfinished(state) if !self.restart && state.position > 0 => {
                eprintln!("resuming at record {} (journal {})", state.position + 1, path.display());
                state
            }
            Found::Unfinished(_) | Found::Fresh(None) => State::default(),
            Found::Fresh(Some(why)) => {
                eprintln!("{why}");
                State::default()
            }
        };
        Ok((Some(journal), state))
    }
}

/// Stores the source.
///
/// # Errors
/// If the source or the journal cannot be used, or the server refuses for good.
pub async fn run(args: Args, context: &Context) -> Result<Outcome> {
    let source = args.source()?;
    let (target, caps, version) = survey_server(&args.collection, context).await?;
    let identity = Identity {
        server_id: target.server_id.clone(),
        collection: args.collection.clone(),
        collection_uid: target.collection_uid.clone(),
        source: source.path.to_string_lossy().into_owned(),
        fingerprint: source.fingerprint.clone(),
    };
    let (journal, state) = args.journal(&identity, version)?;
    let reader = source.open(caps)?;
    let total = reader.total();

    let rejects_file =
        args.rejects.as_deref().map(|path| std::path::absolute(path).map(|path| path.to_string_lossy().into_owned()));
    let rejects_file = rejects_file.transpose()?;
    let keep = if rejects_file == state.rejects_file { state.rejects_bytes } else { 0 };
    let mut records = Records {
        ledger: Ledger::new(state.position, state.counts, state.version),
        journal,
        rejects: Rejects::open(args.rejects.as_deref(), keep)?,
        rejects_file,
        progress: Progress::start(total, state.position),
    };
    let (items, bytes) = if args.bulk { (u32::MAX, BULK_BATCH_BYTES) } else { (BATCH, BATCH_BYTES) };
    let size = BatchSize { items: (args.batch.unwrap_or(items) as usize).min(caps.upsert_items as usize), bytes };
    let mut spans = batch::spawn(reader, caps, size, state.position, args.limit);
    let settings = Settings {
        target,
        durability: match args.durability {
            Durability::Sync => v1::Durability::Sync,
            Durability::Async => v1::Durability::Async,
        },
        indexing: if args.bulk { v1::Indexing::Deferred } else { v1::Indexing::AtOnce },
        in_flight: args.in_flight as usize,
        retry_for: args.retry_for,
        timeout: context.timeout(),
    };
    let end = upload::run(&context.client, &settings, &mut records, &mut spans, stop_signal()).await;
    let rejected = records.ledger.counts().rejected;
    report(&end, &state, records, (args.bulk, context))?;
    let hint = if args.no_journal { "" } else { "; the same command goes on from here" };
    match end.with_context(|| format!("the ingest is not complete{hint}"))? {
        End::Complete if rejected > 0 => Ok(Outcome::ItemsRejected),
        End::Complete => Ok(Outcome::Done),
        End::Stopped if args.no_journal => bail!("stopped"),
        End::Stopped => bail!("stopped; the same command goes on from here"),
    }
}

async fn survey_server(collection: &str, context: &Context) -> Result<(Target, Caps, u64)> {
    let info = context.client.admin.clone().get_info(context.request(v1::GetInfoRequest {})).await?.into_inner();
    let request = context.request(v1::GetCollectionRequest { collection: collection.to_owned() });
    let reply = context.client.collections.clone().get_collection(request).await?.into_inner();
    let found = reply.collection.context("the server sent no collection")?;
    let target = Target { server_id: info.server_id, collection: collection.to_owned(), collection_uid: found.uid };
    Ok((target, Caps::published(&info.limits), found.version))
}

/// Resolves at the first SIGINT or SIGTERM.
async fn stop_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Writes the summary: on stdout, with `--json` as the only object there.
fn report(end: &Result<End>, began: &State, records: Records, (is_bulk, context): (bool, &Context)) -> Result<()> {
    let counts = *records.ledger.counts();
    let (per_second, seconds) = records.progress.speed();
    let position = records.ledger.position();
    // Ends the bar before anything is written.
    drop(records);
    let complete = matches!(end, Ok(End::Complete));
    let line = format!(
        "{}: {} created, {} updated, {} unchanged, {} rejected; {:.1} s, {:.0}/s",
        units::counted(counts.total(), "record"),
        units::count(counts.created),
        units::count(counts.updated),
        units::count(counts.unchanged),
        units::count(counts.rejected),
        seconds,
        per_second,
    );
    let line = if is_bulk {
        format!("{line}\nsearches find them when they are indexed; `pictor status` shows how many wait")
    } else {
        line
    };
    let round = |number: f64| (number * 1000.0).round() / 1000.0;
    let mut object = json!({
        "complete": complete, "records": counts.total(), "created": counts.created, "updated": counts.updated,
        "unchanged": counts.unchanged, "rejected": counts.rejected, "resumed_at": began.position + 1,
        "next_record": position + 1, "seconds": round(seconds), "items_per_s": round(per_second),
        "indexing_deferred": is_bulk,
    });
    if let Err(error) = end {
        object["error"] = describe(error).into();
    }
    context.output.either(&object, &line)?;
    Ok(())
}
