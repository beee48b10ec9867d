//! Plans the write of one item.

use super::plan::{AddedItem, Current, Plan};
use crate::collection::backend::{
    Indexing, ItemWrite, PayloadChange, PayloadWrite, UpsertMode, WriteAck, WriteOutcome,
};
use crate::collection::schema::{CollectionSchema, Field};
use crate::store::{ItemRecord, MediaRecord, RecordHead, VectorSlot};
use crate::types::filter::{Filter, Mismatches, matches};
use crate::types::limits::PARTS_PER_ITEM;
use crate::types::value::check_payload;
use crate::types::{ItemId, Payload};
use crate::{Error, Result};

impl Plan<'_> {
    /// Plans an upsert; an error leaves the plan as it was.
    pub(super) fn upsert(&mut self, write: ItemWrite) -> Result<WriteAck> {
        let slots = check_write(&self.schema, &write)?;
        let stored = self.current(&write.id);
        check_mode(&write, stored.is_some())?;
        check_version(&write.id, write.if_version, stored)?;
        if let Some(current) = stored.filter(|current| is_unchanged(&self.schema, &current.record, &write, &slots)) {
            return Ok(WriteAck { version: current.record.head.version, outcome: WriteOutcome::Unchanged });
        }
        let stored = stored.cloned();
        let version = self.next_version();
        let outcome = if stored.is_some() { WriteOutcome::Updated } else { WriteOutcome::Created };
        for media in &write.media {
            if let Some(data) = &media.data {
                self.use_media(media.info.hash, data);
            }
        }
        let kept = stored.as_ref().filter(|current| has_same_parts(&self.schema, &current.record, &write, &slots));
        let internal = match (kept, &stored) {
            (Some(current), _) => {
                self.release_media(&current.record);
                self.index_payload(current.internal, Some(&current.record.head.payload), Some(&write.payload));
                self.changes.payloads.push((version, current.internal));
                current.internal
            }
            (None, stored) => {
                if let Some(current) = stored {
                    self.remove(current);
                }
                self.add_item(&write, &slots)
            }
        };
        // What is kept in place keeps its slots too, those of dropped fields included.
        let vectors =
            kept.map_or_else(|| slots.iter().map(|(slot, _)| *slot).collect(), |kept| kept.record.vectors.clone());
        let media = write.media.into_iter();
        let record = ItemRecord {
            head: RecordHead { id: write.id.clone(), version, payload: write.payload },
            media: media.map(|media| MediaRecord { info: media.info, is_kept: media.data.is_some() }).collect(),
            texts: write.texts,
            parts: write.parts,
            vectors,
        };
        self.batch.put_item(self.collection(), internal, &record)?;
        self.set_current(write.id, Some(Current { internal, record }));
        Ok(WriteAck { version, outcome })
    }

    /// Gives an item a new internal id and its vectors to store and index.
    fn add_item(&mut self, write: &ItemWrite, slots: &[(VectorSlot, usize)]) -> u64 {
        let internal = self.next_internal();
        let collection = self.collection();
        self.batch.put_id(collection, &write.id, internal);
        let mut added = AddedItem { id: write.id.clone(), vectors: Vec::new(), deferred: Vec::new() };
        for &(slot, position) in slots {
            let vector = &write.vectors[position].vector;
            match write.indexing {
                Indexing::AtOnce => {
                    self.batch.put_vector(collection, internal, slot, vector);
                    added.vectors.push((slot, vector.values.clone()));
                }
                Indexing::Deferred => {
                    self.batch.put_bulk_vector(collection, internal, slot, vector);
                    added.deferred.push(slot);
                }
            }
        }
        self.index_payload(internal, None, Some(&write.payload));
        self.changes.added.insert(internal, added);
        internal
    }

    /// Plans a delete; `None` if the item is not stored, or does not satisfy what it must.
    pub(super) fn delete(&mut self, id: ItemId, only_if: Option<&Filter>) -> Option<u64> {
        let satisfies = |current: &&Current| {
            only_if.is_none_or(|filter| matches(filter, &current.record.head.payload, &mut Mismatches::default()))
        };
        let current = self.current(&id).filter(satisfies)?.clone();
        let version = self.next_version();
        self.batch.delete_id(self.collection(), &id);
        self.remove(&current);
        self.set_current(id, None);
        Some(version)
    }

    /// Plans a change of payload; an error leaves the plan as it was.
    pub(super) fn set_payload(&mut self, write: PayloadWrite) -> Result<WriteAck> {
        let stored = self.current(&write.id);
        let current = stored.ok_or_else(|| Error::NotFound { kind: "item", name: write.id.as_str().to_owned() })?;
        check_version(&write.id, write.if_version, stored)?;
        let payload = changed_payload(&current.record.head.payload, &write.change);
        check_payload(&payload)?;
        if payload == current.record.head.payload {
            return Ok(WriteAck { version: current.record.head.version, outcome: WriteOutcome::Unchanged });
        }
        let mut current = current.clone();
        let version = self.next_version();
        self.index_payload(current.internal, Some(&current.record.head.payload), Some(&payload));
        current.record.head.version = version;
        current.record.head.payload = payload;
        self.batch.put_item(self.collection(), current.internal, &current.record)?;
        self.changes.payloads.push((version, current.internal));
        self.set_current(write.id, Some(current));
        Ok(WriteAck { version, outcome: WriteOutcome::Updated })
    }
}

fn changed_payload(stored: &Payload, change: &PayloadChange) -> Payload {
    match change {
        PayloadChange::Replace(payload) => payload.clone(),
        PayloadChange::Merge { set, remove } => {
            let mut payload = stored.clone();
            payload.retain(|key, _| !remove.contains(key));
            payload.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
            payload
        }
    }
}

fn check_mode(write: &ItemWrite, is_stored: bool) -> Result<()> {
    let name = || write.id.as_str().to_owned();
    match (write.mode, is_stored) {
        (UpsertMode::Insert, true) => Err(Error::AlreadyExists { kind: "item", name: name() }),
        (UpsertMode::Update, false) => Err(Error::NotFound { kind: "item", name: name() }),
        _ => Ok(()),
    }
}

fn check_version(id: &ItemId, expected: Option<u64>, stored: Option<&Current>) -> Result<()> {
    let found = stored.map_or(0, |current| current.record.head.version);
    match expected {
        Some(expected) if expected != found => {
            Err(Error::VersionMismatch { id: id.as_str().to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

/// Accepts an upsert; returns its vectors' slots in order, each with the vector's position.
fn check_write(schema: &CollectionSchema, write: &ItemWrite) -> Result<Vec<(VectorSlot, usize)>> {
    check_payload(&write.payload)?;
    PARTS_PER_ITEM.check("parts", write.parts.len())?;
    let mut slots = Vec::with_capacity(write.vectors.len());
    for (position, vector) in write.vectors.iter().enumerate() {
        let name = || format!("vectors[{position}]");
        let changed = || Error::SchemaChanged { collection: schema.name.clone() };
        let field = schema.fields.iter().find(|field| field.name == vector.field).ok_or_else(changed)?;
        let generation = field.generation(vector.generation).map_err(|_| changed())?;
        let (expected, found) = (generation.dimension as usize, vector.vector.values.len());
        if expected != found {
            return Err(Error::invalid(name(), format!("field {} has {expected} numbers, got {found}", field.name)));
        }
        if vector.vector.values.iter().any(|value| !value.is_finite()) {
            return Err(Error::invalid(name(), "every number must be finite"));
        }
        let part = write.parts.iter().position(|(part, _)| *part == vector.part);
        let part = part.filter(|_| field.source.takes(&field.name, &vector.part)).ok_or_else(|| {
            Error::invalid(name(), format!("field {} takes no part {:?} of this item", field.name, vector.part))
        })?;
        slots.push((VectorSlot { field: field.id, generation: generation.number, part: part as u32 }, position));
    }
    slots.sort_unstable();
    match slots.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Error::invalid(format!("vectors[{}]", pair[1].1), "this part has a vector already")),
        None if slots.len() < vectors_of(schema, write) => {
            Err(Error::SchemaChanged { collection: schema.name.clone() })
        }
        None => Ok(slots),
    }
}

/// How many vectors a write needs, so that every part is in every generation that takes it.
fn vectors_of(schema: &CollectionSchema, write: &ItemWrite) -> usize {
    let taken = |field: &Field| write.parts.iter().filter(|(part, _)| field.source.takes(&field.name, part)).count();
    schema.fields.iter().map(|field| taken(field) * field.generations.len()).sum()
}

fn is_unchanged(
    schema: &CollectionSchema,
    record: &ItemRecord,
    write: &ItemWrite,
    slots: &[(VectorSlot, usize)],
) -> bool {
    let media = record.media.iter().zip(&write.media);
    record.head.payload == write.payload
        && has_same_parts(schema, record, write, slots)
        && media.into_iter().all(|(stored, new)| stored.info == new.info && stored.is_kept == new.data.is_some())
}

/// True if the stored vectors stay right: same contents, same vectors in every generation that still exists.
fn has_same_parts(
    schema: &CollectionSchema,
    record: &ItemRecord,
    write: &ItemWrite,
    slots: &[(VectorSlot, usize)],
) -> bool {
    let is_live = |slot: &&VectorSlot| schema.field_of(slot.field, slot.generation).is_some();
    record.parts == write.parts
        && record.texts == write.texts
        && record.media.iter().map(|media| media.info.hash).eq(write.media.iter().map(|media| media.info.hash))
        && record.vectors.iter().filter(is_live).eq(slots.iter().map(|(slot, _)| slot))
}
