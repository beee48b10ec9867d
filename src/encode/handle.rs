//! The async side of an encoder: cheap to clone, ends its worker when the last clone is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use tokio::sync::oneshot;

use super::encoder::{EncoderInfo, EncoderInput, Preprocessor, Role};
use super::exit::inside_torch;
use super::health::{EncoderStats, Health};
use super::queue::{Lane, Queue, Request};
use super::settings::EncodeSettings;
use super::worker::{Worker, panic_message};
use crate::types::limits::TEXT_BYTES;
use crate::types::vector::UnitVector;
use crate::{Error, Result};

pub use super::worker::Loader;

/// Bytes that a cache entry costs beside its text and numbers.
const CACHE_ENTRY_BYTES: usize = 160;

/// A text's vector and what the tokenizer made of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextEmbedding {
    pub vector: Arc<UnitVector>,
    /// Special tokens included.
    pub tokens: usize,
    /// True if the text was longer than the encoder takes.
    pub is_truncated: bool,
}

/// Threads that tokenize texts and decode pictures: queries apart from documents, so that a large batch does not keep a search
/// waiting.
pub struct PreparationPools {
    queries: rayon::ThreadPool,
    documents: rayon::ThreadPool,
}

impl PreparationPools {
    /// The threads for a lane.
    pub(super) fn of(&self, lane: Lane) -> &rayon::ThreadPool {
        match lane {
            Lane::Query => &self.queries,
            Lane::Document => &self.documents,
        }
    }

    /// Starts one thread for queries and `threads` for documents.
    ///
    /// # Errors
    /// `Internal` if the system gives no threads.
    pub fn start(threads: usize) -> Result<Self> {
        let pool = |name: &'static str, threads: usize| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads.max(1))
                .thread_name(move |number| format!("{name}-{number}"))
                .build()
                .map_err(|error| Error::Internal(format!("no threads for preparing: {error}")))
        };
        Ok(Self { queries: pool("prepare-query", 1)?, documents: pool("prepare", threads)? })
    }
}

/// Feeds one encoder.
#[derive(Clone)]
pub struct EncoderHandle(pub(super) Arc<Inner>);

pub(super) struct Inner {
    info: Arc<EncoderInfo>,
    pub(super) preprocessor: Arc<dyn Preprocessor>,
    pub(super) pools: Arc<PreparationPools>,
    pub(super) queue: Arc<Queue>,
    pub(super) health: Arc<Health>,
    cache: Option<moka::sync::Cache<String, TextEmbedding>>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl EncoderHandle {
    /// Starts a worker, loads the network on its thread and proves it with a short text. Blocking.
    ///
    /// `batch_tokens` is the budget of one batch, padding included; of `settings` the capacities and the cache count here.
    ///
    /// # Errors
    /// Those of the loader and of the first text.
    pub fn start(
        preprocessor: Arc<dyn Preprocessor>,
        mut loader: Loader,
        batch_tokens: usize,
        settings: &EncodeSettings,
        pools: Arc<PreparationPools>,
    ) -> Result<Self> {
        let queue = Queue::new(settings.query_capacity, settings.queue_capacity);
        let health = Arc::new(Health::default());
        let probe = preprocessor.text("a probe", Role::Document)?;
        let (started, has_started) = std::sync::mpsc::sync_channel(1);
        let (workers_queue, workers_health) = (queue.clone(), health.clone());
        let thread = std::thread::Builder::new().name("encoder".to_owned()).spawn(move || {
            let first = catch_unwind(AssertUnwindSafe(|| {
                inside_torch(|| {
                    let mut encoder = loader()?;
                    encoder.encode(&[&probe])?;
                    Ok((Arc::new(encoder.info().clone()), encoder))
                })
            }));
            match first.unwrap_or_else(|panic| Err(Error::Internal(panic_message(&*panic)))) {
                Ok((info, encoder)) => {
                    workers_health.is_healthy.store(true, Ordering::Release);
                    let (queue, health, encoder) = (workers_queue, workers_health, Some(encoder));
                    if started.send(Ok(info)).is_ok() {
                        Worker { queue, health, loader, encoder, batch_tokens: batch_tokens.max(1), probe }.run();
                    }
                }
                // The starter is there: it waits for exactly this.
                Err(error) => drop(started.send(Err(error))),
            }
        });
        let thread = thread.map_err(|error| Error::Internal(format!("no thread for the encoder: {error}")))?;
        let info =
            has_started.recv().map_err(|_| Error::Internal("the encoder's thread ended at once".to_owned()))??;
        let vector_bytes = info.dimension * size_of::<f32>() + CACHE_ENTRY_BYTES;
        let cache = (settings.cache_bytes > 0).then(|| {
            moka::sync::Cache::builder()
                .max_capacity(settings.cache_bytes)
                .weigher(move |text: &String, _| u32::try_from(text.len() + vector_bytes).unwrap_or(u32::MAX))
                .build()
        });
        let worker = Mutex::new(Some(thread));
        Ok(Self(Arc::new(Inner { info, preprocessor, pools, queue, health, cache, worker })))
    }

    /// True if nobody else holds the encoder.
    pub(super) fn is_idle(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// What the encoder is.
    #[must_use]
    pub fn info(&self) -> &Arc<EncoderInfo> {
        &self.0.info
    }

    /// Encodes texts, one embedding each, in order. Documents queue behind queries; cancel by dropping the future.
    ///
    /// # Errors
    /// `Overloaded` if the queue has no room for all of them, `DeadlineExceeded`, `LimitExceeded` for a text that is too
    /// large, `Internal` if the network fails.
    pub async fn encode_texts(
        &self,
        texts: Vec<String>,
        role: Role,
        deadline: Option<Instant>,
    ) -> Result<Vec<TextEmbedding>> {
        let lane = Lane::of(role);
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        for (position, text) in texts.iter().enumerate() {
            TEXT_BYTES.check(&format!("texts[{position}]"), text.len())?;
        }
        within(deadline, self.encode_in_lane(lane, texts, role, deadline)).await
    }

    /// Encodes one query; true if the vector came from the cache.
    ///
    /// # Errors
    /// As [`EncoderHandle::encode_texts`].
    pub async fn encode_query(&self, text: &str, deadline: Option<Instant>) -> Result<(TextEmbedding, bool)> {
        let health = &self.0.health;
        if let Some(embedding) = self.0.cache.as_ref().and_then(|cache| cache.get(text)) {
            Health::count(&health.cache_hits, 1);
            return Ok((embedding, true));
        }
        Health::count(&health.cache_misses, 1);
        let mut embeddings = self.encode_texts(vec![text.to_owned()], Role::Query, deadline).await?;
        let embedding = embeddings.pop().ok_or_else(|| Error::Internal("a query without a vector".to_owned()))?;
        if let Some(cache) = &self.0.cache {
            cache.insert(text.to_owned(), embedding.clone());
        }
        Ok((embedding, false))
    }

    /// True if the last batch or self-probe succeeded.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.0.health.is_healthy.load(Ordering::Acquire)
    }

    /// Counters and queue depths.
    #[must_use]
    pub fn stats(&self) -> EncoderStats {
        let (queue_depth, queue_capacity) = self.0.queue.depth(Lane::Document);
        let (query_depth, query_capacity) = self.0.queue.depth(Lane::Query);
        let waiting = self.0.queue.waiting();
        EncoderStats { queue_depth, queue_capacity, query_depth, query_capacity, waiting, ..self.0.health.stats() }
    }

    /// Refuses new texts, finishes those accepted and ends the worker. Blocking.
    pub fn stop(&self) {
        self.0.queue.close();
        if let Some(worker) = self.0.worker.lock().take()
            && worker.join().is_err()
        {
            tracing::error!("the worker of encoder {} had panicked", self.0.info.full_name());
        }
    }

    async fn encode_in_lane(
        &self,
        lane: Lane,
        texts: Vec<String>,
        role: Role,
        deadline: Option<Instant>,
    ) -> Result<Vec<TextEmbedding>> {
        let inner = &self.0;
        let slots = inner.queue.reserve(lane, texts.len()).inspect_err(|_| Health::count(&inner.health.refused, 1))?;
        let (tokens_sender, tokens) = oneshot::channel();
        let (vectors_sender, vectors) = oneshot::channel();
        let (queue, preprocessor) = (inner.queue.clone(), inner.preprocessor.clone());
        let work = move || {
            if vectors_sender.is_closed() {
                return;
            }
            let inputs = catch_unwind(AssertUnwindSafe(|| {
                texts.par_iter().map(|text| preprocessor.text(text, role)).collect::<Result<Vec<_>>>()
            }));
            match inputs.unwrap_or_else(|panic| Err(Error::Internal(panic_message(&*panic)))) {
                Ok(inputs) => {
                    let length = |input: &EncoderInput| match input {
                        EncoderInput::Text(text) => (text.ids.len(), text.is_truncated),
                        EncoderInput::Image(image) => (image.tokens, false),
                    };
                    let lengths: Vec<_> = inputs.iter().map(length).collect();
                    // A caller that gave up is noticed by the worker.
                    let _ = tokens_sender.send(lengths);
                    let request = Request::new(slots, inputs.len(), deadline, vectors_sender);
                    queue.push(&request, inputs.into_iter().enumerate());
                }
                Err(error) => drop(vectors_sender.send(Err(error))),
            }
        };
        inner.pools.of(lane).spawn(work);
        let vectors: Vec<_> = vectors.await.map_err(lost)??.into_iter().collect::<Result<_>>()?;
        let lengths = tokens.await.map_err(lost)?;
        let embed = |(vector, (tokens, is_truncated)): (UnitVector, (usize, bool))| TextEmbedding {
            vector: Arc::new(vector),
            tokens,
            is_truncated,
        };
        Ok(vectors.into_iter().zip(lengths).map(embed).collect())
    }
}

/// The answer's channel closed without an answer.
pub(super) fn lost(_: oneshot::error::RecvError) -> Error {
    Error::Internal("the encoder dropped a request".to_owned())
}

/// Gives up at the deadline.
pub(super) async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match deadline {
        None => work.await,
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
            .await
            .unwrap_or(Err(Error::DeadlineExceeded { what: "encoding" })),
    }
}
