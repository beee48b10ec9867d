//! The door to a data folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::batch::Batch;
use super::bulk::BulkTables;
use super::families::{ALL, Family};
use super::jobs::Jobs;
use super::lock::FolderLock;
use super::rocks::Database;
use super::room::Room;
use super::snapshot::Snapshot;
use super::sync_gate::SyncGate;
use super::watermark::Watermark;
use super::{backup, format, keys, unique_id};
use crate::fail_point::fail_point;
use crate::{Error, Result};

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Bounds block cache, write buffers, indexes, filters and blob cache together.
    pub memory_bytes: usize,
    /// Bytes of the disk that writers leave free; by default 256 MiB, or a twentieth of a small disk.
    pub reserve_bytes: Option<u64>,
    /// So many bytes of bulk vectors go past the log, into tables of their own; fewer do not.
    pub bulk_table_bytes: usize,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, reserve_bytes: None, bulk_table_bytes: 4 << 20 }
    }
}

/// An open data folder. Cheap to clone; the folder is let go with the last clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// Dropped in this order: the sync thread ends, the database closes, the folder is let go.
struct Shared {
    gate: SyncGate,
    database: Arc<Database>,
    watermark: Arc<Watermark>,
    room: Room,
    bulk: BulkTables,
    /// Serialises changes of `meta`'s counters.
    meta: Mutex<()>,
    /// Serialises the making, removing and restoring of snapshots.
    backup: Mutex<()>,
    server_id: String,
    folder: PathBuf,
    _lock: FolderLock,
}

impl Store {
    /// Opens a data folder, creating or upgrading it as needed, and marks jobs that were running as interrupted. Blocks.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `DATA_DIR_IN_USE` or `DATA_FORMAT_TOO_NEW`, [`Error::Corruption`],
    /// [`Error::StorageFull`], [`Error::Storage`].
    pub fn open(folder: &Path, settings: &StoreSettings) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| Error::of_file("make", folder, &error))?;
        let lock = FolderLock::take(folder)?;
        backup::settle(folder)?;
        let path = folder.join("store");
        let database = Arc::new(Database::open(&path, settings.memory_bytes.max(8 << 20))?);
        let watermark = Arc::new(Watermark::new(&path));
        watermark.check(database.newest_write())?;
        format::prepare(&database, &folder.display().to_string())?;
        let server_id = server_id(&database)?;
        let of_gate = (Arc::clone(&database), Arc::clone(&watermark));
        let gate = SyncGate::start(move || {
            let (database, watermark) = &of_gate;
            let newest = database.newest_write();
            database.sync()?;
            watermark.note(newest, false);
            Ok(())
        })?;
        let room = Room::new(folder, settings.reserve_bytes);
        let shared = Shared {
            gate,
            database,
            watermark,
            room,
            bulk: BulkTables::new(folder, settings.bulk_table_bytes),
            meta: Mutex::new(()),
            backup: Mutex::new(()),
            server_id,
            folder: folder.to_owned(),
            _lock: lock,
        };
        let store = Self { shared: Arc::new(shared) };
        store.jobs().mark_interrupted()?;
        Ok(store)
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Names this data folder; stays for its life.
    #[must_use]
    pub fn server_id(&self) -> &str {
        &self.shared.server_id
    }

    /// The store as of now. Blocks while reading.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(self.shared.database.view())
    }

    /// A new, empty batch.
    #[must_use]
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(&self.shared.database)
    }

    /// Applies a batch as one; it survives the death of the process from here on. Blocks.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`]; `WRITES_STOPPED` after a failed sync, or after the bulk vectors of a batch were written and
    /// the batch could not be.
    pub fn commit(&self, batch: Batch<'_>) -> Result<()> {
        let Shared { gate, database, bulk, .. } = &*self.shared;
        gate.check()?;
        let (vectors, batch) = batch.into_parts();
        if vectors.is_empty() {
            return database.write(batch);
        }
        self.check_room(vectors.bytes() as u64)?;
        bulk.put(database, vectors)?;
        fail_point("bulk.vectors_written");
        // A later batch would draw the internal ids of vectors that no item names; the next start removes them.
        database.write(batch).inspect_err(|error| gate.shut(error))
    }

    /// Removes vectors of a generation with internal ids from `next_internal` on, which no item has: those of a bulk write that did not come to
    /// its end. True if there were any.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::StorageFull`].
    pub fn remove_undrawn_vectors(
        &self,
        collection: u32,
        (field, generation): (u32, u32),
        next_internal: u64,
    ) -> Result<bool> {
        let prefix = keys::generation(collection, field, generation);
        let from = keys::vector(collection, field, generation, next_internal, 0);
        let database = &self.shared.database;
        let is_there = database.view().scan(Family::Vectors, &prefix, &from, false).next().transpose()?.is_some();
        if is_there {
            database.delete_from(Family::Vectors, &prefix, &from)?;
        }
        Ok(is_there)
    }

    /// Returns once everything committed before the call survives power loss; concurrent callers share one sync. Blocks.
    ///
    /// # Errors
    /// `WRITES_STOPPED` if the sync failed: what was not acknowledged before may be lost.
    pub fn sync(&self) -> Result<()> {
        self.shared.gate.wait()
    }

    /// Refuses what would take `bytes` more of the disk if too little were left.
    ///
    /// # Errors
    /// [`Error::StorageFull`].
    pub fn check_room(&self, bytes: u64) -> Result<()> {
        self.shared.room.check(bytes)
    }

    /// Bytes that are left on the disk, and of those the ones that writers leave free; `None` if the system does not tell.
    #[must_use]
    pub fn room(&self) -> Option<(u64, u64)> {
        self.shared.room.left()
    }

    /// Opens a folder next time though its log has lost writes that were durable.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `DATA_DIR_IN_USE`, [`Error::Storage`].
    pub fn accept_loss(folder: &Path) -> Result<()> {
        let _lock = FolderLock::take(folder)?;
        Watermark::new(&folder.join("store")).forget()
    }

    /// Fails if writes are stopped.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `WRITES_STOPPED`.
    pub fn check_writable(&self) -> Result<()> {
        self.shared.gate.check()
    }

    /// Freezes everything written so far in a new data folder, which [`Store::open`] opens like any other. Files are hard links
    /// where the folder lies on the same disk, so neither side costs the other anything. Gives the number of the store's
    /// newest write at that moment. Blocks.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if there is something in the folder; [`Error::StorageFull`], [`Error::Storage`].
    pub fn checkpoint(&self, folder: &Path) -> Result<u64> {
        let database = folder.join("store");
        if database.exists() {
            return Err(Error::AlreadyExists { kind: "checkpoint", name: folder.display().to_string() });
        }
        std::fs::create_dir_all(folder).map_err(|error| Error::of_file("make", folder, &error))?;
        self.shared.database.checkpoint(&database)
    }

    pub(super) fn backup_lock(&self) -> MutexGuard<'_, ()> {
        self.shared.backup.lock()
    }

    /// Gives the room of a dropped generation back to the disk. Blocks while what is left is written anew.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::StorageFull`].
    pub fn compact_generation(&self, collection: u32, field: u32, generation: u32) -> Result<()> {
        self.shared.database.compact_prefix(Family::Vectors, &keys::generation(collection, field, generation))
    }

    /// Writes all tables anew, without what was deleted; gives their bytes afterwards. Blocks.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::StorageFull`].
    pub fn compact(&self) -> Result<u64> {
        ALL.iter().try_fold(0, |bytes, definition| {
            self.shared.database.compact_prefix(definition.family, &[])?;
            Ok(bytes + self.shared.database.table_bytes(definition.family)?)
        })
    }

    /// Bytes of all vectors on the disk, after those in memory have been written there. Blocks.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn vector_bytes(&self) -> Result<u64> {
        self.shared.database.table_bytes(Family::Vectors)
    }

    /// The job table.
    #[must_use]
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs::new(self, &self.shared.database)
    }

    /// Draws the number of a new collection; a number drawn is never drawn again.
    ///
    /// # Errors
    /// As [`Store::commit`]; [`Error::Internal`] after 2³² collections.
    pub fn next_collection_id(&self) -> Result<u32> {
        let number = self.next(keys::NEXT_COLLECTION_ID)?;
        u32::try_from(number).map_err(|_| Error::Internal("all collection numbers are used up".to_owned()))
    }

    /// Draws a number from 1 and makes sure that it is never drawn again.
    pub(super) fn next(&self, key: &[u8]) -> Result<u64> {
        let _one_at_a_time = self.shared.meta.lock();
        let stored = self.shared.database.get(Family::Meta, key)?;
        let number = match stored {
            None => 1,
            Some(bytes) => keys::u64_at(&bytes, 0)
                .ok_or_else(|| Error::Corruption("a counter of the store is not 8 bytes long".to_owned()))?,
        };
        self.shared.gate.check()?;
        self.shared.database.put(Family::Meta, key, &(number + 1).to_be_bytes())?;
        Ok(number)
    }
}

impl Drop for Shared {
    /// What is in the page cache at an orderly end is made durable and remembered.
    fn drop(&mut self) {
        let newest = self.database.newest_write();
        match self.gate.wait() {
            Ok(()) => self.watermark.note(newest, true),
            Err(error) => tracing::warn!(%error, "the store closes with writes that may not be durable"),
        }
    }
}

fn server_id(database: &Database) -> Result<String> {
    if let Some(stored) = database.get(Family::Meta, keys::SERVER_ID)? {
        return String::from_utf8(stored).map_err(|_| Error::Corruption("the server id is not text".to_owned()));
    }
    let id = unique_id();
    database.put(Family::Meta, keys::SERVER_ID, id.as_bytes())?;
    database.sync()?;
    Ok(id)
}
