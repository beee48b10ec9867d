//! Snapshots of a data folder: taken beside writers, listed, checked, restored.
//!
//! A snapshot is the folder `snapshots/NAME` with `snapshot.json`, which names every other file with its length and BLAKE3, and the folders
//! of [`PARTS`]. Files that never change are hard links to those in use, so a snapshot costs no room until these are replaced. A folder that
//! was copied to another server's `snapshots` is restored there like its own.

mod create;
mod folder;
mod manifest;
mod restore;

pub use manifest::SnapshotInfo;

use std::path::{Path, PathBuf};

use super::Store;
use crate::types::names::check_name;
use crate::{Error, Result};

/// The folders of a data folder that a snapshot holds: RocksDB's, and the segments, which are only a cache.
const PARTS: [&str; 2] = ["store", "segments"];
/// A snapshot that is waiting to take the data's place.
const STAGED: &str = "restoring";
/// Data that a snapshot took the place of, on its way out.
const REPLACED: &str = "replaced";
/// What follows a folder's name while it is written.
const WRITING: &str = ".writing";

impl Store {
    /// Takes a snapshot of everything committed before the call, durable on return. Writers go on. Blocks.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`]; nothing is left behind then.
    pub fn create_snapshot(&self) -> Result<SnapshotInfo> {
        let _one_at_a_time = self.backup_lock();
        self.check_room(0)?;
        create::create(self, &snapshots(self.folder()))
    }

    /// Every snapshot, the oldest first; a folder without a readable description is passed over and logged. Blocks.
    ///
    /// # Errors
    /// [`Error::Storage`] if the folder of snapshots cannot be read.
    pub fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        manifest::list(&snapshots(self.folder()))
    }

    /// Removes a snapshot. Blocks.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidArgument`] for what is no name, [`Error::Storage`].
    pub fn delete_snapshot(&self, name: &str) -> Result<()> {
        let _one_at_a_time = self.backup_lock();
        let path = self.find_snapshot(name)?;
        // Renamed first, so that no half of a snapshot is ever listed.
        let going = path.with_file_name(format!("{name}{WRITING}"));
        folder::rename(&path, &going)?;
        folder::remove(&going)
    }

    /// Checks every byte of a snapshot, opens a copy of it, and puts that where the next opening of the data folder puts it in the data's
    /// place: everything that was written since is gone then. Blocks.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Corruption`] if a file is not what was written, [`Error::FailedPrecondition`] with
    /// `DATA_FORMAT_TOO_NEW`; the data stays as it is then.
    pub fn stage_snapshot(&self, name: &str) -> Result<()> {
        let _one_at_a_time = self.backup_lock();
        self.check_room(0)?;
        restore::stage(self.folder(), &self.find_snapshot(name)?)
    }

    fn find_snapshot(&self, name: &str) -> Result<PathBuf> {
        check_name("name", name)?;
        let path = snapshots(self.folder()).join(name);
        match !name.ends_with(WRITING) && path.join(manifest::FILE).is_file() {
            true => Ok(path),
            false => Err(Error::NotFound { kind: "snapshot", name: name.to_owned() }),
        }
    }
}

/// Puts a snapshot in the data's place that was staged, and removes what was being written when a server died. The caller has the folder
/// locked, and RocksDB not open yet.
///
/// # Errors
/// [`Error::Storage`]; another call goes on.
pub(super) fn settle(data_folder: &Path) -> Result<()> {
    restore::finish(data_folder)?;
    folder::remove_half_written(&snapshots(data_folder));
    folder::remove_half_written(data_folder);
    Ok(())
}

fn snapshots(data_folder: &Path) -> PathBuf {
    data_folder.join("snapshots")
}
