//! Pictor: a vector retrieval engine with its encoders inside.
//!
//! # Layout, in the order of dependency
//! - [`types`]: plain values: items, payloads, filters, errors, caps.
//! - [`image`], [`text`]: bytes to pixels, words to tokens.
//! - [`distance`], [`index`]: comparing vectors, finding the nearest.
//! - [`store`], [`collection`]: RocksDB; the seam [`collection::backend::CollectionBackend`] and its local implementation.
//! - [`model`], [`encode`]: networks on libtorch; worker threads that own them.
//! - [`compose`], [`search`], [`ingest`]: query vectors, answers, writes.
//! - [`evaluate`]: measuring what is served.
//! - [`train`]: recipes, objectives, the loop that finetunes encoders.
//! - [`engine`]: the door that wires all of it.
//! - [`rpc`], [`http`], [`server`]: the wire.

pub mod collection;
pub mod compose;
pub mod config;
pub mod distance;
pub mod encode;
pub mod engine;
pub mod evaluate;
mod fail_point;
pub mod http;
pub mod image;
pub mod index;
pub mod ingest;
pub mod jobs;
pub mod metrics;
pub mod model;
pub mod resources;
pub mod rpc;
pub mod search;
pub mod server;
pub mod store;
pub mod text;
pub mod train;
pub mod types;

pub use types::{Error, Result};
