//! Work on a data folder that no server has open: look at it, check it, make its segments again, give room back.
//!
//! Opening a folder does what a server's start does: a folder of an older format is upgraded, half-written segments are removed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::local::segment_files;
use super::{Catalog, CatalogSettings, CollectionInfo};
use crate::index::graph::Segment;
use crate::store::{AuditReport, Store, StoreSettings};
use crate::{Error, Result};

/// The pause between looks at whether segments are made.
const PAUSE: Duration = Duration::from_millis(20);

/// A data folder.
#[derive(Debug, Serialize)]
pub struct FolderReport {
    pub server_id: String,
    pub collections: Vec<CollectionReport>,
    pub segments: Vec<SegmentReport>,
    pub jobs: usize,
}

impl FolderReport {
    /// True if nothing was found that is not as it should be.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.collections.iter().all(|collection| collection.problem_count == 0)
            && self.segments.iter().all(|segment| segment.problem.is_none())
    }
}

/// A collection of a folder.
#[derive(Debug, Serialize)]
pub struct CollectionReport {
    /// `?NUMBER` if even the description cannot be read.
    pub name: String,
    pub uid: Option<String>,
    pub fields: Vec<FieldReport>,
    pub aliases: Vec<String>,
    pub items: u64,
    pub vectors: u64,
    /// Pictures and thumbnails, each counted once.
    pub media: u64,
    /// The first of them, one sentence each.
    pub problems: Vec<String>,
    pub problem_count: u64,
}

/// A field of a collection.
#[derive(Debug, Serialize)]
pub struct FieldReport {
    pub name: String,
    pub generations: Vec<u32>,
}

/// A file with a graph.
#[derive(Debug, Serialize)]
pub struct SegmentReport {
    pub file: PathBuf,
    pub bytes: u64,
    /// Vectors, if it can be read.
    pub vectors: Option<usize>,
    /// What is wrong with it. Segments are a cache: a server puts the file aside and makes it again.
    pub problem: Option<String>,
}

/// Says what a folder holds, by reading every record.
///
/// # Errors
/// [`Error::InvalidArgument`] if it is no data folder; [`Error::FailedPrecondition`] while a server has it open; those of the store.
pub fn inspect(folder: &Path, memory_bytes: usize) -> Result<FolderReport> {
    report(folder, memory_bytes, n_vectors)
}

/// Checks what a folder holds: every invariant between records, the index against them, every byte of every segment.
///
/// # Errors
/// As [`inspect`].
pub fn verify(folder: &Path, memory_bytes: usize) -> Result<FolderReport> {
    report(folder, memory_bytes, |path| {
        let segment = Segment::open(path)?;
        segment.verify().map(|()| segment.n_keys())
    })
}

/// Removes every segment, also those that were put aside, and makes those anew that a server of these settings would have. Collections that
/// cannot be opened are passed over; [`verify`] names them.
///
/// # Errors
/// As [`inspect`]; [`Error::Storage`] if a segment cannot be made, such as on a full disk.
pub fn rebuild(folder: &Path, memory_bytes: usize, mut settings: CatalogSettings) -> Result<Vec<SegmentReport>> {
    // Nobody waits: one segment of everything.
    settings.segments.chunk_segments = usize::MAX;
    let store = open(folder, memory_bytes)?;
    for file in segment_files(folder) {
        std::fs::remove_file(&file).map_err(|error| Error::of_file("remove", &file, &error))?;
    }
    let catalog = Catalog::open(store, settings)?;
    for collection in catalog.list().into_iter().filter_map(|info| info.backend.ok()) {
        while collection.is_sealing()? {
            std::thread::sleep(PAUSE);
        }
    }
    drop(catalog);
    Ok(segment_files(folder).into_iter().map(|file| describe(file, n_vectors)).collect())
}

/// Writes every table anew without what was deleted, and says how many bytes the tables have then.
///
/// # Errors
/// As [`inspect`]; [`Error::StorageFull`].
pub fn compact(folder: &Path, memory_bytes: usize) -> Result<u64> {
    open(folder, memory_bytes)?.compact()
}

/// Lets a folder be opened whose log has lost writes that were durable.
///
/// # Errors
/// [`Error::InvalidArgument`] if it is no data folder; [`Error::FailedPrecondition`] while a server has it open.
pub fn accept_loss(folder: &Path) -> Result<()> {
    check_folder(folder)?;
    Store::accept_loss(folder)
}

fn open(folder: &Path, memory_bytes: usize) -> Result<Store> {
    check_folder(folder)?;
    Store::open(folder, &StoreSettings { memory_bytes, ..StoreSettings::default() })
}

fn check_folder(folder: &Path) -> Result<()> {
    if !folder.join("store").is_dir() {
        let message = format!("expected a folder that a server has written to, found none at {}", folder.display());
        return Err(Error::invalid("data-dir", message));
    }
    Ok(())
}

fn report(folder: &Path, memory_bytes: usize, check: impl Fn(&Path) -> Result<usize>) -> Result<FolderReport> {
    let store = open(folder, memory_bytes)?;
    // Before the collections are opened, which puts damaged segments aside.
    let segments = segment_files(folder).into_iter().map(|file| describe(file, &check)).collect();
    let (server_id, jobs) = (store.server_id().to_owned(), store.jobs().list()?.len());
    let catalog = Catalog::open(store, CatalogSettings::default())?;
    let collections = catalog.list().into_iter().map(|info| collection(&catalog, info)).collect();
    Ok(FolderReport { server_id, collections, segments, jobs })
}

/// Vectors of a segment, as far as opening it can tell.
fn n_vectors(file: &Path) -> Result<usize> {
    Segment::open(file).map(|segment| segment.n_keys())
}

fn describe(file: PathBuf, check: impl Fn(&Path) -> Result<usize>) -> SegmentReport {
    let bytes = std::fs::metadata(&file).map_or(0, |about| about.len());
    let (vectors, problem) = match file.extension().is_some_and(|ending| ending == "damaged") {
        true => (None, Some("a start has put it aside as damaged; `data rebuild` removes it".to_owned())),
        false => match check(&file) {
            Ok(vectors) => (Some(vectors), None),
            Err(error) => (None, Some(error.to_string())),
        },
    };
    SegmentReport { file, bytes, vectors, problem }
}

fn collection(catalog: &Catalog, info: CollectionInfo) -> CollectionReport {
    let mut audit = catalog.verify(&info.name).unwrap_or_else(|error| {
        let mut audit = AuditReport::default();
        audit.note(|| error.to_string());
        audit
    });
    if let Err(error) = &info.backend {
        audit.note(|| format!("it cannot be opened: {error}"));
    }
    let schema = info.schema.as_deref();
    let fields = schema.map_or(&[][..], |schema| &schema.fields).iter();
    let field = |field: &super::schema::Field| FieldReport {
        name: field.name.clone(),
        generations: field.generations.iter().map(|generation| generation.number).collect(),
    };
    let AuditReport { items, vectors, media, problems, problem_count } = audit;
    CollectionReport {
        uid: schema.map(|schema| schema.uid.clone()),
        fields: fields.map(field).collect(),
        name: info.name,
        aliases: info.aliases,
        items,
        vectors,
        media,
        problems,
        problem_count,
    }
}
