//! What a collection holds in memory.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::payload::PayloadIndexes;
use super::payload_changes::PayloadChanges;
use super::plan::Changes;
use crate::collection::schema::CollectionSchema;
use crate::index::{Among, Candidates, SegmentedIndex, VectorIndex, VectorKey};
use crate::store::{Counters, VectorSlot};
use crate::types::ItemId;

/// Names a field's generation by number.
pub(super) type GenerationKey = (u32, u32);

pub(super) struct State {
    pub(super) schema: Arc<CollectionSchema>,
    /// Every item's id by its internal id: counts items and orders equal scores.
    pub(super) names: HashMap<u64, ItemId>,
    pub(super) indexes: BTreeMap<GenerationKey, SegmentedIndex>,
    /// As of the newest write that is in the index.
    pub(super) counters: Counters,
    pub(super) payload_changes: PayloadChanges,
    pub(super) payloads: PayloadIndexes,
    pub(super) is_dropped: bool,
}

impl State {
    /// Brings the memory to where the store is after a batch.
    pub(super) fn apply(&mut self, changes: Changes, counters: Counters) {
        for internal in &changes.removed {
            self.names.remove(internal);
        }
        let mut additions: BTreeMap<GenerationKey, Vec<(VectorKey, &[f32])>> = BTreeMap::new();
        let mut deferred: BTreeMap<GenerationKey, Vec<VectorKey>> = BTreeMap::new();
        for (&item, added) in &changes.added {
            let key = |slot: &VectorSlot| VectorKey { item, part: slot.part };
            for (slot, values) in &added.vectors {
                additions.entry((slot.field, slot.generation)).or_default().push((key(slot), values));
            }
            for slot in &added.deferred {
                deferred.entry((slot.field, slot.generation)).or_default().push(key(slot));
            }
        }
        for (generation, index) in &mut self.indexes {
            index.remove(&changes.removed);
            if let Some(vectors) = additions.get(generation) {
                index.insert(vectors);
            }
            if let Some(keys) = deferred.remove(generation) {
                index.defer(keys);
            }
        }
        drop(additions);
        self.payloads.apply(&changes.removed, changes.added.keys().copied(), &changes.entries);
        self.names.extend(changes.added.into_iter().map(|(internal, item)| (internal, item.id)));
        for (version, internal) in changes.payloads {
            self.payload_changes.note(version, internal);
        }
        self.counters = counters;
    }
}

/// Which items one query may find: all but the excluded ones, or only some.
pub(super) struct Eligible<'a> {
    pub(super) names: &'a HashMap<u64, ItemId>,
    pub(super) excluded: HashSet<&'a ItemId>,
    pub(super) among: Option<Among<'a>>,
}

impl Candidates for Eligible<'_> {
    fn accepts(&self, item: u64) -> bool {
        let is_excluded = || self.names.get(&item).is_some_and(|id| self.excluded.contains(id));
        self.among.is_none_or(|among| among.items.contains(item)) && (self.excluded.is_empty() || !is_excluded())
    }

    fn among(&self) -> Option<Among<'_>> {
        self.among
    }

    fn compare(&self, a: u64, b: u64) -> Ordering {
        self.names.get(&a).cmp(&self.names.get(&b))
    }
}
