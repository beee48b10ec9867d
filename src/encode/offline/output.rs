//! The safetensors file with the vectors; it appears whole or not at all.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, View};

use crate::encode::EncoderInfo;
use crate::types::vector::UnitVector;
use crate::{Error, Result};

/// Vectors as the f32 tensor `[n, dimension]`.
struct Matrix<'a> {
    shape: [usize; 2],
    vectors: &'a [UnitVector],
}

impl View for &Matrix<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let numbers = self.vectors.iter().flat_map(|vector| &vector.values);
        Cow::Owned(numbers.flat_map(|number| number.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }
}

/// Writes one tensor for each kind of input.
pub(super) fn write_vectors(out: &Path, info: &EncoderInfo, tensors: &[(&str, &[UnitVector])]) -> Result<()> {
    let metadata =
        [("encoder", info.full_name()), ("fingerprint", info.fingerprint.clone()), ("space", info.space.clone())];
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let matrices: Vec<_> = tensors
        .iter()
        .map(|&(name, vectors)| (name, Matrix { shape: [vectors.len(), info.dimension], vectors }))
        .collect();
    let bytes = safetensors::serialize(matrices.iter().map(|(name, matrix)| (*name, matrix)), Some(metadata))
        .map_err(|error| Error::Internal(format!("vectors cannot be serialized: {error}")))?;
    write_whole(out, &bytes).map_err(|error| Error::StorageFull(format!("{}: {error}", out.display())))
}

/// Writes under a temporary name, syncs, renames.
fn write_whole(out: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = out.file_name().ok_or_else(|| std::io::Error::other("expected the path of a file"))?;
    let temporary = folder.join(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, out)?;
        File::open(folder)?.sync_all()
    };
    write().inspect_err(|_| {
        // The first error is the one worth telling.
        let _ = std::fs::remove_file(&temporary);
    })
}
