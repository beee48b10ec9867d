//! Kernels over rows of signs: which of many rows may be near enough to a query, by one bit a dimension.

use std::sync::LazyLock;

/// Words of a row come in blocks of so many, one cache line.
pub const BLOCK: usize = 8;
/// Bits of a query's numbers, which are -7 to 7.
pub const PLANES: usize = 4;

/// A query of rows of signs.
///
/// A row's last word is no signs: it holds two float32, a factor and an offset. What the row's score may be at most is
/// `base + offset + factor * (scale * product + shift)`, where the product is the sum of the query's numbers where the row has ones.
#[derive(Clone, Debug, Default)]
pub struct SignQuery {
    /// The numbers bit by bit, in two's complement: [`PLANES`] times as many words as a row has. The last word of each is zero.
    pub planes: Vec<u64>,
    pub base: f32,
    pub scale: f32,
    pub shift: f32,
}

impl SignQuery {
    /// Words of a row.
    #[inline]
    #[must_use]
    pub fn n_words(&self) -> usize {
        self.planes.len() / PLANES
    }

    /// What a row's score is at most, by its product and its last word.
    #[inline(always)]
    #[must_use]
    pub fn most(&self, product: i32, last: u64) -> f32 {
        let (factor, offset) = (f32::from_bits(last as u32), f32::from_bits((last >> 32) as u32));
        self.base + offset + factor * (self.scale * product as f32 + self.shift)
    }
}

/// Appends those of the numbered rows whose score may be above `least`: `(query, words, rows, least, out)`.
pub type Survivors = fn(&SignQuery, &[u64], &[u32], f32, &mut Vec<u32>);

/// One way to compute over signs on this machine.
#[derive(Clone, Copy, Debug)]
pub struct SignKernel {
    pub name: &'static str,
    /// Panics if a row lies outside of the words.
    pub survivors: Survivors,
    /// Rotates numbers in their place, by signs that look random and Walsh-Hadamard transforms; panics unless there are a power of two of
    /// at least 256.
    pub rotate: fn(&mut [f32]),
}

static BEST: LazyLock<SignKernel> = LazyLock::new(|| available()[0]);

/// The kernel in use.
#[must_use]
pub fn best() -> &'static SignKernel {
    &BEST
}

/// Every kernel that this machine can run, the best first; the plain one is always the last.
#[must_use]
pub fn available() -> Vec<SignKernel> {
    let mut kernels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use super::signs_x86 as x86;
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq") {
            kernels.push(SignKernel {
                name: "avx512vpopcntdq",
                survivors: x86::survivors_avx512,
                rotate: x86::rotate_avx512,
            });
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
            kernels.push(SignKernel { name: "avx2", survivors: x86::survivors_popcnt, rotate: rotate_scalar });
        }
    }
    kernels.push(SignKernel { name: "scalar", survivors: survivors_scalar, rotate: rotate_scalar });
    kernels
}

/// The last word of a row: see [`SignQuery`].
#[must_use]
pub fn last_word(factor: f32, offset: f32) -> u64 {
    u64::from(factor.to_bits()) | u64::from(offset.to_bits()) << 32
}

pub(super) fn check(query: &SignQuery, words: &[u64], rows: &[u32]) {
    let n_words = query.n_words();
    assert!(n_words.is_multiple_of(BLOCK) && query.planes.len() == PLANES * n_words, "a query has whole blocks");
    let n_rows = words.len().checked_div(n_words).unwrap_or(0);
    assert!(rows.iter().all(|&row| (row as usize) < n_rows), "every row lies within the words");
}

fn survivors_scalar(query: &SignQuery, words: &[u64], rows: &[u32], least: f32, out: &mut Vec<u32>) {
    check(query, words, rows);
    survivors(query, words, rows, least, out);
}

/// The plain kernel, compiled anew for processors that count bits.
#[inline(always)]
pub(super) fn survivors(query: &SignQuery, words: &[u64], rows: &[u32], least: f32, out: &mut Vec<u32>) {
    let n_words = query.n_words();
    for &row in rows {
        let signs = &words[row as usize * n_words..][..n_words];
        let of = |plane: usize| -> i32 {
            let plane = &query.planes[plane * n_words..][..n_words];
            plane.iter().zip(signs).map(|(plane, signs)| (plane & signs).count_ones() as i32).sum()
        };
        let product = of(0) + 2 * of(1) + 4 * of(2) - 8 * of(3);
        if query.most(product, signs[n_words - 1]) > least {
            out.push(row);
        }
    }
}

fn rotate_scalar(values: &mut [f32]) {
    rotate(values, within, across);
}

fn across(values: &mut [f32], half: usize) {
    for block in values.chunks_exact_mut(2 * half) {
        let (a, b) = block.split_at_mut(half);
        a.iter_mut().zip(b).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
    }
}

/// See [`SignKernel::rotate`]. `within` transforms sixteen numbers, `across` makes sums and differences of numbers that are so far apart.
#[inline(always)]
pub(super) fn rotate(values: &mut [f32], within: impl Fn(&mut [f32; 16]), across: impl Fn(&mut [f32], usize)) {
    assert!(values.len() >= 256 && values.len().is_power_of_two(), "a power of two of at least 256 numbers");
    let scale = 1.0 / (values.len() as f32).sqrt();
    // Once is not enough: of a vector whose second half is zero, a transform makes two equal halves.
    for round in 0..2 {
        for (block, values) in values.as_chunks_mut::<64>().0.iter_mut().enumerate() {
            let signs = signs(round << 32 | block as u64);
            for (place, value) in values.iter_mut().enumerate() {
                *value = f32::from_bits((*value * scale).to_bits() ^ (((signs >> place) as u32 & 1) << 31));
            }
        }
        values.as_chunks_mut::<16>().0.iter_mut().for_each(&within);
        let mut half = 16;
        while half < values.len() {
            across(values, half);
            half *= 2;
        }
    }
}

/// A Walsh-Hadamard transform of sixteen numbers.
fn within(values: &mut [f32; 16]) {
    for half in [1, 2, 4, 8] {
        let old = *values;
        for (place, value) in values.iter_mut().enumerate() {
            let (own, other) = (old[place], old[place ^ half]);
            *value = if place & half == 0 { other + own } else { other - own };
        }
    }
}

/// 64 bits that look random (splitmix64: Steele, Lea and Flood 2014).
#[inline(always)]
fn signs(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words that look random.
    fn words(seed: u64, count: usize) -> Vec<u64> {
        (0..count as u64).map(|place| signs(seed << 32 | place)).collect()
    }

    #[test]
    fn every_kernel_keeps_the_rows_that_may_be_near() {
        for n_words in [8, 16, 64] {
            let mut rows = words(1, 9 * n_words);
            for (row, last) in rows.iter_mut().skip(n_words - 1).step_by(n_words).enumerate() {
                *last = last_word(0.01 * (row as f32 + 1.0), -0.1 * row as f32);
            }
            let mut query = SignQuery { planes: words(2, PLANES * n_words), base: 0.3, scale: 0.2, shift: 0.7 };
            query.planes.iter_mut().skip(n_words - 1).step_by(n_words).for_each(|last| *last = 0);
            let number = |place: usize| -> i64 {
                let bit = |plane: usize| (query.planes[plane * n_words + place / 64] >> (place % 64) & 1) as i64;
                bit(0) + 2 * bit(1) + 4 * bit(2) - 8 * bit(3)
            };
            let most = |row: usize| -> f64 {
                let has = |place: &usize| rows[row * n_words + place / 64] >> (place % 64) & 1 == 1;
                let product: i64 = (0..64 * (n_words - 1)).filter(has).map(number).sum();
                let (factor, offset) = (0.01 * (row as f64 + 1.0), -0.1 * row as f64);
                0.3 + offset + factor * (0.2 * product as f64 + 0.7)
            };
            let asked = [8, 0, 3, 7, 1, 2];
            let mut bounds: Vec<f64> = asked.iter().map(|&row| most(row as usize)).collect();
            bounds.sort_by(f64::total_cmp);
            for least in bounds.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0) {
                let expected: Vec<u32> = asked.iter().copied().filter(|&row| most(row as usize) > least).collect();
                for kernel in available() {
                    let mut found = vec![77];
                    (kernel.survivors)(&query, &rows, &asked, least as f32, &mut found);
                    assert_eq!(found[1..], expected, "{} {n_words}", kernel.name);
                }
            }
        }
    }

    #[test]
    fn every_kernel_rotates_alike_and_keeps_products() {
        for length in [256, 512, 2048] {
            let vector = |seed: u64| -> Vec<f32> {
                words(seed, length).into_iter().map(|word| (word as i32) as f32 / i32::MAX as f32).collect()
            };
            let product = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum() };
            let rotated = |kernel: &SignKernel, vector: &[f32]| {
                let mut found = vector.to_vec();
                (kernel.rotate)(&mut found);
                found
            };
            let (a, b) = (vector(3), vector(4));
            for kernel in available() {
                let (c, d) = (rotated(&kernel, &a), rotated(&kernel, &b));
                for (kept, found) in [(product(&a, &a), product(&c, &c)), (product(&a, &b), product(&c, &d))] {
                    assert!((kept - found).abs() < 1e-5 * length as f64, "{} {length}: {kept} {found}", kernel.name);
                }
                assert_eq!(c, rotated(&available()[0], &a), "{} {length}", kernel.name);
            }
        }
    }

    /// A number alone, and a vector whose second half is zero, are spread over all places, none of which repeats another.
    #[test]
    fn rotations_spread_what_stands_out() {
        for place in [0, 1, 15, 300, 511] {
            let mut alone = vec![0.0; 512];
            alone[place] = 1.0;
            (best().rotate)(&mut alone);
            let largest = alone.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            assert!(largest < 6.0 / 512.0_f32.sqrt(), "{place}: {largest}");
        }
        let mut half: Vec<f32> = words(5, 512).into_iter().map(|word| (word as i32) as f32).collect();
        half[256..].fill(0.0);
        (best().rotate)(&mut half);
        half.iter_mut().for_each(|value| *value = value.abs());
        half.sort_by(f32::total_cmp);
        assert!(half.windows(2).filter(|pair| pair[1] - pair[0] <= 1e-6 * pair[1]).count() < 8);
    }

    #[test]
    fn rows_outside_are_refused() {
        let query = SignQuery { planes: vec![0; 8 * PLANES], ..SignQuery::default() };
        for kernel in available() {
            let outside = || (kernel.survivors)(&query, &[0; 16], &[2], 0.0, &mut Vec::new());
            assert!(std::panic::catch_unwind(outside).is_err(), "{}", kernel.name);
            let uneven = || (kernel.rotate)(&mut [0.0; 384]);
            assert!(std::panic::catch_unwind(uneven).is_err(), "{}", kernel.name);
        }
    }
}
