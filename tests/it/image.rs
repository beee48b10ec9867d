//! The image pipeline against Pillow and transformers, and against files that mean harm.

mod files;
mod formats;
mod hostile;
mod prepare;
mod resize;
mod robust;
mod thumbnail;
mod usage;
