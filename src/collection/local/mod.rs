//! The collection in this process: items in the store, vectors also in memory.
//!
//! One writer at a time plans a batch, commits it, and applies it to the index under the same lock; waiting for the disk
//! happens outside. Readers take a [`moment::Moment`]: an index and a snapshot of the store that agree.

mod browse;
mod expire;
mod fields;
mod filtered;
mod generations;
mod hydrate;
mod load;
mod moment;
mod payload;
mod payload_changes;
mod plan;
mod plan_item;
mod pressure;
mod read;
mod records;
mod seal;
mod search;
mod segment_files;
mod service;
mod state;
mod verify;
mod workers;
mod write;

pub use payload::FilledPage;
pub(in crate::collection) use records::RecordCache;
pub use seal::SegmentSettings;
pub(in crate::collection) use segment_files::{remove_half_written, remove_leftovers, segment_files};
pub use service::LocalCollection;
pub(in crate::collection) use verify::audit_scope;
