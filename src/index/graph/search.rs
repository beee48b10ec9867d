//! A query against one segment: a walk, the scores of what it found, and wider walks until there are enough hits.

use std::cell::RefCell;

use rayon::prelude::*;

use super::segment::Segment;
use super::walk::Scratch;
use crate::Result;
use crate::index::{Candidates, Neighbour, TopK};

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A walk that found too few is made wider by this factor …
const GROWTH: usize = 4;
/// … until it keeps this part of the nodes; then all are scored.
const WIDEST_SHARE: usize = 8;
/// Room for items that is made at once.
const MOST_ROOM: usize = 1_000;
/// Nodes that one task scores.
const NODES_PER_TASK: usize = 16_384;

/// How a segment is searched.
#[derive(Clone, Copy)]
pub struct SegmentSearch<'a> {
    /// Distinct items wanted.
    pub limit: usize,
    /// Nodes that the first walk keeps.
    pub ef: usize,
    /// Score every vector.
    pub exact: bool,
    /// Threads that share the work of scoring every vector.
    pub pool: Option<&'a rayon::ThreadPool>,
    /// Places of keys that count as not there.
    pub is_hidden: &'a (dyn Fn(u32) -> bool + Sync),
}

impl Segment {
    /// The vectors of distinct items nearest to a unit query, and true if every vector was compared.
    ///
    /// # Errors
    /// [`crate::Error::Corruption`] if the file is damaged.
    pub fn search(
        &self,
        query: &[f32],
        search: SegmentSearch<'_>,
        candidates: &dyn Candidates,
    ) -> Result<(Vec<Neighbour>, bool)> {
        if search.exact || search.limit >= self.n_nodes() {
            return Ok((self.scan(query, search, candidates)?, true));
        }
        let rows = self.rows();
        SCRATCH.with_borrow_mut(|scratch| {
            let mut ef = search.ef.max(search.limit);
            loop {
                self.walk(query, ef, scratch);
                scratch.seen().iter().take(search.limit).for_each(|seen| self.prefetch(rows, seen.node()));
                let mut top = TopK::new(search.limit, candidates);
                let mut enough = Enough::new(search.limit);
                for seen in scratch.seen() {
                    if enough.is_below(scratch.query.most(rows, *seen)) {
                        break;
                    }
                    let mut score = None;
                    for place in self.key_places(seen.node()) {
                        let key = self.key(place);
                        if (search.is_hidden)(place) || !candidates.accepts(key.item) {
                            continue;
                        }
                        let score = match score {
                            Some(score) => score,
                            None => *score.insert(self.score(rows, query, seen.node())?),
                        };
                        enough.add(key.item, score);
                        top.offer(Neighbour { key, score });
                    }
                }
                let found = top.into_sorted();
                if found.len() >= search.limit {
                    return Ok((found, false));
                }
                if ef >= self.n_nodes() / WIDEST_SHARE {
                    return Ok((self.scan(query, search, candidates)?, true));
                }
                ef *= GROWTH;
            }
        })
    }

    /// Scores every vector that may be found.
    fn scan(&self, query: &[f32], search: SegmentSearch<'_>, candidates: &dyn Candidates) -> Result<Vec<Neighbour>> {
        self.verify()?;
        let all = self.n_nodes();
        let top = match search.pool {
            Some(pool) if all > NODES_PER_TASK => pool.install(|| {
                let tasks = (0..all).into_par_iter().step_by(NODES_PER_TASK);
                let scan = |first| self.scan_nodes(first..all.min(first + NODES_PER_TASK), query, search, candidates);
                tasks.map(scan).reduce(
                    || TopK::new(search.limit, candidates),
                    |mut one, other| {
                        one.merge(other);
                        one
                    },
                )
            }),
            _ => self.scan_nodes(0..all, query, search, candidates),
        };
        Ok(top.into_sorted())
    }

    fn scan_nodes<'c>(
        &self,
        nodes: std::ops::Range<usize>,
        query: &[f32],
        search: SegmentSearch<'_>,
        candidates: &'c dyn Candidates,
    ) -> TopK<'c> {
        let (rows, mut top) = (self.rows(), TopK::new(search.limit, candidates));
        for node in nodes.start as u32..nodes.end as u32 {
            let is_found = |place: &u32| !(search.is_hidden)(*place) && candidates.accepts(self.key(*place).item);
            let mut places = self.key_places(node).filter(is_found).peekable();
            if places.peek().is_some() {
                let score = rows.score(query, node);
                if score >= top.threshold() {
                    places.for_each(|place| top.offer(Neighbour { key: self.key(place), score }));
                }
            }
        }
        top
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
