//! The index of a field's generation: a segment that does not change, and a tail of vectors that no segment holds yet.

use std::collections::HashSet;
use std::sync::Arc;

use super::graph::{Segment, SegmentSearch};
use super::{Canary, Candidates, FlatIndex, Found, IndexSearch, Neighbour, TopK, VectorIndex, VectorKey};
use crate::{Error, Result};

/// Vectors in a segment and a tail. What is removed from a segment is only marked.
pub struct SegmentedIndex {
    dimension: usize,
    pool: Option<Arc<rayon::ThreadPool>>,
    tail: FlatIndex,
    sealed: Option<Sealed>,
    /// What has changed since a new segment began to be built.
    changes: Option<Changes>,
    canary: Arc<Canary>,
}

/// A segment with the marks of what is not there any more.
struct Sealed {
    segment: Arc<Segment>,
    /// A bit for each key's place.
    hidden: Vec<u64>,
    n_hidden: usize,
}

#[derive(Default)]
struct Changes {
    removed: HashSet<u64>,
    inserted: HashSet<VectorKey>,
}

impl SegmentedIndex {
    /// An empty index; large scans of the tail are split over `pool`.
    #[must_use]
    pub fn new(dimension: usize, pool: Option<Arc<rayon::ThreadPool>>) -> Self {
        let tail = FlatIndex::new(dimension, pool.clone());
        Self { dimension, pool, tail, sealed: None, changes: None, canary: Arc::default() }
    }

    /// The index of a segment alone, with every key hidden until [`SegmentedIndex::confirm`] shows it.
    #[must_use]
    pub fn of_segment(segment: Segment, pool: Option<Arc<rayon::ThreadPool>>) -> Self {
        let mut index = Self::new(segment.dimension(), pool);
        let (hidden, n_hidden) = (vec![u64::MAX; segment.n_keys().div_ceil(64)], segment.n_keys());
        index.sealed = Some(Sealed { segment: Arc::new(segment), hidden, n_hidden });
        index
    }

    /// Shows a key of the segment if its vector is the one given, or else puts the vector in the tail.
    pub fn confirm(&mut self, key: VectorKey, vector: &[f32], rows: &mut super::graph::Rows) {
        let sealed = self.sealed.as_mut();
        match sealed.and_then(|sealed| Some((sealed.segment.place(key)?, sealed))) {
            Some((place, sealed)) if sealed.segment.holds(place, vector, rows) => sealed.show(place),
            _ => self.tail.insert(&[(key, vector)]),
        }
    }

    /// The segment in use.
    #[must_use]
    pub fn segment(&self) -> Option<&Arc<Segment>> {
        self.sealed.as_ref().map(|sealed| &sealed.segment)
    }

    /// What watches the searches of this index.
    #[must_use]
    pub fn canary(&self) -> &Arc<Canary> {
        &self.canary
    }

    /// Vectors that no segment holds.
    #[must_use]
    pub fn tail_len(&self) -> usize {
        self.tail.len()
    }

    /// True if this vector is what the index holds under the key.
    #[must_use]
    pub fn holds(&self, key: VectorKey, vector: &[f32], rows: &mut super::graph::Rows) -> bool {
        if let Some(found) = self.tail.get(key) {
            return found == vector;
        }
        let sealed = self.sealed.as_ref();
        let found = sealed.and_then(|sealed| Some((sealed.segment.place(key)?, sealed)));
        found.is_some_and(|(place, sealed)| !sealed.is_hidden(place) && sealed.segment.holds(place, vector, rows))
    }

    /// Begins to note changes: what is in the store now is about to become a segment.
    pub fn begin_segment(&mut self) {
        self.changes = Some(Changes::default());
    }

    /// Forgets a segment that could not be built.
    pub fn abandon_segment(&mut self) {
        self.changes = None;
    }

    /// Puts a segment in the place of everything that was there when it began to be built; gives the file of the one before.
    ///
    /// # Errors
    /// [`Error::Internal`] if no segment was begun.
    pub fn publish(&mut self, segment: Segment) -> Result<Option<std::path::PathBuf>> {
        let Some(changes) = self.changes.take() else {
            return Err(Error::Internal("a segment was built that nobody began".to_owned()));
        };
        let hidden = vec![0; segment.n_keys().div_ceil(64)];
        let mut sealed = Sealed { hidden, n_hidden: 0, segment: Arc::new(segment) };
        for &item in &changes.removed {
            sealed.hide_item(item);
        }
        let mut tail = FlatIndex::new(self.dimension, self.pool.clone());
        for &key in &changes.inserted {
            if let Some(vector) = self.tail.get(key) {
                tail.insert(&[(key, vector)]);
            }
            sealed.hide(key);
        }
        self.tail = tail;
        self.canary.forget();
        Ok(self.sealed.replace(sealed).map(|before| before.segment.path().to_owned()))
    }
}

impl Sealed {
    fn is_hidden(&self, place: u32) -> bool {
        self.hidden[place as usize / 64] >> (place % 64) & 1 == 1
    }

    fn show(&mut self, place: u32) {
        if self.is_hidden(place) {
            self.hidden[place as usize / 64] &= !(1 << (place % 64));
            self.n_hidden -= 1;
        }
    }

    fn hide_place(&mut self, place: u32) {
        if !self.is_hidden(place) {
            self.hidden[place as usize / 64] |= 1 << (place % 64);
            self.n_hidden += 1;
        }
    }

    fn hide(&mut self, key: VectorKey) {
        if let Some(place) = self.segment.place(key) {
            self.hide_place(place);
        }
    }

    fn hide_item(&mut self, item: u64) {
        let places: Vec<u32> = self.segment.item_places(item).collect();
        places.into_iter().for_each(|place| self.hide_place(place));
    }
}

impl VectorIndex for SegmentedIndex {
    fn dimension(&self) -> usize {
        self.dimension
    }

    fn len(&self) -> usize {
        self.tail.len() + self.sealed.as_ref().map_or(0, |sealed| sealed.segment.n_keys() - sealed.n_hidden)
    }

    fn bytes(&self) -> usize {
        let of_segment = |sealed: &Sealed| sealed.segment.memory_bytes() + sealed.hidden.len() * 8;
        self.tail.bytes() + self.sealed.as_ref().map_or(0, of_segment)
    }

    fn insert(&mut self, vectors: &[(VectorKey, &[f32])]) {
        self.tail.insert(vectors);
        for &(key, _) in vectors {
            if let Some(sealed) = &mut self.sealed {
                sealed.hide(key);
            }
            if let Some(changes) = &mut self.changes {
                changes.inserted.insert(key);
            }
        }
    }

    fn remove(&mut self, items: &[u64]) {
        self.tail.remove(items);
        for &item in items {
            if let Some(sealed) = &mut self.sealed {
                sealed.hide_item(item);
            }
            if let Some(changes) = &mut self.changes {
                changes.removed.insert(item);
            }
        }
    }

    fn search(&self, query: &[f32], search: IndexSearch, candidates: &dyn Candidates) -> Result<Found> {
        let tail = self.tail.search(query, search, candidates)?;
        let Some(sealed) = &self.sealed else { return Ok(tail) };
        let segment = &sealed.segment;
        let settings = SegmentSearch {
            limit: search.limit.max(1),
            ef: search.ef.unwrap_or_else(|| self.canary.ef(segment, search.kind, search.recall, search.limit)),
            exact: search.exact,
            pool: self.pool.as_deref(),
            is_hidden: &|place| sealed.is_hidden(place),
        };
        let (mut neighbours, exact): (Vec<Neighbour>, bool) = segment.search(query, settings, candidates)?;
        if !tail.neighbours.is_empty() {
            let mut top = TopK::new(search.limit, candidates);
            tail.neighbours.into_iter().chain(neighbours).for_each(|neighbour| top.offer(neighbour));
            neighbours = top.into_sorted();
        }
        Ok(Found { neighbours, exact })
    }
}
