//! Two models on the same queries.

use std::collections::BTreeMap;

use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::train::random::random_for;

/// Samples behind an interval.
const RESAMPLES: usize = 2000;

/// How a recall changed from one model to another over the same queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub metric: String,
    pub before: f64,
    pub after: f64,
    pub gain: f64,
    /// The interval of the gain: 95 of 100 samples of as many queries fall in it.
    pub low: f64,
    pub high: f64,
    pub queries: usize,
    /// The gain that was asked for.
    pub margin: f64,
    /// True if the gain reaches the margin.
    pub is_better: bool,
}

impl Comparison {
    /// Compares the ranks that two models gave to the right answers of the same queries, by the queries' names; `k` is the depth of
    /// the recall. The interval is a percentile bootstrap over pairs (Efron and Tibshirani, An Introduction to the Bootstrap,
    /// 1993, §13.3).
    #[must_use]
    pub fn of(
        metric: &str,
        k: usize,
        margin: f64,
        seed: u64,
        before: &BTreeMap<String, usize>,
        after: &BTreeMap<String, usize>,
    ) -> Self {
        let is_found = |ranks: &BTreeMap<String, usize>, name: &str| ranks.get(name).is_some_and(|rank| *rank <= k);
        let pairs: Vec<(bool, bool)> =
            before.keys().map(|name| (is_found(before, name), is_found(after, name))).collect();
        let n = pairs.len().max(1) as f64;
        let share = |is_counted: &dyn Fn(&(bool, bool)) -> bool| {
            pairs.iter().filter(|pair| is_counted(pair)).count() as f64 / n
        };
        let (found_before, found_after) = (share(&|pair| pair.0), share(&|pair| pair.1));
        let mut random = random_for(seed, "comparison", &[]);
        let mut gains: Vec<i64> = (0..RESAMPLES)
            .map(|_| {
                let drawn = (0..pairs.len()).map(|_| pairs[random.random_range(0..pairs.len())]);
                drawn.map(|(before, after)| i64::from(after) - i64::from(before)).sum()
            })
            .collect();
        gains.sort_unstable();
        let at = |share: f64| gains[((RESAMPLES - 1) as f64 * share).round() as usize] as f64 / n;
        let gain = found_after - found_before;
        Self {
            metric: metric.to_owned(),
            before: found_before,
            after: found_after,
            gain,
            low: at(0.025),
            high: at(0.975),
            queries: pairs.len(),
            margin,
            // A gain of exactly the margin counts, whatever the rounding of the shares.
            is_better: gain >= margin - 1e-12,
        }
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { metric, before, after, gain, low, high, queries, margin, .. } = self;
        write!(
            formatter,
            "{metric} {before:.3} → {after:.3} ({gain:+.3}, 95 of 100 samples of the {queries} queries between {low:+.3} and \
             {high:+.3}; asked for {margin:+.3})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(ranks: &[usize]) -> BTreeMap<String, usize> {
        ranks.iter().enumerate().map(|(number, rank)| (format!("q{number:03}"), *rank)).collect()
    }

    #[test]
    fn a_gain_counts_from_the_margin_on() {
        let (before, after) =
            (ranks(&[1, 20, 3, 40, 50, 60, 70, 80, 90, 11]), ranks(&[1, 2, 30, 4, 5, 60, 70, 80, 90, 10]));
        let compare = |margin| Comparison::of("x.R@10", 10, margin, 1, &before, &after);
        let found = compare(0.3);
        assert_eq!((found.before, found.after, found.queries), (0.2, 0.5, 10));
        assert!(found.is_better && !compare(0.31).is_better, "{found}");
        assert!(found.low <= found.gain && found.gain <= found.high, "{found}");
        assert!(!Comparison::of("x.R@10", 10, 0.0, 1, &after, &before).is_better);
    }

    #[test]
    fn the_interval_is_about_that_of_the_normal_approximation() {
        // 400 queries: 80 are found only after, 40 only before.
        let before: Vec<usize> = (0..400).map(|n| if n < 40 { 1 } else { 99 }).collect();
        let after: Vec<usize> = (0..400).map(|n| if (40..120).contains(&n) { 1 } else { 99 }).collect();
        let found = Comparison::of("x.R@1", 1, 0.05, 7, &ranks(&before), &ranks(&after));
        // 0.1 ± 1.96 · sqrt((0.3 − 0.01) / 400)
        assert!((found.low - 0.0472).abs() < 0.006 && (found.high - 0.1528).abs() < 0.006, "{found}");
    }
}
