//! The backend seam over the local collection: every call runs on a blocking thread.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::load::load;
use super::moment::{Inner, Look};
use super::records::RecordCache;
use super::search::Request;
use super::workers::Workers;
use crate::collection::CatalogSettings;
use crate::collection::backend::{
    BackendStats, Capabilities, CollectionBackend, Durability, FacetReply, FillOutcome, Filling, Indexing, ItemWrite,
    OrderBy, OrderedPage, PayloadWrite, ScrollPage, SearchParams, SearchReply, Selection, StoredItem, VectorQuery,
    WriteAck,
};
use crate::collection::schema::CollectionSchema;
use crate::store::{AuditReport, Snapshot, Store};
use crate::types::filter::{Filter, Path};
use crate::types::{ItemId, Timestamp};
use crate::{Error, Result};

/// A collection whose items live in this process's store. Cheap to clone.
#[derive(Clone)]
pub struct LocalCollection {
    pub(super) inner: Arc<Inner>,
    pub(super) workers: Arc<Workers>,
}

impl LocalCollection {
    /// Loads ids and vectors into memory. Blocks.
    ///
    /// # Errors
    /// [`Error::Corruption`], [`Error::Storage`]: this collection is broken, others need not be.
    pub(in crate::collection) fn open(
        (store, snapshot): (&Store, &Snapshot<'_>),
        schema: CollectionSchema,
        settings: &CatalogSettings,
        records: &RecordCache,
    ) -> Result<Self> {
        let CatalogSettings { search_pool: pool, segments, .. } = settings.clone();
        let state = load((store.folder(), snapshot), schema, segments.chunk(), pool.as_ref())?;
        let inner = Arc::new(Inner::new(store.clone(), state, pool, segments, records.clone()));
        let workers = Arc::<Workers>::default();
        workers.look_after(&inner);
        Ok(Self { inner, workers })
    }

    /// Checks every invariant of the stored data, and the index against it. Blocks, and stops writers meanwhile.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`] if the check cannot go on.
    pub fn verify(&self) -> Result<AuditReport> {
        self.inner.verify()
    }

    /// As [`CollectionBackend::search_batch`], for a caller that has a thread of its own: without a change of threads. Blocks.
    ///
    /// # Errors
    /// As [`CollectionBackend::search_batch`].
    pub fn search_batch_blocking(
        &self,
        field: &str,
        generation: u32,
        queries: &[VectorQuery],
        filter: Option<&Filter>,
        params: &SearchParams,
    ) -> Result<SearchReply> {
        let outcome = self.inner.answer(&Request { field, generation, queries, params }, filter);
        self.workers.look_after(&self.inner);
        outcome
    }

    /// True while a segment of this collection's index is made, or due.
    ///
    /// # Errors
    /// [`Error::Storage`] if the last one could not be made.
    pub(in crate::collection) fn is_sealing(&self) -> Result<bool> {
        self.workers.is_sealing(&self.inner)
    }

    /// Runs blocking work off the asynchronous threads; it is finished even if the caller gives up.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<T> + Send + 'static) -> Result<T> {
        let own = self.clone();
        let work = move || {
            let outcome = work(&own.inner);
            own.workers.look_after(&own.inner);
            outcome
        };
        let outcome = tokio::task::spawn_blocking(work).await;
        outcome.map_err(|error| Error::Internal(format!("a collection's worker failed: {error}")))?
    }
}

#[async_trait]
impl CollectionBackend for LocalCollection {
    fn capabilities(&self) -> Capabilities {
        Capabilities { media: true, sync_durability: true, read_your_writes: true }
    }

    fn schema(&self) -> Arc<CollectionSchema> {
        self.inner.schema()
    }

    async fn upsert(&self, writes: Vec<ItemWrite>, durability: Durability) -> Result<Vec<Result<WriteAck>>> {
        let upsert = move |inner: &Inner| {
            let n_at_once = writes.iter().filter(|write| write.indexing == Indexing::AtOnce).count();
            let outcomes = inner.upsert(writes, durability)?;
            let wait = if n_at_once > 0 { inner.hold_back(n_at_once) } else { Duration::ZERO };
            Ok((outcomes, wait))
        };
        let (outcomes, wait) = self.blocking(upsert).await?;
        // Not on a blocking thread, which searches need as well.
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(outcomes)
    }

    async fn delete(
        &self,
        ids: Vec<ItemId>,
        only_if: Option<Filter>,
        durability: Durability,
    ) -> Result<Vec<Option<u64>>> {
        self.blocking(move |inner| inner.delete(ids, only_if.as_ref(), durability)).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<u64> {
        self.blocking(move |inner| inner.expire(now, limit)).await
    }

    async fn set_payload(&self, writes: Vec<PayloadWrite>, durability: Durability) -> Result<Vec<Result<WriteAck>>> {
        self.blocking(move |inner| inner.set_payload(writes, durability)).await
    }

    async fn get(&self, ids: Vec<ItemId>, select: Selection) -> Result<Vec<Option<StoredItem>>> {
        self.blocking(move |inner| inner.read(|look| inner.get(&ids, select, look))).await
    }

    async fn scroll(
        &self,
        after: Option<ItemId>,
        filter: Option<Filter>,
        limit: usize,
        select: Selection,
    ) -> Result<ScrollPage> {
        self.blocking(move |inner| {
            inner.read(|look| inner.scroll(after.as_ref(), filter.as_ref(), limit, select, look))
        })
        .await
    }

    async fn count(&self, filter: Option<Filter>) -> Result<u64> {
        self.blocking(move |inner| inner.read(|look| inner.count(filter.as_ref(), look))).await
    }

    async fn scroll_by(
        &self,
        order: OrderBy,
        after: Option<Vec<u8>>,
        filter: Option<Filter>,
        limit: usize,
        select: Selection,
    ) -> Result<OrderedPage> {
        self.blocking(move |inner| {
            let page = (limit, select);
            // Index and store have to agree: an item that was just written anew would be passed by.
            inner.scroll_by(&order, after.as_deref(), filter.as_ref(), page, Look::Agreed)
        })
        .await
    }

    async fn facets(&self, paths: Vec<Path>, filter: Option<Filter>, limit: usize) -> Result<FacetReply> {
        self.blocking(move |inner| inner.facets(&paths, filter.as_ref(), limit, Look::Agreed)).await
    }

    async fn fill(&self, field: &str, generation: u32, fillings: Vec<Filling>) -> Result<Vec<FillOutcome>> {
        let field = field.to_owned();
        self.blocking(move |inner| inner.fill(&field, generation, fillings)).await
    }

    async fn filled(&self, field: &str, generation: u32, ids: Vec<ItemId>) -> Result<Vec<usize>> {
        let field = field.to_owned();
        self.blocking(move |inner| inner.filled(&field, generation, &ids)).await
    }

    async fn search_batch(
        &self,
        field: &str,
        generation: u32,
        queries: Vec<VectorQuery>,
        filter: Option<Filter>,
        params: SearchParams,
    ) -> Result<SearchReply> {
        let field = field.to_owned();
        self.blocking(move |inner| {
            let request = Request { field: &field, generation, queries: &queries, params: &params };
            inner.answer(&request, filter.as_ref())
        })
        .await
    }

    async fn flush(&self) -> Result<()> {
        self.blocking(|inner| inner.store.sync()).await
    }

    fn stats(&self) -> BackendStats {
        self.inner.stats()
    }
}
