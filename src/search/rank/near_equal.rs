//! Leaves out hits that are nearly the same as a better one.

use crate::distance::dot;

/// The indices, in order, of the vectors whose cosine to every one kept before is below `least`.
///
/// Vectors come in rank order, of unit length and all of one dimension; panics if dimensions differ. `least` is from −1 to 1;
/// equal vectors may differ from 1 by rounding, so 1 itself does not surely find them. O(n × kept) inner products.
#[must_use]
pub fn distinct(vectors: &[&[f32]], least: f32) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for (index, vector) in vectors.iter().enumerate() {
        if kept.iter().all(|&earlier| dot(vectors[earlier], vector) < least) {
            kept.push(index);
        }
    }
    kept
}

/// The indices, in order, of the perceptual hashes that differ in more than `bits` from every one kept before; `None` is unlike all.
///
/// Hashes come in rank order ([`crate::image::difference_hash`]); `bits` is from 0 to 64. O(n × kept).
#[must_use]
pub fn distinct_pictures(hashes: &[Option<u64>], bits: u32) -> Vec<usize> {
    let (mut kept, mut seen) = (Vec::new(), Vec::<u64>::new());
    for (index, hash) in hashes.iter().enumerate() {
        if hash.is_none_or(|hash| seen.iter().all(|earlier| (earlier ^ hash).count_ones() > bits)) {
            kept.push(index);
            seen.extend(hash);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::{distinct, distinct_pictures};

    #[test]
    fn pictures_that_differ_in_few_bits_are_left_out() {
        let hashes = [Some(0), Some(0b1), None, Some(0b111), Some(u64::MAX), None, Some(0b110)];
        let check = |bits: u32, expected: &[usize]| assert_eq!(distinct_pictures(&hashes, bits), expected, "{bits}");
        check(0, &[0, 1, 2, 3, 4, 5, 6]);
        check(1, &[0, 2, 3, 4, 5]);
        check(2, &[0, 2, 3, 4, 5]);
        check(3, &[0, 2, 4, 5]);
        check(64, &[0, 2, 5]);
    }

    // Cosines by hand. To vector 0: 0.96, 0.8, 0, −1, 1; of 1 and 2: 0.936; of 2 and 3: 0.6; of 1 and 3: 0.28.
    #[test]
    fn near_equals_of_better_ones_are_left_out() {
        let vectors: [&[f32]; 6] = [&[1.0, 0.0], &[0.96, 0.28], &[0.8, 0.6], &[0.0, 1.0], &[-1.0, 0.0], &[1.0, 0.0]];
        let check = |least: f32, expected: &[usize]| assert_eq!(distinct(&vectors, least), expected, "{least}");
        check(1.5, &[0, 1, 2, 3, 4, 5]);
        check(1.0, &[0, 1, 2, 3, 4]);
        check(0.95, &[0, 2, 3, 4]);
        check(0.7, &[0, 3, 4]);
        check(0.0, &[0, 4]);
        check(-1.0, &[0]);
    }

    /// Only kept vectors push others out: 1 is near 0, 2 is near 1 but not near 0.
    #[test]
    fn what_is_left_out_leaves_nothing_out() {
        let vectors: [&[f32]; 3] = [&[1.0, 0.0], &[0.96, 0.28], &[0.8, 0.6]];
        assert_eq!(distinct(&vectors, 0.9), [0, 2]);
        assert_eq!(distinct(&[], 0.9), [] as [usize; 0]);
    }
}
