//! A hash of what a picture shows: nearly equal pictures differ in few of its bits.

use super::coefficients::Filter;
use super::decode::Pixels;
use super::resize::{Raster, Window, resize};

/// Columns and rows of grey that neighbours are compared in.
const WIDTH: u32 = 9;
const HEIGHT: u32 = 8;
/// A larger picture is brought to about so many times as much by means of whole boxes before it is resized.
const SPARE: u32 = 8;

/// The difference hash (dHash) of 64 bits: for each of 8 × 8 fields of the grey picture, row by row from the first bit down, whether the one to
/// its right is brighter.
///
/// Grey is Pillow's `L`, the size of 9 × 8 comes by its Lanczos filter, so that pictures of less than 144 × 128 pixels have the hash of
/// Python's `imagehash.dhash`. What larger ones are reduced by before costs less than decoding them.
#[must_use]
pub fn difference_hash(pixels: &Pixels) -> u64 {
    let (grey, width, height) = reduced(pixels);
    let whole = Window { left: 0, top: 0, width: WIDTH, height: HEIGHT };
    let small = resize::<1>(Raster { data: &grey, width, height }, WIDTH, HEIGHT, Filter::Lanczos, whole);
    let pairs = small.chunks_exact(WIDTH as usize).flat_map(|row| row.windows(2));
    pairs.fold(0, |hash, pair| hash << 1 | u64::from(pair[1] > pair[0]))
}

/// The grey picture, each pixel the mean of a box, halves rounded up; boxes at the right and lower edge may be smaller.
fn reduced(pixels: &Pixels) -> (Vec<u8>, u32, u32) {
    let across = (pixels.width / (WIDTH * SPARE)).max(1) as usize;
    let down = (pixels.height / (HEIGHT * SPARE)).max(1) as usize;
    let (width, height) = (pixels.width as usize, pixels.height as usize);
    let (columns, rows) = (width.div_ceil(across), height.div_ceil(down));
    let mut output = Vec::with_capacity(columns * rows);
    let mut sums = vec![0_u32; columns];
    for (row, lines) in pixels.data.chunks(width * 3 * down).enumerate() {
        sums.fill(0);
        for line in lines.chunks_exact(width * 3) {
            for (sum, pixels) in sums.iter_mut().zip(line.chunks(across * 3)) {
                *sum += pixels.chunks_exact(3).map(grey).sum::<u32>();
            }
        }
        let n_lines = down.min(height - row * down);
        for (column, sum) in sums.iter().enumerate() {
            let area = (n_lines * across.min(width - column * across)) as u32;
            output.push(((sum + area / 2) / area) as u8);
        }
    }
    (output, columns as u32, rows as u32)
}

/// ITU-R 601-2, as Pillow rounds it.
fn grey(pixel: &[u8]) -> u32 {
    (19_595 * u32::from(pixel[0]) + 38_470 * u32::from(pixel[1]) + 7_471 * u32::from(pixel[2]) + 0x8000) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_whole_but_at_the_edges() {
        let data = (0..3 * 150).map(|place| ((place / 3) % 150) as u8).collect();
        let (grey, width, height) = reduced(&Pixels { width: 150, height: 1, data });
        assert_eq!((width, height), (75, 1));
        assert_eq!(grey[..3], [1, 3, 5], "halves are rounded up");
        let data = [10, 20, 30].repeat(145).iter().flat_map(|&value| [value; 3]).collect();
        let (grey, width, height) = reduced(&Pixels { width: 435, height: 1, data });
        assert_eq!((width, height, grey.len()), (73, 1, 73));
        assert_eq!((grey[0], grey[72]), (20, 20), "three of 435 are left for the last box");
    }

    #[test]
    fn bits_tell_what_gets_brighter() {
        let check = |data: Vec<u8>, expected: u64| {
            let data = data.into_iter().flat_map(|value| [value; 3]).collect();
            assert_eq!(difference_hash(&Pixels { width: 9, height: 8, data }), expected);
        };
        check((0..9).map(|value| value * 20).collect::<Vec<_>>().repeat(8), u64::MAX);
        check((0..9).rev().map(|value| value * 20).collect::<Vec<_>>().repeat(8), 0);
        check(vec![7; 72], 0);
        let mut first = vec![7; 72];
        first[1] = 8;
        check(first, 1 << 63);
    }
}
