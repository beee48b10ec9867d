//! Scores an item by examples that it shall be like or unlike.

/// The score of an item by its best example, with `p` the largest cosine to a positive one and `n` the largest to a negative one:
/// `p` if it is above `n`, else −n². This is Qdrant's recommendation strategy `best_score` as its documentation gives it
/// (qdrant.tech, "Explore the data").
///
/// No examples of a kind count as −∞: without negatives the score is `p`, without positives −n², without both −∞.
#[must_use]
pub fn best_score(to_positives: &[f32], to_negatives: &[f32]) -> f32 {
    let positive = largest(to_positives);
    let negative = largest(to_negatives);
    if positive > negative { positive } else { -(negative * negative) }
}

/// −∞ if there are none.
fn largest(cosines: &[f32]) -> f32 {
    cosines.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::best_score;

    // Expected scores are worked out by hand; all cosines and their squares are exact in binary.
    #[test]
    fn the_best_example_decides() {
        let check = |to_positives: &[f32], to_negatives: &[f32], expected: f32| {
            assert_eq!(best_score(to_positives, to_negatives), expected, "{to_positives:?} and {to_negatives:?}");
        };
        check(&[0.25, 0.75], &[0.5, -1.0], 0.75);
        check(&[0.25], &[0.125, 0.5], -0.25);
        check(&[-0.25], &[-0.5], -0.25);
        check(&[-0.5], &[-0.25], -0.0625);
        // A tie goes against the item.
        check(&[0.5], &[0.5], -0.25);
        check(&[-0.5, -0.75], &[], -0.5);
        check(&[], &[0.75, 0.5], -0.5625);
        check(&[], &[-0.5], -0.25);
        check(&[], &[], f32::NEG_INFINITY);
    }
}
