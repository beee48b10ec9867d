//! Between messages and plain values.

pub(super) mod collections;
pub(super) mod encoders;
pub(super) mod filter;
pub(super) mod items;
pub(super) mod jobs;
pub(super) mod payload_indexes;
pub(super) mod ranking;
pub(super) mod search;
pub(super) mod values;
