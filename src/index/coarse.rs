//! Vectors once more in one byte a dimension: a scan reads a quarter of the bytes, and asks the vectors themselves only where the codes
//! leave it open.

use crate::distance;
use crate::distance::codes::{self, ROW_ALIGNMENT};

/// The largest code.
const LARGEST: f32 = 127.0;
/// What sums of float32 may be off by, for vectors of unit length.
const ROUNDING: f32 = 1e-5;

/// The codes of the rows of a [`super::FlatIndex`], in the same order.
pub(super) struct CoarseCodes {
    dimension: usize,
    width: usize,
    codes: Vec<i8>,
    terms: Vec<Term>,
}

/// What turns a row's product into bounds of its cosine.
#[derive(Clone, Copy)]
struct Term {
    /// The vector is about so many times its codes.
    scale: f32,
    /// What the query's shift by 128 adds to every product.
    bias: i32,
    /// The length of what the codes leave out, and of the vector.
    residual: f32,
    length: f32,
}

/// A query in codes.
pub(super) struct CoarseQuery {
    shifted: Vec<u8>,
    scale: f32,
    residual: f32,
    length: f32,
}

/// What a scan needs again for each block of rows.
#[derive(Default)]
pub(super) struct CoarseScratch {
    rows: Vec<u32>,
    products: Vec<i32>,
}

impl CoarseCodes {
    pub(super) fn new(dimension: usize) -> Self {
        let width = dimension.next_multiple_of(ROW_ALIGNMENT);
        Self { dimension, width, codes: Vec::new(), terms: Vec::new() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.codes.capacity() + self.terms.capacity() * size_of::<Term>()
    }

    pub(super) fn push(&mut self, vector: &[f32]) {
        let at = self.codes.len();
        self.codes.resize(at + self.width, 0);
        let term = encode(vector, &mut self.codes[at..at + self.dimension]);
        self.terms.push(term);
    }

    pub(super) fn set(&mut self, row: usize, vector: &[f32]) {
        let at = row * self.width;
        self.terms[row] = encode(vector, &mut self.codes[at..at + self.dimension]);
    }

    /// Fills a row with the last one.
    pub(super) fn swap_remove(&mut self, row: usize) {
        let last = self.terms.len() - 1;
        self.codes.copy_within(last * self.width.., row * self.width);
        self.codes.truncate(last * self.width);
        self.terms.swap_remove(row);
    }

    /// The rows of a block and the most that each one's cosine to the query can be.
    pub(super) fn most<'s>(
        &'s self,
        rows: std::ops::Range<usize>,
        query: &'s CoarseQuery,
        scratch: &'s mut CoarseScratch,
    ) -> impl Iterator<Item = (usize, f32)> + 's {
        let CoarseScratch { rows: numbers, products } = scratch;
        numbers.clear();
        numbers.extend(0..rows.len() as u32);
        products.resize(rows.len(), 0);
        let block = &self.codes[rows.start * self.width..rows.end * self.width];
        (codes::best().dots)(&query.shifted, block, numbers, products);
        let terms = &self.terms[rows.clone()];
        rows.zip(terms.iter().zip(products)).map(|(row, (term, product))| (row, query.most(*term, *product)))
    }
}

impl CoarseQuery {
    pub(super) fn new(query: &[f32]) -> Self {
        let mut own = vec![0_i8; query.len()];
        let Term { scale, residual, length, .. } = encode(query, &mut own);
        own.resize(query.len().next_multiple_of(ROW_ALIGNMENT), 0);
        let shifted = own.into_iter().map(|code| (code as u8) ^ 0x80).collect();
        Self { shifted, scale, residual, length }
    }

    /// With the codes' vectors q' and x': q·x = q'·x' + (q − q')·x + q'·(x − x'), and |q'| ≤ |q| + |q − q'|.
    #[inline]
    fn most(&self, term: Term, product: i32) -> f32 {
        let coarse = self.scale * term.scale * (product - term.bias) as f32;
        let left_out = self.residual * term.length + (self.length + self.residual) * term.residual;
        coarse + left_out + ROUNDING * self.length * term.length
    }
}

fn encode(vector: &[f32], out: &mut [i8]) -> Term {
    let largest = vector.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = if largest > 0.0 { largest / LARGEST } else { 1.0 };
    let inverse = 1.0 / scale;
    let (mut sum, mut left_out) = (0_i32, 0.0_f32);
    for (value, code) in vector.iter().zip(out) {
        let rounded = (value * inverse).round().clamp(-LARGEST, LARGEST);
        let difference = value - rounded * scale;
        left_out += difference * difference;
        *code = rounded as i8;
        sum += i32::from(*code);
    }
    Term { scale, bias: 128 * sum, residual: left_out.sqrt(), length: distance::dot(vector, vector).sqrt() }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::types::vector::UnitVector;

    #[test]
    fn no_cosine_is_more_than_its_bound_and_bounds_are_near() {
        for dimension in [1, 3, 64, 100, 512] {
            let mut random = ChaCha8Rng::seed_from_u64(dimension as u64);
            let mut draw = || -> Vec<f32> {
                // Now and then one number is much larger than the rest, which leaves the others few codes.
                let spike = random.random_bool(0.2);
                let mut values: Vec<f32> = (0..dimension).map(|_| random.random_range(-1.0..1.0)).collect();
                values[0] *= if spike { 50.0 } else { 1.0 };
                UnitVector::normalise(values).expect("a direction").values
            };
            let vectors: Vec<Vec<f32>> = (0..200).map(|_| draw()).collect();
            let mut codes = CoarseCodes::new(dimension);
            vectors.iter().for_each(|vector| codes.push(vector));
            let (mut scratch, mut slack) = (CoarseScratch::default(), 0.0);
            for query in vectors.iter().take(20) {
                let asked = CoarseQuery::new(query);
                for (row, most) in codes.most(50..200, &asked, &mut scratch) {
                    let exact = distance::dot(query, &vectors[row]);
                    assert!(exact <= most, "{dimension}: {exact} is more than {most}");
                    slack += most - exact;
                }
            }
            assert!(slack / 3_000.0 < 0.05, "{dimension}: bounds are {} too large", slack / 3_000.0);
        }
    }
}
