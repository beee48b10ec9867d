//! One file: from the byte where it was cut to its end, then checked against what the hub announced.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use http::{Response, StatusCode, header};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use ureq::Body;

use super::hub::{Failure, Hub, text};
use super::progress::Progress;
use super::select::{ContentHash, RemoteFile};
use crate::model::fault::cannot_write;
use crate::{Error, Result};

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

/// A file that is there whole.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Bytes that an earlier run had left.
    pub(crate) resumed: u64,
    /// BLAKE3 in hexadecimal.
    pub(crate) blake3: String,
}

/// A repository at one commit.
pub(crate) struct Source<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) repository: &'a str,
    pub(crate) commit: &'a str,
}

/// Completes the file at `target`, which may hold its beginning, and checks it.
///
/// # Errors
/// `Corruption` with both hashes, the file being deleted; `Unavailable` if the hub keeps failing, the bytes being kept;
/// `FailedPrecondition` if it refuses or sends another size; `StorageFull` or `Storage` if the disk refuses.
pub(crate) fn fetch(source: &Source<'_>, file: &RemoteFile, target: &Path, progress: &mut Progress) -> Result<Fetched> {
    let mut transfer = Transfer::open(source, file, target, progress)?;
    let mut patience = source.hub.patience();
    loop {
        if transfer.present == file.size {
            match transfer.check()? {
                Ok(blake3) => return Ok(Fetched { resumed: transfer.resumed, blake3 }),
                // Bytes that an earlier run left may have suffered since then, so they get a second chance.
                Err(_) if transfer.received == 0 && transfer.resumed > 0 => transfer.start_over()?,
                Err(found) => return Err(transfer.refuse(&found)),
            }
        }
        let before = transfer.received;
        if let Err(failure) = transfer.receive() {
            if transfer.received > before {
                patience.renew();
            }
            patience.wait(failure)?;
        }
    }
}

struct Transfer<'a> {
    source: &'a Source<'a>,
    remote: &'a RemoteFile,
    target: &'a Path,
    file: File,
    /// The file's length.
    present: u64,
    resumed: u64,
    /// Bytes that came in this run.
    received: u64,
    progress: &'a mut Progress,
}

impl<'a> Transfer<'a> {
    fn open(
        source: &'a Source<'a>,
        remote: &'a RemoteFile,
        target: &'a Path,
        progress: &'a mut Progress,
    ) -> Result<Self> {
        let failed = |error| cannot_write(target, &error);
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let options = File::options().read(true).write(true).create(true).truncate(false).open(target);
        let file = options.map_err(failed)?;
        let present = file.metadata().map_err(failed)?.len();
        let mut transfer = Self { source, remote, target, file, present, resumed: present, received: 0, progress };
        transfer.progress.kept(present);
        if present > remote.size {
            transfer.start_over()?;
        }
        Ok(transfer)
    }

    /// Throws away what is there.
    fn start_over(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|error| cannot_write(self.target, &error))?;
        self.progress.dropped(self.present);
        (self.present, self.resumed) = (0, 0);
        Ok(())
    }

    /// Asks for what is missing and appends what comes.
    fn receive(&mut self) -> Result<(), Failure> {
        let Source { hub, repository, commit } = self.source;
        let uri = hub.file_url(repository, commit, &self.remote.path)?;
        let mut response = hub.get(&uri, self.present)?;
        let from = if self.continues(&response) { self.present } else { 0 };
        if from == 0 && response.status() != StatusCode::OK {
            self.start_over()?;
            return Err(Failure::passing(format!("{} came in another part than was asked for", self.remote.path)));
        }
        let announced = text(&response, header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let missing = self.remote.size - from;
        if announced.is_some_and(|announced| announced != missing) || is_packed(&response) {
            // Nothing is thrown away for an answer that is not the file at all, such as a proxy's page.
            return Err(self.other_size(from, &format!("sends {} bytes", announced.unwrap_or_default())).into());
        }
        if from < self.present {
            self.start_over()?;
        }
        self.file.seek(SeekFrom::Start(self.present)).map_err(|error| cannot_write(self.target, &error))?;
        self.append(response.body_mut().as_reader())
    }

    /// True if the answer goes on where the file ends.
    fn continues(&self, response: &Response<Body>) -> bool {
        let Self { present, remote, .. } = self;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = text(response, header::CONTENT_RANGE).unwrap_or_default();
                range.strip_prefix(&format!("bytes {present}-")).and_then(|rest| rest.split_once('/')).is_some_and(
                    |(last, total)| {
                        last == (remote.size - 1).to_string() && (total == "*" || total == remote.size.to_string())
                    },
                )
            }
            StatusCode::OK => *present == 0,
            _ => false,
        }
    }

    fn append(&mut self, mut body: impl Read) -> Result<(), Failure> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let n_read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n_read) => n_read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.cut(&error.to_string())),
            };
            if n_read as u64 > self.remote.size - self.present {
                self.delete();
                return Err(self.other_size(self.present, "sends more").into());
            }
            self.file.write_all(&buffer[..n_read]).map_err(|error| cannot_write(self.target, &error))?;
            self.present += n_read as u64;
            self.received += n_read as u64;
            self.progress.received(n_read as u64, &self.remote.path);
        }
        if self.present < self.remote.size {
            return Err(self.cut("the connection ended"));
        }
        Ok(())
    }

    fn cut(&self, why: &str) -> Failure {
        let Self { remote, present, .. } = self;
        Failure::passing(format!("{} was cut at byte {present} of {}: {why}", remote.path, remote.size))
    }

    /// Gives BLAKE3 if the content is what the hub announced, else the announced hash's value that was found.
    fn check(&mut self) -> Result<Result<String, String>> {
        let failed = |error| cannot_write(self.target, &error);
        self.file.sync_all().map_err(failed)?;
        self.file.rewind().map_err(failed)?;
        let mut blake3 = blake3::Hasher::new();
        let announced = match &self.remote.hash {
            ContentHash::Sha256(_) => hash_with(&mut self.file, Sha256::new(), &mut blake3),
            ContentHash::GitBlob(_) => {
                let header = format!("blob {}\0", self.remote.size);
                hash_with(&mut self.file, Sha1::new_with_prefix(header), &mut blake3)
            }
        };
        let found = announced.map_err(failed)?;
        let (ContentHash::Sha256(expected) | ContentHash::GitBlob(expected)) = &self.remote.hash;
        Ok(if found == *expected { Ok(blake3.finalize().to_hex().to_string()) } else { Err(found) })
    }

    fn refuse(&self, found: &str) -> Error {
        self.delete();
        let (kind, expected) = match &self.remote.hash {
            ContentHash::Sha256(expected) => ("sha256", expected),
            ContentHash::GitBlob(expected) => ("git blob", expected),
        };
        Error::Corruption(format!(
            "{} arrived with {kind} {found}, but the hub announced {expected}; the file is deleted, pull again",
            self.remote.path
        ))
    }

    fn other_size(&self, from: u64, what: &str) -> Error {
        let origin = self.source.hub.endpoint().origin();
        let (path, missing) = (&self.remote.path, self.remote.size - from);
        let message =
            format!("{origin} announced {missing} bytes from byte {from} of {path}, but {what}; check --endpoint");
        Error::FailedPrecondition { reason: "HUB_NOT_UNDERSTOOD", message }
    }

    fn delete(&self) {
        // If it stays, its hash is found wrong again.
        let _ = std::fs::remove_file(self.target);
    }
}

/// True if the bytes are not the file's own.
fn is_packed(response: &Response<Body>) -> bool {
    text(response, header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity")
}

fn hash_with<D: Digest>(file: &mut File, mut digest: D, blake3: &mut blake3::Hasher) -> std::io::Result<String> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n_read => {
                digest.update(&buffer[..n_read]);
                blake3.update(&buffer[..n_read]);
            }
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: `printf 'hello\n' | git hash-object --stdin`, `sha256sum`, `b3sum`.
    #[test]
    fn hashes_are_git_s_and_sha256() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"hello\n").expect("write");
        let mut check = |digest: &str, expected: &str| {
            file.rewind().expect("seek");
            let mut blake3 = blake3::Hasher::new();
            let found = match digest {
                "sha1" => hash_with(&mut file, Sha1::new_with_prefix(b"blob 6\0"), &mut blake3),
                _ => hash_with(&mut file, Sha256::new(), &mut blake3),
            };
            assert_eq!(found.expect("a hash"), expected);
            assert_eq!(blake3.finalize(), blake3::hash(b"hello\n"));
        };
        check("sha1", "ce013625030ba8dba906f756967f9e9ca394464a");
        check("sha256", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    }
}
