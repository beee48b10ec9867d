//! Reads of the store as of one moment.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::families::Family;
use super::keys;
use super::record::{Counters, ItemRecord, VectorSlot};
use super::rocks::View;
use crate::types::ItemId;
use crate::types::vector::UnitVector;
use crate::{Error, Result};

/// The store as of one moment; later writes are invisible. Every read blocks.
pub struct Snapshot<'a> {
    pub(super) view: View<'a>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(view: View<'a>) -> Self {
        Self { view }
    }

    /// Every collection's number with its description, as its owner wrote it.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn schemas(&self) -> Result<Vec<(u32, Box<[u8]>)>> {
        let entries = self.view.scan(Family::Collections, keys::SCHEMAS, &[], false);
        entries
            .map(|entry| {
                let (key, json) = entry?;
                Ok((keys::u32_at(&key, 1).ok_or_else(|| damaged("a collection's key"))?, json))
            })
            .collect()
    }

    /// Collection numbers by alias.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn aliases(&self) -> Result<BTreeMap<String, u32>> {
        let entries = self.view.scan(Family::Collections, keys::ALIASES, &[], false);
        entries
            .map(|entry| {
                let (key, value) = entry?;
                let alias = std::str::from_utf8(&key[1..]).map_err(|_| damaged("an alias"))?;
                Ok((alias.to_owned(), keys::u32_at(&value, 0).ok_or_else(|| damaged("an alias"))?))
            })
            .collect()
    }

    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn counters(&self, collection: u32) -> Result<Counters> {
        let stored = self.view.get(Family::Collections, &keys::counters(collection))?;
        Counters::decode(&stored.ok_or_else(|| damaged("a collection without counters"))?)
    }

    /// The internal ids of items; `None` for an id that is not stored.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn internal_ids<'i>(
        &self,
        collection: u32,
        ids: impl IntoIterator<Item = &'i ItemId>,
    ) -> Result<Vec<Option<u64>>> {
        let keys: Vec<_> = ids.into_iter().map(|id| keys::id(collection, id)).collect();
        self.view.multi_get(Family::Ids, &keys, |value| keys::u64_at(value, 0).ok_or_else(|| damaged("an id")))
    }

    /// The records of internal ids; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn records(&self, collection: u32, internals: &[u64]) -> Result<Vec<Option<ItemRecord>>> {
        let keys: Vec<_> = internals.iter().map(|&internal| keys::item(collection, internal)).collect();
        self.view.multi_get(Family::Items, &keys, ItemRecord::decode)
    }

    /// As [`Snapshot::records`], with the bytes that each takes on the disk.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn sized_records(&self, collection: u32, internals: &[u64]) -> Result<Vec<Option<(ItemRecord, usize)>>> {
        let keys: Vec<_> = internals.iter().map(|&internal| keys::item(collection, internal)).collect();
        self.view.multi_get(Family::Items, &keys, |bytes| Ok((ItemRecord::decode(bytes)?, bytes.len())))
    }

    /// Vectors by item and slot; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn vectors(&self, collection: u32, slots: &[(u64, VectorSlot)]) -> Result<Vec<Option<UnitVector>>> {
        let key = |&(internal, slot): &(u64, VectorSlot)| {
            keys::vector(collection, slot.field, slot.generation, internal, slot.part)
        };
        let keys: Vec<_> = slots.iter().map(key).collect();
        self.view.multi_get(Family::Vectors, &keys, decode_vector)
    }

    /// A picture's bytes.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn media(&self, collection: u32, hash: &[u8; 32]) -> Result<Option<Bytes>> {
        self.view.get(Family::Media, &keys::media(collection, hash))
    }

    /// How many items use each picture.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn media_counts(&self, collection: u32, hashes: &[[u8; 32]]) -> Result<Vec<u64>> {
        let keys: Vec<_> = hashes.iter().map(|hash| keys::media(collection, hash)).collect();
        let read = |value: &[u8]| keys::u64_at(value, 0).ok_or_else(|| damaged("a media count"));
        let counts = self.view.multi_get(Family::MediaRefs, &keys, read)?;
        Ok(counts.into_iter().map(|count| count.unwrap_or(0)).collect())
    }
}

/// Reads a stored vector: the norm, then the values.
pub(super) fn decode_vector(bytes: &[u8]) -> Result<UnitVector> {
    let mut numbers = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    match numbers.next() {
        Some(norm) if bytes.len().is_multiple_of(4) => Ok(UnitVector { norm, values: numbers.collect() }),
        _ => Err(damaged("a vector")),
    }
}

pub(super) fn damaged(what: &str) -> Error {
    Error::Corruption(format!("{what} cannot be read"))
}
