//! A decoded picture with its transparency.

use crate::Result;
use crate::image::{ImagePreparer, decode_transparent, read_header};

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
        if is_small && let Some((width, height, mut rgba)) = decode_transparent(file)? {
            for pixel in rgba.chunks_exact_mut(4) {
                let opacity = u32::from(pixel[3]);
                pixel[..3].iter_mut().for_each(|value| *value = ((u32::from(*value) * opacity + 127) / 255) as u8);
            }
            return Ok(Self { width: width as usize, height: height as usize, rgba, is_flippable });
        }
        let pixels = preparer.prepare(file)?;
        let rgba = pixels.data.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
        Ok(Self { width: pixels.width as usize, height: pixels.height as usize, rgba, is_flippable })
    }
}
