//! Takes a snapshot.

use std::fs;
use std::path::Path;

use super::folder::{self, link_or_copy};
use super::manifest::{Manifest, SnapshotInfo};
use super::{PARTS, WRITING};
use crate::Result;
use crate::fail_point::fail_point;
use crate::store::Store;
use crate::types::Timestamp;

/// Takes a snapshot into a new folder of `snapshots`, under a name that says when.
pub(super) fn create(store: &Store, snapshots: &Path) -> Result<SnapshotInfo> {
    folder::make(snapshots)?;
    let name = new_name(snapshots);
    let (writing, path) = (snapshots.join(format!("{name}{WRITING}")), snapshots.join(&name));
    let outcome = write(store, &writing).and_then(|manifest| {
        fail_point("snapshot.written");
        folder::rename(&writing, &path)?;
        Ok(SnapshotInfo { name, created: manifest.created, bytes: manifest.bytes() })
    });
    if outcome.is_err() {
        folder::remove(&writing)?;
    }
    outcome
}

fn write(store: &Store, writing: &Path) -> Result<Manifest> {
    folder::remove(writing)?;
    folder::make(writing)?;
    // Segments before the store, so that none holds what the store does not have; and it would only be built again.
    let [_, segments] = PARTS;
    link_segments(&store.folder().join(segments), &writing.join(segments))?;
    fail_point("snapshot.segments");
    let sequence = store.checkpoint(writing)?;
    fail_point("snapshot.store");
    let manifest = Manifest::of(writing, sequence)?;
    manifest.write(writing)?;
    folder::sync(writing)?;
    Ok(manifest)
}

/// Links the segments that are there; those that are replaced meanwhile are left out.
fn link_segments(from: &Path, to: &Path) -> Result<()> {
    folder::make(to)?;
    let entries = fs::read_dir(from).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".segment")) {
        let outcome = link_or_copy(&entry.path(), &to.join(entry.file_name()), true);
        if entry.path().exists() {
            outcome?;
        }
    }
    Ok(())
}

/// Such as `2026-11-27T15-04-05Z`, with a number behind it if there is one of this second already.
fn new_name(snapshots: &Path) -> String {
    let now = Timestamp::now().to_string();
    let second = format!("{}Z", now.split(['.', 'Z']).next().unwrap_or(&now).replace(':', "-"));
    let is_free = |name: &String| !snapshots.join(name).exists();
    let numbered = (2_u32..).map(|number| format!("{second}-{number}"));
    std::iter::once(second.clone()).chain(numbered).find(is_free).unwrap_or(second)
}
