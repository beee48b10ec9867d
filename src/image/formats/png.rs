//! PNG, row by row, so that wide samples and transparency never exist for the whole picture. Of an APNG the first frame.

use std::io::Cursor;

use ::png::{BitDepth, ColorType, Decoder, Transformations};

use super::{Layout, damaged, refused, truncated};
use crate::Result;
use crate::image::colour::{Rgb, high_byte, wide_grey};
use crate::image::decode::ImageRule;
use crate::image::orientation::Orientation;

const SIGNATURE: usize = 8;

/// Walks the chunks up to the end of the file, which has to be there.
pub(super) fn layout(data: &[u8]) -> Result<Layout> {
    let mut at = SIGNATURE;
    let mut layout = None;
    loop {
        let Some((length, name)) = data.get(at..at + 8).map(|head| head.split_at(4)) else {
            return Err(truncated("PNG"));
        };
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        // After the content come four bytes of checksum.
        let Some(content) = data.get(at + 8..).filter(|rest| rest.len() >= length + 4) else {
            return Err(truncated("PNG"));
        };
        let content = &content[..length];
        match (name, &mut layout) {
            (b"IHDR", None) => layout = Some(read_header(content)?),
            (_, None) => return Err(refused("the PNG file does not begin with its header")),
            (b"eXIf", Some(layout)) => layout.orientation = Orientation::from_exif(content),
            (b"IEND", Some(layout)) => return Ok(*layout),
            _ => {}
        }
        at += 12 + length;
    }
}

fn read_header(content: &[u8]) -> Result<Layout> {
    let [w3, w2, w1, w0, h3, h2, h1, h0, ..] = content else { return Err(truncated("PNG")) };
    let (width, height) = (u32::from_be_bytes([*w3, *w2, *w1, *w0]), u32::from_be_bytes([*h3, *h2, *h1, *h0]));
    let mut layout = Layout::new(width, height, 3);
    // The decoder's buffers: some rows of at most 8 bytes a pixel.
    layout.memory += 32 * u64::from(width) + (1 << 20);
    Ok(layout)
}

/// The pixels with their transparency, eight bits a value, four values a pixel; `None` if the file has none.
pub(super) fn decode_transparent(data: &[u8]) -> Result<Option<(u32, u32, Vec<u8>)>> {
    let fault = |error| damaged("PNG", error);
    let mut decoder = Decoder::new(Cursor::new(data));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(fault)?;
    if reader.output_color_type().0 != ColorType::Rgba {
        return Ok(None);
    }
    let size = reader.output_buffer_size().ok_or_else(|| refused("the PNG file is too large"))?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(fault)?;
    Ok(Some((frame.width, frame.height, pixels)))
}

pub(super) fn decode(data: &[u8], layout: &Layout, rule: ImageRule) -> Result<Vec<u8>> {
    let fault = |error| damaged("PNG", error);
    let mut decoder = Decoder::new(Cursor::new(data));
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.ignore_checksums(false);
    let mut reader = decoder.read_info().map_err(fault)?;
    let (colour, depth) = reader.output_color_type();
    let is_interlaced = reader.info().interlaced;
    if reader.info().size() != (layout.width, layout.height) {
        return Err(refused("the PNG file contradicts itself about its size"));
    }
    let (width, height) = (layout.width as usize, layout.height as usize);
    let mut pixels = vec![0; layout.n_pixels() * 3];
    let mut scratch = Vec::new();
    let mut rows = Rows::new(width, height, is_interlaced);
    // The last call reads on to the end of the compressed data and checks its sum.
    while let Some(row) = reader.next_row().map_err(fault)? {
        let Some(place) = rows.next() else { return Err(refused("the PNG file has too many rows")) };
        if place.step == 1 {
            convert(row.data(), colour, depth, rule, &mut pixels[place.start * 3..][..place.count * 3]);
        } else {
            scratch.resize(place.count * 3, 0);
            convert(row.data(), colour, depth, rule, &mut scratch);
            let places = pixels[place.start * 3..].as_chunks_mut::<3>().0.iter_mut().step_by(place.step);
            for (place, pixel) in places.zip(scratch.as_chunks::<3>().0) {
                *place = *pixel;
            }
        }
    }
    if rows.next().is_some() {
        return Err(truncated("PNG"));
    }
    Ok(pixels)
}

fn convert(row: &[u8], colour: ColorType, depth: BitDepth, rule: ImageRule, output: &mut [u8]) {
    let mut rgb = Rgb::new(output, rule);
    let is_wide = depth == BitDepth::Sixteen;
    let wide = || row.as_chunks::<2>().0.iter().map(|bytes| u16::from_be_bytes(*bytes));
    match (colour, is_wide) {
        (ColorType::Grayscale | ColorType::Indexed, false) => rgb.grey(row.iter().copied()),
        (ColorType::Grayscale | ColorType::Indexed, true) => rgb.grey(wide().map(|sample| wide_grey(sample, rule))),
        (ColorType::GrayscaleAlpha, false) => rgb.rgba(row.as_chunks().0.iter().map(|[l, a]| [*l, *l, *l, *a])),
        (ColorType::GrayscaleAlpha, true) => rgb.rgba(row.as_chunks().0.iter().map(|[l, _, a, _]| [*l, *l, *l, *a])),
        (ColorType::Rgb, false) => rgb.rgb(row.as_chunks().0),
        (ColorType::Rgb, true) => {
            let high: Vec<u8> = wide().map(high_byte).collect();
            rgb.rgb(high.as_chunks().0);
        }
        (ColorType::Rgba, false) => rgb.rgba(row.as_chunks().0.iter().copied()),
        (ColorType::Rgba, true) => {
            rgb.rgba(row.as_chunks().0.iter().map(|[r, _, g, _, b, _, a, _]| [*r, *g, *b, *a]));
        }
    }
}

/// Where a row's pixels go, counted in pixels of the whole picture.
struct Place {
    start: usize,
    step: usize,
    count: usize,
}

/// The rows in the order of the file: from top to bottom, or in Adam7's seven passes.
struct Rows {
    width: usize,
    height: usize,
    /// For each pass its first column and row, and the steps along both.
    passes: &'static [[usize; 4]],
    y: usize,
}

impl Rows {
    const PLAIN: [[usize; 4]; 1] = [[0, 0, 1, 1]];
    const ADAM7: [[usize; 4]; 7] =
        [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

    fn new(width: usize, height: usize, is_interlaced: bool) -> Self {
        let passes: &[_] = if is_interlaced { &Self::ADAM7 } else { &Self::PLAIN };
        Self { width, height, passes, y: passes[0][1] }
    }
}

impl Iterator for Rows {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        loop {
            let [left, _, step_x, step_y] = *self.passes.first()?;
            if self.y < self.height && left < self.width {
                let start = self.y * self.width + left;
                self.y += step_y;
                return Some(Place { start, step: step_x, count: (self.width - left).div_ceil(step_x) });
            }
            self.passes = &self.passes[1..];
            self.y = self.passes.first()?[1];
        }
    }
}
