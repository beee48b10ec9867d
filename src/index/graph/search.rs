//! A query against one segment: a walk, the scores of what it found, and wider walks until there are enough hits.

use std::cell::RefCell;

use rayon::prelude::*;

use super::collect::Collected;
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
/// Items that are scored one by one instead of walked to, for each node that a walk keeps.
const LISTED_PER_KEPT: usize = 192;
/// An exact search scores listed items only if they are at most this part of all.
const EXACT_SHARE: usize = 4;
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
    /// Places of keys that count as not there; `None` if all count.
    pub is_hidden: Option<IsHidden<'a>>,
    /// The number of what is hidden, which no other segment of the process has, nor this one with anything else hidden. `None`: nothing is
    /// kept for the next search.
    pub version: Option<u64>,
}

/// Says of a key's place whether it counts as not there.
pub type IsHidden<'a> = &'a (dyn Fn(u32) -> bool + Sync);

impl SegmentSearch<'_> {
    #[inline]
    pub(super) fn is_shown(&self, place: u32) -> bool {
        self.is_hidden.is_none_or(|is_hidden| !is_hidden(place))
    }
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
        let among = candidates.among();
        if let Some((among, (first, last))) = among.zip(self.item_range()) {
            let n_items = among.items.range_cardinality(first..=last) as usize;
            let most = if search.exact { self.n_nodes() / EXACT_SHARE } else { LISTED_PER_KEPT * search.ef };
            if n_items <= most.max(search.limit) {
                return Ok((self.search_listed(query, search, among, candidates)?, true));
            }
        }
        if search.exact || search.limit >= self.n_nodes() {
            return Ok((self.scan(query, search, candidates)?, true));
        }
        let set = among.and_then(|among| self.walked_nodes(among, search));
        let bits = set.as_ref().and_then(|set| set.bits());
        let by_item = among.filter(|_| bits.is_none()).map(|among| self.by_item(among.items, search.is_hidden));
        SCRATCH.with_borrow_mut(|scratch| {
            let mut ef = search.ef.max(search.limit);
            loop {
                let is_near = match (&bits, &by_item) {
                    (Some(bits), _) => self.walk_among((query, ef), bits, scratch),
                    (None, Some(by_item)) => self.walk_among((query, ef), by_item, scratch),
                    (None, None) => self.walk(query, ef, scratch) > 0,
                };
                if let Some(among) = among.filter(|_| !is_near) {
                    return Ok((self.search_listed(query, search, among, candidates)?, true));
                }
                let mut collected = Collected::new(search, candidates);
                collected.add_all(self, (query, &scratch.query), scratch.seen())?;
                let found = collected.into_sorted();
                if found.len() >= search.limit {
                    return Ok((found, false));
                }
                if ef >= self.n_nodes() / WIDEST_SHARE {
                    let found = match among {
                        Some(among) => self.search_listed(query, search, among, candidates)?,
                        None => self.scan(query, search, candidates)?,
                    };
                    return Ok((found, true));
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
            let is_found = |place: &u32| search.is_shown(*place) && candidates.accepts(self.key(*place).item);
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
