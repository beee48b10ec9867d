//! The files of a model folder, and whether they are those that its card names.

use std::collections::BTreeMap;
use std::path::Path;

use super::card::{self, Card};
use super::fault::unreadable;
use super::fingerprint::hash_file;
use crate::Result;

/// Bytes by path inside the folder.
///
/// # Errors
/// `FailedPrecondition` if something cannot be read.
pub fn list(folder: &Path) -> Result<BTreeMap<String, u64>> {
    let mut files = BTreeMap::new();
    add_files(folder, folder, &mut files)?;
    Ok(files)
}

/// What a folder holds beside what its card says it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Files whose hash was compared.
    pub n_checked: usize,
    /// One sentence for each file that is missing or different.
    pub problems: Vec<String>,
    /// Files that the card does not name; what they change of the vectors changes the fingerprint.
    pub extra: Vec<String>,
}

/// Hashes every file that the card names; a card without files says nothing.
///
/// # Errors
/// `FailedPrecondition` if the folder cannot be read.
pub fn compare(folder: &Path, card: &Card) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    if card.files.is_empty() {
        return Ok(comparison);
    }
    let found = list(folder)?;
    for (path, expected) in &card.files {
        if !found.contains_key(path) {
            comparison.problems.push(format!("{path}: {} names it, but it is missing", card::FILE));
            continue;
        }
        match hash_file(&folder.join(path)).map(|hash| blake3::Hash::from(hash).to_hex()) {
            Ok(hash) if hash.as_str() == expected => {}
            Ok(hash) => comparison.problems.push(format!("{path}: {} says {expected}, found {hash}", card::FILE)),
            Err(error) => comparison.problems.push(error.to_string()),
        }
        comparison.n_checked += 1;
    }
    let extra = found.keys().filter(|path| *path != card::FILE && !card.files.contains_key(*path));
    comparison.extra = extra.cloned().collect();
    Ok(comparison)
}

fn add_files(root: &Path, folder: &Path, files: &mut BTreeMap<String, u64>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let path = entry.path();
        if entry.file_type().map_err(|error| unreadable(&path, &error))?.is_dir() {
            add_files(root, &path, files)?;
            continue;
        }
        // Links to files are followed, as loading does; links to folders are not, as they may lead in circles.
        let metadata = path.metadata().map_err(|error| unreadable(&path, &error))?;
        if metadata.is_file() {
            files.insert(path.strip_prefix(root).unwrap_or(&path).display().to_string(), metadata.len());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_changed_and_extra_files_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, content: &str| std::fs::write(folder.path().join(path), content).expect("write");
        std::fs::create_dir(folder.path().join("1_Pooling")).expect("a folder");
        write("1_Pooling/config.json", "a");
        write("same", "b");
        write("changed", "c");
        write("extra", "d");
        write("card.json", "{}");
        assert_eq!(compare(folder.path(), &Card::default()).expect("no card"), Comparison::default());
        let hash = |content: &str| blake3::hash(content.as_bytes()).to_hex().to_string();
        let files = [("1_Pooling/config.json", "a"), ("same", "b"), ("changed", "x"), ("missing", "e"), ("../e", "e")];
        let files = files.iter().map(|(path, content)| ((*path).to_owned(), hash(content))).collect();
        let found = compare(folder.path(), &Card { files, ..Card::default() }).expect("a comparison");
        assert_eq!(found.n_checked, 3);
        let named: Vec<_> = found.problems.iter().map(|line| line.split(':').next().unwrap_or_default()).collect();
        assert_eq!(named, ["../e", "changed", "missing"]);
        assert_eq!(found.extra, ["extra"]);
    }
}
