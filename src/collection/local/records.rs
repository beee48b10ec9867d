//! Records of items that hits were lately made of, so that they are not read and decoded once more.
//!
//! A record is kept with the epoch of its reading, and forgotten by the write that changes it while nobody can take a moment; so what is still there
//! is as of every epoch from that one on. Readers of an older snapshot pass it by.

use std::sync::Arc;

use parking_lot::RwLock;

use super::moment::Inner;
use super::plan::Changes;
use crate::store::{ItemRecord, Snapshot};
use crate::{Error, Result};

/// Memory that a record takes beside what it is on the disk.
const ENTRY_BYTES: usize = 400;

/// A record, and since when it is known to be that.
#[derive(Clone)]
struct Kept {
    record: Arc<ItemRecord>,
    epoch: u64,
    bytes: u32,
}

/// Bounds the records that all collections together keep. Cheap to clone.
#[derive(Clone)]
pub(in crate::collection) struct RecordCache {
    /// By the numbers of collection and item.
    kept: Option<moka::sync::Cache<(u32, u64), Kept>>,
}

impl RecordCache {
    /// Keeps about `bytes` of records; 0 keeps none.
    #[must_use]
    pub(in crate::collection) fn new(bytes: u64) -> Self {
        let cache = || {
            moka::sync::Cache::builder().max_capacity(bytes).weigher(|_: &(u32, u64), kept: &Kept| kept.bytes).build()
        };
        Self { kept: (bytes > 0).then(cache) }
    }
}

/// Keeps readers from putting back what a write has just made them forget.
#[derive(Default)]
pub(super) struct RecordGate(RwLock<()>);

impl Inner {
    /// The records of internal ids that must be there, as of a moment whose index may be let go of already.
    ///
    /// # Errors
    /// [`Error::Corruption`], [`Error::Storage`].
    pub(super) fn cached_records(
        &self,
        (snapshot, epoch): (&Snapshot<'_>, u64),
        internals: &[u64],
    ) -> Result<Vec<(u64, Arc<ItemRecord>)>> {
        let Some(kept) = &self.record_cache.kept else {
            let records = self.records(snapshot, internals)?;
            return Ok(records.into_iter().map(|(internal, record)| (internal, Arc::new(record))).collect());
        };
        let is_of_moment = |found: &Kept| found.epoch <= epoch;
        let found: Vec<Option<Arc<ItemRecord>>> = internals
            .iter()
            .map(|&internal| Some(kept.get(&(self.id, internal)).filter(is_of_moment)?.record))
            .collect();
        let missing: Vec<u64> =
            internals.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(internal, _)| *internal).collect();
        let mut read = Vec::with_capacity(missing.len());
        for (record, &internal) in snapshot.sized_records(self.id, &missing)?.into_iter().zip(&missing) {
            let lost = || Error::Corruption(format!("internal id {internal} is listed but has no record"));
            let (record, bytes) = record.ok_or_else(lost)?;
            let bytes = u32::try_from(bytes + ENTRY_BYTES).unwrap_or(u32::MAX);
            read.push(Kept { record: Arc::new(record), epoch, bytes });
        }
        if !read.is_empty() {
            let _no_write_forgets = self.record_gate.0.read();
            // Nothing was written since the snapshot was taken, or is being written.
            if epoch.is_multiple_of(2) && self.epoch() == epoch {
                for (&internal, record) in missing.iter().zip(&read) {
                    kept.insert((self.id, internal), record.clone());
                }
            }
        }
        let mut read = read.into_iter().map(|read| read.record);
        let record =
            |(&internal, found): (&u64, Option<Arc<ItemRecord>>)| Some((internal, found.or_else(|| read.next())?));
        Ok(internals.iter().zip(found).filter_map(record).collect())
    }

    /// Forgets what a batch has changed, before anybody can take a moment after it. New items were never kept.
    pub(super) fn forget_records(&self, changes: &Changes, next_internal: u64) {
        let Some(kept) = &self.record_cache.kept else { return };
        let filled = changes.added.keys().filter(|&&internal| internal < next_internal);
        let payloads = changes.payloads.iter().map(|(_, internal)| internal);
        let changed: Vec<&u64> = changes.removed.iter().chain(filled).chain(payloads).collect();
        if !changed.is_empty() {
            let _nobody_keeps = self.record_gate.0.write();
            changed.into_iter().for_each(|&internal| kept.invalidate(&(self.id, internal)));
        }
    }
}
