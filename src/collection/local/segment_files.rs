//! The files of segments in a data folder: `segments/COLLECTION-FIELD-GENERATION-NUMBER.segment`.
//!
//! Which of them count, the store says: each of its vectors belongs to the newest file that has it, and a file that none belongs to goes.
//! So a death between a new file and the removal of those that it replaces needs no list of files to be put right.

use std::fs;
use std::path::{Path, PathBuf};

use super::state::GenerationKey;

/// Where a data folder keeps its segments.
pub(super) fn folder(store_folder: &Path) -> PathBuf {
    store_folder.join("segments")
}

/// The files of a generation with an ending, by rising number.
pub(super) fn files(
    folder: &Path,
    collection: u32,
    (field, generation): GenerationKey,
    ending: &str,
) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let prefix = format!("{collection}-{field}-{generation}-");
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.strip_prefix(&prefix)?.strip_suffix(ending)?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Removes the segments of generations that `is_live` does not know.
pub(in crate::collection) fn remove_leftovers(store_folder: &Path, is_live: impl Fn(u32, GenerationKey) -> bool) {
    for (name, path) in names(store_folder) {
        let numbers: Vec<u32> = name.split('-').take(3).filter_map(|number| number.parse().ok()).collect();
        let is_known =
            matches!(numbers[..], [collection, field, generation] if is_live(collection, (field, generation)));
        if !is_known && (name.ends_with(".segment") || name.ends_with(".damaged")) {
            remove(&path);
        }
    }
}

/// Removes what was being written when a server died. Nobody may make segments meanwhile.
pub(in crate::collection) fn remove_half_written(store_folder: &Path) {
    let half_written = names(store_folder).filter(|(name, _)| name.ends_with(".writing"));
    half_written.for_each(|(_, path)| remove(&path));
}

/// The segments of a data folder, those that were put aside among them, by name.
pub(in crate::collection) fn segment_files(store_folder: &Path) -> Vec<PathBuf> {
    let is_segment = |name: &str| name.ends_with(".segment") || name.ends_with(".damaged");
    let mut found: Vec<PathBuf> =
        names(store_folder).filter(|(name, _)| is_segment(name)).map(|(_, path)| path).collect();
    found.sort_unstable();
    found
}

/// Every file in the folder of segments, by name.
fn names(store_folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(folder(store_folder)).into_iter().flatten();
    entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        Some((path.file_name()?.to_str()?.to_owned(), path))
    })
}

pub(super) fn remove(file: &Path) {
    if let Err(error) = fs::remove_file(file) {
        tracing::warn!(%error, file = %file.display(), "cannot remove a segment that is not used any more");
    }
}

pub(super) fn put_aside(file: &Path) {
    let aside = file.with_extension("damaged");
    if let Err(error) = fs::rename(file, &aside) {
        tracing::warn!(%error, file = %file.display(), "cannot put a damaged segment aside");
    }
}
