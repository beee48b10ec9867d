//! Decoded pictures.

use std::fmt;

/// RGB pixels, rows from top to bottom, three bytes a pixel.
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    pub width: u32,
    pub height: u32,
    pub data: Vec<u8>,
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pixels({}×{})", self.width, self.height)
    }
}

/// In which order a picture is made ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageRule {
    /// Turned as its EXIF data says, laid over white, converted to RGB, then resized.
    #[default]
    Pictor,
    /// As the family's own code does it: converted to RGB without its alpha, not turned.
    Reference,
}
