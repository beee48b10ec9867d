//! The seam of vector indexes: a disposable cache over the vectors of one field generation.

use std::cmp::Ordering;

use roaring::RoaringTreemap;

use super::QueryKind;
use super::graph::NodeSets;
use crate::Result;

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

/// Items that are known beforehand to be the only ones that may be found.
#[derive(Clone, Copy)]
pub struct Among<'a> {
    pub items: &'a RoaringTreemap,
    /// Where segments keep the nodes of exactly these items from one search to the next; `None` if nobody is expected to ask again.
    pub nodes: Option<&'a NodeSets>,
}

impl<'a> From<&'a RoaringTreemap> for Among<'a> {
    fn from(items: &'a RoaringTreemap) -> Self {
        Self { items, nodes: None }
    }
}

/// Decides which items may be found, and how equal scores are ordered.
pub trait Candidates: Sync {
    /// True if this item may be found.
    fn accepts(&self, item: u64) -> bool;

    /// The items that may be found, if they are known beforehand: no other item is accepted, though not all of these need be.
    fn among(&self) -> Option<Among<'_>> {
        None
    }

    /// Orders two different items of equal score; the smaller comes first.
    fn compare(&self, a: u64, b: u64) -> Ordering;
}

/// Candidates without any rule: everything may be found, and equal scores are ordered by the items' internal ids.
pub struct Everything;

impl Candidates for Everything {
    fn accepts(&self, _: u64) -> bool {
        true
    }

    fn compare(&self, a: u64, b: u64) -> Ordering {
        a.cmp(&b)
    }
}

/// How a search is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexSearch {
    /// Distinct items wanted, at least 1.
    pub limit: usize,
    /// Compare with every vector.
    pub exact: bool,
    /// The share of the true hits that is wanted, 0 to 1; an index that measured itself does what it takes.
    pub recall: f32,
    /// What the query was made of.
    pub kind: QueryKind,
    /// How many nodes a walk keeps, in place of what the recall takes.
    pub ef: Option<usize>,
}

impl IndexSearch {
    /// A search of every vector.
    #[must_use]
    pub fn exact(limit: usize) -> Self {
        Self { limit, exact: true, recall: 1.0, kind: QueryKind::default(), ef: None }
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Distinct items, best part each, by falling score.
    pub neighbours: Vec<Neighbour>,
    /// True if every vector was compared.
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

    /// Finds the best vectors of distinct items (best part each), by falling score, ties as `candidates` orders them. There are as many
    /// as wanted, or all that may be found.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if what the index reads from the disk is damaged.
    fn search(&self, query: &[f32], search: IndexSearch, candidates: &dyn Candidates) -> Result<Found>;
}
