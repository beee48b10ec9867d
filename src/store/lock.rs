//! One process at a time works on a data folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::{Error, Result};

/// Holds the folder until dropped; the operating system lets go when the process dies, however it dies.
#[derive(Debug)]
pub(super) struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Takes the folder.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `DATA_DIR_IN_USE` if another process (or this one) has it.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join("pictor.lock");
        let cannot = |error: std::io::Error| Error::of_file("lock", &path, &error);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
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

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that is just being started holds a copy of it until it runs its own
        // program. If this fails, the lock still goes with the last copy.
        let _ = self.file.unlock();
    }
}
