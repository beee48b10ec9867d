//! How many nodes a walk must keep for a recall: measured on vectors of the graph, each asked for the others near it.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::builder::BuiltGraph;
use super::query::WalkQuery;
use super::repair::SELF_EF;
use super::rows::{RowsView, shifted_query};
use super::sketch::SEARCH_MARGIN;
use super::walk::{Scratch, descend, walk};
use crate::distance::codes;

/// Vectors that are asked with.
const QUERIES: usize = 256;
/// The hits that count.
const K: usize = 10;
/// Nodes near by high bytes that the true hits are among.
const TRUTHS: usize = 64;
/// A hit counts if its score is less than the tenth by no more than this.
const TOLERANCE: f32 = 1e-6;
/// Nodes to keep that are tried.
const GRID: [u32; 14] = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 1_024];

/// Recalls at 10 by nodes kept, measured for one kind of queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Nodes kept and the recall at 10, rising.
    pub points: Vec<(u32, f32)>,
}

impl Calibration {
    /// Nodes to keep for `limit` hits with this recall: the first of the grid that reaches it, the largest if none does. Without
    /// measurements as many as make no mistake likely.
    #[must_use]
    pub fn ef(&self, recall: f32, limit: usize) -> usize {
        let reached = self.points.iter().find(|(_, found)| *found >= recall).or(self.points.last());
        let ef = reached.map_or(200, |&(ef, _)| ef as usize);
        // Beyond ten hits the walk needs as many more nodes as it was asked for hits.
        let ef = ef + limit.saturating_sub(K) * 3 / 2;
        ef.max(SELF_EF)
    }

    /// The recall that was measured with so many nodes kept, or with the next fewer of the grid; 1 without measurements.
    #[must_use]
    pub fn recall(&self, ef: usize) -> f32 {
        let point = self.points.iter().rev().find(|(tried, _)| *tried as usize <= ef).or(self.points.first());
        point.map_or(1.0, |&(_, recall)| recall)
    }
}

/// Measures a graph with a sample of its own rows, none of which finds itself.
#[must_use]
pub(super) fn calibrate(rows: RowsView<'_>, graph: &BuiltGraph, threads: usize) -> Calibration {
    let Some(entry) = graph.entry.filter(|_| rows.len() > TRUTHS) else { return Calibration::default() };
    let top = graph.links.levels[entry as usize] as usize;
    let mut random = ChaCha8Rng::seed_from_u64(10);
    // Every walk begins at the entry, which therefore cannot be absent.
    let sampled: Vec<usize> = sample(&mut random, rows.len(), QUERIES.min(rows.len()))
        .into_iter()
        .filter(|&row| row != entry as usize)
        .collect();
    let next = AtomicUsize::new(0);
    let measured = Mutex::new(Measured::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let (mut scratch, mut vector, mut own) = (Scratch::default(), Vec::new(), Measured::default());
                while let Some(&row) = sampled.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = row as u32;
                    vector.clear();
                    rows.append_floats(row, &mut vector);
                    // Asked as if it were not stored: its own links would lead it home.
                    scratch.absent = Some(row);
                    let mut query = WalkQuery::default();
                    query.set_row(rows, row, SEARCH_MARGIN);
                    own.add(rows, &vector, Some(row), |ef| {
                        let graph = (rows, &graph.links);
                        let near = descend(graph, 1..top + 1, &query, entry, &mut scratch);
                        walk(graph, 0, &query, (&[near], ef), &mut scratch);
                        scratch.seen().iter().map(|seen| seen.node()).collect()
                    });
                }
                measured.lock().join(&own);
            });
        }
    });
    measured.into_inner().calibration()
}

/// Sums over queries, to become recalls.
#[derive(Default)]
pub(super) struct Measured {
    queries: usize,
    hits: [usize; GRID.len()],
    products: Vec<i32>,
    all: Vec<u32>,
}

impl Measured {
    /// Asks a query of every length of walk. `walk` gives the nodes kept, the best first; `own` is a row that does not count.
    pub(super) fn add(
        &mut self,
        rows: RowsView<'_>,
        query: &[f32],
        own: Option<u32>,
        mut walk: impl FnMut(usize) -> Vec<u32>,
    ) {
        if rows.len() <= TRUTHS {
            return;
        }
        let least = self.tenth(rows, query, own) - TOLERANCE;
        self.queries += 1;
        for (hits, ef) in self.hits.iter_mut().zip(GRID) {
            let found = walk(ef as usize).into_iter().filter(|&node| Some(node) != own);
            *hits += found.filter(|&node| rows.score(query, node) >= least).take(K).count();
        }
    }

    /// The tenth best score.
    fn tenth(&mut self, rows: RowsView<'_>, query: &[f32], own: Option<u32>) -> f32 {
        let Self { products, all, .. } = self;
        all.clear();
        all.extend(0..rows.len() as u32);
        products.resize(all.len(), 0);
        let mut shifted = Vec::new();
        shifted_query(query, &mut shifted);
        (codes::best().dots)(&shifted, rows.high, all, products);
        let coarse = |row: u32| rows.terms[row as usize].score(products[row as usize]);
        all.select_nth_unstable_by(TRUTHS - 1, |&a, &b| coarse(b).total_cmp(&coarse(a)));
        let near = all[..TRUTHS].iter().filter(|&&row| Some(row) != own);
        let mut scores: Vec<f32> = near.map(|&row| rows.score(query, row)).collect();
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        scores[K - 1]
    }

    fn join(&mut self, other: &Self) {
        self.queries += other.queries;
        self.hits.iter_mut().zip(other.hits).for_each(|(sum, hits)| *sum += hits);
    }

    pub(super) fn calibration(&self) -> Calibration {
        if self.queries == 0 {
            return Calibration::default();
        }
        let recall = |hits: usize| hits as f32 / (self.queries * K) as f32;
        Calibration { points: GRID.into_iter().zip(self.hits.map(recall)).collect() }
    }
}
