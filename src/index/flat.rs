//! The exact index: compares the query with every vector, or first with codes that tell which vectors need no comparing.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use roaring::RoaringTreemap;

use super::coarse::{CoarseCodes, CoarseQuery, CoarseScratch};
use super::{Among, Candidates, Found, IndexSearch, Neighbour, TopK, VectorIndex, VectorKey};
use crate::Result;
use crate::distance;

/// Bytes of one chunk of vectors; memory grows by this much, and nothing is ever moved to grow.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that one task scans, so that a task is worth its start.
const CHUNKS_PER_TASK: usize = 8;

/// What a filter leaves is looked up item by item if it is at most this part of the rows.
const LISTED_SHARE: usize = 16;

/// Vectors in chunks of rows, densely packed: a removed row is filled by the last one.
pub struct FlatIndex {
    dimension: usize,
    rows_per_chunk: usize,
    chunks: Vec<Vec<f32>>,
    /// By row.
    keys: Vec<VectorKey>,
    /// No item has a lower number.
    lowest_item: u64,
    /// The rows of each item.
    rows: HashMap<u64, Vec<u32>>,
    /// If scans look at codes first.
    coarse: Option<CoarseCodes>,
    pool: Option<Arc<rayon::ThreadPool>>,
}

impl FlatIndex {
    /// An empty index; large searches are split over `pool`.
    #[must_use]
    pub fn new(dimension: usize, pool: Option<Arc<rayon::ThreadPool>>) -> Self {
        let rows_per_chunk = (CHUNK_BYTES / (4 * dimension.max(1))).max(1);
        let (chunks, keys, rows) = (Vec::new(), Vec::new(), HashMap::new());
        let lowest_item = u64::MAX;
        Self { dimension, rows_per_chunk, chunks, keys, lowest_item, rows, coarse: None, pool }
    }

    /// As [`FlatIndex::new`], with a quarter of the memory more and searches that read a quarter as much; they find the same.
    #[must_use]
    pub fn with_codes(dimension: usize, pool: Option<Arc<rayon::ThreadPool>>) -> Self {
        Self { coarse: Some(CoarseCodes::new(dimension)), ..Self::new(dimension, pool) }
    }

    /// True if a vector of this item is here.
    #[must_use]
    pub fn has_item(&self, item: u64) -> bool {
        self.rows.contains_key(&item)
    }

    /// Every vector, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (VectorKey, &[f32])> {
        self.keys.iter().enumerate().map(|(row, &key)| (key, self.row(row)))
    }

    /// Removes one vector, if it is there.
    pub fn remove_key(&mut self, key: VectorKey) {
        let Some(row) = self.row_of(key) else { return };
        if let Some(rows) = self.rows.get_mut(&key.item) {
            rows.retain(|&other| other as usize != row);
            if rows.is_empty() {
                self.rows.remove(&key.item);
            }
        }
        self.drop_row(row);
    }

    /// The vector under a key.
    #[must_use]
    pub fn get(&self, key: VectorKey) -> Option<&[f32]> {
        self.row_of(key).map(|row| self.row(row))
    }

    fn push(&mut self, key: VectorKey, vector: &[f32]) {
        assert_eq!(vector.len(), self.dimension, "every vector has the index's dimension");
        if self.keys.len() == self.chunks.len() * self.rows_per_chunk {
            self.chunks.push(Vec::with_capacity(self.rows_per_chunk * self.dimension));
        }
        let row = u32::try_from(self.keys.len()).expect("an index holds fewer than 2^32 vectors");
        let chunk = self.chunks.last_mut().expect("a chunk was added when the last one was full");
        chunk.extend_from_slice(vector);
        if let Some(coarse) = &mut self.coarse {
            coarse.push(vector);
        }
        self.keys.push(key);
        self.lowest_item = self.lowest_item.min(key.item);
        self.rows.entry(key.item).or_default().push(row);
    }

    fn row(&self, row: usize) -> &[f32] {
        let start = row % self.rows_per_chunk * self.dimension;
        &self.chunks[row / self.rows_per_chunk][start..start + self.dimension]
    }

    fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let start = row % self.rows_per_chunk * self.dimension;
        &mut self.chunks[row / self.rows_per_chunk][start..start + self.dimension]
    }

    fn row_of(&self, key: VectorKey) -> Option<usize> {
        let rows = self.rows.get(&key.item)?;
        rows.iter().map(|&row| row as usize).find(|&row| self.keys[row] == key)
    }

    /// Fills a row with the last one. The caller has taken the row out of `rows`.
    fn drop_row(&mut self, row: usize) {
        let last = self.keys.len() - 1;
        if row != last {
            let moved = self.keys[last];
            let vector = self.row(last).to_vec();
            self.row_mut(row).copy_from_slice(&vector);
            self.keys[row] = moved;
            let rows = self.rows.get_mut(&moved.item).expect("the last row's item is known");
            let entry = rows.iter_mut().find(|entry| **entry as usize == last).expect("the last row is listed");
            *entry = row as u32;
        }
        if let Some(coarse) = &mut self.coarse {
            coarse.swap_remove(row);
        }
        self.keys.pop();
        let chunk = self.chunks.last_mut().expect("a row stands in a chunk");
        chunk.truncate(chunk.len() - self.dimension);
        if chunk.is_empty() {
            self.chunks.pop();
        }
    }

    fn scan<'c>(
        &self,
        chunks: std::ops::Range<usize>,
        query: &[f32],
        limit: usize,
        candidates: &'c dyn Candidates,
    ) -> TopK<'c> {
        let dot = distance::best().dot;
        let mut top = TopK::new(limit, candidates);
        if let Some(coarse) = &self.coarse {
            let (asked, mut scratch) = (CoarseQuery::new(query), CoarseScratch::default());
            for chunk in chunks {
                let first = chunk * self.rows_per_chunk;
                let rows = first..self.keys.len().min(first + self.rows_per_chunk);
                for (row, most) in coarse.most(rows, &asked, &mut scratch) {
                    if most >= top.threshold() {
                        top.offer(Neighbour { key: self.keys[row], score: dot(query, self.row(row)) });
                    }
                }
            }
            return top;
        }
        for chunk in chunks {
            let first = chunk * self.rows_per_chunk;
            let rows = self.chunks[chunk].chunks_exact(self.dimension);
            for (vector, key) in rows.zip(&self.keys[first..]) {
                let score = dot(query, vector);
                if score >= top.threshold() {
                    top.offer(Neighbour { key: *key, score });
                }
            }
        }
        top
    }
}

impl FlatIndex {
    /// Compares the query with listed items alone.
    fn scan_listed(
        &self,
        query: &[f32],
        limit: usize,
        items: &RoaringTreemap,
        candidates: &dyn Candidates,
    ) -> Vec<Neighbour> {
        let (dot, mut top) = (distance::best().dot, TopK::new(limit, candidates));
        let mut inside = items.iter();
        inside.advance_to(self.lowest_item);
        for row in inside.filter_map(|item| self.rows.get(&item)).flatten() {
            let row = *row as usize;
            top.offer(Neighbour { key: self.keys[row], score: dot(query, self.row(row)) });
        }
        top.into_sorted()
    }
}

impl VectorIndex for FlatIndex {
    fn dimension(&self) -> usize {
        self.dimension
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn bytes(&self) -> usize {
        let vectors = self.chunks.len() * self.rows_per_chunk * self.dimension * size_of::<f32>();
        let keys = self.keys.capacity() * size_of::<VectorKey>();
        let rows = self.rows.capacity() * (size_of::<(u64, Vec<u32>)>() + 1) + self.keys.len() * 16;
        vectors + keys + rows + self.coarse.as_ref().map_or(0, CoarseCodes::bytes)
    }

    fn insert(&mut self, vectors: &[(VectorKey, &[f32])]) {
        for &(key, vector) in vectors {
            match self.row_of(key) {
                Some(row) => {
                    self.row_mut(row).copy_from_slice(vector);
                    if let Some(coarse) = &mut self.coarse {
                        coarse.set(row, vector);
                    }
                }
                None => self.push(key, vector),
            }
        }
    }

    fn remove(&mut self, items: &[u64]) {
        for item in items {
            let mut rows = self.rows.remove(item).unwrap_or_default();
            // From the last row down, so that the row that fills a gap is never one that goes too.
            rows.sort_unstable();
            for row in rows.into_iter().rev() {
                self.drop_row(row as usize);
            }
        }
    }

    fn search(&self, query: &[f32], search: IndexSearch, candidates: &dyn Candidates) -> Result<Found> {
        assert_eq!(query.len(), self.dimension, "the query has the index's dimension");
        let limit = search.limit.min(self.len());
        if let Some(Among { items, .. }) = candidates.among()
            && items.len() <= (self.len() / LISTED_SHARE) as u64
        {
            return Ok(Found { neighbours: self.scan_listed(query, limit, items, candidates), exact: true });
        }
        let all = self.chunks.len();
        let top = match &self.pool {
            Some(pool) if all > CHUNKS_PER_TASK => pool.install(|| {
                let tasks = (0..all).into_par_iter().step_by(CHUNKS_PER_TASK);
                let scan = |first| self.scan(first..all.min(first + CHUNKS_PER_TASK), query, limit, candidates);
                tasks.map(scan).reduce(
                    || TopK::new(limit, candidates),
                    |mut one, other| {
                        one.merge(other);
                        one
                    },
                )
            }),
            _ => self.scan(0..all, query, limit, candidates),
        };
        Ok(Found { neighbours: top.into_sorted(), exact: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Everything;

    fn key(item: u64, part: u32) -> VectorKey {
        VectorKey { item, part }
    }

    /// A unit vector whose similarity to others depends on `seed` alone.
    fn vector(seed: u64, dimension: usize) -> Vec<f32> {
        let wave = |position: usize| ((seed * 7919 + 13) as f64 * (position + 1) as f64 * 0.618).sin() as f32;
        let values: Vec<f32> = (0..dimension).map(wave).collect();
        crate::types::vector::UnitVector::normalise(values).expect("a direction").values
    }

    fn search(index: &FlatIndex, query: &[f32], limit: usize) -> Vec<Neighbour> {
        index.search(query, IndexSearch::exact(limit), &Everything).expect("no disk").neighbours
    }

    #[test]
    fn a_changed_index_finds_what_a_fresh_one_finds() {
        check_changes(FlatIndex::new(24, None));
        check_changes(FlatIndex::with_codes(24, None));
    }

    fn check_changes(mut index: FlatIndex) {
        let dimension = index.dimension;
        // Small chunks, so that rows move between them.
        index.rows_per_chunk = 3;
        let mut expected = std::collections::BTreeMap::new();
        for step in 0..400_u64 {
            let item = step * 31 % 40;
            if step % 3 == 2 {
                index.remove(&[item, 1000]);
                expected.retain(|stored: &VectorKey, _| stored.item != item);
            } else if step % 7 == 3 {
                index.remove_key(key(item, 1));
                expected.remove(&key(item, 1));
            } else {
                for part in 0..(step % 4) as u32 {
                    let values = vector(step * 10 + u64::from(part), dimension);
                    index.insert(&[(key(item, part), &values)]);
                    expected.insert(key(item, part), values);
                }
            }
            let mut fresh = FlatIndex::new(dimension, None);
            expected.iter().for_each(|(key, values)| fresh.insert(&[(*key, values)]));
            let query = vector(step, dimension);
            assert_eq!(index.len(), expected.len());
            assert_eq!(search(&index, &query, 5), search(&fresh, &query, 5), "step {step}");
            let stored: std::collections::BTreeMap<_, _> = index.iter().map(|(key, row)| (key, row.to_vec())).collect();
            assert_eq!(stored, expected, "step {step}");
        }
    }

    #[test]
    fn a_pool_changes_nothing() {
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool"));
        let (mut alone, mut shared) = (FlatIndex::new(8, None), FlatIndex::new(8, Some(pool)));
        for index in [&mut alone, &mut shared] {
            index.rows_per_chunk = 5;
            for item in 0..500 {
                // Every vector stands ten times, so that ties are common.
                index.insert(&[(key(item, 0), &vector(item % 50, 8))]);
            }
        }
        for seed in 0..20 {
            let query = vector(seed, 8);
            assert_eq!(search(&alone, &query, 17), search(&shared, &query, 17));
        }
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        let mut index = FlatIndex::new(4, None);
        assert_eq!(search(&index, &[1.0, 0.0, 0.0, 0.0], 3), []);
        index.insert(&[(key(1, 0), &[1.0, 0.0, 0.0, 0.0])]);
        index.remove(&[1]);
        assert_eq!((index.len(), search(&index, &[1.0, 0.0, 0.0, 0.0], 3)), (0, vec![]));
    }
}
