//! Bytes to upright RGB pixels.
//!
//! ICC profiles are ignored: values are taken as sRGB, as Pillow and every CLIP preprocessing take them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use super::formats::{Format, Layout};
use super::header::check;
use crate::{Error, Result};

/// An RGB picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    pub width: u32,
    pub height: u32,
    /// Three bytes a pixel, rows from top to bottom.
    pub data: Vec<u8>,
}

/// What is made of orientation and transparency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageRule {
    /// Turned upright by EXIF, laid over white; 16-bit samples become their high byte.
    #[default]
    Pictor,
    /// As the families' own preprocessing sees it through Pillow: EXIF ignored except in TIFF, transparency dropped, 16-bit
    /// grey cut at 255.
    Reference,
}

impl FromStr for ImageRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "pictor" => Ok(Self::Pictor),
            "reference" => Ok(Self::Reference),
            _ => Err(Error::invalid("preprocess", format!("expected pictor or reference, found {text:?}"))),
        }
    }
}

/// Decodes a JPEG, PNG, WebP, GIF, BMP or TIFF file; of an animation the first frame.
///
/// # Errors
/// [`Error::InvalidArgument`] for the field `media.data` if the bytes are none of these, truncated or damaged;
/// [`Error::LimitExceeded`] if the picture is too large.
pub fn decode(data: &[u8], rule: ImageRule) -> Result<Pixels> {
    let (format, layout) = check(data)?;
    let Layout { width, height, orientation, .. } = layout;
    let pixels = guard(format, || format.decode(data, &layout, rule))?;
    if pixels.len() != width as usize * height as usize * 3 {
        return Err(Error::Internal(format!("a {} decoder gave {} bytes", format.mime_type(), pixels.len())));
    }
    if rule == ImageRule::Reference && !layout.is_turned_by_reference {
        return Ok(Pixels { width, height, data: pixels });
    }
    let (data, width, height) = orientation.apply(pixels, width, height);
    Ok(Pixels { width, height, data })
}

/// Decodes a PNG file with its transparency: width, height, and red, green, blue and opacity of each pixel. `None` if the file is
/// no PNG or has no transparency in colour.
///
/// # Errors
/// As [`decode`].
pub fn decode_transparent(data: &[u8]) -> Result<Option<(u32, u32, Vec<u8>)>> {
    let (format, _) = check(data)?;
    guard(format, || format.decode_transparent(data))
}

/// Runs a decoder; if it panics, the file is refused.
pub(super) fn guard<T>(format: Format, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // The work owns what it changes, so nothing half-made survives.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let message = format!("the {} decoder failed on this file, which must be damaged", format.mime_type());
        Err(Error::invalid("media.data", message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_refuses_the_file() {
        let found: Result<()> = guard(Format::Png, || panic!("a decoder's mistake"));
        assert!(matches!(found, Err(Error::InvalidArgument { field, .. }) if field == "media.data"));
        assert_eq!(guard(Format::Png, || Ok(1)), Ok(1));
    }
}
