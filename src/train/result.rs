//! A trained model as a revision in the models folder, in the layout and under the names that it started with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use tch::{Device, Kind, Tensor};

use super::checkpoint::{failed, sync};
use super::progress::{replace, to_json};
use crate::image::ImageRule;
use crate::model::card::{self, Agreement, Card};
use crate::model::combiner::{self, CombinerConfig};
use crate::model::folder::CURRENT;
use crate::model::{Description, ModelFolder, NamedTensors, files, weights};
use crate::store::unique_id;
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
    let temporary = new.models_dir.join(format!(".new-{}", unique_id()));
    let written =
        fill(new, &temporary).and_then(|fingerprint| publish(new.models_dir, new.name, &temporary, &fingerprint));
    if written.is_err() {
        // What is left would be found by nobody.
        let _ = fs::remove_dir_all(&temporary);
    }
    written
}

/// Gives the fingerprint.
fn fill(new: &NewRevision<'_>, folder: &Path) -> Result<String> {
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
    let written = ModelFolder { name: new.name.to_owned(), revision: "new".to_owned(), path: folder.to_owned() };
    let description = Description::read(&written, ImageRule::Pictor)?;
    let card = Card {
        fingerprint: Some(description.fingerprint.clone()),
        space: new.space.clone(),
        agreement: new.agreement.clone(),
        rest: new.facts.clone(),
        ..Card::default()
    };
    finish(folder, card)?;
    Ok(description.fingerprint)
}

/// Moves a complete folder to where models are found, as NAME@tFINGERPRINT, and makes it current if the name is new.
fn publish(models_dir: &Path, name: &str, temporary: &Path, fingerprint: &str) -> Result<ModelFolder> {
    let revision = format!("t{}", &fingerprint[..12]);
    let model = models_dir.join(name);
    let path = model.join(&revision);
    fs::create_dir_all(&model).map_err(|error| failed(&model, &error))?;
    if path.exists() {
        if Card::read(&path)?.fingerprint.as_deref() != Some(fingerprint) {
            return Err(Error::AlreadyExists { kind: "model revision", name: format!("{name}@{revision}") });
        }
        fs::remove_dir_all(temporary).map_err(|error| failed(temporary, &error))?;
    } else {
        fs::rename(temporary, &path).map_err(|error| failed(&path, &error))?;
    }
    if !model.join(CURRENT).exists() {
        replace(&model.join(CURRENT), format!("{revision}\n").as_bytes())?;
    }
    sync(&model)?;
    Ok(ModelFolder { name: name.to_owned(), revision, path })
}

/// Writes a folder's card with the hashes of its files, and everything of the folder to the disk.
fn finish(folder: &Path, card: Card) -> Result<()> {
    let mut hashes = BTreeMap::new();
    for path in files::list(folder)?.into_keys() {
        let bytes = fs::read(folder.join(&path)).map_err(|error| failed(&folder.join(&path), &error))?;
        hashes.insert(path, blake3::hash(&bytes).to_hex().to_string());
    }
    let json = serde_json::to_string_pretty(&Card { files: hashes, ..card });
    let path = folder.join(card::FILE);
    let json = json.map_err(|error| Error::Internal(error.to_string()))? + "\n";
    fs::write(&path, json).map_err(|error| failed(&path, &error))?;
    files::list(folder)?.into_keys().try_for_each(|path| sync(&folder.join(path)))
}

/// What becomes of a trained Combiner.
pub struct NewCombiner<'a> {
    pub models_dir: &'a Path,
    pub name: &'a str,
    pub config: &'a CombinerConfig,
    /// By the names of CLIP4Cir's checkpoints.
    pub tensors: &'a BTreeMap<String, Tensor>,
    /// `f32`, `f16` or `bf16`; float32 without it.
    pub save: Option<&'a str>,
    /// For the card.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// Writes a Combiner's revision as [`write`] does an encoder's.
///
/// # Errors
/// `Storage`, `StorageFull`.
pub fn write_combiner(new: NewCombiner<'_>) -> Result<ModelFolder> {
    let temporary = new.models_dir.join(format!(".new-{}", unique_id()));
    let fill = || {
        fs::create_dir_all(&temporary).map_err(|error| failed(&temporary, &error))?;
        let tensors = new.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        write_weights(&temporary, tensors, new.save)?;
        let json = serde_json::to_string_pretty(new.config).map_err(|error| Error::Internal(error.to_string()))?;
        let path = temporary.join("config.json");
        fs::write(&path, json + "\n").map_err(|error| failed(&path, &error))?;
        let fingerprint = combiner::fingerprint(&temporary)?;
        finish(
            &temporary,
            Card { fingerprint: Some(fingerprint.clone()), rest: new.facts.clone(), ..Card::default() },
        )?;
        publish(new.models_dir, new.name, &temporary, &fingerprint)
    };
    fill().inspect_err(|_| {
        // What is left would be found by nobody.
        let _ = fs::remove_dir_all(&temporary);
    })
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
