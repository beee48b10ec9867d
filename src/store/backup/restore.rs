//! Puts a snapshot in the data's place, in two steps of which each can be cut off: a checked copy is staged while the server runs, and takes
//! the data's place before the next opening.

use std::path::Path;

use super::folder::{self, link_or_copy};
use super::manifest::Manifest;
use super::{PARTS, REPLACED, STAGED, WRITING};
use crate::fail_point::fail_point;
use crate::store::format::refuse_newer;
use crate::store::rocks::Database;
use crate::{Error, Result};

/// Memory for a look at whether the copy opens.
const MEMORY: usize = 16 << 20;

/// Copies a snapshot beside the data, checked.
pub(super) fn stage(data_folder: &Path, snapshot: &Path) -> Result<()> {
    let manifest = Manifest::read(snapshot)?;
    refuse_newer(manifest.format, &snapshot.display().to_string())?;
    manifest.check(snapshot)?;
    let (writing, staged) = (data_folder.join(format!("{STAGED}{WRITING}")), data_folder.join(STAGED));
    let outcome = copy(&manifest, snapshot, &writing).and_then(|()| {
        fail_point("restore.copied");
        folder::remove(&staged)?;
        folder::rename(&writing, &staged)
    });
    if outcome.is_err() {
        folder::remove(&writing)?;
    }
    fail_point("restore.staged");
    outcome
}

fn copy(manifest: &Manifest, snapshot: &Path, writing: &Path) -> Result<()> {
    folder::remove(writing)?;
    for part in PARTS {
        folder::make(&writing.join(part))?;
    }
    for path in manifest.paths() {
        if let Some(parent) = path.parent() {
            folder::make(&writing.join(parent))?;
        }
        // RocksDB goes on writing to its logs and descriptions; tables, blobs and segments stay as they are.
        let never_changes =
            path.extension().is_some_and(|ending| ["sst", "blob", "segment"].iter().any(|e| ending == *e));
        link_or_copy(&snapshot.join(path), &writing.join(path), never_changes)?;
    }
    let [store, _] = PARTS;
    drop(Database::open(&writing.join(store), MEMORY)?);
    folder::sync(writing)
}

/// Moves what was staged into the data's place; goes on where it was cut off.
pub(super) fn finish(data_folder: &Path) -> Result<()> {
    let (staged, replaced) = (data_folder.join(STAGED), data_folder.join(REPLACED));
    if staged.is_dir() {
        tracing::info!("a snapshot takes the place of the data");
        for part in PARTS {
            let (new, own) = (staged.join(part), data_folder.join(part));
            // Once it is moved, what stands in its place is the snapshot's.
            if !new.is_dir() {
                continue;
            }
            if own.exists() {
                folder::make(&replaced)?;
                folder::remove(&replaced.join(part))?;
                folder::rename(&own, &replaced.join(part))?;
            }
            fail_point("restore.moving");
            folder::rename(&new, &own)?;
            fail_point("restore.moved");
        }
        std::fs::remove_dir(&staged).map_err(|error| Error::of_file("remove", &staged, &error))?;
    }
    folder::remove(&replaced)
}
