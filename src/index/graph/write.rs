//! Makes a segment of vectors: rows, graph, repair, calibration, file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use bytemuck::cast_slice;

use super::builder::{BuildSettings, BuiltGraph, GraphBuilder, go_on};
use super::calibrate::{Calibration, calibrate};
use super::format::{self, Header};
use super::order::{breadth_first, renumbered};
use super::repair::{Repaired, repair};
use super::rows::{Rows, RowsView};
use super::segment::{BASE, HIGH, KEY_AT, KEY_ORDER, KEYS, LOW, MEAN, SKETCHES, Segment, TERMS, UPPER, UPPER_AT};
use super::walk::MOST_NODES;
use crate::index::VectorKey;
use crate::{Error, Result};

/// Vectors on their way into a segment.
pub struct SegmentWriter {
    rows: Rows,
    keys: Vec<VectorKey>,
}

/// A segment that was written, and what its making showed.
pub struct Written {
    pub segment: Segment,
    pub repaired: Repaired,
}

impl SegmentWriter {
    /// No vectors, with room for `capacity`.
    #[must_use]
    pub fn new(dimension: usize, capacity: usize) -> Self {
        Self { rows: Rows::new(dimension, capacity), keys: Vec::with_capacity(capacity) }
    }

    /// Adds a unit vector.
    pub fn push(&mut self, key: VectorKey, vector: &[f32]) {
        self.rows.push(vector);
        self.keys.push(key);
    }

    /// Adds a vector as another segment has it; two of the same vector become one node, whichever way they came.
    pub fn push_row(&mut self, key: VectorKey, others: RowsView<'_>, row: u32) {
        self.rows.push_row(others, row);
        self.keys.push(key);
    }

    /// About the size of the file that [`SegmentWriter::write`] makes, rather too much.
    #[must_use]
    pub fn file_bytes(&self, settings: &BuildSettings) -> u64 {
        let width = self.rows.view().width;
        // Two bytes a dimension, a sketch of a bit, links of level 0 and half as many above, terms and keys.
        let of_vector = 2 * width + width / 8 + 4 * 3 * settings.m + 64;
        (self.keys.len() * of_vector + (1 << 20)) as u64
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Builds the graph and writes the file; it is mapped and checked before it is handed out.
    ///
    /// # Errors
    /// [`Error::Storage`] of the disk; [`Error::Cancelled`] if it is stopped; [`Error::Internal`] for more vectors than a segment
    /// holds.
    pub fn write(
        self,
        path: &Path,
        builder: &dyn GraphBuilder,
        settings: &BuildSettings,
        stop: &AtomicBool,
    ) -> Result<Written> {
        if self.keys.len() > MOST_NODES {
            let message = format!("a segment holds at most {MOST_NODES} vectors, not {}", self.keys.len());
            return Err(Error::Internal(message));
        }
        let mut distinct = Distinct::of(self.rows, &self.keys);
        distinct.rows.sketch();
        let graph = builder.build(distinct.rows.view(), settings, stop)?;
        let repaired = repair(distinct.rows.view(), &graph, settings.threads);
        go_on(stop)?;
        let order = breadth_first(&graph);
        let (distinct, graph) = (distinct.chosen(&order), renumbered(&graph, &order));
        let strays = (0..).zip(&order).filter(|(_, old)| repaired.strays.contains(old)).map(|(new, _)| new).collect();
        let calibration = calibrate(distinct.rows.view(), &graph, settings.threads);
        write_file(path, &distinct, graph, (strays, calibration))?;
        Ok(Written { segment: Segment::open(path)?, repaired })
    }
}

fn write_file(
    path: &Path,
    distinct: &Distinct,
    graph: BuiltGraph,
    (strays, calibration): (Vec<u32>, Calibration),
) -> Result<()> {
    let (view, BuiltGraph { links, entry }) = (distinct.rows.view(), graph);
    let m = links.m();
    let (base, upper, levels) = links.into_lists();
    let mut upper_at = vec![0_u32];
    for level in levels {
        upper_at.push(upper_at[upper_at.len() - 1] + u32::from(level));
    }
    let keys: Vec<[u32; 3]> =
        distinct.keys.iter().map(|key| [key.item as u32, (key.item >> 32) as u32, key.part]).collect();
    let mut key_order: Vec<u32> = (0..keys.len() as u32).collect();
    key_order.sort_unstable_by_key(|&place| distinct.keys[place as usize]);
    let header = Header {
        dimension: view.dimension as u32,
        nodes: view.len() as u32,
        keys: keys.len() as u32,
        m: m as u32,
        entry,
        strays,
        calibration,
        sections: Vec::new(),
    };
    let mut sections: Vec<(&str, &[u8])> = vec![
        (HIGH, cast_slice(view.high)),
        (LOW, cast_slice(view.low)),
        (TERMS, cast_slice(view.terms)),
        (BASE, cast_slice(&base)),
        (UPPER_AT, cast_slice(&upper_at)),
        (UPPER, cast_slice(&upper)),
        (KEY_AT, cast_slice(&distinct.key_at)),
        (KEYS, cast_slice(&keys)),
        (KEY_ORDER, cast_slice(&key_order)),
    ];
    if let Some(sketches) = view.sketches {
        sections.extend([(SKETCHES, cast_slice(sketches.words)), (MEAN, cast_slice(sketches.mean))]);
    }
    format::write(path, header, &sections)
}

/// One row for each distinct vector, and the keys that name it.
struct Distinct {
    rows: Rows,
    /// Where each row's keys begin, and where the last ones end.
    key_at: Vec<u32>,
    keys: Vec<VectorKey>,
}

impl Distinct {
    fn of(rows: Rows, keys: &[VectorKey]) -> Self {
        let view = rows.view();
        let mut known: HashMap<u64, Vec<u32>> = HashMap::with_capacity(view.len());
        let (mut distinct, mut of_row): (Vec<u32>, Vec<Vec<u32>>) = (Vec::new(), Vec::new());
        for row in 0..view.len() as u32 {
            let alike = known.entry(hash_of(cast_slice(view.high_of(row)))).or_default();
            match alike.iter().find(|&&known| view.is_same(distinct[known as usize], row)) {
                Some(&known) => of_row[known as usize].push(row),
                None => {
                    alike.push(distinct.len() as u32);
                    distinct.push(row);
                    of_row.push(vec![row]);
                }
            }
        }
        drop(known);
        let of_row = of_row.iter().map(|rows| rows.iter().map(|&row| keys[row as usize]));
        let (key_at, grouped) = grouped(of_row, keys.len());
        let rows = if distinct.len() == keys.len() { rows } else { rows.choose(&distinct) };
        Self { rows, key_at, keys: grouped }
    }

    /// Those rows that are numbered, in that order.
    fn chosen(self, order: &[u32]) -> Self {
        let keys_of = |&row: &u32| {
            let (from, to) = (self.key_at[row as usize] as usize, self.key_at[row as usize + 1] as usize);
            self.keys[from..to].iter().copied()
        };
        let (key_at, keys) = grouped(order.iter().map(keys_of), self.keys.len());
        Self { rows: self.rows.choose(order), key_at, keys }
    }
}

/// Groups of keys, one after the other, and where each begins.
fn grouped(groups: impl Iterator<Item = impl Iterator<Item = VectorKey>>, n: usize) -> (Vec<u32>, Vec<VectorKey>) {
    let (mut key_at, mut keys) = (vec![0_u32], Vec::with_capacity(n));
    for group in groups {
        keys.extend(group);
        key_at.push(keys.len() as u32);
    }
    (key_at, keys)
}

fn hash_of(bytes: &[u8]) -> u64 {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes)
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::index::Everything;
    use crate::index::graph::{BUILDERS, SegmentSearch};

    /// Files that were written before rows had sketches go on to be found right.
    #[test]
    fn a_file_without_sketches_opens() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let vectors: Vec<Vec<f32>> = (0..200)
            .map(|_| {
                let vector: Vec<f32> = (0..300).map(|_| random.random_range(-1.0..1.0)).collect();
                let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
                vector.iter().map(|value| value / length).collect()
            })
            .collect();
        for has_sketches in [false, true] {
            let mut rows = Rows::new(300, vectors.len());
            vectors.iter().for_each(|vector| rows.push(vector));
            let keys: Vec<VectorKey> = (0..200).map(|item| VectorKey { item, part: 0 }).collect();
            let mut distinct = Distinct::of(rows, &keys);
            if has_sketches {
                distinct.rows.sketch();
            }
            let settings = BuildSettings::default();
            let graph = BUILDERS[0].build(distinct.rows.view(), &settings, &false.into()).expect("a graph");
            let path = folder.path().join("a.segment");
            write_file(&path, &distinct, graph, (Vec::new(), Calibration::default())).expect("a file");
            let segment = Segment::open(&path).expect("a segment");
            assert_eq!(segment.rows().sketches.is_some(), has_sketches);
            let settings = SegmentSearch { limit: 1, ef: 32, exact: false, pool: None, is_hidden: None, version: None };
            for (item, vector) in (0..).zip(&vectors) {
                let (found, _) = segment.search(vector, settings, &Everything).expect("a whole file");
                assert_eq!(found.first().map(|found| found.key.item), Some(item));
            }
        }
    }
}
