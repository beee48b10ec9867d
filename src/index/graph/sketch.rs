//! One bit a dimension of every vector: bounds its cosine, so that a walk reads only the rows that may be good enough.
//!
//! The estimator is that of RaBitQ (Gao and Long, SIGMOD 2024, arXiv 2405.12497): a vector less the mean of all is rotated at random, and
//! its signs are kept. With o the rotated vector less the mean, s its signs, q a rotated query and m the mean,
//! q · x = q · m + o · m + o · (q - m), and o · (q - m) is about |o|² / (s · o) · s · (q - m). The bits of a row and the two numbers that
//! it needs lie in one cache line, since to wait for lines is what costs time; the last 64 of the rotated numbers give way to them.

use bytemuck::cast_slice;

use super::pages::Pages;
use super::rows::{RowsView, largest, row_width, whole_number};
use crate::distance::dot;
use crate::distance::signs::{self, PLANES, SignQuery};

/// Bits of one cache line.
const LEAST_BITS: usize = 512;
/// Rows that are so short are read at once.
const SHORTEST_ROW: usize = 256;
/// Rows that the mean is taken over, at most.
const FOR_MEAN: usize = 10_000;
/// The standard deviation of s · (q - m) where o says nothing of it, for a q - m of length 1: √(1 - 2/π).
const DEVIATION: f32 = 0.6;
/// Deviations that are allowed for by a search: walks find what they find without sketches, to a thousandth of the recall. At the same
/// recall 1 is as fast, and 2 slower by a twentieth.
pub(super) const SEARCH_MARGIN: f32 = 1.5;
/// And while a graph is built, which is faster by a twelfth than at 2 and finds no less afterwards.
pub(super) const BUILD_MARGIN: f32 = 1.0;
/// The largest number of a query's, which has four bits.
const LARGEST: f32 = 7.0;

/// Bits of a row's sketch; 0 where rows have none.
#[must_use]
pub(super) fn sketch_bits(dimension: usize) -> usize {
    match row_width(dimension) < SHORTEST_ROW {
        true => 0,
        false => dimension.next_power_of_two().max(LEAST_BITS),
    }
}

/// Sketches that are read only, wherever they lie.
#[derive(Clone, Copy)]
pub struct SketchView<'a> {
    /// `[rows, bits / 64]`: signs, and the two numbers in the last word.
    pub words: &'a [u64],
    /// The mean of all vectors, rotated; `[bits]`.
    pub mean: &'a [f32],
}

impl SketchView<'_> {
    /// The words of one row.
    #[inline]
    #[must_use]
    pub fn of(&self, row: u32) -> &[u64] {
        let n_words = self.mean.len() / 64;
        &self.words[row as usize * n_words..][..n_words]
    }
}

/// Sketches in memory, while a graph is built.
pub(super) struct Sketches {
    words: Pages,
    mean: Vec<f32>,
}

impl Sketches {
    /// Sketches of all rows; `None` if they are too short to gain by it.
    #[must_use]
    pub(super) fn of(rows: RowsView<'_>) -> Option<Self> {
        let n_bits = sketch_bits(rows.dimension);
        if n_bits == 0 {
            return None;
        }
        let mean = mean(rows, n_bits);
        let mut words = Pages::with_capacity(rows.len() * n_bits / 8);
        let (mut vector, mut sketch) = (Vec::new(), vec![0; n_bits / 64]);
        for row in 0..rows.len() as u32 {
            vector.clear();
            rows.append_floats(row, &mut vector);
            vector.resize(n_bits, 0.0);
            (signs::best().rotate)(&mut vector);
            vector.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
            write_sketch(&vector, &mean, &mut sketch);
            words.extend(cast_slice(&sketch));
        }
        Some(Self { words, mean })
    }

    /// The sketches of the rows that are numbered, in that order.
    #[must_use]
    pub(super) fn choose(&self, rows: &[u32]) -> Self {
        let view = self.view();
        let mut words = Pages::with_capacity(rows.len() * self.mean.len() / 8);
        rows.iter().for_each(|&row| words.extend(cast_slice(view.of(row))));
        Self { words, mean: self.mean.clone() }
    }

    #[must_use]
    pub(super) fn view(&self) -> SketchView<'_> {
        SketchView { words: cast_slice(self.words.bytes()), mean: &self.mean }
    }
}

/// The rotated mean of a sample of rows.
fn mean(rows: RowsView<'_>, n_bits: usize) -> Vec<f32> {
    let (mut mean, mut vector) = (vec![0.0_f32; n_bits], Vec::new());
    let sampled = (0..rows.len() as u32).step_by(rows.len().div_ceil(FOR_MEAN).max(1));
    let share = 1.0 / sampled.len().max(1) as f32;
    for row in sampled {
        vector.clear();
        rows.append_floats(row, &mut vector);
        mean.iter_mut().zip(&vector).for_each(|(mean, value)| *mean += share * value);
    }
    (signs::best().rotate)(&mut mean);
    mean
}

/// Writes what is kept of a rotated vector less the mean.
fn write_sketch(centred: &[f32], mean: &[f32], sketch: &mut [u64]) {
    let n_signs = centred.len() - 64;
    let absolute: f32 = centred[..n_signs].iter().map(|value| value.abs()).sum();
    let factor = if absolute > 0.0 { dot(centred, centred) / absolute } else { 0.0 };
    for (word, values) in sketch.iter_mut().zip(centred.as_chunks::<64>().0) {
        *word = values.iter().rev().fold(0, |word, &value| word << 1 | u64::from(value > 0.0));
    }
    sketch[n_signs / 64] = signs::last_word(factor, dot(centred, mean));
}

/// A query in the form that sketches are compared with.
#[derive(Default)]
pub(super) struct SketchQuery {
    pub(super) signs: SignQuery,
    rotated: Vec<f32>,
}

impl SketchQuery {
    /// Asks for a vector of the rows' dimension; `margin` deviations are allowed for.
    pub(super) fn set(&mut self, sketches: SketchView<'_>, query: &[f32], margin: f32) {
        let Self { signs: asked, rotated } = self;
        rotated.clear();
        rotated.extend_from_slice(query);
        rotated.resize(sketches.mean.len(), 0.0);
        (signs::best().rotate)(rotated);
        asked.base = dot(rotated, sketches.mean);
        rotated.iter_mut().zip(sketches.mean).for_each(|(value, mean)| *value -= mean);
        let length = dot(rotated, rotated).sqrt();
        let n_words = rotated.len() / 64;
        rotated[64 * (n_words - 1)..].fill(0.0);
        let step = (largest(rotated) / LARGEST).max(f32::MIN_POSITIVE);
        let inverse = 1.0 / step;
        asked.planes.clear();
        asked.planes.resize(PLANES * n_words, 0);
        let mut sum = 0;
        for (word, values) in rotated.as_chunks::<64>().0.iter().enumerate() {
            let numbers = values.map(|value| whole_number(value * inverse));
            sum += numbers.iter().sum::<i32>();
            let numbers = numbers.map(|number| number as u8);
            for plane in 0..PLANES {
                asked.planes[plane * n_words + word] = plane_of(&numbers, plane);
            }
        }
        // Ones count twice and every number is taken off once, since a zero stands for -1.
        asked.scale = 2.0 * step;
        asked.shift = margin * DEVIATION * length - step * sum as f32;
    }
}

/// One bit of each of 64 numbers.
#[inline]
fn plane_of(numbers: &[u8; 64], plane: usize) -> u64 {
    let eights = numbers.as_chunks::<8>().0.iter();
    eights.zip((0..64).step_by(8)).fold(0, |bits, (eight, at)| {
        let ones = (u64::from_le_bytes(*eight) >> plane) & 0x0101_0101_0101_0101;
        // Gathers the lowest bit of each byte in the highest byte, the first byte's lowest.
        bits | (ones.wrapping_mul(0x0102_0408_1020_4080) >> 56) << at
    })
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::index::graph::Rows;

    /// A unit vector around a common direction, with a few numbers that stand out.
    fn vector(random: &mut ChaCha8Rng, dimension: usize) -> Vec<f32> {
        let mut vector: Vec<f32> = (0..dimension).map(|_| random.random_range(-1.0..1.0_f32)).collect();
        vector[3] += 4.0;
        vector[dimension - 1] -= 6.0;
        let length = dot(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|value| *value /= length);
        vector
    }

    fn products(query: &SketchQuery, sketch: &[u64]) -> f32 {
        let n_words = sketch.len();
        let of = |plane: usize| -> i32 {
            let plane = &query.signs.planes[plane * n_words..][..n_words];
            plane.iter().zip(sketch).map(|(plane, signs)| (plane & signs).count_ones() as i32).sum()
        };
        query.signs.most(of(0) + 2 * of(1) + 4 * of(2) - 8 * of(3), sketch[n_words - 1])
    }

    #[test]
    fn bounds_are_seldom_too_low_and_never_far_too_high() {
        for dimension in [256, 384, 512, 768] {
            let mut random = ChaCha8Rng::seed_from_u64(dimension as u64);
            let mut rows = Rows::new(dimension, 400);
            let vectors: Vec<_> = (0..400).map(|_| vector(&mut random, dimension)).collect();
            vectors.iter().for_each(|vector| rows.push(vector));
            rows.sketch();
            let view = rows.view();
            let sketches = view.sketches.expect("rows of this length have sketches");
            let (mut query, mut n_low, mut excess) = (SketchQuery::default(), 0, 0.0_f32);
            for _ in 0..25 {
                let asked = vector(&mut random, dimension);
                query.set(sketches, &asked, 2.0);
                for (row, vector) in vectors.iter().enumerate() {
                    let over = products(&query, sketches.of(row as u32)) - dot(&asked, vector);
                    n_low += usize::from(over < 0.0);
                    excess = excess.max(over);
                }
            }
            // Two deviations leave out .023; a deviation is about .6 / √512 of what differs from the mean.
            assert!(n_low < 350, "{dimension}: {n_low} of 10,000");
            assert!(excess < 0.25, "{dimension}: {excess}");
        }
    }

    #[test]
    fn sketches_follow_their_rows() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut rows = Rows::new(300, 3);
        (0..3).for_each(|_| rows.push(&vector(&mut random, 300)));
        assert!(rows.view().sketches.is_none(), "they are made when all rows are there");
        rows.sketch();
        let chosen = rows.choose(&[2, 0]);
        let of = |rows: &Rows, row: u32| rows.view().sketches.map(|sketches| sketches.of(row).to_vec());
        assert!(of(&chosen, 0) == of(&rows, 2) && of(&chosen, 1) == of(&rows, 0));
        rows.push(&vector(&mut random, 300));
        assert!(rows.view().sketches.is_none(), "a row was added");
    }

    #[test]
    fn short_rows_have_none() {
        let mut rows = Rows::new(128, 1);
        rows.push(&[0.1; 128]);
        rows.sketch();
        assert!(rows.view().sketches.is_none());
    }
}
