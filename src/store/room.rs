//! Keeps writers from filling the disk: RocksDB needs room to put its tables in order and to close.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{Error, Result};

/// The room that is kept free, on a disk where this is not more than a twentieth of all.
const RESERVE: u64 = 256 << 20;
const SHARE: u64 = 20;
/// How long an answer of the system holds.
const PERIOD: Duration = Duration::from_millis(250);

/// The room on the disk of a folder.
pub(super) struct Room {
    folder: PathBuf,
    reserve: Option<u64>,
    looked: Mutex<Option<(Instant, Space)>>,
}

#[derive(Clone, Copy)]
struct Space {
    free: u64,
    all: u64,
}

impl Room {
    /// `reserve` in bytes stands in for the default.
    pub(super) fn new(folder: &Path, reserve: Option<u64>) -> Self {
        Self { folder: folder.to_owned(), reserve, looked: Mutex::new(None) }
    }

    /// Bytes that are left, and of those the ones that writers leave free; `None` if the system does not tell.
    pub(super) fn left(&self) -> Option<(u64, u64)> {
        let Space { free, all } = self.space()?;
        Some((free, self.reserve.unwrap_or_else(|| RESERVE.min(all / SHARE))))
    }

    /// Refuses what would take `bytes` more if less than the reserve would be left; a system that does not tell refuses nothing.
    ///
    /// # Errors
    /// [`Error::StorageFull`].
    pub(super) fn check(&self, bytes: u64) -> Result<()> {
        let Some((free, reserve)) = self.left() else { return Ok(()) };
        if free >= reserve.saturating_add(bytes) {
            return Ok(());
        }
        Err(Error::StorageFull(format!(
            "the disk of {} has {free} bytes left and {bytes} more are wanted, beside {reserve} that stay free; delete items or snapshots, or \
             make room",
            self.folder.display()
        )))
    }

    fn space(&self) -> Option<Space> {
        let mut looked = self.looked.lock();
        if let Some((at, space)) = *looked
            && at.elapsed() < PERIOD
        {
            return Some(space);
        }
        let found = rustix::fs::statvfs(&self.folder).ok()?;
        let space = Space { free: found.f_bavail * found.f_frsize, all: found.f_blocks * found.f_frsize };
        *looked = Some((Instant::now(), space));
        Some(space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_leave_too_little_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let check = |reserve: Option<u64>, bytes: u64, expected: &str| {
            let found = Room::new(folder.path(), reserve).check(bytes).map_or_else(|error| error.reason(), |()| "fine");
            assert_eq!(found, expected, "{reserve:?} {bytes}");
        };
        check(Some(0), 0, "fine");
        check(Some(1 << 60), 0, "STORAGE_FULL");
        check(Some(0), 1 << 60, "STORAGE_FULL");
        check(Some(1), u64::MAX, "STORAGE_FULL");
        assert_eq!(Room::new(Path::new("/nowhere/at/all"), Some(1 << 60)).check(0), Ok(()));
    }
}
