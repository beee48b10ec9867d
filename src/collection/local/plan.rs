//! Plans one atomic write: what the store gets, and what changes in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::moment::Inner;
use super::payload::PayloadEntries;
use crate::collection::schema::CollectionSchema;
use crate::store::{Batch, Counters, ItemRecord, Snapshot, VectorSlot};
use crate::types::{ItemId, Payload};
use crate::{Error, Result};

/// Bytes after which a long batch is committed, at an item's boundary, before it goes on.
pub(super) const BATCH_BYTES: usize = 64 << 20;

/// What a batch changes in memory.
#[derive(Default)]
pub(super) struct Changes {
    /// Internal ids that were there before the batch.
    pub(super) removed: Vec<u64>,
    pub(super) added: BTreeMap<u64, AddedItem>,
    /// Version and internal id of items that got another payload and kept their parts, by rising version.
    pub(super) payloads: Vec<(u64, u64)>,
    /// In the order of the writes.
    pub(super) entries: Vec<PayloadEntries>,
}

pub(super) struct AddedItem {
    pub(super) id: ItemId,
    /// What searches find at once.
    pub(super) vectors: Vec<(VectorSlot, Vec<f32>)>,
    /// What is indexed later, from the store.
    pub(super) deferred: Vec<VectorSlot>,
}

/// An item as it stands after the writes planned so far.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) internal: u64,
    pub(super) record: ItemRecord,
}

/// How the uses of a picture change.
#[derive(Default)]
struct MediaUse {
    delta: i64,
    data: Option<Bytes>,
}

/// A batch in the making. Dropping it changes nothing.
pub(super) struct Plan<'a> {
    inner: &'a Inner,
    pub(super) schema: Arc<CollectionSchema>,
    pub(super) batch: Batch<'a>,
    pub(super) counters: Counters,
    pub(super) changes: Changes,
    current: HashMap<ItemId, Option<Current>>,
    media: HashMap<[u8; 32], MediaUse>,
    media_bytes: usize,
}

impl<'a> Plan<'a> {
    /// Reads the items that will be written, all at once. The caller holds `writer`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub(super) fn new<'i>(inner: &'a Inner, counters: Counters, ids: impl Iterator<Item = &'i ItemId>) -> Result<Self> {
        let current = read_current(&inner.store.snapshot(), inner.id, ids)?;
        Ok(Self {
            inner,
            schema: inner.schema(),
            batch: inner.store.batch(),
            counters,
            changes: Changes::default(),
            current,
            media: HashMap::new(),
            media_bytes: 0,
        })
    }

    pub(super) fn collection(&self) -> u32 {
        self.inner.id
    }

    /// The item as it stands after the writes planned so far.
    pub(super) fn current(&self, id: &ItemId) -> Option<&Current> {
        self.current.get(id).and_then(Option::as_ref)
    }

    pub(super) fn set_current(&mut self, id: ItemId, current: Option<Current>) {
        self.current.insert(id, current);
    }

    /// The version of the next write.
    pub(super) fn next_version(&mut self) -> u64 {
        self.counters.version += 1;
        self.counters.version
    }

    /// The internal id of the next item.
    pub(super) fn next_internal(&mut self) -> u64 {
        self.counters.next_internal += 1;
        self.counters.next_internal - 1
    }

    /// Counts one use of a picture more.
    pub(super) fn use_media(&mut self, hash: [u8; 32], data: &Bytes) {
        let entry = self.media.entry(hash).or_default();
        entry.delta += 1;
        if entry.data.is_none() {
            entry.data = Some(data.clone());
            self.media_bytes += data.len();
        }
    }

    /// Counts the uses that a record makes of its pictures no more.
    pub(super) fn release_media(&mut self, record: &ItemRecord) {
        for media in record.media.iter().filter(|media| media.is_kept) {
            self.media.entry(media.info.hash).or_default().delta -= 1;
        }
    }

    /// Removes an item's record and vectors; its id is up to the caller.
    pub(super) fn remove(&mut self, current: &Current) {
        let (collection, internal) = (self.collection(), current.internal);
        self.batch.delete_item(collection, internal);
        for &slot in &current.record.vectors {
            self.batch.delete_vector(collection, internal, slot);
        }
        self.release_media(&current.record);
        self.index_payload(internal, Some(&current.record.head.payload), None);
        if self.changes.added.remove(&internal).is_none() {
            self.changes.removed.push(internal);
        }
    }

    /// Puts an item's payload in the place of another in every payload index; `None` is that of an item that is not there.
    pub(super) fn index_payload(&mut self, internal: u64, before: Option<&Payload>, after: Option<&Payload>) {
        let changes = PayloadEntries::of(&self.schema.payload_indexes, internal, before, after);
        changes.iter().for_each(|change| change.put(&mut self.batch, self.inner.id));
        self.changes.entries.extend(changes);
    }

    /// True if the plan should be committed before it grows.
    pub(super) fn is_full(&self) -> bool {
        self.batch.bytes() + self.media_bytes >= BATCH_BYTES
    }

    /// Commits what was planned and begins anew; the items stay known.
    ///
    /// # Errors
    /// As [`crate::store::Store::commit`]; nothing of the plan is written then.
    pub(super) fn commit(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.put_media()?;
        self.batch.put_counters(self.inner.id, self.counters);
        let batch = std::mem::replace(&mut self.batch, self.inner.store.batch());
        let changes = std::mem::take(&mut self.changes);
        self.inner.commit_changes(batch, changes, self.counters)
    }

    fn put_media(&mut self) -> Result<()> {
        self.media_bytes = 0;
        let uses: Vec<_> = self.media.drain().collect();
        let hashes: Vec<_> = uses.iter().map(|(hash, _)| *hash).collect();
        let stored = self.inner.store.snapshot().media_counts(self.inner.id, &hashes)?;
        for ((hash, MediaUse { delta, data }), stored) in uses.into_iter().zip(stored) {
            let count = stored.checked_add_signed(delta).ok_or_else(|| {
                Error::Corruption(format!("a picture is counted {stored} times and changes by {delta}"))
            })?;
            if count == 0 && stored == 0 {
                continue;
            }
            if let (0, Some(data)) = (stored, &data) {
                self.batch.put_media(self.inner.id, &hash, data);
            }
            if count != stored {
                self.batch.put_media_count(self.inner.id, &hash, count);
            }
        }
        Ok(())
    }
}

fn read_current<'i>(
    snapshot: &Snapshot<'_>,
    collection: u32,
    ids: impl Iterator<Item = &'i ItemId>,
) -> Result<HashMap<ItemId, Option<Current>>> {
    let mut current: HashMap<ItemId, Option<Current>> = ids.map(|id| (id.clone(), None)).collect();
    let internals = snapshot.internal_ids(collection, current.keys())?;
    let found: Vec<u64> = internals.iter().flatten().copied().collect();
    let mut records = snapshot.records(collection, &found)?.into_iter();
    for ((id, entry), internal) in current.iter_mut().zip(internals) {
        if let Some(internal) = internal {
            let record = records.next().flatten();
            let record = record.ok_or_else(|| Error::Corruption(format!("item {id} has an id but no record")))?;
            *entry = Some(Current { internal, record });
        }
    }
    Ok(current)
}
