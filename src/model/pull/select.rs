//! Which files of a repository a model needs: configuration, tokenizer, safetensors. Never code, never pickles.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::hub::Sibling;
use super::reference::{is_hex, is_plain};
use crate::{Error, Result};

/// Needed wherever they stand.
const CONFIGURATION: &[&str] = &[
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// What tokenizers were made of before `tokenizer.json`.
const VOCABULARIES: &[&str] = &[
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
];

/// Where weights may be, the first that is there being taken.
const WEIGHTS: &[&str] = &["model.safetensors", "model.safetensors.index.json", "open_clip_model.safetensors"];

/// Endings of weights in any format, to say what there is instead.
const WEIGHT_ENDINGS: &[&str] =
    &["bin", "ckpt", "gguf", "h5", "msgpack", "npz", "onnx", "pkl", "pt", "pth", "safetensors"];

/// Folders of our own layout that hold a network each.
const TOWERS: &[&str] = &["text", "vision"];

/// Folders and file in a path.
const DEPTH: usize = 3;

/// Bytes of a file that only people read.
const DOCUMENT_BYTES: u64 = 1 << 20;

/// Bytes of a file that is no weights: the largest tokenizers have some tens of megabytes.
const CONFIGURATION_BYTES: u64 = 256 << 20;

/// A file that is needed, with what its bytes must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) hash: ContentHash,
}

/// How the hub names a content, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContentHash {
    Sha256(String),
    /// SHA-1 of git's blob header and the bytes.
    GitBlob(String),
}

/// What to fetch.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// By path. The shards that an index names are added by [`Selection::add_shards`].
    pub(crate) files: BTreeMap<String, RemoteFile>,
    /// Paths of indices of weights in shards.
    pub(crate) indices: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Chooses from a repository's files.
///
/// # Errors
/// `FailedPrecondition` for names that no honest hub sends, `Unsupported` without safetensors, saying what there is.
pub(crate) fn select(listing: &[Sibling]) -> Result<Selection> {
    let mut siblings = BTreeMap::new();
    for sibling in listing {
        check_name(&sibling.rfilename)?;
        if siblings.insert(sibling.rfilename.as_str(), sibling).is_some() {
            return Err(hostile(&sibling.rfilename, "is listed twice"));
        }
    }
    let mut selection = Selection::default();
    let folders: BTreeSet<&str> =
        siblings.keys().map(|path| split(path).0).filter(|path| is_model_folder(path)).collect();
    let mut has_weights = false;
    for folder in folders {
        let at = |name: &str| siblings.get(join(folder, name).as_str()).copied();
        let names: Vec<&str> =
            siblings.keys().map(|path| split(path)).filter(|(of, _)| *of == folder).map(|(_, name)| name).collect();
        let has_tokenizer = at("tokenizer.json").is_some();
        let vocabularies: Vec<&str> = VOCABULARIES.iter().copied().filter(|name| at(name).is_some()).collect();
        if !has_tokenizer && !vocabularies.is_empty() {
            selection.warnings.push(format!(
                "there is no {}, which Pictor needs to read texts; {} cannot stand for it: save the tokenizer as a fast one",
                join(folder, "tokenizer.json"),
                vocabularies.join(", ")
            ));
        }
        for name in &names {
            let is_vocabulary = !has_tokenizer && vocabularies.contains(name);
            let limit = if is_configuration(name) || is_vocabulary { CONFIGURATION_BYTES } else { DOCUMENT_BYTES };
            let is_document = folder.is_empty() && is_document(name);
            let sibling = at(name).filter(|_| limit == CONFIGURATION_BYTES || is_document);
            let Some(sibling) = sibling else { continue };
            match sibling.size {
                Some(size) if size > limit && is_document => {}
                Some(size) if size > limit => {
                    return Err(hostile(&sibling.rfilename, &format!("has {size} bytes, more than {limit}")));
                }
                _ => selection.add(sibling)?,
            }
        }
        let weights = WEIGHTS.iter().find_map(|name| at(name));
        if let Some(weights) = weights {
            has_weights = true;
            selection.add(weights)?;
            if weights.rfilename.ends_with(".index.json") {
                selection.indices.push(weights.rfilename.clone());
            }
        } else if !folder.is_empty() && names.iter().any(|name| has_ending(name, WEIGHT_ENDINGS)) {
            // One module of a pipeline: without it the others are of no use.
            return Err(without_safetensors(folder, &names));
        }
    }
    if has_weights {
        return Ok(selection);
    }
    Err(without_safetensors("the repository", &siblings.keys().copied().collect::<Vec<_>>()))
}

impl Selection {
    fn add(&mut self, sibling: &Sibling) -> Result<()> {
        let file = remote_file(sibling)?;
        self.files.insert(file.path.clone(), file);
        Ok(())
    }

    /// Adds the files that an index of weights names; each must be in the listing, beside the index.
    ///
    /// # Errors
    /// `FailedPrecondition` if the index is damaged or names something else.
    pub(crate) fn add_shards(&mut self, index: &str, bytes: &[u8], listing: &[Sibling]) -> Result<()> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let parsed: Index = serde_json::from_slice(bytes)
            .map_err(|error| hostile(index, &format!("is no index of weights: {error}")))?;
        let shards: BTreeSet<&String> = parsed.weight_map.values().collect();
        if shards.is_empty() {
            return Err(hostile(index, "names no weights"));
        }
        for shard in shards {
            if !is_plain(shard) || !shard.ends_with(".safetensors") {
                return Err(hostile(index, &format!("names {shard:?}; expected safetensors files beside it")));
            }
            let path = join(split(index).0, shard);
            let sibling = listing.iter().find(|sibling| sibling.rfilename == path);
            self.add(sibling.ok_or_else(|| hostile(index, &format!("names {shard:?}, which is not there")))?)?;
        }
        Ok(())
    }
}

/// Checks size and hash of a file that is needed.
fn remote_file(sibling: &Sibling) -> Result<RemoteFile> {
    let path = sibling.rfilename.clone();
    let found = match (&sibling.lfs, sibling.size, &sibling.blob_id) {
        (Some(large), _, _) if is_hex(&large.sha256, 64) => {
            Some((large.size, ContentHash::Sha256(large.sha256.clone())))
        }
        (None, Some(size), Some(blob)) if is_hex(blob, 40) => Some((size, ContentHash::GitBlob(blob.clone()))),
        _ => None,
    };
    match found {
        Some((size, hash)) => Ok(RemoteFile { path, size, hash }),
        None => Err(hostile(&path, "has no size and hash, so nobody could tell whether it arrived whole")),
    }
}

/// Refuses what could lead out of a folder, wherever it is used.
fn check_name(path: &str) -> Result<()> {
    let is_safe = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
    if path.split('/').all(is_safe) && !path.contains(|c: char| c == '\\' || c == ':' || c.is_control()) {
        return Ok(());
    }
    Err(hostile(path, "is no file of a repository"))
}

/// The model's own folder, a module of sentence-transformers (`1_Pooling`), or a tower.
fn is_model_folder(folder: &str) -> bool {
    let is_module = |part: &str| {
        let number = part.split('_').next().unwrap_or_default();
        !number.is_empty() && number.len() < part.len() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    folder.is_empty()
        || folder.split('/').count() < DEPTH
            && folder.split('/').all(|part| is_plain(part) && (is_module(part) || TOWERS.contains(&part)))
}

fn is_configuration(name: &str) -> bool {
    // Older sentence encoders name the file after their network: sentence_roberta_config.json.
    CONFIGURATION.contains(&name) || is_plain(name) && name.starts_with("sentence_") && name.ends_with("_config.json")
}

fn is_document(name: &str) -> bool {
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    let is_licence = ["LICENSE", "LICENCE"].iter().any(|word| stem.starts_with(word));
    is_plain(name) && (is_licence && matches!(ending, "" | "txt" | "md") || name == "README.md")
}

fn has_ending(name: &str, endings: &[&str]) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| endings.contains(&ending))
}

/// Folder and file.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn hostile(path: &str, what: &str) -> Error {
    Error::FailedPrecondition { reason: "HUB_NOT_UNDERSTOOD", message: format!("the hub's file {path:?} {what}") }
}

fn without_safetensors(place: &str, names: &[&str]) -> Error {
    let mut found: Vec<&str> = names.iter().copied().filter(|name| has_ending(name, WEIGHT_ENDINGS)).collect();
    let more = found.len().saturating_sub(10);
    found.truncate(10);
    let found = if found.is_empty() { "no weights at all".to_owned() } else { format!("{found:?}") };
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Error::Unsupported(format!("{place} without one of {} (it has {found}{more})", WEIGHTS.join(", ")))
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
