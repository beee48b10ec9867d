//! Collections and items for tests of the store.
//!
//! A part's vector is a function of its content, as with a real encoder. Its numbers are 0 and ±½, so that every inner product
//! is exact in any order of summation, and ties are common.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pictor::collection::backend::{
    CollectionBackend, ContentHash, Durability, Indexing, ItemWrite, MediaWrite, PartVector, QueryKind, SearchParams,
    SearchReply, Selection, UpsertMode, VectorQuery,
};
use pictor::collection::schema::{FieldSource, FieldSpec, MediaOriginals};
use pictor::collection::{Catalog, CatalogSettings, GenerationSpec, NewCollection, NewField, SegmentSettings};
use pictor::index::Growth;
use pictor::index::graph::BuildSettings;
use pictor::store::{Store, StoreSettings};
use pictor::types::filter::Filter;
use pictor::types::vector::UnitVector;
use pictor::types::{ItemId, MediaInfo, PartRef, Payload, Value};

pub(crate) const DIMENSION: usize = 8;

pub(crate) fn id(text: &str) -> ItemId {
    ItemId::new(text).expect("a good id")
}

pub(crate) fn payload(entries: &[(&str, Value)]) -> Payload {
    entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

pub(crate) fn filter(text: &str) -> Filter {
    pictor::types::filter::parse(text).expect(text)
}

/// Segments are made of so few vectors that every test meets them.
pub(crate) fn settings() -> CatalogSettings {
    let build = BuildSettings { m: 4, ef_construction: 20, ..BuildSettings::default() };
    let growth = Growth { seal_at: 12, small: 4, idle: Duration::from_millis(20), ..Growth::default() };
    // Writers that are refused have a test of their own.
    let bulk_pause = Duration::from_millis(5);
    let segments = SegmentSettings { growth, build, tail_segments: 1_000, bulk_pause, ..SegmentSettings::default() };
    CatalogSettings { segments, ..CatalogSettings::default() }
}

/// Opens a folder with little memory, so that write buffers are flushed now and then.
pub(crate) fn open(folder: &Path) -> Catalog {
    // Every bulk write makes tables.
    let settings_of_store = StoreSettings { memory_bytes: 32 << 20, bulk_table_bytes: 1, ..StoreSettings::default() };
    let store = Store::open(folder, &settings_of_store).expect("a store");
    Catalog::open(store, settings()).expect("a catalog")
}

/// A collection with a field of every source, all of [`DIMENSION`].
pub(crate) fn new_collection(name: &str) -> NewCollection {
    let dimension = DIMENSION as u32;
    let encoder = |name: &str| {
        Some(GenerationSpec {
            encoder: format!("{name}@1"),
            space: name.to_owned(),
            dimension,
            fingerprint: "00".to_owned(),
        })
    };
    let field = |name: &str, source, encoder| NewField { spec: FieldSpec { name: name.to_owned(), source }, encoder };
    let media = FieldSource::Media { encoder: "eye".to_owned() };
    let text = FieldSource::Text { encoder: "ear".to_owned(), names: vec![] };
    let own = FieldSource::Vector { dimension, space: String::new() };
    NewCollection {
        name: name.to_owned(),
        fields: vec![
            field("image", media, encoder("eye")),
            field("text", text, encoder("ear")),
            field("own", own, None),
        ],
        media_originals: MediaOriginals::Keep,
        default_field: String::new(),
        expiry: None,
    }
}

/// What a test item is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) payload: Payload,
    /// Names and bytes.
    pub(crate) media: Vec<(String, Vec<u8>)>,
    pub(crate) texts: BTreeMap<String, Vec<String>>,
    /// Seeds of the caller's vectors for the field `own`.
    pub(crate) own: Vec<u64>,
}

pub(crate) fn content_hash(content: &[u8]) -> ContentHash {
    blake3::hash(content).as_bytes()[..16].try_into().expect("16 of 32 bytes")
}

/// One of a few hundred vectors of four ±½.
pub(crate) fn vector_of(hash: &ContentHash) -> UnitVector {
    let mut values = vec![0.0; DIMENSION];
    let mut position = usize::from(hash[0] % 4);
    for byte in &hash[1..5] {
        values[position % DIMENSION] = if byte % 2 == 0 { 1.0 } else { -1.0 };
        position += 1 + usize::from(hash[5] % 2) * (position % 2);
        while values[position % DIMENSION] != 0.0 {
            position += 1;
        }
    }
    UnitVector::normalise(values).expect("a direction")
}

/// The write of an item with these contents, with all vectors that its fields want.
pub(crate) fn item(name: &str, content: &Content) -> ItemWrite {
    let mut parts = Vec::new();
    let mut vectors = Vec::new();
    let mut add = |field: &str, part: PartRef, bytes: &[u8]| {
        let hash = content_hash(bytes);
        parts.push((part.clone(), hash));
        vectors.push(PartVector { field: field.to_owned(), generation: 1, part, vector: vector_of(&hash) });
    };
    for (index, (_, bytes)) in content.media.iter().enumerate() {
        add("image", PartRef::media(index as u32), bytes);
    }
    for (name, chunks) in &content.texts {
        for (index, chunk) in chunks.iter().enumerate() {
            add("text", PartRef::text(name, index as u32), chunk.as_bytes());
        }
    }
    for (index, seed) in content.own.iter().enumerate() {
        add("own", PartRef::vector("own", index as u32), &seed.to_le_bytes());
    }
    ItemWrite {
        id: id(name),
        payload: content.payload.clone(),
        media: content.media.iter().map(|(name, bytes)| media(name, bytes)).collect(),
        texts: content.texts.clone(),
        parts,
        vectors,
        mode: UpsertMode::Upsert,
        indexing: Indexing::AtOnce,
        if_version: None,
    }
}

fn media(name: &str, bytes: &[u8]) -> MediaWrite {
    MediaWrite {
        info: MediaInfo {
            hash: *blake3::hash(bytes).as_bytes(),
            name: name.to_owned(),
            mime_type: "image/png".to_owned(),
            bytes: bytes.len() as u64,
            width: 1,
            height: 1,
            perceptual_hash: None,
        },
        data: Some(Bytes::copy_from_slice(bytes)),
    }
}

/// An item with a payload and one caller's vector.
pub(crate) fn simple(name: &str, number: i64, seed: u64) -> ItemWrite {
    item(name, &Content { payload: payload(&[("n", Value::Int(number))]), own: vec![seed], ..Content::default() })
}

pub(crate) fn query(seed: u64, limit: usize) -> VectorQuery {
    VectorQuery {
        kind: QueryKind::default(),
        vector: vector_of(&content_hash(&seed.to_le_bytes())).values,
        limit,
        min_score: None,
        exclude: vec![],
        only: None,
    }
}

/// Runs asynchronous work of a test.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> = std::sync::LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    });
    RUNTIME.block_on(work)
}

/// Short blocking forms of the seam's calls.
pub(crate) struct Client(pub(crate) Arc<dyn CollectionBackend>);

impl Client {
    pub(crate) fn upsert(&self, writes: Vec<ItemWrite>) -> Vec<pictor::Result<(u64, String)>> {
        let acks = block_on(self.0.upsert(writes, Durability::Async)).expect("an upsert");
        acks.into_iter().map(|ack| ack.map(|ack| (ack.version, format!("{:?}", ack.outcome)))).collect()
    }

    pub(crate) fn ids(&self, field: &str, query: VectorQuery, filter: Option<Filter>) -> Vec<String> {
        let reply = self.search(field, vec![query], filter);
        reply.hits[0].iter().map(|hit| hit.item.id.to_string()).collect()
    }

    pub(crate) fn search(&self, field: &str, queries: Vec<VectorQuery>, filter: Option<Filter>) -> SearchReply {
        let params = SearchParams { exact: true, select: Selection::ALL, ..SearchParams::default() };
        block_on(self.0.search_batch(field, 1, queries, filter, params)).expect("a search")
    }
}
