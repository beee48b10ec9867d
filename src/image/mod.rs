//! Bytes to pixels: formats, limits, orientation, and the resizing and cropping that each model wants.

mod budget;
mod coefficients;
mod colour;
mod config;
mod config_files;
mod decode;
mod directory;
mod formats;
mod header;
mod orientation;
mod pad;
mod perceptual;
mod prepare;
mod resize;
mod thumbnail;

pub use budget::{DecodeBudget, DecodeShare};
pub use coefficients::Filter;
pub use config::{CropRounding, CropRule, IMAGE_RULE_VERSION, ImageConfig, MAX_SIDE, ResizeRule};
pub use decode::{ImageRule, Pixels, decode, decode_transparent};
pub use header::{ImageHeader, read_header};
pub use pad::{Margin, PadRule};
pub use perceptual::difference_hash;
pub use prepare::ImagePreparer;
pub use resize::{Raster, Window, resize, resize_padded};
pub use thumbnail::thumbnail;
