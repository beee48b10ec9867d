//! The walk through one level of a graph: from near points to nearer ones, keeping the best seen.

use super::links::Links;
use super::query::WalkQuery;
use super::rows::RowsView;
use crate::distance::{codes, prefetch, signs};

/// Marks an entry whose neighbours were looked at.
const EXPANDED: u32 = 1 << 31;
/// Nodes of one graph, so that a number and its mark fit in four bytes.
pub(super) const MOST_NODES: usize = EXPANDED as usize - 1;

/// A node that a walk has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// The cosine by high bytes, times the length of the query's: it orders nodes and is nothing more.
    pub score: f32,
    marked: u32,
}

impl Seen {
    pub(super) fn new(score: f32, node: u32) -> Self {
        Self { score, marked: node }
    }

    #[must_use]
    pub fn node(self) -> u32 {
        self.marked & !EXPANDED
    }
}

/// What a walk writes to; kept by each thread, so that a walk allocates nothing.
#[derive(Default)]
pub struct Scratch {
    pub(super) visited: Visited,
    pub(super) pool: Pool,
    pub(super) fresh: Vec<u32>,
    pub(super) products: Vec<i32>,
    /// Neighbours that are not kept.
    pub(super) passed: Vec<u32>,
    /// What the next walk asks for.
    pub query: WalkQuery,
    pub(super) kept: Vec<u32>,
    /// A node that walks pass by, as if it were not in the graph.
    pub(super) absent: Option<u32>,
}

impl Scratch {
    /// What the last walk kept, the best first.
    #[must_use]
    pub fn seen(&self) -> &[Seen] {
        &self.pool.entries
    }

    /// The best node of the last walk.
    #[must_use]
    pub fn best(&self) -> Option<u32> {
        self.pool.entries.first().map(|seen| seen.node())
    }
}

/// Walks a level from `entries` and keeps the best `ef` nodes in the scratch. Returns how many nodes it has compared.
pub(super) fn walk<L: Links>(
    (rows, links): (RowsView<'_>, &L),
    level: usize,
    query: &WalkQuery,
    (entries, ef): (&[u32], usize),
    scratch: &mut Scratch,
) -> usize {
    let Scratch { visited, pool, fresh, products, absent, kept, .. } = scratch;
    visited.begin(rows.len());
    absent.iter().for_each(|&absent| _ = visited.is_new(absent));
    pool.begin(ef);
    fresh.clear();
    fresh.extend(entries.iter().copied().filter(|&entry| visited.is_new(entry)));
    let mut n_compared = fresh.len();
    pool.offer_all(rows, query, fresh, (products, kept), |node| links.prefetch(level, node));
    let mut next = 0;
    while let Some(node) = pool.expand(&mut next) {
        fresh.clear();
        links.each(level, node, |neighbour| {
            if visited.is_new(neighbour) {
                rows.prefetch_sketch(neighbour);
                fresh.push(neighbour);
            }
        });
        n_compared += fresh.len();
        let first = pool.offer_all(rows, query, fresh, (products, kept), |node| links.prefetch(level, node));
        next = first.min(next);
    }
    n_compared
}

/// The nearest node of a level, walked to greedily.
pub(super) fn descend<L: Links>(
    graph: (RowsView<'_>, &L),
    levels: std::ops::Range<usize>,
    query: &WalkQuery,
    entry: u32,
    scratch: &mut Scratch,
) -> u32 {
    levels.rev().fold(entry, |entry, level| {
        walk(graph, level, query, (&[entry], 1), scratch);
        scratch.best().unwrap_or(entry)
    })
}

/// Which nodes a walk has met, cleared in constant time.
#[derive(Default)]
pub(super) struct Visited {
    stamps: Vec<u8>,
    stamp: u8,
}

impl Visited {
    pub(super) fn begin(&mut self, n_nodes: usize) {
        if self.stamps.len() < n_nodes || self.stamp == u8::MAX {
            self.stamps.clear();
            self.stamps.resize(n_nodes, 0);
            self.stamp = 0;
        }
        self.stamp += 1;
    }

    /// Marks a node; true if it was not marked before.
    pub(super) fn is_new(&mut self, node: u32) -> bool {
        let stamp = &mut self.stamps[node as usize];
        let is_new = *stamp != self.stamp;
        *stamp = self.stamp;
        is_new
    }

    pub(super) fn contains(&self, node: u32) -> bool {
        self.stamps[node as usize] == self.stamp
    }

    /// Takes a mark away.
    pub(super) fn forget(&mut self, node: u32) {
        self.stamps[node as usize] = 0;
    }
}

/// The best nodes of a walk by falling score.
#[derive(Default)]
pub(super) struct Pool {
    entries: Vec<Seen>,
    ef: usize,
}

impl Pool {
    pub(super) fn begin(&mut self, ef: usize) {
        self.entries.clear();
        self.ef = ef.max(1);
    }

    /// Marks the next node whose neighbours were not looked at; `next` is where to look, and becomes the place after it.
    pub(super) fn expand(&mut self, next: &mut usize) -> Option<u32> {
        while let Some(seen) = self.entries.get_mut(*next) {
            *next += 1;
            if seen.marked & EXPANDED == 0 {
                let node = seen.marked;
                seen.marked |= EXPANDED;
                return Some(node);
            }
        }
        None
    }

    /// Scores nodes and keeps the good ones; returns the first place that changed.
    pub(super) fn offer_all(
        &mut self,
        rows: RowsView<'_>,
        query: &WalkQuery,
        nodes: &[u32],
        (products, kept): (&mut Vec<i32>, &mut Vec<u32>),
        enters: impl Fn(u32),
    ) -> usize {
        if products.len() < nodes.len() {
            products.resize(nodes.len(), 0);
        }
        let nodes = match (rows.sketches, self.entries.last()) {
            (Some(sketches), Some(last)) if self.entries.len() == self.ef => {
                let least = last.score / query.length;
                kept.clear();
                (signs::best().survivors)(&query.sketch.signs, sketches.words, nodes, least, kept);
                for &node in &*kept {
                    prefetch(std::slice::from_ref(&rows.terms[node as usize]));
                    prefetch(rows.high_of(node));
                }
                &kept[..]
            }
            _ => nodes,
        };
        (codes::best().dots)(&query.shifted, rows.high, nodes, products);
        let mut first = usize::MAX;
        for (&node, &product) in nodes.iter().zip(&*products) {
            let place = self.offer(rows.terms[node as usize].score(product), node);
            if place != usize::MAX {
                enters(node);
            }
            first = first.min(place);
        }
        first
    }

    fn offer(&mut self, score: f32, node: u32) -> usize {
        if self.entries.len() == self.ef {
            match self.entries.last() {
                Some(last) if score > last.score => drop(self.entries.pop()),
                _ => return usize::MAX,
            }
        }
        let place = self.entries.partition_point(|seen| seen.score >= score);
        self.entries.insert(place, Seen { score, marked: node });
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_the_best_in_order() {
        let mut pool = Pool::default();
        pool.begin(3);
        let places: Vec<usize> = [(0.5, 1), (0.7, 2), (0.6, 3), (0.4, 4), (0.9, 5), (0.6, 6)]
            .map(|(score, node)| pool.offer(score, node))
            .into();
        assert_eq!(places, [0, 0, 1, usize::MAX, 0, usize::MAX]);
        assert_eq!(pool.entries.iter().map(|seen| seen.node()).collect::<Vec<_>>(), [5, 2, 3]);
    }

    #[test]
    fn marks_of_visits_are_cleared_for_each_walk() {
        let mut visited = Visited::default();
        for walk in 0..600 {
            visited.begin(4);
            for node in [3, 0] {
                assert!(visited.is_new(node), "walk {walk}");
                assert!(!visited.is_new(node));
            }
        }
        visited.begin(9);
        assert!(visited.is_new(8));
    }
}
