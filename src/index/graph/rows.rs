//! Unit vectors as rows of 16-bit numbers in two bytes: the high one steers the walk, both together score what it found.

use super::pages::Pages;
use super::sketch::{SketchView, Sketches};
use crate::distance::codes::{self, ROW_ALIGNMENT};
use crate::distance::prefetch;

/// The largest 16-bit number whose high byte, rounded, is a signed byte: 127 · 256 + 127.
const LARGEST: f32 = 32_639.0;

/// 1.5 · 2²³: numbers near it have no fraction.
const ROUNDER: f32 = 12_582_912.0;

/// What turns a row's products into cosines.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct RowTerm {
    /// 1 / the length of the high bytes, so that no row is nearer to a query than one with the query's own bytes.
    pub scale: f32,
    /// The vector is `fine_scale` times its 16-bit numbers.
    pub fine_scale: f32,
    /// What the query's shift by 128 adds to every product with the high bytes.
    pub bias: i32,
}

impl RowTerm {
    /// What a shifted query's product with the row's high bytes says: their cosine, times the length of the query's high bytes.
    #[inline]
    #[must_use]
    pub fn score(self, product: i32) -> f32 {
        self.scale * (product - self.bias) as f32
    }
}

/// Bytes of a row: the dimension, rounded up to whole cache lines; what is added is zero.
#[must_use]
pub fn row_width(dimension: usize) -> usize {
    dimension.next_multiple_of(ROW_ALIGNMENT)
}

/// Rows that are read only, wherever their bytes lie.
#[derive(Clone, Copy)]
pub struct RowsView<'a> {
    pub dimension: usize,
    pub width: usize,
    /// High bytes, `[rows, width]`.
    pub high: &'a [i8],
    /// Low bytes, `[rows, width]`; empty where nothing is scored by them.
    pub low: &'a [i8],
    pub terms: &'a [RowTerm],
    /// Where rows are long enough to gain by it.
    pub sketches: Option<SketchView<'a>>,
}

impl RowsView<'_> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The high bytes of one row.
    #[must_use]
    pub fn high_of(&self, row: u32) -> &[i8] {
        &self.high[row as usize * self.width..][..self.width]
    }

    /// The cosine with a query of `dimension` numbers, to about 2e-6.
    #[must_use]
    pub fn score(&self, query: &[f32], row: u32) -> f32 {
        let at = row as usize * self.width;
        let (high, low) = (&self.high[at..at + self.dimension], &self.low[at..at + self.dimension]);
        (codes::best().wide_dot)(query, high, low) * self.terms[row as usize].fine_scale
    }

    /// Asks the processor to bring a row's sketch near; a hint that changes no result.
    #[inline]
    pub fn prefetch_sketch(&self, row: u32) {
        if let Some(sketches) = self.sketches {
            prefetch(sketches.of(row));
        }
    }

    /// Writes a row's high bytes as a query of other rows.
    pub fn shifted(&self, row: u32, query: &mut Vec<u8>) {
        query.clear();
        query.extend(self.high_of(row).iter().map(|&code| shift(code)));
    }

    /// Appends a row's vector as float32.
    pub fn append_floats(&self, row: u32, out: &mut Vec<f32>) {
        let at = row as usize * self.width;
        let scale = self.terms[row as usize].fine_scale;
        let numbers = self.high[at..at + self.dimension].iter().zip(&self.low[at..at + self.dimension]);
        out.extend(numbers.map(|(&high, &low)| (256 * i32::from(high) + i32::from(low)) as f32 * scale));
    }

    /// True if both rows are the same to the byte, so that no score tells them apart.
    #[must_use]
    pub fn is_same(&self, a: u32, b: u32) -> bool {
        self.is_row_of(a, *self, b)
    }

    /// True if a row is the same, to the byte, as a row of others.
    #[must_use]
    pub fn is_row_of(&self, own: u32, others: RowsView<'_>, other: u32) -> bool {
        self.terms[own as usize] == others.terms[other as usize]
            && self.high_of(own) == others.high_of(other)
            && self.low_of(own) == others.low_of(other)
    }

    fn low_of(&self, row: u32) -> &[i8] {
        &self.low[row as usize * self.width..][..self.width]
    }
}

/// Rows in memory, while a graph is built.
pub struct Rows {
    dimension: usize,
    width: usize,
    high: Pages,
    low: Vec<i8>,
    terms: Vec<RowTerm>,
    sketches: Option<Sketches>,
    /// The high bytes of the row that is being added.
    row: Vec<i8>,
}

impl Rows {
    /// No rows, with room for `capacity`.
    #[must_use]
    pub fn new(dimension: usize, capacity: usize) -> Self {
        let width = row_width(dimension);
        let (high, low) = (Pages::with_capacity(capacity * width), Vec::with_capacity(capacity * width));
        Self {
            dimension,
            width,
            high,
            low,
            terms: Vec::with_capacity(capacity),
            sketches: None,
            row: Vec::with_capacity(width),
        }
    }

    /// Adds a vector of the rows' dimension.
    pub fn push(&mut self, vector: &[f32]) {
        assert_eq!(vector.len(), self.dimension, "every vector has the rows' dimension");
        self.sketches = None;
        let (fine_scale, numbers) = sixteen_bits(vector);
        self.row.clear();
        for number in numbers {
            let high = (number + 128) >> 8;
            self.row.push(high as i8);
            self.low.push((number - 256 * high) as i8);
        }
        self.row.resize(self.width, 0);
        self.low.resize(self.low.len() + self.width - self.dimension, 0);
        let codes = || self.row.iter().map(|&code| i32::from(code));
        let (sum, square): (i32, i32) = (codes().sum(), codes().map(|code| code * code).sum());
        let scale = 1.0 / (square.max(1) as f32).sqrt();
        self.high.extend(bytemuck::cast_slice(&self.row));
        self.terms.push(RowTerm { scale, fine_scale, bias: 128 * sum });
    }

    /// Adds a copy of another's row, to the byte.
    pub fn push_row(&mut self, others: RowsView<'_>, row: u32) {
        assert_eq!(others.dimension, self.dimension, "rows of one dimension");
        self.sketches = None;
        self.high.extend(bytemuck::cast_slice(others.high_of(row)));
        self.low.extend_from_slice(others.low_of(row));
        self.terms.push(others.terms[row as usize]);
    }

    /// Makes sketches of all rows; whoever adds another has to do it again.
    pub fn sketch(&mut self) {
        self.sketches = Sketches::of(self.view());
    }

    /// Forgets every row.
    pub fn clear(&mut self) {
        self.sketches = None;
        self.high.clear();
        self.low.clear();
        self.terms.clear();
    }

    /// Keeps the rows that are numbered, in that order.
    #[must_use]
    pub fn choose(&self, rows: &[u32]) -> Self {
        let mut chosen = Self::new(self.dimension, rows.len());
        let view = self.view();
        for &row in rows {
            chosen.high.extend(bytemuck::cast_slice(view.high_of(row)));
            chosen.low.extend_from_slice(view.low_of(row));
            chosen.terms.push(self.terms[row as usize]);
        }
        chosen.sketches = self.sketches.as_ref().map(|sketches| sketches.choose(rows));
        chosen
    }

    #[must_use]
    pub fn view(&self) -> RowsView<'_> {
        let Self { dimension, width, high, low, terms, sketches, .. } = self;
        let (high, sketches) = (bytemuck::cast_slice(high.bytes()), sketches.as_ref().map(Sketches::view));
        RowsView { dimension: *dimension, width: *width, high, low, terms, sketches }
    }
}

/// A query of the walk: its high bytes, shifted. Their length is left out, since it changes no order. Returns the scale of its numbers.
pub(super) fn shifted_query(query: &[f32], out: &mut Vec<u8>) -> f32 {
    out.clear();
    let (scale, numbers) = sixteen_bits(query);
    out.extend(numbers.map(|number| shift(((number + 128) >> 8) as i8)));
    out.resize(row_width(query.len()), shift(0));
    scale
}

/// The scale and the numbers, -32,639 to 32,639.
fn sixteen_bits(vector: &[f32]) -> (f32, impl Iterator<Item = i32> + '_) {
    let largest = largest(vector);
    let scale = if largest > 0.0 { largest / LARGEST } else { 1.0 };
    let inverse = 1.0 / scale;
    (scale, vector.iter().map(move |value| whole_number((value * inverse).clamp(-LARGEST, LARGEST))))
}

/// The nearest whole number of one that is less than 2²².
#[inline]
pub(super) fn whole_number(value: f32) -> i32 {
    // Added to a small number, this leaves the nearest whole number in the low bits, without a call that rounds.
    (value + ROUNDER).to_bits() as i32 - ROUNDER.to_bits() as i32
}

/// The largest absolute value.
pub(super) fn largest(vector: &[f32]) -> f32 {
    let larger = |largest: f32, value: f32| if value > largest { value } else { largest };
    let (blocks, rest) = vector.as_chunks::<16>();
    let mut lanes = [0.0_f32; 16];
    for block in blocks {
        lanes.iter_mut().zip(block).for_each(|(lane, value)| *lane = larger(*lane, value.abs()));
    }
    lanes.iter().chain(rest).fold(0.0, |largest, value| larger(largest, value.abs()))
}

fn shift(code: i8) -> u8 {
    (code as u8) ^ 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_its_vector_to_a_part_in_65_000() {
        let mut rows = Rows::new(5, 3);
        let vectors = [[0.1, -0.7, 0.0, 0.7, 0.1], [1.0, 0.0, 0.0, 0.0, 0.0], [-0.5, -0.5, -0.5, -0.5, 0.0_f32]];
        vectors.iter().for_each(|vector| rows.push(vector));
        let view = rows.view();
        assert_eq!((view.len(), view.width), (3, 64));
        for (row, vector) in vectors.iter().enumerate() {
            let largest = vector.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for place in 0..5 {
                let mut query = [0.0; 5];
                query[place] = 1.0;
                let found = view.score(&query, row as u32);
                assert!((found - vector[place]).abs() <= largest / 65_000.0, "{row} {place}: {found}");
            }
        }
    }

    #[test]
    fn products_of_shifted_queries_are_those_of_codes() {
        let mut rows = Rows::new(70, 2);
        let vector = |seed: f32| -> Vec<f32> { (0..70).map(|place| (place as f32 * seed).sin() / 6.0).collect() };
        rows.push(&vector(0.7));
        rows.push(&vector(1.3));
        let (view, mut query) = (rows.view(), Vec::new());
        view.shifted(0, &mut query);
        let mut found = [0; 2];
        (codes::best().dots)(&query, view.high, &[0, 1], &mut found);
        for row in 0..2 {
            let codes = view.high_of(0).iter().zip(view.high_of(row));
            let expected: i32 = codes.map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
            assert_eq!(found[row as usize] - view.terms[row as usize].bias, expected);
        }
        let mut same = Vec::new();
        shifted_query(&vector(0.7), &mut same);
        assert_eq!(same, query);
    }

    #[test]
    fn rows_that_look_the_same_are_the_same() {
        let mut rows = Rows::new(3, 3);
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0_f32]].iter().for_each(|vector| rows.push(vector));
        assert!(rows.view().is_same(0, 2) && !rows.view().is_same(0, 1));
        assert!(rows.choose(&[2, 0]).view().is_same(0, 1));
    }
}
