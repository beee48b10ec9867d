//! Keeps the best vectors of distinct items.

use std::cmp::Ordering;

use super::{Candidates, Neighbour};

/// Collects candidates and keeps the best part of each of the best `limit` items.
///
/// Candidates gather in a buffer of twice the limit, which is cut to the limit when full: constant amortised time each. The
/// outcome depends only on what was offered, never on the order.
pub struct TopK<'a> {
    limit: usize,
    candidates: &'a dyn Candidates,
    buffer: Vec<Neighbour>,
    capacity: usize,
    /// Below it nothing can be among the best any more.
    threshold: f32,
}

impl<'a> TopK<'a> {
    /// Wants `limit` items, at least 1.
    #[must_use]
    pub fn new(limit: usize, candidates: &'a dyn Candidates) -> Self {
        let limit = limit.max(1);
        Self { limit, candidates, buffer: Vec::new(), capacity: (2 * limit).max(64), threshold: f32::NEG_INFINITY }
    }

    /// The score below which a candidate need not be offered.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Takes a candidate if its item may be found and its score may be among the best.
    pub fn offer(&mut self, neighbour: Neighbour) {
        if neighbour.score < self.threshold || !self.candidates.accepts(neighbour.key.item) {
            return;
        }
        self.buffer.push(neighbour);
        if self.buffer.len() >= self.capacity {
            self.compact();
        }
    }

    /// Takes over what another collector of the same search kept.
    pub fn merge(&mut self, other: Self) {
        for neighbour in other.buffer {
            self.offer(neighbour);
        }
    }

    /// The best items by falling score, ties as the candidates order them.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Neighbour> {
        self.compact();
        let candidates = self.candidates;
        self.buffer.sort_unstable_by(|a, b| compare(candidates, a, b));
        self.buffer
    }

    fn compact(&mut self) {
        // The best part of each item: the highest score, then the smallest part number.
        self.buffer.sort_unstable_by(|a, b| {
            a.key.item.cmp(&b.key.item).then(b.score.total_cmp(&a.score)).then(a.key.part.cmp(&b.key.part))
        });
        self.buffer.dedup_by_key(|neighbour| neighbour.key.item);
        if self.buffer.len() >= self.limit {
            let candidates = self.candidates;
            self.buffer.select_nth_unstable_by(self.limit - 1, |a, b| compare(candidates, a, b));
            self.buffer.truncate(self.limit);
            self.threshold = self.buffer[self.limit - 1].score;
        }
    }
}

/// Orders the best parts of different items.
fn compare(candidates: &dyn Candidates, a: &Neighbour, b: &Neighbour) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| match a.key.item == b.key.item {
        true => Ordering::Equal,
        false => candidates.compare(a.key.item, b.key.item),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::VectorKey;

    /// Accepts all but multiples of seven; the larger number first.
    struct Backwards;

    impl Candidates for Backwards {
        fn accepts(&self, item: u64) -> bool {
            !item.is_multiple_of(7)
        }

        fn compare(&self, a: u64, b: u64) -> Ordering {
            b.cmp(&a)
        }
    }

    fn neighbour(item: u64, part: u32, score: f32) -> Neighbour {
        Neighbour { key: VectorKey { item, part }, score }
    }

    fn best(limit: usize, offers: impl Iterator<Item = Neighbour>) -> Vec<(u64, u32)> {
        let mut top = TopK::new(limit, &Backwards);
        offers.for_each(|offer| top.offer(offer));
        top.into_sorted().iter().map(|found| (found.key.item, found.key.part)).collect()
    }

    #[test]
    fn items_are_distinct_and_ties_are_ordered() {
        let offers = [(1, 0, 0.5), (1, 1, 0.9), (1, 2, 0.9), (2, 0, 0.9), (3, 0, 0.1), (7, 0, 1.0)];
        let offers = || offers.iter().map(|&(item, part, score)| neighbour(item, part, score));
        assert_eq!(best(2, offers()), [(2, 0), (1, 1)]);
        assert_eq!(best(2, offers().rev()), [(2, 0), (1, 1)]);
        assert_eq!(best(9, offers()), [(2, 0), (1, 1), (3, 0)]);
        assert_eq!(best(1, std::iter::empty()), []);
    }

    #[test]
    fn the_order_of_offers_does_not_matter() {
        for limit in [1, 2, 5, 40, 200] {
            let offers = (0..3000_u64).map(|n| neighbour(n * 31 % 500, (n % 4) as u32, (n * 17 % 23) as f32));
            let forward = best(limit, offers.clone());
            assert_eq!(forward.len(), limit);
            assert_eq!(forward, best(limit, offers.clone().rev()));
            let mut halves = [TopK::new(limit, &Backwards), TopK::new(limit, &Backwards)];
            offers.enumerate().for_each(|(position, offer)| halves[position % 2].offer(offer));
            let [mut one, other] = halves;
            one.merge(other);
            let merged: Vec<_> = one.into_sorted().iter().map(|found| (found.key.item, found.key.part)).collect();
            assert_eq!(forward, merged);
        }
    }
}
