//! Builds a graph by inserting nodes one after the other, several at once (HNSW: Malkov and Yashunin, arXiv 1603.09320).
//!
//! Beside the paper: everything is compared by high bytes alone; lists that overflow are chosen anew by the same rule of diversity
//! (its algorithm 4); nodes are inserted in a random order, so that sorted input makes no worse graph.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::builder::{BuildSettings, BuiltGraph, GraphBuilder, go_on};
use super::links::{GrowingLinks, Links};
use super::rows::RowsView;
use super::sketch::BUILD_MARGIN;
use super::walk::{Scratch, descend, walk};
use crate::Result;
use crate::distance::codes;

/// Nodes that are inserted by one thread before others join: nodes that are inserted at once do not see each other.
const ALONE: usize = 1_000;
/// No node is on more levels.
const MOST_LEVELS: f64 = 15.0;
/// Chosen neighbours that a candidate is compared with at once.
const CHUNK: usize = 8;

/// The own builder.
pub(super) struct Insertion;

impl GraphBuilder for Insertion {
    fn name(&self) -> &'static str {
        "insertion"
    }

    fn build(&self, rows: RowsView<'_>, settings: &BuildSettings, stop: &AtomicBool) -> Result<BuiltGraph> {
        let graph = build(rows, settings, stop);
        go_on(stop).map(|()| graph)
    }
}

/// Links every row with its near and diverse neighbours; half of them if it is stopped.
fn build(rows: RowsView<'_>, settings: &BuildSettings, stop: &AtomicBool) -> BuiltGraph {
    let levels = draw_levels(rows.len(), settings);
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(settings.seed));
    let Some(&first) = order.first() else {
        return BuiltGraph { links: GrowingLinks::new(settings.m, levels), entry: None };
    };
    let entry = Mutex::new(Entry { node: first, level: levels[first as usize] as usize });
    let builder = Builder { rows, links: GrowingLinks::new(settings.m, levels), entry, settings };
    let next = AtomicUsize::new(1);
    let insert_until = |end: usize| {
        let mut scratch = (Scratch::default(), Selection::default());
        while !stop.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            match order.get(place) {
                Some(&node) if place < end => builder.insert(node, &mut scratch),
                _ => break,
            }
        }
    };
    let alone = order.len().min(ALONE);
    insert_until(alone);
    next.store(alone, Ordering::Relaxed);
    std::thread::scope(|scope| {
        for _ in 0..settings.threads.max(1) {
            scope.spawn(|| insert_until(order.len()));
        }
    });
    let entry = builder.entry.into_inner().node;
    BuiltGraph { links: builder.links, entry: Some(entry) }
}

/// A level for each node: each is on the next with a chance of 1 / m.
fn draw_levels(n: usize, settings: &BuildSettings) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed ^ 0x6c65_7665_6c73);
    let scale = 1.0 / (settings.m.max(2) as f64).ln();
    let draw = |random: &mut ChaCha8Rng| (-(1.0 - random.random::<f64>()).ln() * scale).min(MOST_LEVELS) as u8;
    (0..n).map(|_| draw(&mut random)).collect()
}

/// Where every walk begins.
#[derive(Clone, Copy)]
struct Entry {
    node: u32,
    level: usize,
}

struct Builder<'a> {
    rows: RowsView<'a>,
    links: GrowingLinks,
    entry: Mutex<Entry>,
    settings: &'a BuildSettings,
}

/// A candidate for a list, with its cosine (by high bytes) to the list's node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) score: f32,
    pub(super) node: u32,
}

/// What the choice of neighbours writes to.
#[derive(Default)]
pub(super) struct Selection {
    candidates: Vec<Candidate>,
    pub(super) chosen: Vec<u32>,
    list: Vec<u32>,
    query: Vec<u8>,
    products: Vec<i32>,
}

impl Builder<'_> {
    fn insert(&self, node: u32, (scratch, selection): &mut (Scratch, Selection)) {
        let level = self.links.levels[node as usize] as usize;
        // A node of a new level keeps others of such away until it is linked.
        let guard = self.entry.lock();
        let Entry { node: mut near, level: top } = *guard;
        let rising = (level > top).then_some(guard);
        let mut query = std::mem::take(&mut scratch.query);
        query.set_row(self.rows, node, BUILD_MARGIN);
        if level < top {
            near = descend((self.rows, &self.links), level + 1..top + 1, &query, near, scratch);
        }
        for level in (0..=level.min(top)).rev() {
            let ef = self.settings.ef_construction.max(self.settings.m);
            walk((self.rows, &self.links), level, &query, (&[near], ef), scratch);
            near = scratch.best().unwrap_or(near);
            let scale = self.rows.terms[node as usize].scale;
            selection.candidates.clear();
            let seen = scratch.seen().iter().filter(|seen| seen.node() != node);
            selection.candidates.extend(seen.map(|seen| Candidate { score: seen.score * scale, node: seen.node() }));
            choose(self.rows, self.settings.m, selection);
            let chosen = std::mem::take(&mut selection.chosen);
            {
                // Nodes that were inserted at once may have found this one by its higher levels and linked to it.
                let _lock = self.links.lock(node);
                self.links.copy(level, node, &mut selection.list);
                let early: Vec<u32> =
                    selection.list.iter().copied().filter(|linked| !chosen.contains(linked)).collect();
                self.links.set(level, node, &chosen);
                for linked in early {
                    self.links.push(level, node, linked);
                }
            }
            for &neighbour in &chosen {
                add_link(self.rows, &self.links, level, (neighbour, node), selection);
            }
            selection.chosen = chosen;
        }
        scratch.query = query;
        if let Some(mut entry) = rising {
            *entry = Entry { node, level };
        }
    }
}

/// Links `from` to `to`; where `from` has no place left, its neighbours are chosen anew among all of them.
pub(super) fn add_link(
    rows: RowsView<'_>,
    links: &GrowingLinks,
    level: usize,
    (from, to): (u32, u32),
    selection: &mut Selection,
) {
    let _lock = links.lock(from);
    if links.push(level, from, to) {
        return;
    }
    let mut list = std::mem::take(&mut selection.list);
    links.copy(level, from, &mut list);
    list.push(to);
    rank(rows, from, &list, selection);
    choose(rows, links.capacity(level), selection);
    links.set(level, from, &selection.chosen);
    selection.list = list;
}

/// Makes candidates of nodes, the nearest to `node` first.
fn rank(rows: RowsView<'_>, node: u32, others: &[u32], selection: &mut Selection) {
    let Selection { candidates, query, products, .. } = selection;
    rows.shifted(node, query);
    if products.len() < others.len() {
        products.resize(others.len(), 0);
    }
    (codes::best().dots)(query, rows.high, others, products);
    let scale = rows.terms[node as usize].scale;
    candidates.clear();
    candidates.extend(
        others.iter().zip(&*products).map(|(&other, &product)| Candidate {
            score: scale * rows.terms[other as usize].score(product),
            node: other,
        }),
    );
    candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
}

/// Chooses at most `limit` of the candidates, the nearest first, and none that is nearer to one that was chosen than to the node.
fn choose(rows: RowsView<'_>, limit: usize, selection: &mut Selection) {
    let Selection { candidates, chosen, query, products, .. } = selection;
    chosen.clear();
    products.resize(products.len().max(CHUNK), 0);
    for candidate in &*candidates {
        if chosen.len() == limit {
            break;
        }
        rows.shifted(candidate.node, query);
        let scale = rows.terms[candidate.node as usize].scale;
        let is_near = |products: &mut [i32], others: &[u32]| {
            (codes::best().dots)(query, rows.high, others, products);
            let scores =
                others.iter().zip(products).map(|(&other, &mut product)| rows.terms[other as usize].score(product));
            scores.map(|score| scale * score).any(|score| score > candidate.score)
        };
        if !chosen.chunks(CHUNK).any(|others| is_near(products, others)) {
            chosen.push(candidate.node);
        }
    }
}
