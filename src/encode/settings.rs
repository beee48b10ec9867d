//! How encoders run.

use std::sync::Arc;
use std::time::Duration;

use crate::image::{DecodeBudget, ImageRule};
use crate::model::{DeviceChoice, PrecisionChoice};
use crate::types::limits::IMAGE_DECODED_BYTES;

/// Settings that all encoders of a process share.
#[derive(Clone, Debug)]
pub struct EncodeSettings {
    pub device: DeviceChoice,
    pub dtype: PrecisionChoice,
    pub image_rule: ImageRule,
    /// Bytes that pictures may take while they are decoded, shared by all encoders.
    pub decode_budget: Arc<DecodeBudget>,
    /// Threads that libtorch computes with. libtorch has one pool for the whole process, so the last encoder loaded
    /// sets it for all; tokenizing has as many of its own.
    pub threads: usize,
    /// Slots for documents that are accepted and not yet answered, for each encoder: a text takes one, a picture one for each
    /// 8 KiB that the network sees of it.
    pub queue_capacity: usize,
    /// The same for queries, which go ahead of documents and are counted apart, so that ingest cannot shut search out.
    pub query_capacity: usize,
    /// Tokens of one batch, padding included; 0 chooses by device. A batch holds at least one text.
    pub batch_tokens: usize,
    /// Bytes that the weights of all loaded encoders may take; those that were not used for longest are let go.
    pub weight_bytes: u64,
    /// How long a load waits for encoders in use to become idle if there is no room beside them.
    pub patience: Duration,
    /// Bytes of the query-embedding cache, for each encoder; 0 switches it off.
    pub cache_bytes: u64,
}

impl Default for EncodeSettings {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            dtype: PrecisionChoice::Auto,
            image_rule: ImageRule::default(),
            decode_budget: Arc::new(DecodeBudget::new(IMAGE_DECODED_BYTES.cap)),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            queue_capacity: 8192,
            query_capacity: 1024,
            batch_tokens: 0,
            weight_bytes: u64::MAX,
            patience: Duration::from_secs(10),
            cache_bytes: 32 << 20,
        }
    }
}
