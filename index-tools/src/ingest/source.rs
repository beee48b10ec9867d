//! What is ingested: its kind, its identity, its reader.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result};

use super::csv_file::CsvFile;
use super::folder::{self, Folder};
use super::jsonl::Jsonl;
use super::object::Columns;
use super::parquet_file::ParquetFile;
use super::record::{Caps, Reader};
use super::vectors_file::VectorsFile;
use super::webdataset::Webdataset;
use crate::failure::usage;

/// The forms that a source can have.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By what it is: a folder, or .csv, .tsv, .jsonl, .ndjson, .tar, .npy, .fvecs, .parquet
    Auto,
    /// A folder of pictures with .txt and .json sidecars
    Folder,
    /// A CSV file with a header
    Csv,
    /// A file with a JSON object a line
    Jsonl,
    /// A plain tar archive in webdataset's layout
    Webdataset,
    /// A matrix of vectors as NumPy saves it
    Npy,
    /// Vectors with a length before each
    Fvecs,
    /// A Parquet file
    Parquet,
}

/// A source that exists.
#[derive(Clone, Debug)]
pub struct Source {
    /// Without links.
    pub path: PathBuf,
    pub kind: Kind,
    pub columns: Columns,
    /// Changes whenever the source or the way to read it changes.
    pub fingerprint: String,
    records: u64,
}

impl Source {
    /// Finds out what the source is.
    ///
    /// # Errors
    /// If it does not exist or its kind is not clear.
    pub fn new(path: &Path, kind: Kind, columns: Columns, limit: Option<u64>) -> Result<Self> {
        let path = path.canonicalize().with_context(|| format!("cannot open {}", path.display()))?;
        let kind = resolve(&path, kind)?;
        let (records, contents) = if kind == Kind::Folder { folder::survey(&path)? } else { (0, stamp(&path)?) };
        let described = format!("{kind:?}\0{columns:?}\0{limit:?}\0{contents}");
        let fingerprint = blake3::hash(described.as_bytes()).to_string();
        Ok(Self { path, kind, columns, fingerprint, records })
    }

    /// Opens it at its first record.
    ///
    /// # Errors
    /// If it cannot be opened or lacks a named column.
    pub fn open(&self, caps: Caps) -> Result<Box<dyn Reader>> {
        Ok(match self.kind {
            Kind::Csv => Box::new(CsvFile::open(&self.path, &self.columns, caps)?),
            Kind::Jsonl => Box::new(Jsonl::open(&self.path, self.columns.clone(), caps)?),
            Kind::Webdataset => Box::new(Webdataset::open(&self.path, self.columns.clone(), caps)?),
            Kind::Npy => Box::new(VectorsFile::open_npy(&self.path, &self.columns.vectors)?),
            Kind::Fvecs => Box::new(VectorsFile::open_fvecs(&self.path, &self.columns.vectors)?),
            Kind::Parquet => Box::new(ParquetFile::open(&self.path, self.columns.clone(), caps)?),
            Kind::Folder | Kind::Auto => Box::new(Folder::open(&self.path, self.records, caps)?),
        })
    }

    /// The kind as `--kind` writes it.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Auto => "auto",
            Kind::Folder => "folder",
            Kind::Csv => "csv",
            Kind::Jsonl => "jsonl",
            Kind::Webdataset => "webdataset",
            Kind::Npy => "npy",
            Kind::Fvecs => "fvecs",
            Kind::Parquet => "parquet",
        }
    }
}

fn resolve(path: &Path, kind: Kind) -> Result<Kind> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let found = match (kind, ending.as_str()) {
        (Kind::Auto, _) if path.is_dir() => Kind::Folder,
        (Kind::Auto, "csv" | "tsv") => Kind::Csv,
        (Kind::Auto, "jsonl" | "ndjson") => Kind::Jsonl,
        (Kind::Auto, "tar") => Kind::Webdataset,
        (Kind::Auto, "npy") => Kind::Npy,
        (Kind::Auto, "fvecs") => Kind::Fvecs,
        (Kind::Auto, "parquet") => Kind::Parquet,
        (Kind::Auto, _) => {
            return Err(usage(format!("cannot tell what {} is; name its form with --kind", path.display())));
        }
        (kind, _) => kind,
    };
    if path.is_dir() != (found == Kind::Folder) {
        let is = if path.is_dir() { "a folder" } else { "not a folder" };
        return Err(usage(format!("{} is {is}, which does not fit --kind", path.display())));
    }
    Ok(found)
}

/// A file's size and time of change.
fn stamp(path: &Path) -> Result<String> {
    let metadata = path.metadata().with_context(|| format!("cannot open {}", path.display()))?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{}\0{}", metadata.len(), modified.as_nanos()))
}

/// The folder that a file stands in.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_the_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let kind = |name: &str, asked: Kind| {
            let path = folder.path().join(name);
            if !name.is_empty() {
                std::fs::write(&path, "").expect("a file");
            }
            Source::new(&path, asked, Columns::default(), None).map(|source| source.kind).ok()
        };
        assert_eq!(kind("", Kind::Auto), Some(Kind::Folder));
        assert_eq!(kind("a.CSV", Kind::Auto), Some(Kind::Csv));
        assert_eq!(kind("a.ndjson", Kind::Auto), Some(Kind::Jsonl));
        assert_eq!(kind("a.tar", Kind::Auto), Some(Kind::Webdataset));
        assert_eq!(kind("a.npy", Kind::Auto), Some(Kind::Npy));
        assert_eq!(kind("a.fvecs", Kind::Auto), Some(Kind::Fvecs));
        assert_eq!(kind("a.parquet", Kind::Auto), Some(Kind::Parquet));
        assert_eq!(kind("a.xyz", Kind::Auto), None);
        assert_eq!(kind("a.xyz", Kind::Jsonl), Some(Kind::Jsonl));
        assert_eq!(kind("a.csv", Kind::Folder), None);
        assert_eq!(kind("", Kind::Csv), None);
    }

    #[test]
    fn every_option_changes_the_fingerprint() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "id\n").expect("a file");
        let print =
            |columns: Columns, limit| Source::new(&path, Kind::Auto, columns, limit).expect("a source").fingerprint;
        let first = print(Columns::default(), None);
        assert_eq!(first, print(Columns::default(), None));
        assert_ne!(first, print(Columns::default(), Some(5)));
        assert_ne!(first, print(Columns { texts: vec!["a".into()], ..Columns::default() }, None));
        std::fs::write(&path, "id\n1\n").expect("a file");
        assert_ne!(first, print(Columns::default(), None));
    }
}
