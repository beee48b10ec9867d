//! `pictor export`: the items as JSON lines that `pictor ingest --kind jsonl` reads again, with their pictures and the caller's vectors.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pictor_proto::v1;
use serde_json::{Value, json};

use crate::context::Context;
use crate::json::payload_to_json;
use crate::payload_path::split_path;
use crate::row_file::RowWriter;
use crate::{render, units};

const HELP: &str = "Each line has id, payload, texts and media. Without --media, media holds the pictures' names; with \
--media DIR the originals are written to DIR under their BLAKE3 hashes and media holds these files' paths: DIR/items.jsonl, \
written in this way with --out DIR/items.jsonl, can be ingested again. With --vectors DIR the vectors that callers brought \
are written to DIR/FIELD.safetensors, and the lines name their rows; encoders make the others again.";

/// What to export.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The collection's name or an alias
    collection: String,
    /// Export only items that satisfy this filter
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Go by the values at a payload path, upwards, or downwards with :desc, instead of by ids; needs an index on the path, and
    /// leaves out items without a value there
    #[arg(long, value_name = "PATH[:desc]", value_parser = order_by)]
    order_by: Option<v1::OrderBy>,
    /// Write the original pictures into this folder
    #[arg(long, value_name = "DIR")]
    media: Option<PathBuf>,
    /// Write the vectors that callers brought into this folder, a safetensors file for each field
    #[arg(long, value_name = "DIR")]
    vectors: Option<PathBuf>,
    /// Write the lines to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn order_by(text: &str) -> Result<v1::OrderBy, String> {
    let (path, descending) = match split_path(text, &[':']) {
        None => (text, Some(false)),
        Some((path, _, direction)) => (path, (direction == "desc").then_some(true)),
    };
    match descending {
        Some(descending) if !path.is_empty() => Ok(v1::OrderBy { path: path.to_owned(), descending }),
        _ => Err(format!("expected PATH or PATH:desc, got {text:?}")),
    }
}

/// Scrolls through the collection in the order of ids, or in the one that was asked for.
///
/// # Errors
/// If the server refuses, a file cannot be written, or stdout is closed.
pub async fn run(args: Args, context: &Context) -> Result<()> {
    for folder in args.media.iter().chain(&args.vectors) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut lines: Box<dyn std::io::Write> = match &args.out {
        Some(file) => {
            let created = std::fs::File::create(file).with_context(|| format!("cannot create {}", file.display()))?;
            Box::new(std::io::BufWriter::new(created))
        }
        None => Box::new(std::io::BufWriter::new(std::io::stdout().lock())),
    };
    let with_data = args.media.is_some();
    let select = v1::ItemSelection {
        payload: Some(true),
        texts: true,
        media: true,
        media_data: with_data,
        vectors: args.vectors.is_some(),
    };
    let mut files = VectorFiles::default();
    let mut written = HashSet::new();
    let mut items = 0;
    let mut cursor = String::new();
    loop {
        let request = v1::ScrollRequest {
            collection: args.collection.clone(),
            filter: super::filter(args.filter.clone()),
            limit: if with_data { 64 } else { 1000 },
            cursor,
            select: Some(select),
            order_by: args.order_by.clone(),
        };
        let reply = context.client.items.clone().scroll(context.request(request)).await?.into_inner();
        for item in &reply.items {
            let mut media = Vec::new();
            for picture in &item.media {
                media.push(match &args.media {
                    Some(folder) => save(picture, folder, args.out.as_deref(), &mut written)
                        .with_context(|| format!("picture {:?} of item {:?}", picture.name, item.id))?,
                    None => picture.name.clone(),
                });
            }
            let mut line = json!({
                "id": item.id, "payload": payload_to_json(&item.payload), "texts": render::texts(item),
                "media": media,
            });
            if let Some(folder) = &args.vectors {
                line["vectors"] = files.save(item, folder, args.out.as_deref())?;
            }
            write_line(lines.as_mut(), &line)?;
            items += 1;
        }
        cursor = reply.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    lines.flush()?;
    files.finish()?;
    eprintln!("exported {} and {}", units::counted(items, "item"), units::counted(written.len() as u64, "picture"));
    Ok(())
}

fn write_line(lines: &mut dyn std::io::Write, line: &Value) -> Result<()> {
    writeln!(lines, "{line}")?;
    Ok(())
}

/// Writes one original under its hash and gives its path, seen from the folder of the JSON lines if it lies within it.
fn save(
    picture: &v1::StoredMedia,
    folder: &Path,
    out: Option<&Path>,
    written: &mut HashSet<blake3::Hash>,
) -> Result<String> {
    anyhow::ensure!(!picture.data.is_empty(), "its original bytes are not stored");
    // The name is made from the bytes: a server cannot make us write elsewhere.
    let hash = blake3::hash(&picture.data);
    let extension = match picture.mime_type.as_str() {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/bmp" => "bmp",
        "image/tiff" => "tiff",
        _ => "bin",
    };
    let path = folder.join(format!("{hash}.{extension}"));
    if written.insert(hash) {
        std::fs::write(&path, &picture.data).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(seen_from(out, &path))
}

/// A path as the JSON lines name it: from their folder, if it lies within it.
fn seen_from(out: Option<&Path>, path: &Path) -> String {
    let base = out.and_then(Path::parent).unwrap_or_else(|| Path::new(""));
    path.strip_prefix(base).unwrap_or(path).to_string_lossy().into_owned()
}

/// The files of the caller's vectors, by field.
#[derive(Default)]
struct VectorFiles(BTreeMap<String, (RowWriter, String)>);

impl VectorFiles {
    /// Writes an item's vectors, as long as they were when they came, and names their rows.
    fn save(&mut self, item: &v1::StoredItem, folder: &Path, out: Option<&Path>) -> Result<Value> {
        let mut named = serde_json::Map::new();
        for vector in item.vectors.iter().filter(|vector| is_own(vector)) {
            let field = vector.field.as_str();
            if !self.0.contains_key(field) {
                // A field's name is letters, digits and '_-.': no path.
                let path = folder.join(format!("{}.safetensors", field.replace(['/', '\\'], "_")));
                let writer = RowWriter::create(&path, vector.values.len())?;
                self.0.insert(field.to_owned(), (writer, seen_from(out, &path)));
            }
            let Some((writer, file)) = self.0.get_mut(field) else { continue };
            let row = writer.push(vector.values.iter().map(|value| value * vector.norm))?;
            let entry = named.entry(field).or_insert_with(|| json!({"file": file, "rows": []}));
            if let Some(rows) = entry["rows"].as_array_mut() {
                rows.push(row.into());
            }
        }
        Ok(named.into())
    }

    fn finish(self) -> Result<()> {
        self.0.into_values().try_for_each(|(writer, _)| writer.finish())
    }
}

/// True if the caller brought it.
fn is_own(vector: &v1::StoredVector) -> bool {
    vector.part.as_ref().is_some_and(|part| part.kind() == v1::PartKind::Vector)
}
