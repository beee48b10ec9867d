//! How a broken model is reported.

use std::path::Path;

use tch::TchError;

use crate::Error;

/// A model folder that can never load as it is; `path` is the file at fault.
pub(crate) fn invalid_model(path: &Path, message: impl std::fmt::Display) -> Error {
    Error::FailedPrecondition { reason: "MODEL_INVALID", message: format!("{}: {message}", path.display()) }
}

/// A file of a model that cannot be read.
pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => invalid_model(path, "the file is missing"),
        _ => invalid_model(path, error),
    }
}

/// A file of a model that cannot be written.
pub(crate) fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    let message = format!("{}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::StorageFull(message),
        _ => Error::Storage(message),
    }
}

/// Reads one of a model's JSON files.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> crate::Result<T> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    serde_json::from_slice(&bytes).map_err(|error| invalid_model(path, format!("not the expected JSON: {error}")))
}

/// Reads one of a model's JSON files if it is there.
pub(crate) fn read_json_if_present<T: serde::de::DeserializeOwned>(path: &Path) -> crate::Result<Option<T>> {
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}

/// libtorch refused an operation.
pub(crate) fn torch_failed(error: &TchError) -> Error {
    // The C++ stack trace that follows the first line helps nobody.
    let message = error.to_string();
    Error::Internal(format!("libtorch: {}", message.lines().next().unwrap_or_default()))
}
