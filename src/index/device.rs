//! The exact index on an accelerator: all cosines by one matrix product, the best by the device's own selection.

use std::collections::HashMap;

use parking_lot::Mutex;
use tch::{Device, Kind, Tensor};

use super::{Candidates, Found, IndexSearch, Neighbour, TopK, VectorIndex, VectorKey};
use crate::distance;
use crate::{Error, Result};

/// Rows that memory grows by.
const CHUNK: i64 = 16_384;
/// More than the limit is fetched first, since some may be refused; then so many times more, until all were looked at.
const GROWTH: i64 = 8;
/// A device may add up in another order; with TensorFloat-32 it would not be exact, which libtorch leaves off unless it is asked.
const DEVICE_ERROR: f32 = 1e-5;

/// Vectors as one matrix on a device, float32; a removed row is filled by the last one.
pub struct DeviceIndex {
    dimension: usize,
    /// `[capacity, dimension]`; a tensor may be used by one thread at a time.
    matrix: Mutex<Tensor>,
    keys: Vec<VectorKey>,
    rows: HashMap<VectorKey, usize>,
    parts: HashMap<u64, Vec<u32>>,
}

impl DeviceIndex {
    /// An empty index on a device.
    #[must_use]
    pub fn new(dimension: usize, device: Device) -> Self {
        let matrix = Mutex::new(Tensor::zeros([CHUNK, dimension as i64], (Kind::Float, device)));
        Self { dimension, matrix, keys: Vec::new(), rows: HashMap::new(), parts: HashMap::new() }
    }

    fn write(&self, row: usize, vectors: &[f32]) {
        let mut matrix = self.matrix.lock();
        let n = (vectors.len() / self.dimension) as i64;
        let end = row as i64 + n;
        while matrix.size()[0] < end {
            let more = matrix.size()[0].max(CHUNK);
            *matrix = Tensor::cat(
                &[&*matrix, &Tensor::zeros([more, self.dimension as i64], (Kind::Float, matrix.device()))],
                0,
            );
        }
        let values = Tensor::from_slice(vectors).view([n, self.dimension as i64]).to_device(matrix.device());
        matrix.narrow(0, row as i64, n).copy_(&values);
    }

    fn drop_key(&mut self, key: VectorKey) {
        let Some(row) = self.rows.remove(&key) else { return };
        let last = self.keys.len() - 1;
        if row != last {
            let matrix = self.matrix.lock();
            matrix.get(row as i64).copy_(&matrix.get(last as i64).copy());
            drop(matrix);
            let moved = self.keys[last];
            self.keys[row] = moved;
            self.rows.insert(moved, row);
        }
        self.keys.pop();
    }

    /// The best `n` rows, scored again one by one here, so that equal vectors score the same; and the least cosine by the device.
    fn best(&self, query: &[f32], n: i64) -> Result<(Vec<(usize, f32)>, f32)> {
        let failed = |error: tch::TchError| Error::Internal(format!("the device's search failed: {error}"));
        let _no_gradients = tch::no_grad_guard();
        let matrix = self.matrix.lock();
        let on_device = Tensor::from_slice(query).to_device(matrix.device());
        let rows = matrix.f_narrow(0, 0, self.keys.len() as i64).map_err(failed)?;
        let scores = rows.f_mv(&on_device).map_err(failed)?;
        let (cosines, places) = scores.f_topk(n, 0, true, true).map_err(failed)?;
        let vectors = rows.f_index_select(0, &places).and_then(|rows| rows.f_to_device(Device::Cpu)).map_err(failed)?;
        let least = if n == 0 { 0.0 } else { cosines.f_double_value(&[n - 1]).map_err(failed)? as f32 };
        let places: Vec<i64> = Vec::try_from(places.to_device(Device::Cpu)).map_err(failed)?;
        let vectors: Vec<f32> = Vec::try_from(vectors.view(-1)).map_err(failed)?;
        let scored = places.iter().zip(vectors.chunks(self.dimension.max(1)));
        Ok((scored.map(|(&place, vector)| (place as usize, distance::dot(query, vector))).collect(), least))
    }
}

impl VectorIndex for DeviceIndex {
    fn dimension(&self) -> usize {
        self.dimension
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    /// Those of this process; the matrix is on the device.
    fn bytes(&self) -> usize {
        self.keys.len() * (2 * size_of::<VectorKey>() + size_of::<usize>() + 32)
    }

    fn insert(&mut self, vectors: &[(VectorKey, &[f32])]) {
        let mut new = Vec::new();
        let first = self.keys.len();
        for &(key, vector) in vectors {
            assert_eq!(vector.len(), self.dimension, "every vector has the index's dimension");
            match self.rows.get(&key) {
                Some(&row) if row < first => self.write(row, vector),
                Some(&row) => new[(row - first) * self.dimension..][..self.dimension].copy_from_slice(vector),
                None => {
                    self.rows.insert(key, self.keys.len());
                    self.keys.push(key);
                    self.parts.entry(key.item).or_default().push(key.part);
                    new.extend_from_slice(vector);
                }
            }
        }
        if !new.is_empty() {
            self.write(first, &new);
        }
    }

    fn remove(&mut self, items: &[u64]) {
        for &item in items {
            for part in self.parts.remove(&item).unwrap_or_default() {
                self.drop_key(VectorKey { item, part });
            }
        }
    }

    fn search(&self, query: &[f32], search: IndexSearch, candidates: &dyn Candidates) -> Result<Found> {
        assert_eq!(query.len(), self.dimension, "the query has the index's dimension");
        let (limit, all) = (search.limit.max(1), self.keys.len() as i64);
        let mut n = all.min(2 * limit as i64 + 1);
        loop {
            let (scored, least) = self.best(query, n)?;
            let mut top = TopK::new(limit, candidates);
            scored.into_iter().for_each(|(row, score)| top.offer(Neighbour { key: self.keys[row], score }));
            let neighbours = top.into_sorted();
            let is_closed =
                neighbours.len() == limit && neighbours.last().is_some_and(|last| last.score > least + DEVICE_ERROR);
            if n == all || is_closed {
                return Ok(Found { neighbours, exact: true });
            }
            n = all.min(n * GROWTH);
        }
    }
}
