//! The image pipeline against Pillow.

mod resize;
