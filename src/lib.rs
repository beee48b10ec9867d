//! Pictor: a vector retrieval engine with its encoders inside.

pub mod encode;
pub mod model;
pub mod text;
pub mod types;

pub use types::{Error, Result};
