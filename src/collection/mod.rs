//! Collections: the seam to where items live, the local implementation over store and index, and the catalog of them all.

pub mod backend;
mod catalog;
mod catalog_entry;
mod expiry;
pub mod local;
pub mod schema;
pub mod stopped;

pub use backend::CollectionBackend;
pub use catalog::{Catalog, CatalogSettings};
pub use catalog_entry::{
    AliasChange, CollectionInfo, GenerationChange, GenerationChanged, GenerationSpec, NewCollection, NewField,
};
pub use expiry::Expiry;
pub use local::{FilledPage, LocalCollection, SegmentSettings};
pub use schema::{PayloadIndex, PayloadIndexState};
