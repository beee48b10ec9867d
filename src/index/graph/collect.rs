//! The best of the nodes that a search has seen, by both bytes of as few of them as will do.

use super::query::WalkQuery;
use super::search::SegmentSearch;
use super::segment::Segment;
use super::walk::Seen;
use crate::Result;
use crate::index::{Candidates, Neighbour, TopK};

/// Room for items that is made at once.
const MOST_ROOM: usize = 1_000;

/// The hits of a segment in the making.
pub(super) struct Collected<'a> {
    search: SegmentSearch<'a>,
    candidates: &'a dyn Candidates,
    top: TopK<'a>,
    enough: Enough,
}

impl<'a> Collected<'a> {
    pub(super) fn new(search: SegmentSearch<'a>, candidates: &'a dyn Candidates) -> Self {
        let (top, enough) = (TopK::new(search.limit, candidates), Enough::new(search.limit));
        Self { search, candidates, top, enough }
    }

    /// Scores nodes, the best first, until none that is left can be among the best: then true.
    ///
    /// # Errors
    /// [`crate::Error::Corruption`] if the file is damaged.
    pub(super) fn add_all(
        &mut self,
        segment: &Segment,
        (query, asked): (&[f32], &WalkQuery),
        seen: &[Seen],
    ) -> Result<bool> {
        let rows = segment.rows();
        seen.iter().take(self.search.limit).for_each(|seen| segment.prefetch(rows, seen.node()));
        for &seen in seen {
            if self.enough.is_below(asked.most(rows, seen)) {
                return Ok(true);
            }
            self.add(segment, seen.node(), || segment.score(rows, query, seen.node()))?;
        }
        Ok(false)
    }

    /// Takes those of a node's keys that may be found.
    pub(super) fn add(&mut self, segment: &Segment, node: u32, score_of: impl Fn() -> Result<f32>) -> Result<()> {
        let mut score = None;
        for place in segment.key_places(node) {
            let key = segment.key(place);
            if !self.search.is_shown(place) || !self.candidates.accepts(key.item) {
                continue;
            }
            let score = match score {
                Some(score) => score,
                None => *score.insert(score_of()?),
            };
            self.enough.add(key.item, score);
            self.top.offer(Neighbour { key, score });
        }
        Ok(())
    }

    pub(super) fn into_sorted(self) -> Vec<Neighbour> {
        self.top.into_sorted()
    }
}

/// Tells when what is left of a walk cannot be among the best any more.
struct Enough {
    limit: usize,
    /// Distinct items, once there are `limit` of them; before that some may be named twice.
    items: Vec<u64>,
    is_full: bool,
    /// The worst score of the first `limit` items.
    least: f32,
}

impl Enough {
    fn new(limit: usize) -> Self {
        Self { limit, items: Vec::with_capacity(limit.min(MOST_ROOM)), is_full: false, least: f32::INFINITY }
    }

    fn add(&mut self, item: u64, score: f32) {
        if self.is_full {
            return;
        }
        self.least = self.least.min(score);
        self.items.push(item);
        if self.items.len() >= self.limit {
            // What was sorted before is a run, which this sort only merges.
            self.items.sort();
            self.items.dedup();
            self.is_full = self.items.len() >= self.limit;
        }
    }

    /// True if there are enough items, and a score of at most `most` is worse than any of them.
    fn is_below(&self, most: f32) -> bool {
        self.is_full && most < self.least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_are_as_many_distinct_items_as_are_wanted() {
        let mut enough = Enough::new(3);
        for (item, score) in [(7, 0.9), (7, 0.8), (5, 0.7), (7, 0.6)] {
            enough.add(item, score);
            assert!(!enough.is_below(0.0));
        }
        enough.add(1, 0.65);
        assert!(enough.is_below(0.59) && !enough.is_below(0.6));
        enough.add(2, 0.1);
        assert!(enough.is_below(0.59), "the first three say what is too little");
    }
}
