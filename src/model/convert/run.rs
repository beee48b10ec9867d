//! What to convert, what is found in the file, and what becomes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use safetensors::serialize_to_file;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::{clip, combiner};
use crate::image::PadRule;
use crate::model::card::Card;
use crate::model::draft::Draft;
use crate::model::fingerprint::hash_file;
use crate::model::pickle::{StoredTensor, TorchFile};
use crate::types::names::check_name;
use crate::{Error, Result};

/// Tensors by name.
pub(super) type Tensors = BTreeMap<String, StoredTensor>;

/// What a file becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvertedKind {
    /// An encoder.
    Clip,
    /// A composer.
    Combiner,
}

impl FromStr for ConvertedKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "clip" => Ok(Self::Clip),
            "combiner" => Ok(Self::Combiner),
            _ => Err(Error::invalid("kind", format!("expected clip or combiner, found {text:?}"))),
        }
    }
}

/// What to convert and where to put it.
#[derive(Clone, Debug)]
pub struct ConvertRequest {
    /// A `.pt` or `.pth` file.
    pub from: PathBuf,
    pub models_dir: PathBuf,
    /// The model's name here.
    pub name: String,
    /// What the file must hold; seen by its tensors if absent.
    pub kind: Option<ConvertedKind>,
    /// Of a CLIP: its `tokenizer.json`, which `.pt` files do not hold.
    pub tokenizer: Option<PathBuf>,
    /// Of a CLIP: how pictures are padded before they are resized; by default as CLIP4Cir does if the file is CLIP4Cir's, and
    /// not at all otherwise.
    pub pad: Option<Option<PadRule>>,
    /// Of a CLIP: true if it was trained with GELU, as most of open_clip's were, and not with OpenAI's approximation of it; a
    /// `.pt` file does not say.
    pub has_gelu: bool,
    /// Of a combiner: the encoder, NAME or NAME@REVISION, whose vectors it takes.
    pub combiner_space: Option<String>,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ConvertReport {
    pub name: String,
    pub revision: String,
    pub path: PathBuf,
    pub kind: ConvertedKind,
    pub fingerprint: String,
    pub space: String,
    pub dimension: usize,
    pub tensors: usize,
    /// Names of tensors that say nothing about vectors and were left out.
    pub left_out: Vec<String>,
}

/// A folder's content, ready to be published.
pub(super) struct Converted {
    pub(super) fingerprint: String,
    pub(super) space: String,
    pub(super) dimension: usize,
    pub(super) n_tensors: usize,
    pub(super) left_out: Vec<String>,
}

/// Converts a file; the folder appears whole or not at all, and is read as a model before it does.
///
/// # Errors
/// `FailedPrecondition` with `CHECKPOINT_REFUSED` for a file that is damaged or holds something else; `InvalidArgument` for what
/// is missing or does not fit it; `Storage`, `StorageFull`.
pub fn convert(request: &ConvertRequest) -> Result<ConvertReport> {
    check_name("name", &request.name)?;
    let file = TorchFile::open(&request.from)?;
    let wrapped = ["CLIP", "Combiner", "state_dict"].iter().find_map(|key| Some((*key, file.entry(file.root(), key)?)));
    let (wrapper, place) = wrapped.unwrap_or(("", file.root()));
    let tensors = without_wrapper(file.tensors(place)?);
    let kind = match (tensors.contains_key(clip::ANCHOR), tensors.contains_key(combiner::ANCHOR)) {
        (true, false) => ConvertedKind::Clip,
        (false, true) => ConvertedKind::Combiner,
        _ => {
            let (clip, combiner) = (clip::ANCHOR, combiner::ANCHOR);
            let some: Vec<_> = tensors.keys().take(5).collect();
            let message = format!(
                "expected a CLIP in OpenAI's names, with {clip}, or CLIP4Cir's combiner, with {combiner}; found the tensors {some:?}, …"
            );
            return Err(file.refuse(message));
        }
    };
    if let Some(expected) = request.kind.filter(|expected| *expected != kind) {
        return Err(Error::invalid("kind", format!("expected {expected:?}, but the file holds {kind:?}")));
    }
    let draft = Draft::create(&request.models_dir)?;
    let converted = match kind {
        ConvertedKind::Clip => clip::write(request, &file, tensors, wrapper == "CLIP", &draft)?,
        ConvertedKind::Combiner => combiner::write(request, &file, &tensors, &draft)?,
    };
    let source = json!({
        "from": request.from.file_name().map(|name| name.to_string_lossy()),
        "blake3": blake3::Hash::from(hash_file(&request.from)?).to_hex().to_string(),
    });
    let card = Card {
        fingerprint: Some(converted.fingerprint.clone()),
        files: draft.hashes()?,
        rest: [("converted".to_owned(), source)].into(),
        ..Card::default()
    };
    let folder = draft.publish(&request.name, &converted.fingerprint, &card)?;
    Ok(ConvertReport {
        name: folder.name,
        revision: folder.revision,
        path: folder.path,
        kind,
        fingerprint: converted.fingerprint,
        space: converted.space,
        dimension: converted.dimension,
        tensors: converted.n_tensors,
        left_out: converted.left_out,
    })
}

/// Takes off what all names begin with because of what the network was wrapped in when it was saved.
fn without_wrapper(tensors: Tensors) -> Tensors {
    let wrapper =
        ["module.", "clip.", "model."].into_iter().find(|wrapper| tensors.keys().all(|name| name.starts_with(wrapper)));
    match wrapper {
        Some(wrapper) => tensors.into_iter().map(|(name, tensor)| (name[wrapper.len()..].to_owned(), tensor)).collect(),
        None => tensors,
    }
}

/// Writes tensors as a safetensors file.
pub(super) fn write_tensors(path: &Path, tensors: &Tensors) -> Result<()> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let view = TensorView::new(tensor.kind.dtype(), tensor.shape.clone(), &tensor.bytes)
            .map_err(|error| Error::Internal(format!("{name}: {error}")))?;
        views.push((name, view));
    }
    // transformers refuses files that do not say whose tensors they are.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    serialize_to_file(views, Some(metadata), path)
        .map_err(|error| Error::Storage(format!("{}: {error}", path.display())))
}

/// Writes a JSON file for people, too.
pub(super) fn write_json(path: &Path, content: &Value) -> Result<()> {
    std::fs::write(path, format!("{content:#}\n")).map_err(|error| crate::model::fault::cannot_write(path, &error))
}
