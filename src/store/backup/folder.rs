//! Folders that are written whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::WRITING;
use crate::{Error, Result};

pub(super) fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Error::of_file("make", path, &error))
}

/// Renames, and makes the new name survive power loss.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| Error::of_file("rename", from, &error))?;
    sync_folder(to.parent().unwrap_or(to))
}

/// Removes a folder with all it holds, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::of_file("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Links a file that never changes, or copies it if it may or if links are not to be had.
pub(super) fn link_or_copy(from: &Path, to: &Path, never_changes: bool) -> Result<()> {
    if never_changes && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map(drop).map_err(|error| Error::of_file("copy", from, &error))
}

/// Every file below a folder by its path within, in order; no links are followed.
pub(super) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    fn walk(root: &Path, within: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
        for entry in fs::read_dir(root.join(within))? {
            let entry = entry?;
            let path = within.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                walk(root, &path, found)?;
            } else if kind.is_file() {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(root, Path::new(""), &mut found).map_err(|error| Error::of_file("read", root, &error))?;
    found.sort_unstable();
    Ok(found)
}

/// Makes every file below a folder survive power loss, and the folders with their names.
pub(super) fn sync(root: &Path) -> Result<()> {
    let mut folders = vec![root.to_owned()];
    for path in files(root)? {
        let path = root.join(path);
        File::open(&path).and_then(|file| file.sync_all()).map_err(|error| Error::of_file("flush", &path, &error))?;
        let folder = path.parent().unwrap_or(root).to_owned();
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.iter().rev().try_for_each(|folder| sync_folder(folder))
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| Error::of_file("flush", path, &error))
}

/// Removes folders that a server was writing, or removing, when it died.
pub(super) fn remove_half_written(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(WRITING)) {
        if let Err(error) = remove(&entry.path()) {
            tracing::warn!(%error, "something half written stays");
        }
    }
}
