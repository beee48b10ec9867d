//! A query against one segment: a walk, the scores of what it found, and wider walks until there are enough hits.

use std::cell::RefCell;

use rayon::prelude::*;

use super::segment::Segment;
use super::walk::Scratch;
use crate::Result;
use crate::distance::codes;
use crate::index::{Candidates, Neighbour, TopK};

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Nodes that are scored by both bytes for so many hits. High bytes alone err by about 0.0005, so that a hit may stand somewhat behind.
#[must_use]
pub(super) fn n_scored(limit: usize) -> usize {
    (2 * limit).max(limit + 16)
}

/// A walk that found too few is made wider by this factor …
const GROWTH: usize = 4;
/// … until it keeps this part of the nodes; then all are scored.
const WIDEST_SHARE: usize = 8;
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
                for seen in scratch.seen().iter().take(n_scored(search.limit)) {
                    codes::prefetch(rows.low, seen.node(), rows.width);
                }
                let (mut top, mut n_offered) = (TopK::new(search.limit, candidates), 0);
                for (place, seen) in scratch.seen().iter().enumerate() {
                    // Behind the usual places only as long as there are too few: where others are hidden or refused.
                    if place >= n_scored(search.limit) && n_offered >= search.limit {
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
                        n_offered += 1;
                        top.offer(Neighbour { key, score });
                    }
                }
                let found = top.into_sorted();
                // Vectors of one item count once, so there may be too few although enough were offered.
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
