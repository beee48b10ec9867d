//! Ranks and recalls of composed queries over rows of scores.

use std::collections::BTreeMap;

use rand::Rng as _;

use crate::train::random::random_for;

/// Samples behind a probability.
const RESAMPLES: usize = 10_000;

/// The rank of a target among the places that are not excluded, from 1: others of the same score stand before it, and so do scores
/// that are no numbers.
#[must_use]
pub(super) fn rank(scores: &[f32], target: usize, is_excluded: &dyn Fn(usize) -> bool) -> usize {
    let own = scores[target];
    let is_before = |place: &usize| {
        *place != target && !is_excluded(*place) && scores[*place].partial_cmp(&own) != Some(std::cmp::Ordering::Less)
    };
    1 + (0..scores.len()).filter(is_before).count()
}

/// The places of the highest scores among those that are not excluded, the best first; equal scores by place.
#[must_use]
pub(super) fn best(scores: &[f32], n: usize, is_excluded: &dyn Fn(usize) -> bool) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).filter(|&place| !is_excluded(place)).collect();
    places.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    places.truncate(n);
    places
}

/// The share of ranks up to `k`; 0 of none.
#[must_use]
pub(super) fn recall(ranks: &[usize], k: usize) -> f64 {
    if ranks.is_empty() { 0.0 } else { ranks.iter().filter(|&&rank| rank <= k).count() as f64 / ranks.len() as f64 }
}

/// How probable it is that a first set of ranks is not better at `k` than a second of the same queries: the share of samples of the
/// clusters, drawn with replacement, in which it is not (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, §16.4).
/// Queries of one cluster are drawn together.
#[must_use]
pub(super) fn not_better(first: &[usize], second: &[usize], clusters: &[usize], k: usize, seed: u64) -> f64 {
    let mut gains: BTreeMap<usize, i64> = BTreeMap::new();
    for ((one, other), cluster) in first.iter().zip(second).zip(clusters) {
        *gains.entry(*cluster).or_default() += i64::from(*one <= k) - i64::from(*other <= k);
    }
    let gains: Vec<i64> = gains.into_values().collect();
    if gains.is_empty() {
        return 1.0;
    }
    let mut random = random_for(seed, "bootstrap", &[]);
    let mut sample = || (0..gains.len()).map(|_| gains[random.random_range(0..gains.len())]).sum::<i64>();
    (0..RESAMPLES).filter(|_| sample() <= 0).count() as f64 / RESAMPLES as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_leave_out_what_is_excluded() {
        let scores = [0.9, 0.5, 0.7, 0.7, f32::NAN];
        let none = |_: usize| false;
        assert_eq!(rank(&scores, 0, &none), 2, "what is no number stands before");
        assert_eq!(rank(&scores[..4], 2, &none), 3, "a tie counts against the target");
        assert_eq!(rank(&scores[..4], 1, &|place| place == 0), 3);
        assert_eq!(best(&scores[..4], 3, &|place| place == 0), [2, 3, 1]);
        assert!((recall(&[1, 2, 3, 11], 10) - 0.75).abs() < 1e-12 && recall(&[], 1).abs() < 1e-12);
    }

    #[test]
    fn a_probability_counts_the_samples_without_a_gain() {
        let clusters: Vec<usize> = (0..100).collect();
        let all = |rank: usize| vec![rank; 100];
        assert!(not_better(&all(1), &all(2), &clusters, 1, 1) < 1e-9);
        assert!((not_better(&all(1), &all(1), &clusters, 1, 1) - 1.0).abs() < 1e-9);
        // 55 gains and 45 losses: a sample's sum has mean 10 and deviation 9.95, and is even: P(≤ 0) = Φ(−9 / 9.95) = .183.
        let first: Vec<usize> = (0..100).map(|n| if n < 55 { 1 } else { 2 }).collect();
        let second: Vec<usize> = (0..100).map(|n| if n < 55 { 2 } else { 1 }).collect();
        let found = not_better(&first, &second, &clusters, 1, 1);
        assert!((found - 0.183).abs() < 0.02, "{found}");
        // In one cluster all fall together.
        assert!(not_better(&first, &second, &[0; 100], 1, 1) < 1e-9);
    }
}
