//! The seam of vector indexes: a disposable cache over the vectors of one field generation.

use std::cmp::Ordering;

/// Names a vector: the item's internal id and the part's number within the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VectorKey {
    pub item: u64,
    pub part: u32,
}

/// A vector found, with its cosine to the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    pub key: VectorKey,
    pub score: f32,
}

/// Decides which items may be found, and how equal scores are ordered.
pub trait Candidates: Sync {
    /// True if this item may be found.
    fn accepts(&self, item: u64) -> bool;

    /// Orders two different items of equal score; the smaller comes first.
    fn compare(&self, a: u64, b: u64) -> Ordering;
}

/// How a search is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexSearch {
    /// Distinct items wanted, at least 1.
    pub limit: usize,
    /// Compare with every vector.
    pub exact: bool,
}

/// Vectors of one field generation, searchable by cosine. All vectors have unit length and one dimension.
pub trait VectorIndex: Send + Sync {
    fn dimension(&self) -> usize;

    /// The number of vectors.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held.
    fn bytes(&self) -> usize;

    /// Adds vectors. A key that is there already is replaced.
    fn insert(&mut self, vectors: &[(VectorKey, &[f32])]);

    /// Removes every vector of these items; unknown items are ignored.
    fn remove(&mut self, items: &[u64]);

    /// Finds the best vectors of distinct items (best part each), by falling score, ties as `candidates` orders them.
    fn search(&self, query: &[f32], search: IndexSearch, candidates: &dyn Candidates) -> Vec<Neighbour>;
}
