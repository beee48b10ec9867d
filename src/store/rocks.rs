//! The thin layer over RocksDB: opens it, reads, iterates and writes by [`Family`], and speaks our errors.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB, DBRecoveryMode, Env,
    IngestExternalFileOptions, IteratorMode, LogLevel, Options, ReadOptions, SnapshotWithThreadMode, SstFileWriter,
    WriteBatch, WriteBufferManager,
};

use super::error::from_rocks;
use super::families::{self, Family};
use super::keys;
use crate::{Error, Result};

/// A key and its value.
pub(super) type Entry = (Box<[u8]>, Box<[u8]>);

pub(super) struct Database {
    db: DB,
    cache: Cache,
}

impl Database {
    /// Opens or creates the database. Block cache, write buffers, indexes, filters and blobs share `memory_bytes`.
    pub(super) fn open(path: &Path, memory_bytes: usize) -> Result<Self> {
        let cache = Cache::new_lru_cache(memory_bytes);
        let write_buffers = memory_bytes / 3;
        let options = database_options(&cache, write_buffers);
        refuse_unknown_families(path)?;
        let write_buffer = (write_buffers / 4).clamp(1 << 20, 64 << 20);
        let descriptors = families::ALL.iter().map(|definition| {
            ColumnFamilyDescriptor::new(definition.name, families::options(definition, &cache, write_buffer))
        });
        let db = DB::open_cf_descriptors(&options, path, descriptors).map_err(from_rocks)?;
        Ok(Self { db, cache })
    }

    pub(super) fn handle(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).expect("every family of the table is opened with the database")
    }

    pub(super) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db.get_cf(self.handle(family), key).map_err(from_rocks)
    }

    pub(super) fn put(&self, family: Family, key: &[u8], value: &[u8]) -> Result<()> {
        self.db.put_cf(self.handle(family), key, value).map_err(from_rocks)
    }

    pub(super) fn delete(&self, family: Family, key: &[u8]) -> Result<()> {
        self.db.delete_cf(self.handle(family), key).map_err(from_rocks)
    }

    /// Applies the batch as one; in the page cache on return.
    pub(super) fn write(&self, batch: WriteBatch) -> Result<()> {
        self.db.write(batch).map_err(from_rocks)
    }

    /// Writes a new file with a table of a family, entries by rising key; durable on return.
    pub(super) fn write_table(&self, family: Family, path: &Path, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let options = families::options(family.definition(), &self.cache, 0);
        let mut writer = SstFileWriter::create(&options);
        writer.open(path).map_err(from_rocks)?;
        for (key, value) in entries {
            writer.put(key, value).map_err(from_rocks)?;
        }
        writer.finish().map_err(from_rocks)
    }

    /// Makes tables of a family part of the database, all or none; durable on return.
    pub(super) fn take_tables(&self, family: Family, paths: &[PathBuf]) -> Result<()> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let handle = self.handle(family);
        self.db.ingest_external_file_cf_opts(handle, &options, paths.to_vec()).map_err(from_rocks)
    }

    /// Removes the keys of a family from `from` on that start with `prefix`.
    pub(super) fn delete_from(&self, family: Family, prefix: &[u8], from: &[u8]) -> Result<()> {
        let end = keys::end_of(prefix).ok_or_else(|| Error::Internal("a prefix without an end".to_owned()))?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.handle(family), from.to_vec(), end);
        self.write(batch)
    }

    /// Makes everything written so far survive power loss.
    pub(super) fn sync(&self) -> Result<()> {
        self.db.flush_wal(true).map_err(from_rocks)
    }

    /// The number of the newest write.
    pub(super) fn newest_write(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// Writes the database as of now into a new folder beside it on the disk, mostly by hard links; gives the number of its
    /// newest write.
    pub(super) fn checkpoint(&self, path: &Path) -> Result<u64> {
        let checkpoint = Checkpoint::new(&self.db).map_err(from_rocks)?;
        // Taken before, so that the folder holds this write and perhaps a few more.
        let newest = self.db.latest_sequence_number();
        checkpoint.create_checkpoint(path).map_err(from_rocks)?;
        Ok(newest)
    }

    /// Writes the tables that hold keys of a prefix anew, without what was deleted.
    pub(super) fn compact_prefix(&self, family: Family, prefix: &[u8]) -> Result<()> {
        let handle = self.handle(family);
        self.db.flush_cf(handle).map_err(from_rocks)?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_cf_opt(handle, Some(prefix), keys::end_of(prefix), &options);
        Ok(())
    }

    /// Bytes of a family's tables, with what was still in memory.
    pub(super) fn table_bytes(&self, family: Family) -> Result<u64> {
        self.db.flush_cf(self.handle(family)).map_err(from_rocks)?;
        let property = rocksdb::properties::LIVE_SST_FILES_SIZE;
        let bytes = self.db.property_int_value_cf(self.handle(family), property).map_err(from_rocks)?;
        Ok(bytes.unwrap_or(0))
    }

    pub(super) fn view(&self) -> View<'_> {
        View { database: self, snapshot: self.db.snapshot() }
    }
}

/// The database as of one moment.
pub(super) struct View<'a> {
    database: &'a Database,
    snapshot: SnapshotWithThreadMode<'a, DB>,
}

impl View<'_> {
    pub(super) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.snapshot.get_cf(self.database.handle(family), key).map_err(from_rocks)?;
        Ok(value.map(Bytes::from))
    }

    /// Reads many keys at once; `read` turns each value found into what is wanted, without a copy in between.
    pub(super) fn multi_get<T>(
        &self,
        family: Family,
        keys: &[Vec<u8>],
        read: impl Fn(&[u8]) -> Result<T>,
    ) -> Result<Vec<Option<T>>> {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        let keys = keys.iter().map(Vec::as_slice);
        let values = self.database.db.batched_multi_get_cf_opt(self.database.handle(family), keys, false, &options);
        values.into_iter().map(|value| value.map_err(from_rocks)?.map(|bytes| read(&bytes)).transpose()).collect()
    }

    /// Walks the keys from `from` (inclusive) that start with `prefix`, in order. `readahead` suits long walks.
    pub(super) fn scan(
        &self,
        family: Family,
        prefix: &[u8],
        from: &[u8],
        readahead: bool,
    ) -> impl Iterator<Item = Result<Entry>> + use<'_> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from.max(prefix));
        if let Some(end) = keys::end_of(prefix) {
            options.set_iterate_upper_bound(end);
        }
        if readahead {
            options.set_readahead_size(2 << 20);
            options.fill_cache(false);
        }
        let iterator = self.snapshot.iterator_cf_opt(self.database.handle(family), options, IteratorMode::Start);
        iterator.map(|entry| entry.map_err(from_rocks))
    }
}

fn database_options(cache: &Cache, write_buffers: usize) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Compactions make way for searches.
    if let Ok(mut environment) = Env::new() {
        environment.lower_thread_pool_cpu_priority();
        options.set_env(&environment);
    }
    // Write buffers are charged to the cache: one bound for all of RocksDB's memory.
    let manager = WriteBufferManager::new_write_buffer_manager_with_cache(write_buffers, false, cache.clone());
    options.set_write_buffer_manager(&manager);
    // The log is never off and never buffered in the process, so that an acknowledged write survives the process.
    options.set_manual_wal_flush(false);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(256 << 20);
    // Bounded, because each open table holds memory outside the cache.
    options.set_max_open_files(1024);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(8 << 20);
    options
}

/// RocksDB opens all families or none, so a newer program's families must be noticed before.
fn refuse_unknown_families(path: &Path) -> Result<()> {
    if !path.join("CURRENT").exists() {
        return Ok(());
    }
    let found = DB::list_cf(&Options::default(), path).map_err(from_rocks)?;
    let is_known = |name: &String| name == "default" || families::ALL.iter().any(|known| known.name == name.as_str());
    let unknown: Vec<String> = found.into_iter().filter(|name| !is_known(name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::FailedPrecondition {
        reason: "DATA_FORMAT_TOO_NEW",
        message: format!(
            "{} holds column families that this Pictor does not know ({}); start the newer version that wrote it",
            path.display(),
            unknown.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: a folder that was written before a family came is refused.
    #[test]
    fn families_that_came_later_are_added() {
        let folder = tempfile::tempdir().expect("a folder");
        {
            let mut options = Options::default();
            options.create_if_missing(true);
            options.create_missing_column_families(true);
            let older = families::ALL.iter().filter(|definition| definition.family != Family::PayloadIndexes);
            DB::open_cf(&options, folder.path(), older.map(|definition| definition.name)).expect("a database");
        }
        let database = Database::open(folder.path(), 16 << 20).expect("an older database");
        assert_eq!(database.get(Family::PayloadIndexes, b"key"), Ok(None));
        database.put(Family::PayloadIndexes, b"key", b"value").expect("a write");
        assert_eq!(database.get(Family::PayloadIndexes, b"key"), Ok(Some(b"value".to_vec())));
    }
}
