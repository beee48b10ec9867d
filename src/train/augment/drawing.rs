//! A decoded picture with its transparency.

use std::io::Cursor;

use crate::image::{ImagePreparer, read_header};
use crate::{Error, Result};

/// A picture before augmentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    pub width: usize,
    pub height: usize,
    /// Four bytes a pixel, rows from top to bottom; colours are multiplied by their opacity.
    pub rgba: Vec<u8>,
    pub is_flippable: bool,
}

impl Drawing {
    /// Decodes a file: a small PNG with its transparency, anything else as `preparer` has it.
    ///
    /// # Errors
    /// Those of decoding.
    pub fn decode(file: &[u8], preparer: &ImagePreparer, is_flippable: bool) -> Result<Self> {
        let header = read_header(file)?;
        let (height, width) = preparer.output_size();
        let is_small = header.width <= 2 * width && header.height <= 2 * height;
        if header.mime_type == "image/png"
            && is_small
            && let Some(drawing) = transparent_png(file, is_flippable)?
        {
            return Ok(drawing);
        }
        let pixels = preparer.prepare(file)?;
        let rgba = pixels.data.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
        Ok(Self { width: pixels.width as usize, height: pixels.height as usize, rgba, is_flippable })
    }
}

/// A PNG of 8 bits with an alpha channel, or with a palette that has one; `None` for others.
fn transparent_png(file: &[u8], is_flippable: bool) -> Result<Option<Drawing>> {
    let damaged = |error: png::DecodingError| Error::invalid("media.data", format!("damaged PNG: {error}"));
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(damaged)?;
    if reader.output_color_type().0 != png::ColorType::Rgba {
        return Ok(None);
    }
    let size = reader.output_buffer_size().ok_or_else(|| Error::invalid("media.data", "the PNG is too large"))?;
    let mut rgba = vec![0; size];
    let frame = reader.next_frame(&mut rgba).map_err(damaged)?;
    for pixel in rgba.chunks_exact_mut(4) {
        let opacity = u32::from(pixel[3]);
        pixel[..3].iter_mut().for_each(|value| *value = ((u32::from(*value) * opacity + 127) / 255) as u8);
    }
    let (width, height) = (frame.width as usize, frame.height as usize);
    Ok(Some(Drawing { width, height, rgba, is_flippable }))
}
