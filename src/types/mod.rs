//! Plain values that every other folder speaks: no I/O, no tensors, no wire format.

pub mod error;
pub mod filter;
pub mod item;
pub mod json;
pub mod limits;
pub mod names;
pub mod payload_index;
pub mod timestamp;
pub mod value;
pub mod vector;

pub use error::{Error, Result};
pub use item::{ItemId, MediaInfo, PartKind, PartRef};
pub use timestamp::Timestamp;
pub use value::{Payload, Value};
