//! Indexes on payloads in memory: which items have which values, and which items a filter leaves.

mod blocks;
mod changes;
mod fill;
mod indexes;
mod kept;
mod resolve;
mod value_index;

pub(super) use changes::PayloadEntries;
pub use fill::FilledPage;
pub(super) use indexes::PayloadIndexes;
pub(super) use resolve::Resolved;
pub(super) use value_index::ValueIndex;
