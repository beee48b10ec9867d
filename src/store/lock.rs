//! One process at a time works on a data folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::{Error, Result};

/// Holds the folder until dropped; the operating system lets go when the process dies, however it dies.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the folder.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `DATA_DIR_IN_USE` if another process (or this one) has it.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join("pictor.lock");
        let cannot = |error: std::io::Error| Error::Storage(format!("cannot lock {}: {error}", path.display()));
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::FailedPrecondition {
                reason: "DATA_DIR_IN_USE",
                message: format!(
                    "the data folder {} is in use by another Pictor; stop that one or name another folder",
                    folder.display()
                ),
            }),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}
