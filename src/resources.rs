//! Divides the machine's cores and memory among encoding, search, background work and the store.

use crate::types::limits::IMAGE_DECODED_BYTES;
use crate::types::{Error, Result};

/// The shares; every pool and cache is made from one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    pub threads: usize,
    /// Threads inside one network's batch. With few cores they overlap with the others: ingest alone should use the machine.
    pub encode_threads: usize,
    pub search_threads: usize,
    pub background_threads: usize,
    pub memory_bytes: u64,
    /// The tail of one generation: vectors that no segment holds yet.
    pub tail_bytes: u64,
    /// RocksDB's caches and write buffers.
    pub store_bytes: u64,
    /// Records of items that were lately found.
    pub record_bytes: u64,
    /// Weights of encoders.
    pub encoder_bytes: u64,
    /// Weights of trained composers.
    pub composer_bytes: u64,
    /// Embeddings of recent queries.
    pub query_cache_bytes: u64,
    /// The process of a job.
    pub job_bytes: u64,
    /// Pictures while they are decoded; one that needs more is decoded alone.
    pub decode_bytes: u64,
}

/// Less than this does not hold a model and a store.
const MIN_MEMORY: u64 = 512 << 20;

impl Resources {
    /// Divides `threads` (default: all cores) and `memory` (default: three quarters of the machine's).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for no threads or too little memory.
    pub fn divide(threads: Option<usize>, memory: Option<u64>) -> Result<Self> {
        let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        if threads == 0 {
            return Err(Error::invalid("threads", "expected at least 1, got 0"));
        }
        let memory_bytes = memory.unwrap_or_else(|| machine_memory().map_or(4 << 30, |bytes| bytes / 4 * 3));
        if memory_bytes < MIN_MEMORY {
            return Err(Error::invalid("memory", format!("expected at least {MIN_MEMORY} bytes, got {memory_bytes}")));
        }
        Ok(Self {
            threads,
            encode_threads: (threads * 3).div_ceil(4),
            search_threads: (threads / 2).max(1),
            background_threads: (threads / 4).max(1),
            memory_bytes,
            store_bytes: memory_bytes / 64 * 11,
            record_bytes: memory_bytes / 64,
            encoder_bytes: memory_bytes / 16 * 3,
            composer_bytes: memory_bytes / 64 * 3,
            tail_bytes: memory_bytes / 16,
            job_bytes: memory_bytes / 8 * 3,
            query_cache_bytes: (memory_bytes / 64).min(256 << 20),
            decode_bytes: (memory_bytes / 8).min(IMAGE_DECODED_BYTES.cap),
        })
    }
}

fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
#[must_use]
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_not_more_than_the_memory() {
        for memory in [MIN_MEMORY, 2 << 30, 18 << 30, 1 << 40] {
            let shares = Resources::divide(Some(4), Some(memory)).expect("shares");
            let Resources {
                store_bytes,
                encoder_bytes,
                composer_bytes,
                query_cache_bytes,
                job_bytes,
                decode_bytes,
                tail_bytes,
                record_bytes,
                ..
            } = shares;
            let sum = store_bytes
                + encoder_bytes
                + composer_bytes
                + query_cache_bytes
                + job_bytes
                + decode_bytes
                + tail_bytes
                + record_bytes;
            assert!(sum <= memory && 2 * sum > memory, "{sum} of {memory}: {shares:?}");
        }
    }
}
