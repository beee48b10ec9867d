//! Bytes to pixels. For now the header only: format, size, and whether both are within the caps.

mod header;

pub use header::{ImageHeader, read_header};
