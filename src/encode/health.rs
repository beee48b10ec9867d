//! What an encoder's worker has done, and whether it can do it again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters of one encoder since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncoderStats {
    /// Documents accepted and not yet answered.
    pub queue_depth: usize,
    pub queue_capacity: usize,
    /// Queries accepted and not yet answered.
    pub query_depth: usize,
    pub query_capacity: usize,
    /// Inputs of both that are tokenized and that the worker has not taken yet.
    pub waiting: usize,
    /// Batches that the network ran, probes included.
    pub batches: u64,
    /// Inputs encoded.
    pub inputs: u64,
    /// Tokens encoded, without padding.
    pub tokens: u64,
    /// Tokens of padding.
    pub padding: u64,
    /// Batches that failed.
    pub failures: u64,
    /// Times the network was loaded again after a panic.
    pub reloads: u64,
    /// Inputs left out because nobody waited or the deadline had passed.
    pub skipped: u64,
    /// Requests refused because the queue was full.
    pub refused: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// The last batch or self-probe succeeded.
    pub is_healthy: bool,
}

/// The counters where they are counted.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub(super) batches: AtomicU64,
    pub(super) inputs: AtomicU64,
    pub(super) tokens: AtomicU64,
    pub(super) padding: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) reloads: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) cache_hits: AtomicU64,
    pub(super) cache_misses: AtomicU64,
    pub(super) is_healthy: AtomicBool,
}

impl Health {
    /// Counts; only totals matter, so no order between counters is promised.
    pub(super) fn count(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// The counters; the queue's numbers are filled in by the handle.
    pub(super) fn stats(&self) -> EncoderStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EncoderStats {
            batches: read(&self.batches),
            inputs: read(&self.inputs),
            tokens: read(&self.tokens),
            padding: read(&self.padding),
            failures: read(&self.failures),
            reloads: read(&self.reloads),
            skipped: read(&self.skipped),
            refused: read(&self.refused),
            cache_hits: read(&self.cache_hits),
            cache_misses: read(&self.cache_misses),
            is_healthy: self.is_healthy.load(Ordering::Acquire),
            ..EncoderStats::default()
        }
    }
}
