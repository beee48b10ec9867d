//! The seam between the engine and the place where a collection's items and vectors live.
//!
//! Batch-first and asynchronous, so that a cluster fits behind it. Internal ids, sequence numbers and storage types never
//! cross it; filters cross as trees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::schema::{CollectionSchema, PayloadIndex};
pub use crate::index::{KindReport, QueryKind};
use crate::types::filter::{Filter, Mismatches, Path};
use crate::types::payload_index::PayloadKind;
use crate::types::vector::UnitVector;
use crate::types::{ItemId, MediaInfo, PartRef, Payload, Result, Timestamp, Value};

/// How long an acknowledged write lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On the disk before the acknowledgement: survives power loss.
    #[default]
    Sync,
    /// In the page cache: survives the death of the process.
    Async,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpsertMode {
    #[default]
    Upsert,
    Insert,
    Update,
}

/// When searches find what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Indexing {
    /// As soon as it is acknowledged.
    #[default]
    AtOnce,
    /// Bulk mode: some time after no such write has come for a while. Writers are neither slowed nor refused for the sake of the index, and what
    /// was written in large batches is indexed in large pieces.
    Deferred,
}

/// The first 16 bytes of the BLAKE3 of a part's content; equal content is not encoded again.
pub type ContentHash = [u8; 16];

/// A picture to store. `data` is absent if the collection keeps no originals.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaWrite {
    pub info: MediaInfo,
    pub data: Option<Bytes>,
}

/// A vector of one part in one generation of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct PartVector {
    pub field: String,
    pub generation: u32,
    pub part: PartRef,
    pub vector: UnitVector,
}

/// Everything that one upsert stores.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemWrite {
    pub id: ItemId,
    pub payload: Payload,
    pub media: Vec<MediaWrite>,
    /// Chunks by text name.
    pub texts: BTreeMap<String, Vec<String>>,
    /// Each part with its content's hash: media, then texts by name, then the caller's vectors by field.
    pub parts: Vec<(PartRef, ContentHash)>,
    pub vectors: Vec<PartVector>,
    pub mode: UpsertMode,
    pub indexing: Indexing,
    /// The stored version that the caller saw; 0 means that the item must not exist.
    pub if_version: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    Created,
    Updated,
    /// The stored content was the same; nothing was written and the version stays.
    Unchanged,
}

/// An acknowledged write. Versions rise through the whole collection, deletes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteAck {
    pub version: u64,
    pub outcome: WriteOutcome,
}

/// Vectors of a stored item for a generation that is being built.
#[derive(Clone, Debug, PartialEq)]
pub struct Filling {
    pub id: ItemId,
    /// The parts that the vectors were made of, as they were read.
    pub parts: Vec<(PartRef, ContentHash)>,
    /// One for each part that the field takes.
    pub vectors: Vec<(PartRef, UnitVector)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillOutcome {
    Filled,
    /// The item is gone, or a newer write has put its vectors there already.
    NotNeeded,
    /// The item's parts are others by now, and still lack vectors.
    Changed,
}

/// A change of payloads that leaves every part alone.
#[derive(Clone, Debug, PartialEq)]
pub struct PayloadWrite {
    pub id: ItemId,
    pub change: Arc<PayloadChange>,
    pub if_version: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PayloadChange {
    /// Sets these top-level keys, removes those; the others stay.
    Merge {
        set: Payload,
        remove: Vec<String>,
    },
    Replace(Payload),
}

/// Which of an item's contents a read returns; id and version always come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub payload: bool,
    pub texts: bool,
    pub media: bool,
    pub media_data: bool,
    pub vectors: bool,
}

impl Selection {
    pub const ALL: Self = Self { payload: true, texts: true, media: true, media_data: true, vectors: true };
    pub const PAYLOAD: Self = Self { payload: true, texts: false, media: false, media_data: false, vectors: false };
}

#[derive(Clone, Debug, PartialEq)]
pub struct StoredMedia {
    pub info: MediaInfo,
    /// Filled if selected and kept.
    pub data: Option<Bytes>,
}

/// An item as read; what was not selected is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredItem {
    pub id: ItemId,
    pub version: u64,
    pub payload: Payload,
    pub media: Vec<StoredMedia>,
    pub texts: BTreeMap<String, Vec<String>>,
    pub parts: Vec<(PartRef, ContentHash)>,
    pub vectors: Vec<PartVector>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ScrollPage {
    /// In the order of their ids.
    pub items: Vec<StoredItem>,
    /// Where the next page starts (exclusive); `None` at the end.
    pub next: Option<ItemId>,
    pub mismatches: Mismatches,
}

/// An order of items by a payload value: by numbers, else times, else strings, else bools, as there are indexes of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    pub path: Path,
    pub is_descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OrderedPage {
    pub items: Vec<StoredItem>,
    /// Where the next page starts, to be given back as it is; `None` at the end.
    pub next: Option<Vec<u8>>,
    pub mismatches: Mismatches,
    pub plan: FilterPlan,
}

/// How many items have each value at a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Facet {
    pub path: Path,
    /// The most frequent first, equally frequent ones in the order of the values. An item counts once for each of its values.
    pub values: Vec<(Value, u64)>,
    /// Distinct values, also those that are not listed.
    pub distinct: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FacetReply {
    /// In the order of the paths asked for.
    pub facets: Vec<Facet>,
    /// Items that were counted.
    pub items: u64,
    /// Paths whose values were counted by reading payloads.
    pub unindexed: Vec<Path>,
    pub mismatches: Mismatches,
    pub plan: FilterPlan,
}

/// One query vector and what is wanted for it.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorQuery {
    /// What the vector was made of; an approximate index takes as much care as queries of the kind need.
    pub kind: QueryKind,
    /// Unit length, the generation's dimension.
    pub vector: Vec<f32>,
    /// Hits wanted, at least 1.
    pub limit: usize,
    pub min_score: Option<f32>,
    /// Items left out.
    pub exclude: Vec<ItemId>,
    /// The only items that may be found, if given; the query is compared with each of them.
    pub only: Option<Vec<ItemId>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchParams {
    /// Compare with every vector.
    pub exact: bool,
    pub select: Selection,
    /// Search a generation that is not complete yet.
    pub include_building: bool,
}

/// An item found: distinct items, best part each, by falling score, ties by item id.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendHit {
    pub score: f32,
    pub part: PartRef,
    pub item: StoredItem,
}

/// How the items that satisfy a filter were come by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FilterStrategy {
    /// Each of them was compared with the query.
    #[default]
    Listed,
    /// A walk through the graph kept nothing else.
    Walk,
    /// The nearest items of all were judged, the payloads of more and more of them.
    Windows,
}

impl FilterStrategy {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Walk => "walk",
            Self::Windows => "windows",
        }
    }
}

/// What it took to answer a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterPlan {
    pub strategy: FilterStrategy,
    /// Items that satisfy the filter, if all are known.
    pub matches: Option<u64>,
    /// Payloads that were read to find out, those of hits not counted.
    pub payloads_read: u64,
    /// Comparisons that no index answers, and the kind of index that would.
    pub missing: Vec<(Path, Option<PayloadKind>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SearchReply {
    /// One list for each query.
    pub hits: Vec<Vec<BackendHit>>,
    /// True if every vector was compared.
    pub exact: bool,
    /// Vectors that wait to be indexed and were not searched.
    pub deferred: u64,
    pub mismatches: Mismatches,
    /// If there was a filter.
    pub plan: Option<FilterPlan>,
    /// Time spent comparing vectors, and time spent reading items.
    pub search_time: Duration,
    pub fetch_time: Duration,
}

/// How the index of one generation is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexReport {
    pub field: String,
    pub generation: u32,
    pub vectors: u64,
    /// Of those, the ones that stand in no segment yet; they are compared one by one.
    pub tail_vectors: u64,
    /// Vectors that a tail may hold before writes are refused.
    pub tail_capacity: u64,
    /// Vectors of bulk writes that searches do not find yet.
    pub deferred_vectors: u64,
    pub segments: u64,
    /// Bytes of the segments' files.
    pub segment_bytes: u64,
    /// Vectors that stand in a segment and do not count any more; they go when it is made anew.
    pub deleted_vectors: u64,
    /// The share of sampled vectors that find themselves; `None` until there is a segment.
    pub self_retrieval: Option<f32>,
    /// How well queries of each kind were answered, as far as enough were asked.
    pub kinds: Vec<KindReport>,
}

/// An index on payloads, and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadIndexReport {
    pub index: PayloadIndex,
    /// Distinct values.
    pub values: u64,
    /// About how many bytes of memory it takes.
    pub bytes: u64,
}

/// Numbers for operators.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackendStats {
    pub items: u64,
    /// Vectors by field and generation.
    pub vectors: BTreeMap<(String, u32), u64>,
    pub index_bytes: u64,
    pub indexes: Vec<IndexReport>,
    pub payload_indexes: Vec<PayloadIndexReport>,
    /// The newest write, and the newest write that the index answers for.
    pub version: u64,
    pub applied_version: u64,
}

/// What a backend can do beyond the seam's minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Keeps media bytes.
    pub media: bool,
    /// Offers [`Durability::Sync`].
    pub sync_durability: bool,
    /// A write is searchable once it is acknowledged.
    pub read_your_writes: bool,
}

/// One collection's items and vectors.
///
/// Batch calls answer per item, in order; an `Err` for the whole call means that nothing of it was done, unless its reason is
/// `WRITES_STOPPED`: then it is in doubt.
#[async_trait]
pub trait CollectionBackend: Send + Sync {
    fn capabilities(&self) -> Capabilities;

    /// The description as of now; it changes when fields or generations do.
    fn schema(&self) -> Arc<CollectionSchema>;

    /// Stores items; each is whole or absent. A write must bring a vector for each part in every generation that takes it: if one
    /// is missing, or is of a generation that is not there, nothing is stored and the call fails with `SCHEMA_CHANGED`.
    async fn upsert(&self, writes: Vec<ItemWrite>, durability: Durability) -> Result<Vec<Result<WriteAck>>>;

    /// Removes items, with `only_if` those that satisfy it at that moment; `None` for an id that was not stored or is kept, else the version of
    /// the delete.
    async fn delete(
        &self,
        ids: Vec<ItemId>,
        only_if: Option<Filter>,
        durability: Durability,
    ) -> Result<Vec<Option<u64>>>;

    /// Removes up to `limit` items that have ended by `now`, as the collection's expiry says; gives how many.
    async fn expire(&self, now: Timestamp, limit: usize) -> Result<u64>;

    async fn set_payload(&self, writes: Vec<PayloadWrite>, durability: Durability) -> Result<Vec<Result<WriteAck>>>;

    /// Reads items; `None` for an id that is not stored.
    async fn get(&self, ids: Vec<ItemId>, select: Selection) -> Result<Vec<Option<StoredItem>>>;

    /// Reads items in the order of their ids, after `after`. An item stored during the whole scroll is seen exactly once.
    async fn scroll(
        &self,
        after: Option<ItemId>,
        filter: Option<Filter>,
        limit: usize,
        select: Selection,
    ) -> Result<ScrollPage>;

    async fn count(&self, filter: Option<Filter>) -> Result<u64>;

    /// Reads items that have a value at a path, in the value's order and then by id, from a cursor on. An item with several values stands
    /// at its first one in that order. An item that keeps its value during the whole scroll is seen exactly once.
    async fn scroll_by(
        &self,
        order: OrderBy,
        after: Option<Vec<u8>>,
        filter: Option<Filter>,
        limit: usize,
        select: Selection,
    ) -> Result<OrderedPage>;

    /// Counts items by the values at each path, among those that satisfy the filter; the `limit` most frequent values of each.
    async fn facets(&self, paths: Vec<Path>, filter: Option<Filter>, limit: usize) -> Result<FacetReply>;

    /// Adds vectors to a generation that is being built. Versions stay; a part's vector that is there already stays too.
    async fn fill(&self, field: &str, generation: u32, fillings: Vec<Filling>) -> Result<Vec<FillOutcome>>;

    /// How many vectors each item has in a generation; 0 for an id that is not stored.
    async fn filled(&self, field: &str, generation: u32, ids: Vec<ItemId>) -> Result<Vec<usize>>;

    /// Finds the best items for each query among those that satisfy the filter.
    async fn search_batch(
        &self,
        field: &str,
        generation: u32,
        queries: Vec<VectorQuery>,
        filter: Option<Filter>,
        params: SearchParams,
    ) -> Result<SearchReply>;

    /// Makes everything acknowledged so far survive power loss.
    async fn flush(&self) -> Result<()>;

    fn stats(&self) -> BackendStats;
}
