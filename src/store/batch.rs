//! One atomic write.

use rocksdb::WriteBatch;

use super::bulk::BulkVectors;
use super::families::Family;
use super::keys;
use super::record::{Counters, ItemRecord, VectorSlot};
use super::rocks::Database;
use crate::Result;
use crate::types::ItemId;
use crate::types::payload_index::Entry;
use crate::types::vector::UnitVector;

/// Changes that are applied together or not at all; a later change of a key beats an earlier one.
pub struct Batch<'a> {
    database: &'a Database,
    batch: WriteBatch,
    bulk: BulkVectors,
}

impl<'a> Batch<'a> {
    pub(super) fn new(database: &'a Database) -> Self {
        Self { database, batch: WriteBatch::default(), bulk: BulkVectors::default() }
    }

    /// What is written first, and then the rest.
    pub(super) fn into_parts(self) -> (BulkVectors, WriteBatch) {
        (self.bulk, self.batch)
    }

    /// Bytes that the batch would write.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batch.size_in_bytes() + self.bulk.bytes()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.bulk.is_empty()
    }

    /// Stores a collection's description as its owner wrote it.
    pub fn put_schema(&mut self, collection: u32, json: &[u8]) {
        self.put(Family::Collections, &keys::schema(collection), json);
    }

    pub fn put_counters(&mut self, collection: u32, counters: Counters) {
        self.put(Family::Collections, &keys::counters(collection), &counters.encode());
    }

    pub fn put_alias(&mut self, alias: &str, collection: u32) {
        self.put(Family::Collections, &keys::alias(alias), &collection.to_be_bytes());
    }

    pub fn delete_alias(&mut self, alias: &str) {
        self.delete(Family::Collections, &keys::alias(alias));
    }

    pub fn put_id(&mut self, collection: u32, id: &ItemId, internal: u64) {
        self.put(Family::Ids, &keys::id(collection, id), &internal.to_be_bytes());
    }

    pub fn delete_id(&mut self, collection: u32, id: &ItemId) {
        self.delete(Family::Ids, &keys::id(collection, id));
    }

    /// # Errors
    /// [`crate::Error::Internal`] if the record cannot be written, which no accepted item causes.
    pub fn put_item(&mut self, collection: u32, internal: u64, record: &ItemRecord) -> Result<()> {
        self.put(Family::Items, &keys::item(collection, internal), &record.encode()?);
        Ok(())
    }

    pub fn delete_item(&mut self, collection: u32, internal: u64) {
        self.delete(Family::Items, &keys::item(collection, internal));
    }

    pub fn put_vector(&mut self, collection: u32, internal: u64, slot: VectorSlot, vector: &UnitVector) {
        self.put(Family::Vectors, &vector_key(collection, internal, slot), &vector_bytes(vector));
    }

    /// As [`Batch::put_vector`], for an item that is new with this batch: its vectors may go past the log. They are written before the rest of
    /// the batch, so any other change of the key beats this one.
    pub fn put_bulk_vector(&mut self, collection: u32, internal: u64, slot: VectorSlot, vector: &UnitVector) {
        self.bulk.push(vector_key(collection, internal, slot), vector_bytes(vector));
    }

    pub fn delete_vector(&mut self, collection: u32, internal: u64, slot: VectorSlot) {
        self.delete(Family::Vectors, &vector_key(collection, internal, slot));
    }

    pub fn put_media(&mut self, collection: u32, hash: &[u8; 32], bytes: &[u8]) {
        self.put(Family::Media, &keys::media(collection, hash), bytes);
    }

    /// Sets how many items use a picture; at 0 its bytes go too.
    pub fn put_media_count(&mut self, collection: u32, hash: &[u8; 32], count: u64) {
        let key = keys::media(collection, hash);
        if count > 0 {
            return self.put(Family::MediaRefs, &key, &count.to_be_bytes());
        }
        self.delete(Family::MediaRefs, &key);
        self.delete(Family::Media, &key);
    }

    /// Removes all vectors of a field.
    pub fn delete_field_vectors(&mut self, collection: u32, field: u32) {
        self.delete_prefix(Family::Vectors, &keys::field(collection, field));
    }

    /// Removes all vectors of a field's generation.
    pub fn delete_generation_vectors(&mut self, collection: u32, field: u32, generation: u32) {
        self.delete_prefix(Family::Vectors, &keys::generation(collection, field, generation));
    }

    /// Says that an item has an entry in a payload index.
    pub fn put_payload_entry(&mut self, collection: u32, index: u32, entry: &Entry, internal: u64) {
        let key = keys::payload_entry(collection, index, &entry.to_bytes(), internal);
        self.put(Family::PayloadIndexes, &key, &[]);
    }

    pub fn delete_payload_entry(&mut self, collection: u32, index: u32, entry: &Entry, internal: u64) {
        self.delete(Family::PayloadIndexes, &keys::payload_entry(collection, index, &entry.to_bytes(), internal));
    }

    /// Removes a payload index.
    pub fn delete_payload_index(&mut self, collection: u32, index: u32) {
        self.delete_prefix(Family::PayloadIndexes, &keys::payload_index(collection, index));
    }

    /// Removes everything of a collection but its aliases.
    pub fn delete_collection(&mut self, collection: u32) {
        let families =
            [Family::Ids, Family::Items, Family::Vectors, Family::Media, Family::MediaRefs, Family::PayloadIndexes];
        for family in families {
            self.delete_prefix(family, &keys::collection(collection));
        }
        self.delete(Family::Collections, &keys::schema(collection));
        self.delete(Family::Collections, &keys::counters(collection));
    }

    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.batch.put_cf(self.database.handle(family), key, value);
    }

    fn delete(&mut self, family: Family, key: &[u8]) {
        self.batch.delete_cf(self.database.handle(family), key);
    }

    fn delete_prefix(&mut self, family: Family, prefix: &[u8]) {
        let end = keys::end_of(prefix).expect("collection numbers start at 1 and never reach 2^32 - 1");
        self.batch.delete_range_cf(self.database.handle(family), prefix.to_vec(), end);
    }
}

fn vector_bytes(vector: &UnitVector) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + 4 * vector.values.len());
    bytes.extend_from_slice(&vector.norm.to_le_bytes());
    vector.values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes
}

fn vector_key(collection: u32, internal: u64, slot: VectorSlot) -> Vec<u8> {
    keys::vector(collection, slot.field, slot.generation, internal, slot.part)
}
