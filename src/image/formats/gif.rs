//! The first frame of a GIF, on a canvas as Pillow makes it.

use std::borrow::Cow;

use ::gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, MemoryLimit};

use super::{Layout, damaged, refused};
use crate::Result;
use crate::image::colour::Rgb;
use crate::image::decode::ImageRule;
use crate::types::limits::{IMAGE_DECODED_BYTES, IMAGE_PIXELS};

/// Where the logical screen's flags stand, and where its colour table begins.
const FLAGS: usize = 10;
const TABLE: usize = 13;

/// The canvas reaches as far as the first frame does.
pub(super) fn layout(data: &[u8]) -> Result<Layout> {
    let data = &*with_table(data);
    let mut decoder = open(data)?;
    let screen = (decoder.width(), decoder.height());
    if screen.0 == 0 || screen.1 == 0 {
        return Ok(Layout::new(u32::from(screen.0), u32::from(screen.1), 0));
    }
    let frame = next_frame(&mut decoder)?;
    let reach = |offset: u16, length: u16| u32::from(offset) + u32::from(length);
    let width = reach(frame.left, frame.width).max(u32::from(screen.0));
    let height = reach(frame.top, frame.height).max(u32::from(screen.1));
    // RGB, the canvas and the frame.
    Ok(Layout::new(width, height, 5))
}

pub(super) fn decode(data: &[u8], layout: &Layout, rule: ImageRule) -> Result<Vec<u8>> {
    let data = &*with_table(data);
    let mut decoder = open(data)?;
    let frame = next_frame(&mut decoder)?;
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices).map_err(fault)?;
    // What the frame leaves free is transparent if anything is, else it has the first colour.
    let mut canvas = vec![frame.transparent.unwrap_or(0); layout.n_pixels()];
    if frame.width > 0 {
        let rows = canvas.chunks_exact_mut(layout.width as usize).skip(usize::from(frame.top));
        for (row, line) in rows.zip(indices.chunks_exact(usize::from(frame.width))) {
            row[usize::from(frame.left)..][..line.len()].copy_from_slice(line);
        }
    }
    drop(indices);
    let palette = decoder.palette().map_err(fault)?.as_chunks::<3>().0;
    let mut colours = [[0, 0, 0, 255_u8]; 256];
    for (colour, [red, green, blue]) in colours.iter_mut().zip(palette) {
        *colour = [*red, *green, *blue, 255];
    }
    if let Some(transparent) = frame.transparent {
        colours[usize::from(transparent)][3] = 0;
    }
    let mut pixels = vec![0; canvas.len() * 3];
    Rgb::new(&mut pixels, rule).rgba(canvas.iter().map(|&index| colours[usize::from(index)]));
    Ok(pixels)
}

/// The first frame's place and transparent index.
struct Frame {
    left: u16,
    top: u16,
    width: u16,
    height: u16,
    transparent: Option<u8>,
}

fn next_frame(decoder: &mut Decoder<&[u8]>) -> Result<Frame> {
    let frame = decoder.next_frame_info().map_err(fault)?.ok_or_else(|| refused("the GIF file has no picture"))?;
    let (left, top, width, height) = (frame.left, frame.top, frame.width, frame.height);
    IMAGE_PIXELS.check("media.data pixels", usize::from(width) * usize::from(height))?;
    Ok(Frame { left, top, width, height, transparent: frame.transparent })
}

fn open(data: &[u8]) -> Result<Decoder<&[u8]>> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Bytes(
        std::num::NonZeroU64::new(IMAGE_DECODED_BYTES.cap).unwrap_or(std::num::NonZeroU64::MIN),
    ));
    options.read_info(data).map_err(fault)
}

/// The file with a table of greys if it has none for all frames; what a picture without colours looks like is left open by
/// the format, and this is Pillow's choice.
fn with_table(data: &[u8]) -> Cow<'_, [u8]> {
    match data.get(FLAGS) {
        Some(flags) if flags & 0x80 == 0 && data.len() >= TABLE => {
            let mut whole = data[..TABLE].to_vec();
            // A table of 2^(7 + 1) colours.
            whole[FLAGS] |= 0x87;
            whole.extend((0..=255_u8).flat_map(|grey| [grey; 3]));
            whole.extend_from_slice(&data[TABLE..]);
            Cow::Owned(whole)
        }
        _ => Cow::Borrowed(data),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn fault(error: DecodingError) -> crate::Error {
    damaged("GIF", error)
}
