//! Recall, median rank and their bootstrap intervals, from the rank of each query's first right answer.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The rank of a query's first right answer, from 1; `None` if it is not among the hits that were asked for.
pub type Rank = Option<u32>;

/// A figure with the interval that 95 of 100 samples of as many queries fall in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// The share of queries with a right answer among the first `k`.
#[must_use]
pub fn recall(ranks: &[Rank], k: u32) -> f64 {
    let n_found = ranks.iter().flatten().filter(|rank| **rank <= k).count();
    n_found as f64 / ranks.len() as f64
}

/// The median rank, the mean of the two in the middle for an even number; `None` if it lies deeper than the hits go.
#[must_use]
pub fn median_rank(ranks: &[Rank]) -> Option<f64> {
    let mut sorted: Vec<u32> = ranks.iter().map(|rank| rank.unwrap_or(u32::MAX)).collect();
    sorted.sort_unstable();
    let middle = sorted.len().checked_sub(1)? / 2;
    let (low, high) = (sorted[middle], sorted[sorted.len() / 2]);
    (high < u32::MAX).then(|| (f64::from(low) + f64::from(high)) / 2.0)
}

/// Percentile intervals of several recalls over the same `resamples` draws of queries with repetition (Efron and Tibshirani,
/// An Introduction to the Bootstrap, 1993, §13.3). Neither `ranks` nor `resamples` is empty.
#[must_use]
pub fn recalls(ranks: &[Rank], ks: &[u32], resamples: u32, seed: u64) -> Vec<Estimate> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn: Vec<Vec<f64>> = vec![Vec::new(); ks.len()];
    for _ in 0..resamples {
        let sample: Vec<Rank> = (0..ranks.len()).map(|_| ranks[random.random_range(0..ranks.len())]).collect();
        ks.iter().zip(&mut drawn).for_each(|(k, drawn)| drawn.push(recall(&sample, *k)));
    }
    let interval = |(k, mut drawn): (&u32, Vec<f64>)| {
        drawn.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| drawn[((drawn.len() - 1) as f64 * share).round() as usize];
        Estimate { value: recall(ranks, *k), low: at(0.025), high: at(0.975) }
    };
    ks.iter().zip(drawn).map(interval).collect()
}

/// The chance that a random order of `gallery` items has one of `targets` right ones among its first `k`.
#[must_use]
pub fn chance(gallery: u64, targets: u64, k: u32) -> f64 {
    let misses = (0..u64::from(k)).map(|place| {
        let (wrong, left) = (gallery.saturating_sub(targets + place) as f64, gallery.saturating_sub(place) as f64);
        if left > 0.0 { wrong / left } else { 0.0 }
    });
    1.0 - misses.product::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranks_become_figures() {
        let ranks = [Some(1), Some(3), None, Some(10)];
        assert_eq!(recall(&ranks, 1), 0.25);
        assert_eq!(recall(&ranks, 10), 0.75);
        assert_eq!(median_rank(&ranks), Some(6.5));
        assert_eq!(median_rank(&ranks[..3]), Some(3.0));
        assert_eq!(median_rank(&[Some(1), None, None]), None);
        assert_eq!(median_rank(&[]), None);
    }

    #[test]
    fn chance_is_that_of_drawing_without_repetition() {
        let check = |gallery, targets, k, expected: f64| {
            let found = chance(gallery, targets, k);
            assert!((found - expected).abs() < 1e-12, "{gallery} {targets} {k}: {found}");
        };
        check(1906, 1, 10, 10.0 / 1906.0);
        // 1 − (3/5)·(2/4)
        check(5, 2, 2, 0.7);
        check(3, 1, 10, 1.0);
        check(0, 0, 1, 1.0);
    }

    #[test]
    fn the_interval_of_a_share_is_about_that_of_the_normal_approximation() {
        let ranks: Vec<Rank> = (0..400).map(|number| (number % 4 == 0).then_some(1)).collect();
        let found = recalls(&ranks, &[1], 4000, 1)[0];
        // 0.25 ± 1.96 · sqrt(0.25 · 0.75 / 400)
        assert!((found.low - 0.2076).abs() < 0.008 && (found.high - 0.2924).abs() < 0.008, "{found:?}");
        assert_eq!(recalls(&ranks, &[1], 100, 5), recalls(&ranks, &[1], 100, 5));
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_value_and_recall_rises_with_k(
            ranks in prop::collection::vec(prop::option::of(1_u32..30), 1..60), seed: u64,
        ) {
            let found = recalls(&ranks, &[1, 5, 10], 200, seed);
            for estimate in &found {
                prop_assert!(0.0 <= estimate.low && estimate.low <= estimate.high && estimate.high <= 1.0);
            }
            prop_assert!(found[0].value <= found[1].value && found[1].value <= found[2].value);
        }
    }
}
