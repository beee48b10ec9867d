//! Walks over a whole collection.

use super::families::Family;
use super::keys;
use super::record::{ItemRecord, RecordHead};
use super::snapshot::{Snapshot, damaged, decode_vector};
use crate::Result;
use crate::types::ItemId;
use crate::types::payload_index::Entry;
use crate::types::vector::UnitVector;

/// Item ids in their order, with their internal ids.
pub type IdScan<'s> = Box<dyn Iterator<Item = Result<(ItemId, u64)>> + 's>;
/// Internal ids in their order, with `T` read from the record.
pub type ItemScan<'s, T> = Box<dyn Iterator<Item = Result<(u64, T)>> + 's>;
/// Entries of a payload index in their order, with their items' internal ids.
pub type EntryScan<'s> = Box<dyn Iterator<Item = Result<(Entry, u64)>> + 's>;
/// Internal ids and part numbers in their order, with their vectors.
pub type VectorScan<'s> = Box<dyn Iterator<Item = Result<(u64, u32, UnitVector)>> + 's>;

impl Snapshot<'_> {
    /// The ids after `after`, or all.
    pub fn scan_ids(&self, collection: u32, after: Option<&ItemId>) -> IdScan<'_> {
        let prefix = keys::collection(collection);
        let from = after.map_or_else(|| prefix.clone(), |id| keys::after_id(collection, id));
        Box::new(self.view.scan(Family::Ids, &prefix, &from, false).map(|entry| {
            let (key, value) = entry?;
            let id = std::str::from_utf8(&key[4..]).ok().and_then(|text| ItemId::new(text).ok());
            id.zip(keys::u64_at(&value, 0)).ok_or_else(|| damaged("an id"))
        }))
    }

    /// Id, version and payload of every item.
    pub fn scan_heads(&self, collection: u32) -> ItemScan<'_, RecordHead> {
        self.scan_items(collection, 0, RecordHead::decode)
    }

    /// As [`Snapshot::scan_heads`], from an internal id on.
    pub fn scan_heads_from(&self, collection: u32, from: u64) -> ItemScan<'_, RecordHead> {
        self.scan_items(collection, from, RecordHead::decode)
    }

    /// Every item's record.
    pub fn scan_records(&self, collection: u32) -> ItemScan<'_, ItemRecord> {
        self.scan_items(collection, 0, ItemRecord::decode)
    }

    fn scan_items<T: 'static>(&self, collection: u32, from: u64, read: fn(&[u8]) -> Result<T>) -> ItemScan<'_, T> {
        let from = keys::item(collection, from);
        Box::new(self.view.scan(Family::Items, &keys::collection(collection), &from, true).map(move |entry| {
            let (key, value) = entry?;
            Ok((keys::u64_at(&key, 4).ok_or_else(|| damaged("an item's key"))?, read(&value)?))
        }))
    }

    /// Every vector of a field's generation.
    pub fn scan_vectors(&self, collection: u32, field: u32, generation: u32) -> VectorScan<'_> {
        let prefix = keys::generation(collection, field, generation);
        Box::new(self.view.scan(Family::Vectors, &prefix, &[], true).map(|entry| {
            let (key, value) = entry?;
            let numbers = keys::u64_at(&key, 12).zip(keys::u32_at(&key, 20));
            let (internal, part) = numbers.ok_or_else(|| damaged("a vector's key"))?;
            Ok((internal, part, decode_vector(&value)?))
        }))
    }

    /// Every entry of a payload index.
    pub fn scan_payload_index(&self, collection: u32, index: u32) -> EntryScan<'_> {
        let prefix = keys::payload_index(collection, index);
        Box::new(self.view.scan(Family::PayloadIndexes, &prefix, &[], true).map(|entry| {
            let (key, _) = entry?;
            let body = key.get(8..key.len().saturating_sub(8)).and_then(Entry::from_bytes);
            let internal = key.len().checked_sub(8).and_then(|at| keys::u64_at(&key, at));
            body.zip(internal).ok_or_else(|| damaged("an entry of a payload index"))
        }))
    }
}
