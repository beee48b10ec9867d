//! Remembers how far the log was once durable, so that a log which has lost writes since is noticed at the next opening.
//!
//! RocksDB takes the log up to the first record that cannot be read, since after a power cut that is where the unfinished write stands. A
//! damaged or shortened log looks the same. The mark lies beside it and is never ahead of the disk: it is written after a flush, at most once a
//! second and at the end, without a flush of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{Error, Result};

const FILE: &str = "DURABLE";
const PERIOD: Duration = Duration::from_secs(1);

pub(super) struct Watermark {
    path: PathBuf,
    written: Mutex<Option<Instant>>,
}

impl Watermark {
    pub(super) fn new(database_folder: &Path) -> Self {
        Self { path: database_folder.join(FILE), written: Mutex::new(None) }
    }

    /// Compares the newest write that was recovered with the mark; a mark that cannot be read says nothing.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `WRITES_LOST`.
    pub(super) fn check(&self, recovered: u64) -> Result<()> {
        let marked = std::fs::read(&self.path).ok().and_then(|bytes| decode(&bytes));
        match marked.filter(|&marked| marked > recovered) {
            None => Ok(()),
            Some(marked) => Err(Error::FailedPrecondition {
                reason: "WRITES_LOST",
                message: format!(
                    "the log beside {} was durable up to write {marked} and can be read up to {recovered} only: it was damaged or \
                     shortened; restore a snapshot, or accept the loss with `pictor-server data accept-loss`",
                    self.path.display()
                ),
            }),
        }
    }

    /// Says that writes up to this one are durable. Failing to remember it costs nothing but the notice.
    pub(super) fn note(&self, durable: u64, is_last: bool) {
        let mut written = self.written.lock();
        if !is_last && written.is_some_and(|at| at.elapsed() < PERIOD) {
            return;
        }
        let writing = self.path.with_extension("writing");
        let outcome = std::fs::write(&writing, encode(durable)).and_then(|()| std::fs::rename(&writing, &self.path));
        match outcome {
            Ok(()) => *written = Some(Instant::now()),
            Err(error) => tracing::warn!(%error, "cannot remember how far the log is durable"),
        }
    }

    /// Forgets the mark.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub(super) fn forget(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::of_file("remove", &self.path, &error))
            }
            _ => Ok(()),
        }
    }
}

/// The number and the first eight bytes of its BLAKE3.
fn encode(sequence: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    let sum = blake3::hash(&bytes[..8]);
    bytes[8..].copy_from_slice(&sum.as_bytes()[..8]);
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let sequence = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    (bytes == encode(sequence)).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_got_shorter_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = Watermark::new(folder.path());
        assert_eq!(mark.check(0), Ok(()), "no mark says nothing");
        mark.note(10, false);
        mark.note(20, false);
        assert_eq!(mark.check(10), Ok(()), "not more than once a second");
        mark.note(20, true);
        assert_eq!(mark.check(20), Ok(()));
        assert_eq!(mark.check(19).expect_err("a loss").reason(), "WRITES_LOST");
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).expect("a mark");
        for damaged in [vec![], whole[..15].to_vec(), [&[1], &whole[1..]].concat()] {
            std::fs::write(&path, damaged).expect("a mark");
            assert_eq!(mark.check(0), Ok(()), "a damaged mark says nothing");
        }
        mark.forget().expect("a file");
        mark.forget().expect("no file");
    }
}
