//! Reads torch's `.pt` and `.pth` files without running them: a zip archive with a pickle and the bytes of its tensors.
//!
//! - `archive`: the zip archive's entries, their sizes and checksums.
//! - `machine`: the pickle's opcodes, a stack and a memo; nothing is imported and nothing is called.
//! - [`value`]: what a pickle says, as a tree.
//! - [`tensors`]: the tensors below a place of the tree, by dotted names, with their bytes.

mod archive;
mod global;
mod machine;
mod opcode;
pub mod tensors;
pub mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use archive::Archive;
pub use tensors::{ElementKind, StoredTensor};
pub use value::{NodeId, Value};
use value::{StorageRef, Tree};

use crate::{Error, Result};

/// Why a file is refused, in a sentence without the file's name.
type Refused<T> = std::result::Result<T, String>;

/// A file of `torch.save` or `torch.jit.save`, read but for the bytes of its tensors.
#[derive(Debug)]
pub struct TorchFile {
    path: PathBuf,
    archive: Archive,
    tree: Tree,
}

impl TorchFile {
    /// Reads the archive's directory and the pickle, and compares every storage with its entry.
    ///
    /// Takes at most 128 MiB, whatever the file holds.
    ///
    /// # Errors
    /// `FailedPrecondition` with `CHECKPOINT_REFUSED` for a file that is damaged, too large in some respect, or holds anything but
    /// tensors, dicts, lists, tuples, numbers, texts, booleans and None.
    pub fn open(path: &Path) -> Result<Self> {
        let read = || -> Refused<_> {
            let archive = Archive::open(path)?;
            let pickle = archive.read("data.pkl")?;
            let tree = machine::run(&pickle).map_err(|message| format!("data.pkl: {message}"))?;
            for storage in tree.storages() {
                check_storage(storage, &archive)?;
            }
            Ok((archive, tree))
        };
        let (archive, tree) = read().map_err(|message| refused(path, message))?;
        Ok(Self { path: path.to_owned(), archive, tree })
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.tree.root()
    }

    /// What a place of the tree holds.
    #[must_use]
    pub fn value(&self, at: NodeId) -> &Value {
        self.tree.value(at)
    }

    /// The entry of a dict, or the attribute of an object, with this name.
    #[must_use]
    pub fn entry(&self, at: NodeId, name: &str) -> Option<NodeId> {
        self.tree.entry(at, name)
    }

    /// Reads every tensor below a place by its dotted name: keys of dicts and attributes of objects, positions in lists.
    ///
    /// Takes the bytes of the tensors and of the largest storage, at most nine times the bytes of all storages.
    ///
    /// # Errors
    /// As [`TorchFile::open`].
    pub fn tensors(&self, at: NodeId) -> Result<BTreeMap<String, StoredTensor>> {
        tensors::read(&self.tree, at, &self.archive).map_err(|message| self.refuse(message))
    }

    /// This file, refused.
    #[must_use]
    pub fn refuse(&self, message: impl std::fmt::Display) -> Error {
        refused(&self.path, message)
    }
}

/// A persistent id may claim what it wants; the archive knows better.
fn check_storage(storage: &StorageRef, archive: &Archive) -> Refused<()> {
    let name = storage.entry_name();
    let found = archive.size(&name).ok_or_else(|| format!("the storage {name:?} is not in the archive"))?;
    let expected = storage.n_elements.checked_mul(storage.kind.bytes());
    if expected == Some(found) {
        return Ok(());
    }
    let (n, kind) = (storage.n_elements, storage.kind);
    Err(format!("the storage {name:?} has {found} bytes, but the pickle says {n} elements of {kind:?}"))
}

fn refused(path: &Path, message: impl std::fmt::Display) -> Error {
    Error::FailedPrecondition { reason: "CHECKPOINT_REFUSED", message: format!("{}: {message}", path.display()) }
}
