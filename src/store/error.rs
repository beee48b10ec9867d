//! Turns RocksDB's errors into ours.

use rocksdb::ErrorKind;

use crate::Error;

/// What RocksDB reports when the disk has no room; it has no kind of its own for it.
const NO_SPACE: [&str; 3] = ["No space left", "NoSpace", "Out of space"];

/// The library's error for what RocksDB reports.
pub(super) fn from_rocks(error: rocksdb::Error) -> Error {
    let kind = error.kind();
    from_parts(&kind, error.into_string())
}

fn from_parts(kind: &ErrorKind, message: String) -> Error {
    if NO_SPACE.iter().any(|sign| message.contains(sign)) {
        return Error::StorageFull(message);
    }
    match kind {
        ErrorKind::Corruption => Error::Corruption(message),
        _ => Error::Storage(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_keep_their_meaning() {
        let check = |kind, message: &str, expected: &str| {
            assert_eq!(from_parts(&kind, message.to_owned()).reason(), expected, "{message}");
        };
        check(ErrorKind::Corruption, "Corruption: block checksum mismatch", "DATA_CORRUPTION");
        check(ErrorKind::IOError, "IO error: No space left on device: While appending to file", "STORAGE_FULL");
        check(ErrorKind::IOError, "IO error: NoSpace", "STORAGE_FULL");
        check(ErrorKind::IOError, "IO error: While fsync: Input/output error", "STORAGE_FAILURE");
    }
}
