//! How a pulled folder becomes a model: alone at work, hidden until it is whole, never half there after a crash.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::model::card::{self, Card};
use crate::model::fault::cannot_write;
use crate::model::folder;
use crate::{Error, Result};

/// Held while one process pulls a model; the operating system lets go when the process dies, however it dies.
pub(crate) struct PullLock(File);

impl PullLock {
    /// Takes a model's folder.
    ///
    /// # Errors
    /// `FailedPrecondition` with `PULL_IN_PROGRESS` if another pull has it.
    pub(crate) fn take(model: &Path) -> Result<Self> {
        std::fs::create_dir_all(model).map_err(|error| cannot_write(model, &error))?;
        let path = model.join(".pull.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| cannot_write(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::FailedPrecondition {
                reason: "PULL_IN_PROGRESS",
                message: format!("another process is pulling into {}; wait until it is done", model.display()),
            }),
            Err(TryLockError::Error(error)) => Err(cannot_write(&path, &error)),
        }
    }
}

impl Drop for PullLock {
    fn drop(&mut self) {
        // If this fails, the lock still goes with the file.
        let _ = self.0.unlock();
    }
}

/// Where a commit is gathered until it is whole; the dot hides it from every list.
pub(crate) fn partial_folder(model: &Path, revision: &str) -> PathBuf {
    model.join(format!(".{revision}.partial"))
}

/// Writes the card, makes all of it last, and gives the folder its name.
///
/// # Errors
/// `StorageFull` or `Storage`.
pub(crate) fn publish(partial: &Path, revision: &Path, card: &Card) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(card).map_err(|error| Error::Internal(error.to_string()))?;
    write_lasting(&partial.join(card::FILE), &bytes)?;
    sync_folders(partial)?;
    std::fs::rename(partial, revision).map_err(|error| cannot_write(revision, &error))?;
    sync_parent(revision)
}

/// Makes `current` name a revision, at once or not at all.
///
/// # Errors
/// `StorageFull` or `Storage`.
pub(crate) fn set_current(model: &Path, revision: &str) -> Result<()> {
    let (new, current) = (model.join(".current.new"), model.join(folder::CURRENT));
    write_lasting(&new, format!("{revision}\n").as_bytes())?;
    std::fs::rename(&new, &current).map_err(|error| cannot_write(&current, &error))?;
    // The model's own folder may be new, too.
    sync_parent(&current)?;
    sync_parent(model)
}

fn write_lasting(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| cannot_write(path, &error))
}

/// Files were synced as they arrived; this does it for the names.
fn sync_folders(folder: &Path) -> Result<()> {
    let failed = |error| cannot_write(folder, &error);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(|error| cannot_write(parent, &error))
}
