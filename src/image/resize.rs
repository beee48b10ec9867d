//! Resizes as Pillow does, bit for bit, and computes only the part that is wanted.
//!
//! Two passes, rounded to bytes between them, in the order that Pillow 13 takes. The loops are written so that the compiler
//! vectorises them; `pulp` picks the instruction set of this machine.

use std::ops::Range;

use super::coefficients::{Coefficients, Filter, PRECISION_BITS, nearest};
use super::pad::Margin;

/// The wanted part of a resized picture, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

/// A picture to resize: rows from top to bottom, `CHANNELS` bytes a pixel.
#[derive(Clone, Copy, Debug)]
pub struct Raster<'a, const CHANNELS: usize> {
    pub data: &'a [u8],
    pub width: u32,
    pub height: u32,
}

/// The bytes that one step of the pass across works on: 16 rows of RGB or 48 of grey.
const LANES: usize = 48;

/// The picture between the passes is made in strips so that it stays below this.
const STRIP_BYTES: usize = 16 << 20;

/// Resizes to `width` × `height` and gives the `window` of the result, `CHANNELS` bytes a pixel.
///
/// `CHANNELS` is 1, 2, 3 or 4. Nothing outside the window is computed.
///
/// # Panics
/// Panics if the raster's data is not as long as its size says, if a size is 0, or if the window reaches outside.
#[must_use]
pub fn resize<const CHANNELS: usize>(
    source: Raster<'_, CHANNELS>,
    width: u32,
    height: u32,
    filter: Filter,
    window: Window,
) -> Vec<u8> {
    resize_padded(source, Margin::NONE, width, height, filter, window)
}

/// As [`resize`], of the picture with black margins, which take no memory: black adds nothing to a sum.
///
/// # Panics
/// As [`resize`].
#[must_use]
pub fn resize_padded<const CHANNELS: usize>(
    source: Raster<'_, CHANNELS>,
    margin: Margin,
    width: u32,
    height: u32,
    filter: Filter,
    window: Window,
) -> Vec<u8> {
    const { assert!(CHANNELS > 0 && LANES.is_multiple_of(CHANNELS)) };
    let (in_width, in_height) = (source.width as usize, source.height as usize);
    assert_eq!(source.data.len(), in_width * in_height * CHANNELS, "the raster's length");
    assert!(source.width > 0 && source.height > 0 && width > 0 && height > 0, "empty pictures cannot be resized");
    let is_inside = |start: u32, length: u32, whole: u32| start.checked_add(length).is_some_and(|end| end <= whole);
    assert!(is_inside(window.left, window.width, width) && is_inside(window.top, window.height, height), "the window");
    let (left, top) = (window.left as usize, window.top as usize);
    let (columns, rows) = (window.width as usize, window.height as usize);
    let mut output = vec![0; columns * rows * CHANNELS];
    if output.is_empty() {
        return output;
    }
    if filter == Filter::Nearest {
        take_nearest(source, margin, (width, height), window, &mut output);
        return output;
    }
    let axis = |input: usize, margin: u32, output: u32, start: usize, count: usize| {
        let (margin, output) = (margin as usize, output as usize);
        match input + 2 * margin {
            padded if padded != output => {
                let weights = Coefficients::new(filter, padded, output, start, count);
                Some(weights.without_margin(margin, input))
            }
            _ if margin > 0 => Some(Coefficients::identity(start, count).without_margin(margin, input)),
            _ => None,
        }
    };
    let across = axis(in_width, margin.across, width, left, columns);
    let down = axis(in_height, margin.down, height, top, rows);
    let padded = (in_width + 2 * margin.across as usize, in_height + 2 * margin.down as usize);
    let view = View { data: source.data, stride: in_width * CHANNELS, left: 0, top: 0 };
    let arch = pulp::Arch::new();
    match (&across, &down) {
        (None, None) => {
            for (y, line) in output.chunks_exact_mut(columns * CHANNELS).enumerate() {
                line.copy_from_slice(&view.row(top + y)[left * CHANNELS..][..columns * CHANNELS]);
            }
        }
        (Some(across), None) => {
            arch.dispatch(Across::<CHANNELS> {
                source: view,
                rows: top..top + rows,
                across,
                columns: 0..columns,
                output: &mut output,
            });
        }
        (None, Some(down)) => {
            let length = columns * CHANNELS;
            let from = left * CHANNELS;
            arch.dispatch(Down {
                source: view,
                from,
                down,
                rows: 0..rows,
                length,
                output: &mut output,
                stride: length,
            });
        }
        (Some(across), Some(down)) if is_down_first(padded, (width as usize, height as usize)) => {
            let needed = across.input_of(0..columns);
            let (from, stride) = (needed.start * CHANNELS, needed.len() * CHANNELS);
            let strip = (STRIP_BYTES / stride.max(1)).max(LANES);
            for (start, lines) in (0..rows).step_by(strip).zip(output.chunks_mut(strip * columns * CHANNELS)) {
                let rows = start..rows.min(start + strip);
                let mut middle = vec![0; rows.len() * stride];
                let rows_again = rows.clone();
                arch.dispatch(Down { source: view, from, down, rows, length: stride, output: &mut middle, stride });
                let source = View { data: &middle, stride, left: needed.start, top: start };
                let columns = 0..columns;
                arch.dispatch(Across::<CHANNELS> { source, rows: rows_again, across, columns, output: lines });
            }
        }
        (Some(across), Some(down)) => {
            let needed = down.input_of(0..rows);
            let strip = (STRIP_BYTES / (needed.len() * CHANNELS).max(1)).max(16);
            for start in (0..columns).step_by(strip) {
                let strip = start..columns.min(start + strip);
                let length = strip.len() * CHANNELS;
                let mut middle = vec![0; needed.len() * length];
                arch.dispatch(Across::<CHANNELS> {
                    source: view,
                    rows: needed.clone(),
                    across,
                    columns: strip,
                    output: &mut middle,
                });
                let source = View { data: &middle, stride: length, left: 0, top: needed.start };
                let (output, stride) = (&mut output[start * CHANNELS..], columns * CHANNELS);
                arch.dispatch(Down { source, from: 0, down, rows: 0..rows, length, output, stride });
            }
        }
    }
    output
}

/// True where Pillow 13 runs the pass down before the pass across: the picture loses more than twice as many rows as columns.
///
/// The order shows in the rounding. The condition was found by comparing Pillow with its own single passes over 1,976 pairs of
/// sizes; earlier releases always ran across first.
fn is_down_first(input: (usize, usize), output: (usize, usize)) -> bool {
    let lost = |input: usize, output: usize| input as i64 - output as i64;
    let (columns, rows) = (lost(input.0, output.0), lost(input.1, output.1));
    rows > 0 && rows > 2 * columns
}

/// A part of a picture, from column `left` and row `top` on.
#[derive(Clone, Copy)]
struct View<'a> {
    data: &'a [u8],
    /// Bytes from one row to the next.
    stride: usize,
    left: usize,
    top: usize,
}

impl<'a> View<'a> {
    /// The bytes from row `y` on.
    #[inline(always)]
    fn row(&self, y: usize) -> &'a [u8] {
        &self.data[(y - self.top) * self.stride..]
    }
}

fn take_nearest<const CHANNELS: usize>(
    source: Raster<'_, CHANNELS>,
    margin: Margin,
    (width, height): (u32, u32),
    window: Window,
    output: &mut [u8],
) {
    let (in_width, in_height) = (source.width as usize, source.height as usize);
    let (across, down) = (margin.across as usize, margin.down as usize);
    let from_x = nearest(in_width + 2 * across, width as usize, window.left as usize, window.width as usize);
    let from_y = nearest(in_height + 2 * down, height as usize, window.top as usize, window.height as usize);
    // What is outside of the picture stays black.
    let inside = |at: usize, margin: usize, length: usize| at.checked_sub(margin).filter(|at| *at < length);
    for (line, y) in output.chunks_exact_mut(from_x.len() * CHANNELS).zip(from_y) {
        let Some(y) = inside(y, down, in_height) else { continue };
        let row = source.data[y * in_width * CHANNELS..][..in_width * CHANNELS].as_chunks::<CHANNELS>().0;
        for (pixel, &x) in line.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(&from_x) {
            if let Some(x) = inside(x, across, in_width) {
                *pixel = row[x];
            }
        }
    }
}

/// Rounds a sum of weighted bytes to a byte.
#[inline(always)]
fn to_byte(sum: i32) -> u8 {
    (sum.wrapping_add(1 << (PRECISION_BITS - 1)) >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Adds `weight` times each byte to its sum.
#[inline(always)]
fn add_weighted<const N: usize>(sums: &mut [i32; N], bytes: &[u8; N], weight: i32) {
    for (sum, &byte) in sums.iter_mut().zip(bytes) {
        *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(byte)));
    }
}

/// The pass across: output columns `columns` of the rows `rows`, written without gaps.
///
/// Several rows are laid side by side, pixel by pixel, so that one weight meets [`LANES`] neighbouring bytes.
struct Across<'a, const CHANNELS: usize> {
    source: View<'a>,
    rows: Range<usize>,
    across: &'a Coefficients,
    columns: Range<usize>,
    output: &'a mut [u8],
}

impl<const CHANNELS: usize> pulp::WithSimd for Across<'_, CHANNELS> {
    type Output = ();

    // Without this the loops would be compiled for the least of processors.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let input = self.across.input_of(self.columns.clone());
        let first_byte = (input.start - self.source.left) * CHANNELS;
        let block = LANES / CHANNELS;
        let width = self.columns.len();
        let mut laid = vec![[0_u8; LANES]; input.len()];
        for (at, lines) in self.rows.step_by(block).zip(self.output.chunks_mut(block * width * CHANNELS)) {
            let count = lines.len() / (width * CHANNELS);
            for row in 0..count {
                let bytes = &self.source.row(at + row)[first_byte..][..input.len() * CHANNELS];
                for (lanes, pixel) in laid.iter_mut().zip(bytes.as_chunks::<CHANNELS>().0) {
                    lanes.as_chunks_mut::<CHANNELS>().0[row] = *pixel;
                }
            }
            let lines = lines.as_chunks_mut::<CHANNELS>().0;
            for column in self.columns.clone() {
                let (first, weights) = self.across.at(column);
                let mut sums = [0; LANES];
                for (lanes, &weight) in laid[first - input.start..].iter().zip(weights) {
                    add_weighted(&mut sums, lanes, weight);
                }
                let mut bytes = [0; LANES];
                for (byte, sum) in bytes.iter_mut().zip(sums) {
                    *byte = to_byte(sum);
                }
                let places = lines[column - self.columns.start..].iter_mut().step_by(width);
                for (place, pixel) in places.zip(bytes.as_chunks::<CHANNELS>().0) {
                    *place = *pixel;
                }
            }
        }
    }
}

/// The pass down: `length` bytes of each of the output rows `rows`, from the byte `from` of the source's rows on, written
/// `stride` bytes apart.
struct Down<'a> {
    source: View<'a>,
    from: usize,
    down: &'a Coefficients,
    rows: Range<usize>,
    length: usize,
    output: &'a mut [u8],
    stride: usize,
}

impl pulp::WithSimd for Down<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (row, line) in self.rows.zip(self.output.chunks_mut(self.stride)) {
            let (first, weights) = self.down.at(row);
            if weights.is_empty() {
                line[..self.length].fill(0);
                continue;
            }
            let taps = &self.source.row(first)[self.from..];
            let mut at = 0;
            let (wide, rest) = line[..self.length].as_chunks_mut::<64>();
            for block in wide {
                weigh(taps, self.source.stride, at, weights, block);
                at += 64;
            }
            let (narrow, rest) = rest.as_chunks_mut::<16>();
            for block in narrow {
                weigh(taps, self.source.stride, at, weights, block);
                at += 16;
            }
            for byte in rest.as_chunks_mut::<1>().0 {
                weigh(taps, self.source.stride, at, weights, byte);
                at += 1;
            }
        }
    }
}

/// `N` neighbouring bytes of an output row, from rows that lie `stride` bytes apart.
#[inline(always)]
fn weigh<const N: usize>(rows: &[u8], stride: usize, at: usize, weights: &[i32], output: &mut [u8; N]) {
    let mut sums = [0; N];
    for (tap, &weight) in weights.iter().enumerate() {
        if let Some(bytes) = rows[tap * stride + at..].first_chunk() {
            add_weighted(&mut sums, bytes, weight);
        }
    }
    for (byte, sum) in output.iter_mut().zip(sums) {
        *byte = to_byte(sum);
    }
}
