//! WebP; of an animation the first frame.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::{Layout, damaged, refused, truncated};
use crate::Result;
use crate::image::colour::Rgb;
use crate::image::decode::ImageRule;
use crate::image::orientation::Orientation;

pub(super) fn layout(data: &[u8]) -> Result<Layout> {
    // The container says how long it is.
    let length = data.get(4..8).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    if length.is_none_or(|length| data.len() < length as usize + 8) {
        return Err(truncated("WebP"));
    }
    let mut decoder = open(data)?;
    let (width, height) = decoder.dimensions();
    // The output, and what the decoder makes on the way: canvas and frame of an animation, planes, alpha.
    let bytes_per_pixel = match (decoder.is_animated(), decoder.is_lossy(), decoder.has_alpha()) {
        (true, _, _) => 14,
        (false, true, false) => 5,
        (false, true, true) => 12,
        (false, false, _) => 8,
    };
    let mut layout = Layout::new(width, height, bytes_per_pixel);
    if let Some(exif) = decoder.exif_metadata().map_err(fault)? {
        layout.orientation = Orientation::from_exif(&exif);
    }
    Ok(layout)
}

pub(super) fn decode(data: &[u8], layout: &Layout, rule: ImageRule) -> Result<Vec<u8>> {
    let mut decoder = open(data)?;
    if decoder.dimensions() != (layout.width, layout.height) {
        return Err(refused("the WebP file contradicts itself about its size"));
    }
    let n_bytes = decoder.output_buffer_size().ok_or_else(|| refused("the WebP file is too large"))?;
    let mut pixels = vec![0; n_bytes];
    decoder.read_image(&mut pixels).map_err(fault)?;
    if decoder.has_alpha() {
        let mut opaque = vec![0; layout.n_pixels() * 3];
        Rgb::new(&mut opaque, rule).rgba(pixels.as_chunks().0.iter().copied());
        pixels = opaque;
    }
    Ok(pixels)
}

fn open(data: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>> {
    let mut decoder = WebPDecoder::new(Cursor::new(data)).map_err(fault)?;
    // Chunks of metadata can be no longer than the file.
    decoder.set_memory_limit(data.len());
    Ok(decoder)
}

fn fault(error: DecodingError) -> crate::Error {
    damaged("WebP", error)
}
