//! The path of a write: check → reuse → encode → store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::item::{CheckedItem, NewItem, Original};
use crate::collection::backend::{
    CollectionBackend, ContentHash, Durability, Indexing, ItemWrite, PartVector, Selection, StoredItem, UpsertMode,
    WriteAck,
};
use crate::collection::schema::{CollectionSchema, FieldSource, Generation};
use crate::encode::{EncoderRegistry, ImageEmbedding, Role};
use crate::types::limits::UPSERT_ITEMS;
use crate::types::vector::UnitVector;
use crate::types::{Error, PartKind, PartRef, Result};

/// How often a write is prepared if the collection's fields change meanwhile.
const PREPARATIONS: u32 = 5;

/// How items are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpsertSettings {
    pub mode: UpsertMode,
    pub durability: Durability,
    pub indexing: Indexing,
}

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
    settings: UpsertSettings,
    deadline: Option<Instant>,
) -> Result<Upserted> {
    UPSERT_ITEMS.check("items", items.len())?;
    let started = Instant::now();

    // Hashing and header checks are work for a blocking thread.
    let checked: Vec<Result<CheckedItem>> = {
        let schema = backend.schema();
        tokio::task::spawn_blocking(move || {
            items.into_iter().map(|item| item.and_then(|item| item.check(&schema))).collect()
        })
        .await
        .map_err(|error| Error::Internal(format!("checking items failed: {error}")))?
    };

    let mut encoded = Encoded::new();
    let mut encode = Duration::ZERO;
    for preparation in 1.. {
        let schema = backend.schema();
        let stored = known_contents(backend, &schema, &checked).await?;
        let encode_started = Instant::now();
        encode_missing(encoders, &schema, &checked, &stored, &mut encoded, deadline).await?;
        encode += encode_started.elapsed();
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Error::DeadlineExceeded { what: "encoding" });
        }
        let store_started = Instant::now();
        let prepared = checked
            .iter()
            .map(|item| with_vectors(item.as_ref().map_err(Clone::clone)?, &schema, &stored, &encoded, settings));
        let (writes, mut results) = split(prepared);
        if !writes.is_empty() {
            let (positions, writes): (Vec<usize>, Vec<ItemWrite>) = writes.into_iter().unzip();
            let acks = match backend.upsert(writes, settings.durability).await {
                // Nothing is stored; what was encoded stays good.
                Err(Error::SchemaChanged { .. }) if preparation < PREPARATIONS => continue,
                acks => acks?,
            };
            for (position, ack) in positions.into_iter().zip(acks) {
                results[position] = ack;
            }
        }
        let encoded_parts = encoded.values().map(|made| (made.texts.len() + made.images.len()) as u32).sum();
        let timings = WriteTimings { encode, store: store_started.elapsed(), total: started.elapsed(), encoded_parts };
        return Ok(Upserted { results, timings });
    }
    Err(Error::Internal("a write was prepared without end".to_owned()))
}

/// What can be written, by position, and a place for each item's answer.
fn split(prepared: impl Iterator<Item = Result<ItemWrite>>) -> (Vec<(usize, ItemWrite)>, Vec<Result<WriteAck>>) {
    let (mut writes, mut results) = (Vec::new(), Vec::new());
    for (position, item) in prepared.enumerate() {
        results.push(match item {
            Ok(write) => {
                writes.push((position, write));
                Err(Error::Internal("no answer from the store".to_owned()))
            }
            Err(error) => Err(error),
        });
    }
    (writes, results)
}

/// A stored vector can stand for the same content in the same generation of a field.
type StoredKey = (String, u32, PartKey);
type PartKey = (PartKind, ContentHash);

/// What the store holds of contents.
#[derive(Default)]
struct Known {
    vectors: HashMap<StoredKey, UnitVector>,
    /// Perceptual hashes of pictures.
    hashes: HashMap<ContentHash, u64>,
}

/// Every generation: also one that is being built, and one that was current, so that switching to it needs no work.
fn generations_to_fill(schema: &CollectionSchema) -> impl Iterator<Item = (&str, &FieldSource, &Generation)> {
    schema
        .fields
        .iter()
        .flat_map(|field| field.generations.iter().map(|generation| (field.name.as_str(), &field.source, generation)))
}

/// What the store holds of these items' content already.
async fn known_contents(
    backend: &Arc<dyn CollectionBackend>,
    schema: &CollectionSchema,
    checked: &[Result<CheckedItem>],
) -> Result<Known> {
    if schema.fields.iter().all(|field| matches!(field.source, FieldSource::Vector { .. })) {
        return Ok(Known::default());
    }
    let items: Vec<_> = checked.iter().flatten().collect();
    let ids = items.iter().map(|item| item.id.clone()).collect();
    let known = backend.get(ids, Selection::default()).await?;
    let shares_content = |item: &CheckedItem, stored: &StoredItem| {
        let hashes: HashSet<_> = stored.parts.iter().map(|(part, hash)| (part.kind, *hash)).collect();
        item.parts.iter().any(|(part, hash)| hashes.contains(&(part.kind, *hash)))
    };
    let ids = items
        .iter()
        .zip(known)
        .filter_map(|(item, stored)| stored.filter(|stored| shares_content(item, stored)).map(|stored| stored.id))
        .collect();
    let mut known = Known::default();
    let select = Selection { vectors: true, media: true, ..Selection::default() };
    for item in backend.get(ids, select).await?.into_iter().flatten() {
        let hashes: HashMap<PartRef, ContentHash> = item.parts.into_iter().collect();
        for stored in item.vectors {
            if let Some(hash) = hashes.get(&stored.part) {
                known.vectors.insert((stored.field, stored.generation, (stored.part.kind, *hash)), stored.vector);
            }
        }
        for (index, media) in (0..).zip(item.media) {
            let content = hashes.get(&PartRef::media(index)).copied();
            known.hashes.extend(content.zip(media.info.perceptual_hash));
        }
    }
    Ok(known)
}

/// What one encoder has to make, and then what it made.
#[derive(Default)]
struct EncoderWork {
    texts: Vec<String>,
    images: Vec<Original>,
    known_texts: HashSet<String>,
    known_images: HashSet<[u8; 32]>,
}

impl EncoderWork {
    fn add(&mut self, content: Content<'_>) {
        match content {
            Content::Text(text) if self.known_texts.insert(text.to_owned()) => self.texts.push(text.to_owned()),
            Content::Image(image) if self.known_images.insert(image.hash) => self.images.push(image.clone()),
            Content::Text(_) | Content::Image(_) => {}
        }
    }
}

/// What one encoder made of contents; a picture may have been bad.
#[derive(Default)]
struct Made {
    texts: HashMap<String, Arc<UnitVector>>,
    images: HashMap<[u8; 32], Result<ImageEmbedding>>,
}

/// New vectors by encoder.
type Encoded = BTreeMap<String, Made>;

/// Adds to `encoded` what neither it nor the store has.
async fn encode_missing(
    encoders: &EncoderRegistry,
    schema: &CollectionSchema,
    checked: &[Result<CheckedItem>],
    stored: &Known,
    encoded: &mut Encoded,
    deadline: Option<Instant>,
) -> Result<()> {
    let mut work: BTreeMap<String, EncoderWork> = BTreeMap::new();
    for item in checked.iter().flatten() {
        for (field, source, generation) in generations_to_fill(schema) {
            for (part, hash) in item.parts.iter().filter(|(part, _)| source.takes(field, part)) {
                let is_stored = stored.vectors.contains_key(&(field.to_owned(), generation.number, (part.kind, *hash)));
                let is_made =
                    || encoded.get(&generation.encoder).is_some_and(|made| made_for(item, part, made).is_some());
                if let Some(content) = content_of(item, part).filter(|_| !is_stored && !is_made()) {
                    work.entry(generation.encoder.clone()).or_default().add(content);
                }
            }
        }
    }
    for (encoder, EncoderWork { texts, images, .. }) in work {
        let handle = encoders.get(&encoder).await?;
        let made = encoded.entry(encoder).or_default();
        if !texts.is_empty() {
            let embeddings = handle.encode_texts(texts.clone(), Role::Document, deadline).await?;
            made.texts.extend(texts.into_iter().zip(embeddings).map(|(text, embedding)| (text, embedding.vector)));
        }
        if !images.is_empty() {
            let (hashes, files): (Vec<_>, Vec<_>) = images.into_iter().map(|image| (image.hash, image.data)).unzip();
            let vectors = handle.encode_images(files, Role::Document, deadline).await?;
            made.images.extend(hashes.into_iter().zip(vectors));
        }
    }
    Ok(())
}

/// What an encoder is given for a part.
#[derive(Clone, Copy)]
enum Content<'a> {
    Text(&'a str),
    Image(&'a Original),
}

fn content_of<'a>(item: &'a CheckedItem, part: &PartRef) -> Option<Content<'a>> {
    let index = part.index as usize;
    match part.kind {
        PartKind::Text => item.texts.get(&part.name)?.get(index).map(|text| Content::Text(text)),
        PartKind::Media => item.originals.get(index).map(Content::Image),
        PartKind::Vector => None,
    }
}

/// The new vector of a part; an error is the part's own.
fn made_for(item: &CheckedItem, part: &PartRef, made: &Made) -> Option<Result<UnitVector>> {
    match content_of(item, part)? {
        Content::Text(text) => made.texts.get(text).map(|vector| Ok(vector.as_ref().clone())),
        Content::Image(image) => made.images.get(&image.hash).map(|made| match made {
            Ok(made) => Ok(made.vector.as_ref().clone()),
            Err(error) => Err(error.clone().within(&format!("media[{}]", part.index))),
        }),
    }
}

fn with_vectors(
    item: &CheckedItem,
    schema: &CollectionSchema,
    stored: &Known,
    encoded: &Encoded,
    settings: UpsertSettings,
) -> Result<ItemWrite> {
    let mut vectors = Vec::new();
    for (field, source, generation) in generations_to_fill(schema) {
        for (part, hash) in item.parts.iter().filter(|(part, _)| source.takes(field, part)) {
            let key = (field.to_owned(), generation.number, (part.kind, *hash));
            let vector = if let Some(own) = item.own_vectors.get(part) {
                own.clone()
            } else if let Some(known) = stored.vectors.get(&key) {
                known.clone()
            } else if let Some(new) = encoded.get(&generation.encoder).and_then(|made| made_for(item, part, made)) {
                new?
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
    let mut media = item.media.clone();
    for (index, (write, original)) in (0..).zip(media.iter_mut().zip(&item.originals)) {
        let part = PartRef::media(index);
        let content = item.parts.iter().find(|(known, _)| *known == part).map(|(_, hash)| hash);
        let made = encoded.values().find_map(|made| made.images.get(&original.hash)?.as_ref().ok());
        let known = || content.and_then(|content| stored.hashes.get(content)).copied();
        write.info.perceptual_hash = made.map(|made| made.perceptual_hash).or_else(known);
    }
    Ok(ItemWrite {
        id: item.id.clone(),
        payload: item.payload.clone(),
        media,
        texts: item.texts.clone(),
        parts: item.parts.clone(),
        vectors,
        mode: settings.mode,
        indexing: settings.indexing,
        if_version: item.if_version,
    })
}
