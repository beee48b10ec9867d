//! The image pipeline against Pillow and transformers, and against files that mean harm.

mod files;
mod formats;
mod hostile;
mod pads;
mod perceptual;
mod prepare;
mod resize;
mod robust;
mod thumbnail;
pub(crate) mod usage;
