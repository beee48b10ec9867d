//! A trained model as a revision in the models folder, in the layout and under the names that it started with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use tch::{Device, Kind, Tensor};

use super::checkpoint::failed;
use super::progress::to_json;
use crate::image::ImageRule;
use crate::model::card::{self, Agreement, Card};
use crate::model::combiner::{self, CombinerConfig};
use crate::model::draft::Draft;
use crate::model::{Description, ModelFolder, NamedTensors, files, weights};
use crate::{Error, Result};

/// What becomes of a trained model.
pub struct NewRevision<'a> {
    pub models_dir: &'a Path,
    pub name: &'a str,
    /// The folder that the run started from.
    pub start: &'a ModelFolder,
    pub tensors: &'a NamedTensors,
    /// `f32`, `f16` or `bf16`; without it each tensor keeps the kind that it was read in, new ones are float32.
    pub save: Option<&'a str>,
    /// The space that the model was taught, if it is not its own.
    pub space: Option<String>,
    /// How near it comes to that space's model.
    pub agreement: Option<Agreement>,
    /// For the card.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// Writes the revision: under a temporary name, synced, renamed. The revision's name comes from the fingerprint, so the same
/// result is the same revision. `current` is set if the model had none.
///
/// # Errors
/// `Storage`, `StorageFull`; `FailedPrecondition` if what was written does not read as a model.
pub fn write(new: &NewRevision<'_>) -> Result<ModelFolder> {
    let draft = Draft::create(new.models_dir)?;
    fill(new, draft.path())?;
    let description = Description::read(&draft.folder(new.name), ImageRule::Pictor)?;
    let card = Card {
        fingerprint: Some(description.fingerprint.clone()),
        space: new.space.clone(),
        agreement: new.agreement.clone(),
        files: draft.hashes()?,
        rest: new.facts.clone(),
    };
    draft.publish(new.name, &description.fingerprint, &card)
}

/// What becomes of a trained Combiner.
pub struct NewCombiner<'a> {
    pub models_dir: &'a Path,
    pub name: &'a str,
    pub config: &'a CombinerConfig,
    /// By the names of CLIP4Cir's checkpoints.
    pub tensors: BTreeMap<String, Tensor>,
    /// `f32`, `f16` or `bf16`; float32 without it.
    pub save: Option<&'a str>,
    /// For the card.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// Writes a Combiner's revision as [`write`] does an encoder's.
///
/// # Errors
/// `Storage`, `StorageFull`; `FailedPrecondition` if what was written does not read as a Combiner.
pub fn write_combiner(new: NewCombiner<'_>) -> Result<ModelFolder> {
    let draft = Draft::create(new.models_dir)?;
    write_weights(draft.path(), new.tensors, new.save)?;
    let path = draft.path().join(combiner::CONFIG);
    let json = serde_json::to_string_pretty(new.config).map_err(|error| Error::Internal(error.to_string()))?;
    fs::write(&path, json + "\n").map_err(|error| failed(&path, &error))?;
    combiner::check(draft.path())?;
    let fingerprint = combiner::fingerprint(draft.path())?;
    let files = draft.hashes()?;
    let card = Card { fingerprint: Some(fingerprint.clone()), files, rest: new.facts, ..Card::default() };
    draft.publish(new.name, &fingerprint, &card)
}

fn fill(new: &NewRevision<'_>, folder: &Path) -> Result<()> {
    for path in files::list(&new.start.path)?.into_keys().filter(|path| path != card::FILE) {
        let target = folder.join(&path);
        let parent = target.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
        fs::copy(new.start.path.join(&path), &target).map_err(|error| failed(&target, &error))?;
    }
    for (place, source) in &new.tensors.folders {
        let inside = source.strip_prefix(&new.start.path).map_err(|_| {
            Error::Internal(format!("{} lies outside of {}", source.display(), new.start.path.display()))
        })?;
        let named = |(name, tensor): (&String, &Tensor)| {
            Some((name.strip_prefix(place.as_str())?.to_owned(), tensor.shallow_clone()))
        };
        let tensors = new.tensors.parameters.iter().chain(&new.tensors.buffers).filter_map(named).collect();
        write_weights(&folder.join(inside), tensors, new.save)?;
    }
    Ok(())
}

/// Puts tensors in the place of those of the same name in a folder's weights; a folder without weights gets one file.
fn write_weights(folder: &Path, mut tensors: BTreeMap<String, Tensor>, save: Option<&str>) -> Result<()> {
    let kind = match save {
        None => None,
        Some("f32") => Some(Kind::Float),
        Some("f16") => Some(Kind::Half),
        Some("bf16") => Some(Kind::BFloat16),
        Some(other) => {
            let message = format!("expected f32, f16 or bf16, found {other:?}");
            return Err(Error::invalid("recipe.model.save", message));
        }
    };
    let paths = weights::files_if_any(folder)?;
    if paths.is_empty() {
        let blobs: BTreeMap<String, Blob> = tensors
            .into_iter()
            .map(|(name, tensor)| Ok((name, Blob::of(&tensor, kind.unwrap_or(Kind::Float))?)))
            .collect::<Result<_>>()?;
        return write_file(&folder.join("model.safetensors"), &blobs);
    }
    for path in paths {
        let bytes = fs::read(&path).map_err(|error| failed(&path, &error))?;
        let stored = SafeTensors::deserialize(&bytes)
            .map_err(|error| Error::Corruption(format!("{}: {error}", path.display())))?;
        let mut blobs = BTreeMap::new();
        for (name, view) in stored.tensors() {
            let blob = match tensors.remove(&name) {
                Some(tensor) => Blob::of(&tensor, kind.unwrap_or(kind_of(view.dtype())))?,
                None => Blob { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() },
            };
            blobs.insert(name, blob);
        }
        write_file(&path, &blobs)?;
    }
    match tensors.keys().next() {
        None => Ok(()),
        Some(name) => Err(Error::Internal(format!("{}: no file has the tensor {name:?}", folder.display()))),
    }
}

fn kind_of(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F64 => Kind::Double,
        _ => Kind::Float,
    }
}

/// A tensor's bytes.
struct Blob {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Blob {
    fn of(tensor: &Tensor, kind: Kind) -> Result<Self> {
        let dtype = match kind {
            Kind::Half => Dtype::F16,
            Kind::BFloat16 => Dtype::BF16,
            Kind::Double => Dtype::F64,
            _ => Dtype::F32,
        };
        let shape = tensor.size().iter().map(|&size| size as usize).collect();
        let tensor = tensor.detach().to_device(Device::Cpu).to_kind(kind).contiguous();
        let mut bytes = vec![0; tensor.numel() * dtype.bitsize() / 8];
        tensor
            .f_copy_data_u8(&mut bytes, tensor.numel())
            .map_err(|error| Error::Internal(format!("a tensor cannot be read: {error}")))?;
        Ok(Self { dtype, shape, bytes })
    }
}

fn write_file(path: &Path, blobs: &BTreeMap<String, Blob>) -> Result<()> {
    let mut views = Vec::with_capacity(blobs.len());
    for (name, Blob { dtype, shape, bytes }) in blobs {
        let view = TensorView::new(*dtype, shape.clone(), bytes)
            .map_err(|error| Error::Internal(format!("{name}: {error}")))?;
        views.push((name, view));
    }
    // transformers refuses files that do not say whose tensors they are.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    serialize_to_file(views, Some(metadata), path)
        .map_err(|error| Error::Storage(format!("{}: {error}", path.display())))
}

/// What a card says of a run's recipe and corpus.
#[must_use]
pub fn facts(trained: &impl serde::Serialize) -> BTreeMap<String, serde_json::Value> {
    let json = serde_json::from_str(&to_json(trained)).unwrap_or_default();
    [("trained".to_owned(), json)].into()
}
