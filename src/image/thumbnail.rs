//! Small previews.

use super::coefficients::Filter;
use super::decode::{ImageRule, decode};
use super::formats::encode_jpeg;
use super::resize::{Raster, Window, resize};
use crate::{Error, Result};

const QUALITY: i32 = 85;

/// Makes a JPEG whose longer side has at most `side` pixels; smaller pictures keep their size.
///
/// # Errors
/// As [`decode`]; [`Error::InvalidArgument`] if `side` is 0.
pub fn thumbnail(data: &[u8], side: u32) -> Result<Vec<u8>> {
    if side == 0 {
        return Err(Error::invalid("side", "expected at least 1 pixel, got 0"));
    }
    let pixels = decode(data, ImageRule::Pictor)?;
    let longer = pixels.width.max(pixels.height);
    if longer <= side {
        return encode_jpeg(&pixels.data, pixels.width, pixels.height, QUALITY);
    }
    let shorter = |length: u32| {
        let exact = u64::from(length) * u64::from(side);
        // Rounded, but never nothing.
        ((exact + u64::from(longer) / 2) / u64::from(longer)).max(1) as u32
    };
    let (width, height) = (shorter(pixels.width), shorter(pixels.height));
    let source = Raster::<3> { data: &pixels.data, width: pixels.width, height: pixels.height };
    let small = resize(source, width, height, Filter::Bicubic, Window { left: 0, top: 0, width, height });
    encode_jpeg(&small, width, height, QUALITY)
}
