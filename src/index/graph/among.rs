//! A walk that keeps only some nodes, as many as a filter leaves.
//!
//! Nodes that are not kept are passed through: where a node has too few neighbours that are kept, theirs are looked at as well, as in ACORN
//! (Patel and others, SIGMOD 2024, arXiv 2403.04871). The graph among the kept is reached at several places, since a filter may leave what
//! is far from the query, where no walk from the nearest node would come by.

use super::links::Links;
use super::query::WalkQuery;
use super::rows::RowsView;
use super::walk::{Scratch, Visited};

/// Kept nodes that one step wants to look at; neighbours of neighbours are looked at until there are so many.
const ENOUGH: usize = 24;

/// Lists of neighbours that are asked for before their turn. Few are needed, and those that are not would keep the others waiting.
const AHEAD: usize = 8;

/// Around a query are too few kept nodes if they are this part of what would be there if the filter knew nothing of vectors, and so many
/// times the root of that fewer, which chance seldom makes of few.
const FAR_SHARE: f32 = 0.9;
const FAR_ROOTS: f32 = 1.5;

/// The nodes that a walk keeps.
pub(super) trait KeptNodes {
    fn contains(&self, node: u32) -> bool;

    /// The share of all nodes.
    fn share(&self) -> f32;

    /// Nodes that stand evenly among the kept, to start at.
    fn sample(&self) -> Vec<u32>;
}

/// True if so few of the nodes around the query's place are kept, beside the share of all, that the best are elsewhere, where no walk leads to.
pub(super) fn is_far<L: Links>(
    (links, n_nodes): (&L, usize),
    near: u32,
    kept_nodes: &impl KeptNodes,
    visited: &mut Visited,
) -> bool {
    visited.begin(n_nodes);
    let (mut n_seen, mut n_kept) = (0, 0);
    let mut around = Vec::new();
    links.copy(0, near, &mut around);
    around.iter().for_each(|&node| links.prefetch(0, node));
    for &node in &around {
        links.each(0, node, |far| {
            // Counted once: what chance makes of few is known only of nodes that differ.
            if visited.is_new(far) {
                n_seen += 1;
                n_kept += usize::from(kept_nodes.contains(far));
            }
        });
    }
    let expected = kept_nodes.share() * n_seen as f32;
    (n_kept as f32) < (FAR_SHARE * expected).min(expected - FAR_ROOTS * expected.sqrt())
}

/// Walks level 0 from `entries` and keeps the best `ef` nodes of those that are kept in the scratch.
pub(super) fn walk_among<L: Links>(
    (rows, links): (RowsView<'_>, &L),
    query: &WalkQuery,
    (entries, ef): (&[u32], usize),
    kept_nodes: &impl KeptNodes,
    scratch: &mut Scratch,
) {
    let Scratch { visited, pool, fresh, products, kept, passed, .. } = scratch;
    visited.begin(rows.len());
    pool.begin(ef);
    fresh.clear();
    passed.clear();
    for &entry in entries.iter().filter(|&&entry| visited.is_new(entry)) {
        if kept_nodes.contains(entry) { fresh.push(entry) } else { passed.push(entry) }
    }
    let mut next = 0;
    loop {
        for (at, &between) in passed.iter().enumerate() {
            if fresh.len() >= ENOUGH {
                // It may be needed from elsewhere.
                visited.forget(between);
                continue;
            }
            passed.get(at + AHEAD).into_iter().for_each(|&ahead| links.prefetch(0, ahead));
            links.each(0, between, |far| {
                if kept_nodes.contains(far) && !visited.contains(far) {
                    visited.is_new(far);
                    rows.prefetch_sketch(far);
                    fresh.push(far);
                }
            });
        }
        let first = pool.offer_all(rows, query, fresh, (products, kept), |node| links.prefetch(0, node));
        next = first.min(next);
        let Some(node) = pool.expand(&mut next) else { return };
        fresh.clear();
        passed.clear();
        links.each(0, node, |neighbour| {
            if visited.is_new(neighbour) {
                if kept_nodes.contains(neighbour) {
                    rows.prefetch_sketch(neighbour);
                    fresh.push(neighbour);
                } else {
                    if passed.len() < AHEAD {
                        links.prefetch(0, neighbour);
                    }
                    passed.push(neighbour);
                }
            }
        });
    }
}
