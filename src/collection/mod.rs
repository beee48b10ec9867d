//! Collections: the seam to where items live, the local implementation over store and index, and the catalog of them all.

pub mod backend;
pub mod schema;

pub use backend::CollectionBackend;
