//! Reading the files of published data sets.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Annotations of the largest data sets have some 10 MiB.
const FILE_BYTES: u64 = 512 << 20;

/// Reads a text file of bounded size.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let wrong = |error: &dyn std::fmt::Display| Error::invalid(path.display().to_string(), error.to_string());
    let bytes = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
    if bytes > FILE_BYTES {
        return Err(wrong(&format!("the file has {bytes} bytes, at most {FILE_BYTES} are read")));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(&error))
}

/// Reads a JSON file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|error| Error::invalid(path.display().to_string(), error.to_string()))
}
