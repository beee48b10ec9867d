//! Pictor: a vector retrieval engine with its encoders inside.

pub mod types;

pub use types::{Error, Result};
