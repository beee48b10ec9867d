//! BMP.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::{ColorType, ImageDecoder as _, ImageError};

use super::{Layout, damaged};
use crate::Result;
use crate::image::colour::Rgb;
use crate::image::decode::ImageRule;

pub(super) fn layout(data: &[u8]) -> Result<Layout> {
    let (width, height) = open(data)?.dimensions();
    // At most RGB with transparency, then RGB.
    Ok(Layout::new(width, height, 7))
}

pub(super) fn decode(data: &[u8], layout: &Layout, rule: ImageRule) -> Result<Vec<u8>> {
    let decoder = open(data)?;
    let colour = decoder.color_type();
    let mut pixels = vec![0; layout.n_pixels() * usize::from(colour.bytes_per_pixel())];
    decoder.read_image(&mut pixels).map_err(fault)?;
    let mut opaque = vec![0; layout.n_pixels() * 3];
    let mut rgb = Rgb::new(&mut opaque, rule);
    match colour {
        ColorType::Rgb8 => return Ok(pixels),
        ColorType::L8 => rgb.grey(pixels.iter().copied()),
        ColorType::Rgba8 => rgb.rgba(pixels.as_chunks().0.iter().copied()),
        other => return Err(damaged("BMP", format!("pixels of type {other:?}"))),
    }
    Ok(opaque)
}

fn open(data: &[u8]) -> Result<BmpDecoder<Cursor<&[u8]>>> {
    BmpDecoder::new(Cursor::new(data)).map_err(fault)
}

fn fault(error: ImageError) -> crate::Error {
    damaged("BMP", error)
}
