//! Reads tensors from safetensors files by name, checking shape, kind and numbers.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata};
use tch::{Device, Kind, Tensor};

use super::fault::{invalid_model, read_json, torch_failed, unreadable};
use super::source::{NamedTensors, Origin, Source, new_tensor};
use crate::Result;

/// The length of the safetensors header's own length field, in bytes.
const HEADER_LENGTH_BYTES: usize = 8;

/// The files with a folder's weights: one file, or the shards that an index names.
///
/// # Errors
/// `FailedPrecondition` if there are none, or the index is damaged or leads out of the folder.
pub fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = files_if_any(folder)?;
    if files.is_empty() {
        let message =
            "the file is missing; weights are read from safetensors only (`models convert` makes them of .pt files)";
        return Err(invalid_model(&folder.join("model.safetensors"), message));
    }
    Ok(files)
}

/// The files with a folder's weights; none in a folder whose network has not been trained yet.
///
/// # Errors
/// `FailedPrecondition` if an index is damaged or leads out of the folder.
pub fn files_if_any(folder: &Path) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let one = folder.join("model.safetensors");
    if one.exists() {
        return Ok(vec![one]);
    }
    let index_path = folder.join("model.safetensors.index.json");
    if index_path.exists() {
        let index: Index = read_json(&index_path)?;
        let mut names: Vec<_> = index.weight_map.into_values().collect();
        names.sort();
        names.dedup();
        if let Some(bad) = names.iter().find(|name| name.contains(['/', '\\']) || name.starts_with('.')) {
            return Err(invalid_model(&index_path, format!("{bad:?} is no file's name")));
        }
        if names.is_empty() {
            return Err(invalid_model(&index_path, "weight_map is empty"));
        }
        return Ok(names.iter().map(|name| folder.join(name)).collect());
    }
    let open_clip = folder.join("open_clip_model.safetensors");
    Ok(if open_clip.exists() { vec![open_clip] } else { Vec::new() })
}

/// A folder's tensors by name, and what they become.
pub struct Weights<'a> {
    origin: Origin<'a>,
    /// Stands before a tensor's name in a training run.
    place: String,
    files: Vec<File>,
    /// The file of each tensor.
    places: HashMap<String, usize>,
    kind: Kind,
    device: Device,
}

struct File {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors' bytes begin.
    data_start: usize,
    metadata: Metadata,
}

impl File {
    fn open(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
        // SAFETY: published model files are written under another name, renamed and never edited (design §2), so the
        // mapped bytes do not change while the map lives. The map is dropped when loading ends.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| unreadable(path, &error))?;
        let (header_bytes, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|error| invalid_model(path, format!("not a complete safetensors file: {error}")))?;
        Ok(Self { path: path.to_owned(), map, data_start: header_bytes + HEADER_LENGTH_BYTES, metadata })
    }
}

impl Weights<'static> {
    /// Maps files and reads their headers; tensors will be of `kind` on `device`.
    ///
    /// # Errors
    /// `FailedPrecondition` if a file is missing, truncated or no safetensors file, or two have a tensor of one name.
    pub fn open(paths: &[PathBuf], kind: Kind, device: Device) -> Result<Self> {
        let files: Vec<File> = paths.iter().map(|path| File::open(path)).collect::<Result<_>>()?;
        let mut places = HashMap::new();
        for (number, file) in files.iter().enumerate() {
            for name in file.metadata.tensors().into_keys() {
                if places.insert(name.clone(), number).is_some() {
                    return Err(invalid_model(&file.path, format!("tensor {name:?} is also in another file")));
                }
            }
        }
        Ok(Self { origin: Origin::Files, place: String::new(), files, places, kind, device })
    }
}

impl<'a> Weights<'a> {
    /// The tensors of a folder, from where the source has them.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn of(folder: &Path, source: &Source<'a>) -> Result<Self> {
        let (origin, place) = (source.origin(), source.place().to_owned());
        let paths = match origin {
            Origin::Files => files_in(folder)?,
            // A folder without weights is one whose network begins with this run.
            Origin::Start { into, .. } => {
                into.borrow_mut().folders.insert(place.clone(), folder.to_owned());
                files_if_any(folder)?
            }
            Origin::Live { .. } => Vec::new(),
        };
        Ok(Self { origin, place, ..Weights::open(&paths, source.kind, source.device)? })
    }

    /// True if there is a tensor of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self.origin {
            Origin::Live { tensors, .. } => tensors.parameters.contains_key(&self.full_name(name)),
            Origin::Start { .. } if self.files.is_empty() => true,
            Origin::Files | Origin::Start { .. } => self.places.contains_key(name),
        }
    }

    /// True if a training run computes with these tensors, so that batch norms use the batch's statistics.
    #[must_use]
    pub fn is_training(&self) -> bool {
        matches!(self.origin, Origin::Live { is_training: true, .. })
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    /// The first of `candidates` that, put before `anchor`, names a tensor: checkpoints of one architecture differ in what
    /// they were wrapped in when they were saved.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the tensor that is missing.
    pub fn prefix_of(&self, anchor: &str, candidates: &[&'static str]) -> Result<&'static str> {
        let is_there = |prefix: &&&'static str| self.has(&format!("{prefix}{anchor}"));
        candidates.iter().find(is_there).copied().ok_or_else(|| {
            let message = format!("tensor {anchor:?} is missing, also behind the prefixes {candidates:?}");
            invalid_model(self.any_path(), message)
        })
    }

    /// The kind that tensors are loaded as.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The names and shapes of all tensors, sorted by name.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let of_file = |file: &File| {
            file.metadata.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect::<Vec<_>>()
        };
        let mut shapes: Vec<_> = self.files.iter().flat_map(of_file).collect();
        shapes.sort();
        shapes
    }

    /// A file to name when a tensor is in none.
    fn any_path(&self) -> &Path {
        self.files.first().map_or(Path::new("model.safetensors"), |file| &file.path)
    }

    /// Gives one tensor, in the kind that the network computes in.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the tensor if it is missing, has another shape, a kind that is not a float, or
    /// numbers that are not finite.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.parameter(name, shape).map(|tensor| tensor.to_kind(self.kind))
    }

    /// Gives one tensor in float32, for what is computed of it before it is rounded.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn exact(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.parameter(name, shape).map(|tensor| tensor.to_kind(Kind::Float))
    }

    fn parameter(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.give(name, shape, |tensors| &tensors.parameters, |tensors| &mut tensors.parameters)
    }

    /// Gives one tensor that the network counts by itself, float32; in a training run the very tensor that is kept.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn buffer(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.give(name, shape, |tensors| &tensors.buffers, |tensors| &mut tensors.buffers)
            .map(|tensor| tensor.to_kind(Kind::Float))
    }

    fn give(
        &self,
        name: &str,
        shape: &[i64],
        kept: fn(&NamedTensors) -> &BTreeMap<String, Tensor>,
        keep: fn(&mut NamedTensors) -> &mut BTreeMap<String, Tensor>,
    ) -> Result<Tensor> {
        match self.origin {
            Origin::Files => self.read(name, shape),
            Origin::Start { seed, into } => {
                let tensor = if self.files.is_empty() {
                    new_tensor(seed, &self.full_name(name), shape).to_device(self.device)
                } else {
                    self.read(name, shape)?.to_kind(Kind::Float)
                };
                keep(&mut into.borrow_mut()).insert(self.full_name(name), tensor.shallow_clone());
                Ok(tensor)
            }
            Origin::Live { tensors, .. } => match kept(tensors).get(&self.full_name(name)) {
                Some(tensor) if tensor.size() == shape => Ok(tensor.shallow_clone()),
                found => {
                    let found = found.map(Tensor::size);
                    let message = format!("the run's tensor {name:?}: expected shape {shape:?}, found {found:?}");
                    Err(crate::Error::Internal(message))
                }
            },
        }
    }

    /// Reads one tensor from its file, in the file's kind.
    fn read(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let missing = || invalid_model(self.any_path(), format!("tensor {name:?} is missing"));
        let file = self.places.get(name).map(|&number| &self.files[number]).ok_or_else(missing)?;
        let info = file.metadata.info(name).ok_or_else(missing)?;
        if !info.shape.iter().map(|&size| size as i64).eq(shape.iter().copied()) {
            let message = format!("tensor {name:?}: expected shape {shape:?}, found {:?}", info.shape);
            return Err(invalid_model(&file.path, message));
        }
        let kind = match info.dtype {
            Dtype::F64 => Kind::Double,
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => {
                let message = format!("tensor {name:?}: expected F32, F16, BF16 or F64, found {other:?}");
                return Err(invalid_model(&file.path, message));
            }
        };
        let (start, end) = info.data_offsets;
        let bytes = &file.map[file.data_start + start..file.data_start + end];
        let tensor = Tensor::f_from_data_size(bytes, shape, kind).map_err(|error| torch_failed(&error))?;
        let is_finite = tensor.isfinite().all();
        if bool::try_from(&is_finite).map_err(|error| torch_failed(&error))? {
            return Ok(tensor.to_device(self.device));
        }
        Err(invalid_model(&file.path, format!("tensor {name:?} holds numbers that are not finite")))
    }
}
