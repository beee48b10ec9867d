//! The picture formats, one a file: what a header tells, and the pixels.

mod bmp;
mod gif;
mod jpeg;
mod jpeg_markers;
mod png;
mod tiff;
mod webp;

pub(super) use jpeg::encode as encode_jpeg;

use super::decode::ImageRule;
use super::orientation::Orientation;
use crate::{Error, Result};

/// What a header tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Pixels, as stored.
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) orientation: Orientation,
    /// Bytes that the decoder allocates at most, its output included.
    pub(super) memory: u64,
    /// True if the pixels already come out upright under either rule.
    pub(super) is_turned_by_reference: bool,
}

impl Layout {
    /// A layout whose decoder needs `bytes_per_pixel`, RGB included.
    fn new(width: u32, height: u32, bytes_per_pixel: u64) -> Self {
        let memory = u64::from(width) * u64::from(height) * bytes_per_pixel;
        Self { width, height, orientation: Orientation::UPRIGHT, memory, is_turned_by_reference: false }
    }

    fn n_pixels(&self) -> usize {
        self.width as usize * self.height as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Tiff,
}

impl Format {
    /// Tells the format by its first bytes.
    pub(super) fn guess(data: &[u8]) -> Option<Self> {
        let is_webp = || data.starts_with(b"RIFF") && data.get(8..12) == Some(b"WEBP");
        match data {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'B', b'M', ..] => Some(Self::Bmp),
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Some(Self::Tiff),
            _ => is_webp().then_some(Self::WebP),
        }
    }

    pub(super) fn mime_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
        }
    }

    /// Reads the header; allocates no pixels.
    pub(super) fn layout(self, data: &[u8]) -> Result<Layout> {
        match self {
            Self::Jpeg => jpeg::layout(data),
            Self::Png => png::layout(data),
            Self::WebP => webp::layout(data),
            Self::Gif => gif::layout(data),
            Self::Bmp => bmp::layout(data),
            Self::Tiff => tiff::layout(data),
        }
    }

    /// Decodes with transparency; `None` for formats and files without.
    pub(super) fn decode_transparent(self, data: &[u8]) -> Result<Option<(u32, u32, Vec<u8>)>> {
        match self {
            Self::Png => png::decode_transparent(data),
            _ => Ok(None),
        }
    }

    /// Decodes to RGB as stored, `layout.width` × `layout.height`.
    pub(super) fn decode(self, data: &[u8], layout: &Layout, rule: ImageRule) -> Result<Vec<u8>> {
        match self {
            Self::Jpeg => jpeg::decode(data, layout),
            Self::Png => png::decode(data, layout, rule),
            Self::WebP => webp::decode(data, layout, rule),
            Self::Gif => gif::decode(data, layout, rule),
            Self::Bmp => bmp::decode(data, layout, rule),
            Self::Tiff => tiff::decode(data, layout, rule),
        }
    }
}

/// The bytes cannot be used; `reason` says why.
fn refused(reason: impl std::fmt::Display) -> Error {
    Error::invalid("media.data", reason.to_string())
}

/// The bytes end too early.
fn truncated(format: &str) -> Error {
    refused(format!("the {format} file is truncated"))
}

/// A decoder gave up.
fn damaged(format: &str, error: impl std::fmt::Display) -> Error {
    refused(format!("the {format} file is damaged or not supported: {error}"))
}
