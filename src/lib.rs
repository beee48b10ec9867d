//! Pictor: a vector retrieval engine with its encoders inside.

pub mod collection;
pub mod distance;
pub mod index;
pub mod store;
pub mod types;

pub use types::{Error, Result};
