//! The path of a write: check → reuse → encode → store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::item::{CheckedItem, NewItem};
use crate::collection::backend::{
    CollectionBackend, ContentHash, Durability, ItemWrite, PartVector, Selection, StoredItem, UpsertMode, WriteAck,
};
use crate::collection::schema::{CollectionSchema, FieldSource, Generation, GenerationState};
use crate::encode::{EncoderRegistry, Role};
use crate::types::limits::UPSERT_ITEMS;
use crate::types::vector::UnitVector;
use crate::types::{Error, PartRef, Result};

/// Where an upsert's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteTimings {
    pub encode: Duration,
    pub store: Duration,
    pub total: Duration,
    /// Texts and pictures that had to be encoded.
    pub encoded_parts: u32,
}

/// An upsert's answer, one result for each item, in order.
#[derive(Clone, Debug)]
pub struct Upserted {
    pub results: Vec<Result<WriteAck>>,
    pub timings: WriteTimings,
}

/// Stores items. A bad item gets its own error; an error for the whole call means that nothing was stored.
///
/// # Errors
/// [`Error::LimitExceeded`], [`Error::Overloaded`], [`Error::DeadlineExceeded`], whatever the encoder or the store reports.
pub async fn upsert(
    backend: &Arc<dyn CollectionBackend>,
    encoders: &EncoderRegistry,
    items: Vec<Result<NewItem>>,
    mode: UpsertMode,
    durability: Durability,
    deadline: Option<Instant>,
) -> Result<Upserted> {
    UPSERT_ITEMS.check("items", items.len())?;
    let started = Instant::now();
    let schema = backend.schema();

    // Hashing and header checks are work for a blocking thread.
    let checked: Vec<Result<CheckedItem>> = {
        let schema = Arc::clone(&schema);
        tokio::task::spawn_blocking(move || {
            items.into_iter().map(|item| item.and_then(|item| item.check(&schema))).collect()
        })
        .await
        .map_err(|error| Error::Internal(format!("checking items failed: {error}")))?
    };

    let stored = stored_vectors(backend, &schema, &checked).await?;
    let encode_started = Instant::now();
    let encoded = encode_missing(encoders, &schema, &checked, &stored, deadline).await?;
    let encode = encode_started.elapsed();
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return Err(Error::DeadlineExceeded { what: "encoding" });
    }

    let store_started = Instant::now();
    let mut writes = Vec::with_capacity(checked.len());
    let mut results = Vec::with_capacity(checked.len());
    let mut positions = Vec::with_capacity(checked.len());
    let encoded_parts = encoded.values().map(|vectors| vectors.len() as u32).sum();
    for item in checked {
        match item.and_then(|item| with_vectors(item, &schema, &stored, &encoded, mode)) {
            Ok(write) => {
                positions.push(results.len());
                writes.push(write);
                results.push(Err(Error::Internal("no answer from the store".to_owned())));
            }
            Err(error) => results.push(Err(error)),
        }
    }
    if !writes.is_empty() {
        for (position, ack) in positions.into_iter().zip(backend.upsert(writes, durability).await?) {
            results[position] = ack;
        }
    }
    let timings = WriteTimings { encode, store: store_started.elapsed(), total: started.elapsed(), encoded_parts };
    Ok(Upserted { results, timings })
}

/// A stored vector can stand for the same content in the same generation of a field.
type StoredKey = (String, u32, PartKey);
type PartKey = (crate::types::PartKind, ContentHash);
type StoredVectors = HashMap<StoredKey, UnitVector>;

fn generations_to_fill(schema: &CollectionSchema) -> impl Iterator<Item = (&str, &FieldSource, &Generation)> {
    schema.fields.iter().flat_map(|field| {
        let is_filled = |generation: &&Generation| generation.state != GenerationState::Retired;
        field.generations.iter().filter(is_filled).map(|generation| (field.name.as_str(), &field.source, generation))
    })
}

/// Vectors of content that the store holds for these items already.
async fn stored_vectors(
    backend: &Arc<dyn CollectionBackend>,
    schema: &CollectionSchema,
    checked: &[Result<CheckedItem>],
) -> Result<StoredVectors> {
    if schema.fields.iter().all(|field| matches!(field.source, FieldSource::Vector { .. })) {
        return Ok(StoredVectors::new());
    }
    let items: Vec<_> = checked.iter().flatten().collect();
    let ids = items.iter().map(|item| item.id.clone()).collect();
    let known = backend.get(ids, Selection::default()).await?;
    let shares_content = |item: &CheckedItem, stored: &StoredItem| {
        let hashes: std::collections::HashSet<_> = stored.parts.iter().map(|(part, hash)| (part.kind, *hash)).collect();
        item.parts.iter().any(|(part, hash)| hashes.contains(&(part.kind, *hash)))
    };
    let ids = items
        .iter()
        .zip(known)
        .filter_map(|(item, stored)| stored.filter(|stored| shares_content(item, stored)).map(|stored| stored.id))
        .collect();
    let mut vectors = StoredVectors::new();
    for item in backend.get(ids, Selection { vectors: true, ..Selection::default() }).await?.into_iter().flatten() {
        let hashes: HashMap<PartRef, ContentHash> = item.parts.into_iter().collect();
        for stored in item.vectors {
            if let Some(hash) = hashes.get(&stored.part) {
                vectors.insert((stored.field, stored.generation, (stored.part.kind, *hash)), stored.vector);
            }
        }
    }
    Ok(vectors)
}

/// New vectors by encoder and text.
type Encoded = BTreeMap<String, HashMap<String, Arc<UnitVector>>>;

async fn encode_missing(
    encoders: &EncoderRegistry,
    schema: &CollectionSchema,
    checked: &[Result<CheckedItem>],
    stored: &StoredVectors,
    deadline: Option<Instant>,
) -> Result<Encoded> {
    let mut wanted: BTreeMap<String, HashMap<String, Arc<UnitVector>>> = BTreeMap::new();
    let mut order: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in checked.iter().flatten() {
        for (field, source, generation) in generations_to_fill(schema) {
            for (part, hash) in item.parts.iter().filter(|(part, _)| source.takes(field, part)) {
                let is_stored = stored.contains_key(&(field.to_owned(), generation.number, (part.kind, *hash)));
                let text = if is_stored { None } else { text_of(item, part) };
                if let Some(text) = text {
                    let known = wanted.entry(generation.encoder.clone()).or_default();
                    if !known.contains_key(text) {
                        known.insert(text.to_owned(), Arc::new(UnitVector { values: Vec::new(), norm: 0.0 }));
                        order.entry(generation.encoder.clone()).or_default().push(text.to_owned());
                    }
                }
            }
        }
    }
    for (encoder, texts) in order {
        let handle = encoders.get(&encoder).await?;
        let embeddings = handle.encode_texts(texts.clone(), Role::Document, deadline).await?;
        let vectors = texts.into_iter().zip(embeddings).map(|(text, embedding)| (text, embedding.vector)).collect();
        wanted.insert(encoder, vectors);
    }
    Ok(wanted)
}

fn text_of<'a>(item: &'a CheckedItem, part: &PartRef) -> Option<&'a str> {
    if part.kind != crate::types::PartKind::Text {
        return None;
    }
    item.texts.get(&part.name)?.get(part.index as usize).map(String::as_str)
}

fn with_vectors(
    item: CheckedItem,
    schema: &CollectionSchema,
    stored: &StoredVectors,
    encoded: &Encoded,
    mode: UpsertMode,
) -> Result<ItemWrite> {
    let mut vectors = Vec::new();
    for (field, source, generation) in generations_to_fill(schema) {
        for (part, hash) in item.parts.iter().filter(|(part, _)| source.takes(field, part)) {
            let key = (field.to_owned(), generation.number, (part.kind, *hash));
            let vector = if let Some(own) = item.own_vectors.get(part) {
                own.clone()
            } else if let Some(known) = stored.get(&key) {
                known.clone()
            } else if let Some(new) = text_of(&item, part).and_then(|text| encoded.get(&generation.encoder)?.get(text))
            {
                new.as_ref().clone()
            } else {
                return Err(Error::Internal(format!("no vector was made for {part:?} in field {field}")));
            };
            vectors.push(PartVector {
                field: field.to_owned(),
                generation: generation.number,
                part: part.clone(),
                vector,
            });
        }
    }
    Ok(ItemWrite {
        id: item.id,
        payload: item.payload,
        media: item.media,
        texts: item.texts,
        parts: item.parts,
        vectors,
        mode,
        if_version: item.if_version,
    })
}
