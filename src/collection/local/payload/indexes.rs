//! All indexes on a collection's payloads.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::changes::PayloadEntries;
use super::kept::KeptFilters;
use super::value_index::ValueIndex;
use crate::Result;
use crate::collection::schema::CollectionSchema;
use crate::store::Snapshot;
use crate::types::filter::Path;
use crate::types::payload_index::{PayloadIndexSpec, PayloadKind};

/// The payload indexes as of the state that they are part of.
#[derive(Default)]
pub(in crate::collection::local) struct PayloadIndexes {
    /// Every item.
    all: RoaringTreemap,
    by_id: BTreeMap<u32, ValueIndex>,
    pub(super) kept: KeptFilters,
}

impl PayloadIndexes {
    /// Reads every index of a collection; `items` are the internal ids of all items.
    ///
    /// # Errors
    /// [`crate::Error::Storage`], [`crate::Error::Corruption`].
    pub(in crate::collection::local) fn load(
        snapshot: &Snapshot<'_>,
        schema: &CollectionSchema,
        items: impl Iterator<Item = u64>,
    ) -> Result<Self> {
        let load = |index: &crate::collection::schema::PayloadIndex| {
            let entries = snapshot.scan_payload_index(schema.id, index.id);
            Ok((index.id, ValueIndex::load(index.spec.clone(), entries)?))
        };
        let by_id = schema.payload_indexes.iter().map(load).collect::<Result<_>>()?;
        Ok(Self { all: items.collect(), by_id, kept: KeptFilters::default() })
    }

    /// The internal ids of all items.
    pub(in crate::collection::local) fn all(&self) -> &RoaringTreemap {
        &self.all
    }

    pub(in crate::collection::local) fn index(&self, id: u32) -> Option<&ValueIndex> {
        self.by_id.get(&id)
    }

    pub(super) fn index_mut(&mut self, id: u32) -> Option<&mut ValueIndex> {
        self.kept.forget();
        self.by_id.get_mut(&id)
    }

    /// The complete index of a path and kind.
    pub(in crate::collection::local) fn find(
        &self,
        schema: &CollectionSchema,
        path: &Path,
        kind: PayloadKind,
    ) -> Option<&ValueIndex> {
        let index = schema.ready_payload_indexes().find(|index| index.spec.is_for(path, kind))?;
        self.by_id.get(&index.id)
    }

    /// Any complete index of a path.
    pub(in crate::collection::local) fn find_any(&self, schema: &CollectionSchema, path: &Path) -> Option<&ValueIndex> {
        let index = schema.ready_payload_indexes().find(|index| index.spec.path == *path)?;
        self.by_id.get(&index.id)
    }

    pub(in crate::collection::local) fn add(&mut self, id: u32, spec: PayloadIndexSpec) {
        self.kept.forget();
        self.by_id.insert(id, ValueIndex::new(spec));
    }

    pub(in crate::collection::local) fn drop_index(&mut self, id: u32) {
        self.kept.forget();
        self.by_id.remove(&id);
    }

    /// Takes over what a batch has written.
    pub(in crate::collection::local) fn apply(
        &mut self,
        removed: &[u64],
        added: impl Iterator<Item = u64>,
        entries: &[PayloadEntries],
    ) {
        self.kept.forget();
        removed.iter().for_each(|&item| _ = self.all.remove(item));
        self.all.extend(added);
        entries.iter().for_each(|change| change.apply(self));
    }
}
