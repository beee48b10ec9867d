//! What a snapshot says of itself.

use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder;
use crate::types::Timestamp;
use crate::{Error, Result};

pub(super) const FILE: &str = "snapshot.json";

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    pub name: String,
    pub created: Timestamp,
    /// Of all its files; those that are in use still take no room of their own.
    pub bytes: u64,
}

/// The content of `snapshot.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The store's format number.
    pub(super) format: u32,
    pub(super) created: Timestamp,
    /// RocksDB's newest write that it holds for certain.
    pub(super) sequence: u64,
    pub(super) files: Vec<FileEntry>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    /// Within the snapshot, with `/`.
    path: String,
    bytes: u64,
    blake3: String,
}

impl Manifest {
    /// Describes every file below a folder.
    pub(super) fn of(root: &Path, sequence: u64) -> Result<Self> {
        let files = folder::files(root)?.iter().map(|path| FileEntry::of(root, path)).collect::<Result<_>>()?;
        Ok(Self { format: crate::store::FORMAT, created: Timestamp::now(), sequence, files })
    }

    pub(super) fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let text = fs::read(&path).map_err(|error| Error::of_file("read", &path, &error))?;
        let wrong = |what: String| Error::Corruption(format!("{}: {what}", path.display()));
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let is_inside = |entry: &FileEntry| {
            Path::new(&entry.path).components().all(|component| matches!(component, Component::Normal(_)))
        };
        match manifest.files.iter().find(|entry| !is_inside(entry)) {
            Some(outside) => Err(wrong(format!("{:?} is no path within the snapshot", outside.path))),
            None => Ok(manifest),
        }
    }

    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(FILE);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Internal(format!("cannot describe a snapshot: {error}")))?;
        fs::write(&path, text).map_err(|error| Error::of_file("write", &path, &error))
    }

    /// Checks that the folder has these files, byte for byte, and no others.
    pub(super) fn check(&self, root: &Path) -> Result<()> {
        let wrong = |path: &str, what: &str| Err(Error::Corruption(format!("{}/{path}: {what}", root.display())));
        let found = folder::files(root)?;
        let is_described = |path: &PathBuf| {
            path.as_path() == Path::new(FILE) || self.files.iter().any(|entry| Path::new(&entry.path) == path)
        };
        if let Some(other) = found.iter().find(|path| !is_described(path)) {
            return wrong(&other.to_string_lossy(), "the snapshot's description does not name it");
        }
        for entry in &self.files {
            let path = Path::new(&entry.path);
            if !found.iter().any(|found| found == path) {
                return wrong(&entry.path, "it is missing");
            }
            if FileEntry::of(root, path)? != *entry {
                return wrong(&entry.path, "its bytes are not what the snapshot was made of");
            }
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|entry| entry.bytes).sum()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|entry| Path::new(&entry.path))
    }
}

impl FileEntry {
    fn of(root: &Path, within: &Path) -> Result<Self> {
        let path = root.join(within);
        let mut hasher = blake3::Hasher::new();
        let read = File::open(&path).and_then(|file| hasher.update_reader(file).map(drop));
        read.map_err(|error| Error::of_file("read", &path, &error))?;
        let names: Vec<_> = within.components().map(|name| name.as_os_str().to_string_lossy()).collect();
        Ok(Self { path: names.join("/"), bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() })
    }
}

/// The snapshots of a folder, the oldest first.
pub(super) fn list(parent: &Path) -> Result<Vec<SnapshotInfo>> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| Error::of_file("read", parent, &error))?,
    };
    let describe = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let is_whole = !name.ends_with(super::WRITING) && entry.path().join(FILE).exists();
        if !is_whole {
            return None;
        }
        match Manifest::read(&entry.path()) {
            Ok(manifest) => Some(SnapshotInfo { name, created: manifest.created, bytes: manifest.bytes() }),
            Err(error) => {
                tracing::warn!(%error, "a snapshot cannot be read");
                None
            }
        }
    };
    let mut found: Vec<SnapshotInfo> = entries.filter_map(describe).collect();
    found.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name)));
    Ok(found)
}
