//! Bytes to pixels to a model's input.

mod config;
mod header;
mod pixels;
mod prepare;

pub use config::{CropRounding, Filter, ImageConfig, Resize};
pub use header::{ImageHeader, read_header};
pub use pixels::{ImageRule, Pixels};
pub use prepare::{ImagePreparer, Thumbnail, thumbnail};
