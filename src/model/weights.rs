//! Reads tensors from a safetensors file by name, checking shape, kind and numbers.

use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata};
use tch::{Device, Kind, Tensor};

use super::fault::{invalid_model, torch_failed, unreadable};
use crate::Result;

/// The length of the safetensors header's own length field, in bytes.
const HEADER_LENGTH_BYTES: usize = 8;

/// An open weights file and where its tensors go.
pub struct Weights {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors' bytes begin in the file.
    data_start: usize,
    metadata: Metadata,
    kind: Kind,
    device: Device,
}

impl Weights {
    /// Maps a file and reads its header; tensors will be of `kind` on `device`.
    ///
    /// # Errors
    /// `FailedPrecondition` if the file is missing, truncated or no safetensors file.
    pub fn open(path: &Path, kind: Kind, device: Device) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
        // SAFETY: published model files are written under another name, renamed and never edited (design §2), so the
        // mapped bytes do not change while the map lives. The map is dropped when loading ends.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| unreadable(path, &error))?;
        let (header_bytes, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|error| invalid_model(path, format!("not a complete safetensors file: {error}")))?;
        let data_start = header_bytes + HEADER_LENGTH_BYTES;
        Ok(Self { path: path.to_owned(), map, data_start, metadata, kind, device })
    }

    /// True if the file has a tensor of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// The kind that tensors are loaded as.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The names and shapes in the file, sorted by name.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes: Vec<_> =
            self.metadata.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect();
        shapes.sort();
        shapes
    }

    /// Loads one tensor.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the tensor if it is missing, has another shape, a kind that is not a float, or
    /// numbers that are not finite.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let info =
            self.metadata.info(name).ok_or_else(|| invalid_model(&self.path, format!("tensor {name:?} is missing")))?;
        if !info.shape.iter().map(|&size| size as i64).eq(shape.iter().copied()) {
            let message = format!("tensor {name:?}: expected shape {shape:?}, found {:?}", info.shape);
            return Err(invalid_model(&self.path, message));
        }
        let kind = match info.dtype {
            Dtype::F64 => Kind::Double,
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => {
                let message = format!("tensor {name:?}: expected F32, F16, BF16 or F64, found {other:?}");
                return Err(invalid_model(&self.path, message));
            }
        };
        let (start, end) = info.data_offsets;
        let bytes = &self.map[self.data_start + start..self.data_start + end];
        let tensor = Tensor::f_from_data_size(bytes, shape, kind).map_err(|error| torch_failed(&error))?;
        let is_finite = tensor.isfinite().all();
        if bool::try_from(&is_finite).map_err(|error| torch_failed(&error))? {
            return Ok(tensor.to_device(self.device).to_kind(self.kind));
        }
        Err(invalid_model(&self.path, format!("tensor {name:?} holds numbers that are not finite")))
    }
}
