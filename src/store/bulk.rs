//! Vectors that are written in bulk: into tables of their own, past the log, the tables in memory and most compactions.
//!
//! They are durable before the batch that they belong to, which cannot take them in. If that batch is never written, nothing names them: their
//! internal ids are not drawn yet as far as the store knows, and the next start removes them ([`super::Store::remove_undrawn_vectors`]).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::WriteBatch;

use super::families::Family;
use super::keys;
use super::rocks::Database;
use crate::{Error, Result};

/// The vectors of one batch.
#[derive(Default)]
pub(super) struct BulkVectors {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl BulkVectors {
    pub(super) fn push(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.entries.push((key, value));
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Where tables are written before the database takes them.
pub(super) struct BulkTables {
    folder: PathBuf,
    /// Fewer bytes go through the log: every table is a file.
    table_bytes: usize,
    next: AtomicU64,
}

impl BulkTables {
    /// Removes what a death has left half-written.
    pub(super) fn new(data_folder: &Path, table_bytes: usize) -> Self {
        let folder = data_folder.join("bulk");
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %folder.display(), "half-written tables cannot be removed");
        }
        Self { folder, table_bytes, next: AtomicU64::new(0) }
    }

    /// Puts vectors into the database; many are durable on return. Blocks.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`]; nothing is put in then.
    pub(super) fn put(&self, database: &Database, mut vectors: BulkVectors) -> Result<()> {
        if vectors.bytes < self.table_bytes {
            let mut batch = WriteBatch::default();
            let handle = database.handle(Family::Vectors);
            vectors.entries.iter().for_each(|(key, value)| batch.put_cf(handle, key, value));
            return database.write(batch);
        }
        vectors.entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        std::fs::create_dir_all(&self.folder).map_err(|error| Error::of_file("make", &self.folder, &error))?;
        let mut paths = Vec::new();
        // A table over two generations would span, and so overlap, what the first has in memory.
        let tables = vectors.entries.chunk_by(|(a, _), (b, _)| keys::is_of_one_generation(a, b));
        let written = tables.map(|entries| {
            let path = self.folder.join(format!("{}.sst", self.next.fetch_add(1, Ordering::Relaxed)));
            paths.push(path.clone());
            database.write_table(Family::Vectors, &path, entries)
        });
        let outcome = written.collect::<Result<()>>().and_then(|()| database.take_tables(Family::Vectors, &paths));
        // The database has names of its own for what it took.
        for path in &paths {
            _ = std::fs::remove_file(path);
        }
        outcome
    }
}
