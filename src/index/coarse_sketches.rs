//! One bit a dimension of the rows of a [`super::FlatIndex`], so that a search that need not be exact reads an eighth of their codes.

use super::graph::{SketchQuery, SketchView, sketch_bits, write_sketch};
use crate::distance::signs::{self, SignQuery};

/// Rows that the mean is taken over; fewer have no sketches, and are scanned at once.
pub(super) const SKETCHED_FROM: usize = 1_024;
/// Deviations that are allowed for: a row at the very edge of what is wanted is passed by about once in a thousand times.
const MARGIN: f32 = 3.0;

/// Sketches in the order of the rows, once there are enough of these.
pub(super) struct CoarseSketches {
    n_bits: usize,
    words: Vec<u64>,
    /// Rotated; empty as long as there are too few rows.
    mean: Vec<f32>,
    rotated: Vec<f32>,
}

impl CoarseSketches {
    pub(super) fn new(dimension: usize) -> Self {
        Self { n_bits: sketch_bits(dimension), words: Vec::new(), mean: Vec::new(), rotated: Vec::new() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.words.capacity() * 8
    }

    fn n_words(&self) -> usize {
        self.n_bits / 64
    }

    /// True if the next row makes sketches worth while: [`CoarseSketches::begin`] is to be called with all rows.
    pub(super) fn wants_rows(&self, n_rows: usize) -> bool {
        self.n_bits > 0 && self.mean.is_empty() && n_rows >= SKETCHED_FROM
    }

    /// Sketches of all rows, from their mean.
    pub(super) fn begin<'r>(&mut self, rows: impl Iterator<Item = &'r [f32]> + Clone) {
        let mut mean = vec![0.0_f32; self.n_bits];
        let share = 1.0 / rows.clone().count().max(1) as f32;
        rows.clone().for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += share * value));
        (signs::best().rotate)(&mut mean);
        self.mean = mean;
        self.words.clear();
        rows.for_each(|row| self.push(row));
    }

    pub(super) fn push(&mut self, vector: &[f32]) {
        if !self.mean.is_empty() {
            let row = self.words.len() / self.n_words();
            self.words.resize(self.words.len() + self.n_words(), 0);
            self.set(row, vector);
        }
    }

    pub(super) fn set(&mut self, row: usize, vector: &[f32]) {
        if self.mean.is_empty() {
            return;
        }
        let Self { n_bits, words, mean, rotated } = self;
        rotated.clear();
        rotated.extend_from_slice(vector);
        rotated.resize(*n_bits, 0.0);
        (signs::best().rotate)(rotated);
        rotated.iter_mut().zip(&*mean).for_each(|(value, mean)| *value -= mean);
        let n_words = *n_bits / 64;
        write_sketch(rotated, mean, &mut words[row * n_words..(row + 1) * n_words]);
    }

    /// Fills a row with the last one.
    pub(super) fn swap_remove(&mut self, row: usize) {
        if !self.mean.is_empty() {
            let n_words = self.n_words();
            let last = self.words.len() - n_words;
            self.words.copy_within(last.., row * n_words);
            self.words.truncate(last);
        }
    }

    /// The query in the form that sketches are compared with; `None` while there are none.
    pub(super) fn query(&self, query: &[f32]) -> Option<SignQuery> {
        let mut asked = SketchQuery::default();
        (!self.mean.is_empty())
            .then(|| asked.set(SketchView { words: &self.words, mean: &self.mean }, query, MARGIN))?;
        Some(asked.signs)
    }

    /// Leaves of numbered rows, counted from the block's first, those whose cosine may be above `least`.
    pub(super) fn survivors(&self, block: std::ops::Range<usize>, query: &SignQuery, least: f32, rows: &mut Vec<u32>) {
        let words = &self.words[block.start * self.n_words()..block.end * self.n_words()];
        let all: Vec<u32> = (0..block.len() as u32).collect();
        rows.clear();
        (signs::best().survivors)(query, words, &all, least, rows);
    }
}
