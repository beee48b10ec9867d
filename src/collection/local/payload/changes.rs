//! What a batch changes in payload indexes.

use super::indexes::PayloadIndexes;
use crate::collection::schema::PayloadIndex;
use crate::store::Batch;
use crate::types::Payload;
use crate::types::payload_index::{Entries, entries_of};

/// An item's entries in one index, before and after a write.
pub(in crate::collection::local) struct PayloadEntries {
    index: u32,
    item: u64,
    before: Entries,
    after: Entries,
}

impl PayloadEntries {
    /// Compares two payloads of an item in every index; a missing payload is that of an item that is not there.
    pub(in crate::collection::local) fn of(
        indexes: &[PayloadIndex],
        item: u64,
        before: Option<&Payload>,
        after: Option<&Payload>,
    ) -> Vec<Self> {
        let entries = |index: &PayloadIndex, payload: Option<&Payload>| {
            payload.map_or_else(Entries::default, |payload| entries_of(&index.spec, payload))
        };
        let of = |index: &PayloadIndex| Self {
            index: index.id,
            item,
            before: entries(index, before),
            after: entries(index, after),
        };
        indexes.iter().map(of).filter(|change| change.before != change.after).collect()
    }

    /// Writes what differs.
    pub(in crate::collection::local) fn put(&self, batch: &mut Batch<'_>, collection: u32) {
        let (before, after): (Vec<_>, Vec<_>) = (self.before.iter().collect(), self.after.iter().collect());
        for entry in before.iter().filter(|entry| after.binary_search(entry).is_err()) {
            batch.delete_payload_entry(collection, self.index, entry, self.item);
        }
        for entry in after.iter().filter(|entry| before.binary_search(entry).is_err()) {
            batch.put_payload_entry(collection, self.index, entry, self.item);
        }
    }

    pub(super) fn apply(&self, indexes: &mut PayloadIndexes) {
        if let Some(index) = indexes.index_mut(self.index) {
            index.remove(&self.before, self.item);
            index.insert(&self.after, self.item);
        }
    }
}
