//! The library `hnsw_rs` as a builder. It links row numbers; what they mean stays here, so that it copies no vector.
//!
//! Guards against what it is known for (0.3.5): the first nodes go in one after the other, because threads that meet an empty graph leave
//! their nodes unlinked; distances are clamped, because it asserts that none is negative; nothing is ever written or read by it, because
//! it ends the process on a bad file. What it leaves unreachable is repaired as for every builder.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ::hnsw_rs::prelude::{Distance, Hnsw};

use super::builder::{BuildSettings, BuiltGraph, GraphBuilder, go_on};
use super::links::GrowingLinks;
use super::rows::{RowTerm, RowsView};
use crate::distance::{self, codes};
use crate::{Error, Result};

/// Compares by high bytes, as the walk does.
pub(super) const OVER_CODES: HnswRs = HnswRs { name: "hnsw_rs", over_floats: false };
/// Compares by vectors of float32.
pub(super) const OVER_FLOATS: HnswRs = HnswRs { name: "hnsw_rs-f32", over_floats: true };

/// Nodes that are inserted one after the other.
const ALONE: usize = 1_000;
/// Nodes that are given to the library at once.
const BATCH: usize = 5_000;
/// The library writes no graph with another number of levels, and expects this one.
const LEVELS: usize = 16;

pub(super) struct HnswRs {
    name: &'static str,
    over_floats: bool,
}

impl GraphBuilder for HnswRs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn build(&self, rows: RowsView<'_>, settings: &BuildSettings, stop: &AtomicBool) -> Result<BuiltGraph> {
        if rows.is_empty() {
            return Ok(BuiltGraph { links: GrowingLinks::new(settings.m, Vec::new()), entry: None });
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(settings.threads.max(1)).build();
        let pool = pool.map_err(|error| Error::Internal(format!("cannot start threads to build a graph: {error}")))?;
        pool.install(|| match self.over_floats {
            true => link(rows, settings, Floats::of(rows), stop),
            false => link(rows, settings, Codes::of(rows), stop),
        })
    }
}

fn link<D: Distance<u32> + Send + Sync>(
    rows: RowsView<'_>,
    settings: &BuildSettings,
    distance: D,
    stop: &AtomicBool,
) -> Result<BuiltGraph> {
    let numbers: Vec<[u32; 1]> = (0..rows.len() as u32).map(|row| [row]).collect();
    let hnsw = Hnsw::<u32, D>::new(settings.m, numbers.len().max(1), LEVELS, settings.ef_construction, distance);
    let alone = numbers.len().min(ALONE);
    for (row, number) in numbers[..alone].iter().enumerate() {
        hnsw.insert((number, row));
    }
    let rest: Vec<(&[u32], usize)> =
        numbers.iter().enumerate().skip(alone).map(|(row, number)| (number.as_slice(), row)).collect();
    for batch in rest.chunks(BATCH) {
        go_on(stop)?;
        hnsw.parallel_insert_slice(&batch.to_vec());
    }
    let points = hnsw.get_point_indexation();
    let (mut levels, mut lists) = (vec![0_u8; rows.len()], Vec::with_capacity(rows.len()));
    for point in points {
        let node =
            u32::try_from(point.get_origin_id()).map_err(|_| Error::Internal("a row has no number".to_owned()))?;
        levels[node as usize] = point.get_point_id().0;
        lists.push((node, point.get_neighborhood_id()));
    }
    let top = levels.iter().copied().max();
    let entry = levels.iter().position(|&level| Some(level) == top).map(|node| node as u32);
    let links = GrowingLinks::new(settings.m, levels);
    for (node, by_level) in lists {
        for level in 0..=links.levels[node as usize] as usize {
            let neighbours = by_level.get(level).map_or(&[][..], Vec::as_slice);
            // A link to a node that does not have the level would lead nowhere.
            let has_level = |other: &u32| links.levels[*other as usize] as usize >= level && *other != node;
            let list: Vec<u32> = neighbours.iter().map(|neighbour| neighbour.d_id as u32).filter(has_level).collect();
            links.set(level, node, &list[..list.len().min(links.capacity(level))]);
        }
    }
    Ok(BuiltGraph { links, entry })
}

/// Rows that outlive the builder's call, as the library wants them.
struct Codes {
    width: usize,
    high: Arc<[i8]>,
    terms: Arc<[RowTerm]>,
}

impl Codes {
    fn of(rows: RowsView<'_>) -> Self {
        Self { width: rows.width, high: rows.high.into(), terms: rows.terms.into() }
    }
}

impl Distance<u32> for Codes {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        thread_local! {
            static QUERY: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        let (a, b) = (a[0], b[0]);
        let (width, high, terms) = (self.width, &self.high[..], &self.terms[..]);
        let view = RowsView { dimension: width, width, high, low: &[], terms, sketches: None };
        let mut product = [0];
        QUERY.with_borrow_mut(|query| {
            view.shifted(a, query);
            (codes::best().dots)(query, view.high, &[b], &mut product);
        });
        let (one, other) = (self.terms[a as usize], self.terms[b as usize]);
        let cosine = one.scale * other.score(product[0]);
        (1.0 - cosine).max(0.0)
    }
}

/// Every row as float32.
struct Floats {
    dimension: usize,
    values: Arc<[f32]>,
}

impl Floats {
    fn of(rows: RowsView<'_>) -> Self {
        let mut values = Vec::with_capacity(rows.len() * rows.dimension);
        for row in 0..rows.len() as u32 {
            rows.append_floats(row, &mut values);
        }
        Self { dimension: rows.dimension, values: values.into() }
    }
}

impl Distance<u32> for Floats {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        let row = |row: u32| &self.values[row as usize * self.dimension..][..self.dimension];
        (1.0 - distance::dot(row(a[0]), row(b[0]))).max(0.0)
    }
}
