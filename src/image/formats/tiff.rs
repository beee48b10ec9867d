//! TIFF, strip by strip or tile by tile: grey, RGB and CMYK of 8 and 16 bits, with transparency; grey and palettes of up to 8.

use std::borrow::Cow;
use std::io::Cursor;

use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use ::tiff::tags::Tag;
use ::tiff::{ColorType, TiffError};

use super::{Layout, damaged, refused};
use crate::Result;
use crate::image::colour::{Rgb, from_cmyk, high_byte, unmultiply, wide_grey};
use crate::image::decode::ImageRule;
use crate::image::directory::find_entry;
use crate::image::orientation::Orientation;
use crate::types::limits::IMAGE_DECODED_BYTES;

type Reader<'a> = Decoder<Cursor<&'a [u8]>>;

/// How a pixel's samples are to be read.
#[derive(Clone, Copy)]
struct Samples {
    n_samples: usize,
    bits: u8,
    is_planar: bool,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Grey,
    GreyAlpha,
    /// Indices into a colour map.
    Palette,
    Rgb,
    /// With transparency, and whether the colours were multiplied by it.
    Rgba(bool),
    Cmyk,
}

const PHOTOMETRIC_TAG: u16 = 262;
const PHOTOMETRIC_PALETTE: u32 = 3;

/// The decoder does not read palettes, so such a file is read as grey with the black at 0, and its values are the indices.
fn as_grey(data: &[u8]) -> Option<Cow<'_, [u8]>> {
    let entry = find_entry(data, PHOTOMETRIC_TAG).filter(|entry| entry.value == PHOTOMETRIC_PALETTE)?;
    let mut grey = data.to_vec();
    let value = if entry.is_little_endian { [1, 0] } else { [0, 1] };
    grey.get_mut(entry.place..entry.place + 2)?.copy_from_slice(&value);
    Some(Cow::Owned(grey))
}

/// The file as the decoder takes it, and whether it has a palette.
fn prepare(data: &[u8]) -> (Cow<'_, [u8]>, bool) {
    as_grey(data).map_or((Cow::Borrowed(data), false), |grey| (grey, true))
}

pub(super) fn layout(data: &[u8]) -> Result<Layout> {
    let (data, has_palette) = prepare(data);
    let mut decoder = open(&data)?;
    let (width, height) = decoder.dimensions().map_err(fault)?;
    let mut layout = Layout::new(width, height, 3);
    layout.memory += if has_palette { data.len() as u64 } else { 0 };
    if width > 0 && height > 0 {
        let samples = samples(&mut decoder, has_palette)?;
        let (chunk_width, chunk_height) = decoder.chunk_dimensions();
        // A strip may claim more rows than the picture has.
        let chunk = u64::from(chunk_width) * u64::from(chunk_height.min(height));
        let bytes = u64::from(samples.bits).div_ceil(8) * samples.n_samples as u64;
        // As read, and as bytes.
        layout.memory += chunk.saturating_mul(bytes + samples.n_samples as u64);
    }
    let orientation = decoder.find_tag_unsigned::<u16>(Tag::Orientation).ok().flatten();
    layout.orientation = orientation.map_or(Orientation::UPRIGHT, |value| Orientation::from_value(value.into()));
    layout.is_turned_by_reference = true;
    Ok(layout)
}

pub(super) fn decode(data: &[u8], layout: &Layout, rule: ImageRule) -> Result<Vec<u8>> {
    let (data, has_palette) = prepare(data);
    let mut decoder = open(&data)?;
    let samples = samples(&mut decoder, has_palette)?;
    let palette = if has_palette { read_palette(&mut decoder)? } else { Vec::new() };
    let (width, height) = (layout.width as usize, layout.height as usize);
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    let (chunk_width, chunk_height) = (chunk_width as usize, chunk_height as usize);
    if chunk_width == 0 || chunk_height == 0 {
        return Err(refused("the TIFF file has empty strips"));
    }
    let (across, down) = (width.div_ceil(chunk_width), height.div_ceil(chunk_height));
    let mut pixels = vec![0; layout.n_pixels() * 3];
    let mut bytes = Vec::new();
    for index in 0..across * down {
        let (left, top) = (index % across * chunk_width, index / across * chunk_height);
        let (columns, rows) = (chunk_width.min(width - left), chunk_height.min(height - top));
        read_chunk(&mut decoder, index, across * down, (columns, rows), samples, rule, &mut bytes)?;
        for (row, line) in bytes.chunks_exact(columns * samples.n_samples).enumerate() {
            let start = ((top + row) * width + left) * 3;
            convert(line, samples.kind, rule, &palette, &mut pixels[start..start + columns * 3]);
        }
    }
    Ok(pixels)
}

/// Reads a strip or tile as one byte a sample, pixel by pixel.
fn read_chunk(
    decoder: &mut Reader<'_>,
    index: usize,
    n_chunks: usize,
    (columns, rows): (usize, usize),
    samples: Samples,
    rule: ImageRule,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    let n_planes = if samples.is_planar { samples.n_samples } else { 1 };
    let in_plane = samples.n_samples / n_planes;
    bytes.clear();
    bytes.resize(columns * rows * samples.n_samples, 0);
    for plane in 0..n_planes {
        let read = decoder.read_chunk((plane * n_chunks + index) as u32).map_err(fault)?;
        let places = bytes.iter_mut().skip(plane).step_by(n_planes);
        let n_expected = columns * rows * in_plane;
        let n_read = match read {
            DecodingResult::U8(values) if samples.bits < 8 => {
                let row_bytes = columns.div_ceil(8 / usize::from(samples.bits));
                let white = if samples.kind == Kind::Palette { u8::MAX >> (8 - samples.bits) } else { u8::MAX };
                let rows = values.chunks(row_bytes.max(1));
                let unpacked = rows.flat_map(|row| unpack(row, samples.bits, white).take(columns));
                places.zip(unpacked).map(|(place, value)| *place = value).count()
            }
            DecodingResult::U8(values) => places.zip(values).map(|(place, value)| *place = value).count(),
            DecodingResult::U16(values) if samples.kind == Kind::Grey => {
                places.zip(values).map(|(place, value)| *place = wide_grey(value, rule)).count()
            }
            DecodingResult::U16(values) => places.zip(values).map(|(place, value)| *place = high_byte(value)).count(),
            _ => return Err(refused("the TIFF file's samples are not unsigned numbers of 1 to 16 bits")),
        };
        if n_read < n_expected {
            return Err(super::truncated("TIFF"));
        }
    }
    Ok(())
}

/// The colours of a palette by index: 2^bits values of 16 bits of red, then green, then blue.
fn read_palette(decoder: &mut Reader<'_>) -> Result<Vec<[u8; 3]>> {
    let map = decoder.find_tag_unsigned_vec::<u16>(Tag::ColorMap).map_err(fault)?.unwrap_or_default();
    let n_colours = map.len() / 3;
    if n_colours == 0 {
        return Err(refused("the TIFF file has a palette without colours"));
    }
    Ok((0..n_colours).map(|index| [0, 1, 2].map(|part| high_byte(map[part * n_colours + index]))).collect())
}

/// Samples of less than a byte, stretched to 0..=`white`.
fn unpack(row: &[u8], bits: u8, white: u8) -> impl Iterator<Item = u8> + '_ {
    let most = u8::MAX >> (8 - bits);
    let per_byte = 8 / bits;
    row.iter()
        .flat_map(move |byte| (0..per_byte).map(move |at| (byte >> (8 - bits * (at + 1)) & most) * (white / most)))
}

fn convert(line: &[u8], kind: Kind, rule: ImageRule, palette: &[[u8; 3]], output: &mut [u8]) {
    let mut rgb = Rgb::new(output, rule);
    match kind {
        Kind::Grey => rgb.grey(line.iter().copied()),
        Kind::GreyAlpha => rgb.rgba(line.as_chunks().0.iter().map(|[l, a]| [*l, *l, *l, *a])),
        Kind::Palette => {
            for (place, &index) in output.as_chunks_mut::<3>().0.iter_mut().zip(line) {
                *place = palette.get(usize::from(index)).copied().unwrap_or_default();
            }
        }
        Kind::Rgb => rgb.rgb(line.as_chunks().0),
        Kind::Rgba(false) => rgb.rgba(line.as_chunks().0.iter().copied()),
        Kind::Rgba(true) => rgb.rgba(line.as_chunks().0.iter().map(|[r, g, b, a]| {
            let [r, g, b] = [r, g, b].map(|value| unmultiply(*value, *a));
            [r, g, b, *a]
        })),
        Kind::Cmyk => {
            for (place, inks) in output.as_chunks_mut::<3>().0.iter_mut().zip(line.as_chunks().0) {
                *place = from_cmyk(*inks);
            }
        }
    }
}

fn samples(decoder: &mut Reader<'_>, has_palette: bool) -> Result<Samples> {
    let colour = decoder.colortype().map_err(fault)?;
    let is_planar = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration).map_err(fault)? == Some(2);
    let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(fault)?.unwrap_or_default();
    let is_multiplied = extra.first() == Some(&1);
    let (n_samples, bits, kind) = match colour {
        ColorType::Gray(bits @ 1..=8) if has_palette => (1, bits, Kind::Palette),
        ColorType::Gray(bits) if !has_palette => (1, bits, Kind::Grey),
        ColorType::Multiband { bit_depth, num_samples: 2 } if extra.first() == Some(&2) => {
            (2, bit_depth, Kind::GreyAlpha)
        }
        ColorType::GrayA(bits) => (2, bits, Kind::GreyAlpha),
        ColorType::RGB(bits) => (3, bits, Kind::Rgb),
        ColorType::RGBA(bits) => (4, bits, Kind::Rgba(is_multiplied)),
        ColorType::CMYK(bits) => (4, bits, Kind::Cmyk),
        other => return Err(refused(format!("TIFF files of {other:?} are not supported"))),
    };
    let is_known = matches!((kind, bits), (_, 8 | 16) | (Kind::Grey | Kind::Palette, 1 | 2 | 4));
    if !is_known {
        return Err(refused(format!("TIFF files of {colour:?} are not supported")));
    }
    Ok(Samples { n_samples, bits, is_planar, kind })
}

fn open(data: &[u8]) -> Result<Reader<'_>> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = IMAGE_DECODED_BYTES.get();
    limits.intermediate_buffer_size = IMAGE_DECODED_BYTES.get();
    Decoder::new(Cursor::new(data)).map(|decoder| decoder.with_limits(limits)).map_err(fault)
}

fn fault(error: TiffError) -> crate::Error {
    damaged("TIFF", error)
}
