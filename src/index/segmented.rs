//! The index of a field's generation: segments that do not change, and a tail of vectors that no segment holds yet.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::graph::{Rows, Segment, SegmentSearch, SegmentWriter};
use super::sealed::Sealed;
use super::{Canary, Candidates, FlatIndex, Found, Growth, IndexSearch, SegmentPlan, TopK, VectorIndex, VectorKey};
use crate::{Error, Result};

/// Vectors in segments and a tail, and keys of vectors that are to come; each key counts in one place only. What is removed from a segment is only marked.
pub struct SegmentedIndex {
    dimension: usize,
    pool: Option<Arc<rayon::ThreadPool>>,
    /// The oldest first; what is new goes into the last, until it holds `chunk`. A segment is made of one of them, so that it is done soon.
    tail: Vec<FlatIndex>,
    chunk: usize,
    /// The oldest first.
    segments: Vec<Sealed>,
    /// Stored vectors that no search finds until a segment is made of them.
    deferred: BTreeSet<VectorKey>,
    begun: Option<Begun>,
    canary: Arc<Canary>,
}

/// A segment in the making.
struct Begun {
    /// What was in the tail when it began; nothing is added to it any more.
    frozen: Option<FlatIndex>,
    /// The segments that it replaces.
    sources: Vec<Arc<Segment>>,
    removed: HashSet<u64>,
    inserted: HashSet<VectorKey>,
}

/// What a segment is made of. Reads nothing but segments, which do not change.
pub struct Sources {
    writer: SegmentWriter,
    segments: Vec<(Arc<Segment>, Vec<u32>)>,
}

/// What a new segment has taken the place of. Letting go of so much memory takes a while, so searches should not wait for it.
pub struct Replaced {
    segments: Vec<Sealed>,
    _begun: Begun,
}

impl Replaced {
    /// The files that are not used any more.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.segments.iter().map(|sealed| sealed.segment().path())
    }
}

impl Sources {
    /// Vectors that were in the tail.
    #[must_use]
    pub fn from_tail(&self) -> usize {
        self.writer.len()
    }

    /// Collects the vectors; `None` if there are none.
    ///
    /// # Errors
    /// [`Error::Corruption`] if a segment is damaged.
    pub fn collect(mut self) -> Result<Option<SegmentWriter>> {
        for (segment, places) in &self.segments {
            // What was seen to be right may have been read from the disk again since.
            segment.recheck()?;
            for &place in places {
                self.writer.push_row(segment.key(place), segment.rows(), segment.node(place));
            }
        }
        Ok(Some(self.writer).filter(|writer| !writer.is_empty()))
    }
}

impl SegmentedIndex {
    /// An empty index, whose tail becomes segments of about `chunk` vectors; large scans are split over `pool`.
    #[must_use]
    pub fn new(dimension: usize, chunk: usize, pool: Option<Arc<rayon::ThreadPool>>) -> Self {
        let (tail, segments, deferred) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { dimension, pool, tail, chunk, segments, deferred, begun: None, canary: Arc::default() }
    }

    /// The index of segments alone, the oldest first, with every key hidden until [`SegmentedIndex::confirm`] shows it.
    #[must_use]
    pub fn of_segments(
        dimension: usize,
        segments: Vec<Segment>,
        chunk: usize,
        pool: Option<Arc<rayon::ThreadPool>>,
    ) -> Self {
        let segments = segments.into_iter().map(|segment| Sealed::new(Arc::new(segment), true)).collect();
        Self { segments, ..Self::new(dimension, chunk, pool) }
    }

    /// Shows a key in the newest segment that has this vector for it, or else puts the vector in the tail.
    pub fn confirm(&mut self, key: VectorKey, vector: &[f32], rows: &mut Rows) {
        for sealed in self.segments.iter_mut().rev() {
            if let Some(place) = sealed.segment().place(key)
                && sealed.segment().holds(place, vector, rows)
            {
                return sealed.show(place);
            }
        }
        self.add(key, vector);
    }

    /// Lets go of segments that show nothing, and gives their files.
    pub fn prune(&mut self) -> Vec<PathBuf> {
        let gone = |sealed: &mut Sealed| sealed.n_live() == 0;
        self.segments.extract_if(.., gone).map(|sealed| sealed.segment().path().to_owned()).collect()
    }

    /// The segments in use, the oldest first.
    #[must_use]
    pub fn segments(&self) -> &[Sealed] {
        &self.segments
    }

    /// The queries that were asked lately.
    #[must_use]
    pub fn canary(&self) -> &Arc<Canary> {
        &self.canary
    }

    /// Vectors that no segment holds.
    #[must_use]
    pub fn tail_len(&self) -> usize {
        self.chunks().map(VectorIndex::len).sum()
    }

    /// Vectors that wait, and that no search finds yet.
    #[must_use]
    pub fn deferred_len(&self) -> usize {
        self.deferred.len()
    }

    /// Knows of new vectors that are to be in a segment later; until then no search finds them.
    pub fn defer(&mut self, keys: impl IntoIterator<Item = VectorKey>) {
        self.deferred.extend(keys);
    }

    /// Begins a segment of up to `limit` vectors that wait, the oldest; whoever calls reads them from the store as of now.
    ///
    /// # Errors
    /// [`Error::Internal`] if a segment was begun already.
    pub fn begin_deferred(&mut self, limit: usize) -> Result<Vec<VectorKey>> {
        self.begin(None, Vec::new())?;
        Ok(self.deferred.iter().take(limit).copied().collect())
    }

    /// Everything that is in no segment.
    fn chunks(&self) -> impl Iterator<Item = &FlatIndex> {
        self.tail.iter().chain(self.frozen())
    }

    /// Puts a vector in the tail that is not there yet. Parts of an item stay together: scores of a tail and of a segment differ in the last
    /// digits, which would decide between parts that are equal.
    fn add(&mut self, key: VectorKey, vector: &[f32]) {
        let is_full = |last: &FlatIndex| last.len() >= self.chunk && !last.has_item(key.item);
        if self.tail.last().is_none_or(is_full) {
            self.tail.push(FlatIndex::with_codes(self.dimension, self.pool.clone()));
        }
        if let Some(last) = self.tail.last_mut() {
            last.insert(&[(key, vector)]);
        }
    }

    fn frozen(&self) -> Option<&FlatIndex> {
        self.begun.as_ref()?.frozen.as_ref()
    }

    /// True if this vector is what the index holds under the key, or will hold because the store does.
    #[must_use]
    pub fn holds(&self, key: VectorKey, vector: &[f32], rows: &mut Rows) -> bool {
        if self.deferred.contains(&key) {
            return true;
        }
        if let Some(found) = self.chunks().find_map(|chunk| chunk.get(key)) {
            return found == vector;
        }
        self.segments.iter().any(|sealed| {
            let place = sealed.segment().place(key).filter(|&place| !sealed.is_hidden(place));
            place.is_some_and(|place| sealed.segment().holds(place, vector, rows))
        })
    }

    /// What should become a segment now; nothing while one is being made.
    #[must_use]
    pub fn due(&self, growth: &Growth, is_idle: bool) -> Option<SegmentPlan> {
        let sizes: Vec<_> = self.segments.iter().map(Sealed::size).collect();
        let first = self.tail.first().map_or(0, VectorIndex::len);
        growth.next((self.tail_len(), first), &sizes, is_idle).filter(|_| self.begun.is_none())
    }

    /// Begins a segment and to note what changes meanwhile. [`SegmentedIndex::sources`] says what it is made of.
    ///
    /// # Errors
    /// [`Error::Internal`] if one was begun already.
    pub fn begin_segment(&mut self, plan: &SegmentPlan) -> Result<()> {
        let of_place = |&place: &usize| Some(Arc::clone(self.segments.get(place)?.segment()));
        let sources = plan.segments.iter().filter_map(of_place).collect();
        let takes_tail = plan.takes_tail && !self.tail.is_empty() && self.begun.is_none();
        let frozen = takes_tail.then(|| self.tail.remove(0));
        self.begin(frozen, sources)
    }

    fn begin(&mut self, frozen: Option<FlatIndex>, sources: Vec<Arc<Segment>>) -> Result<()> {
        if self.begun.is_some() {
            return Err(Error::Internal("two segments of one index were begun at once".to_owned()));
        }
        self.begun = Some(Begun { frozen, sources, removed: HashSet::new(), inserted: HashSet::new() });
        Ok(())
    }

    /// True while a segment is being made.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// What the segment that was begun is made of, if nothing has changed since.
    ///
    /// # Errors
    /// [`Error::Internal`] if none was begun.
    pub fn sources(&self) -> Result<Sources> {
        let begun = self.begun.as_ref().ok_or_else(not_begun)?;
        let is_source = |sealed: &&Sealed| begun.sources.iter().any(|source| Arc::ptr_eq(source, sealed.segment()));
        let segments: Vec<_> = self.segments.iter().filter(is_source).map(Sealed::live_places).collect();
        let n_sealed: usize = segments.iter().map(|(_, places)| places.len()).sum();
        let n_frozen = begun.frozen.as_ref().map_or(0, VectorIndex::len);
        let mut writer = SegmentWriter::new(self.dimension, n_sealed + n_frozen);
        begun.frozen.iter().flat_map(FlatIndex::iter).for_each(|(key, vector)| writer.push(key, vector));
        Ok(Sources { writer, segments })
    }

    /// Forgets a segment that could not be built.
    pub fn abandon_segment(&mut self) {
        if let Some(frozen) = self.begun.take().and_then(|begun| begun.frozen) {
            self.tail.insert(0, frozen);
        }
    }

    /// Puts a segment in the place of what it was made of, or lets go of that if nothing was left of it; gives what is not used any more.
    ///
    /// # Errors
    /// [`Error::Internal`] if no segment was begun.
    pub fn publish(&mut self, segment: Option<Segment>) -> Result<Replaced> {
        let begun = self.begun.take().ok_or_else(not_begun)?;
        let is_source = |sealed: &mut Sealed| begun.sources.iter().any(|source| Arc::ptr_eq(source, sealed.segment()));
        let segments: Vec<Sealed> = self.segments.extract_if(.., is_source).collect();
        if let Some(segment) = segment {
            if !self.deferred.is_empty() {
                (0..segment.n_keys() as u32).for_each(|place| _ = self.deferred.remove(&segment.key(place)));
            }
            let mut sealed = Sealed::new(Arc::new(segment), false);
            begun.removed.iter().for_each(|&item| sealed.hide_item(item));
            begun.inserted.iter().for_each(|&key| sealed.hide(key));
            self.segments.push(sealed);
        }
        Ok(Replaced { segments, _begun: begun })
    }

    /// Lets go of a segment and gives its keys that counted; whoever calls puts their vectors in again. A segment that is being made of it
    /// must be abandoned before.
    pub fn take_out(&mut self, segment: &Arc<Segment>) -> Vec<VectorKey> {
        let Some(at) = self.segments.iter().position(|sealed| Arc::ptr_eq(sealed.segment(), segment)) else {
            return Vec::new();
        };
        let (segment, places) = self.segments.remove(at).live_places();
        places.into_iter().map(|place| segment.key(place)).collect()
    }
}

fn not_begun() -> Error {
    Error::Internal("a segment was built that nobody began".to_owned())
}

impl VectorIndex for SegmentedIndex {
    fn dimension(&self) -> usize {
        self.dimension
    }

    fn len(&self) -> usize {
        self.tail_len() + self.deferred.len() + self.segments.iter().map(Sealed::n_live).sum::<usize>()
    }

    fn bytes(&self) -> usize {
        let sealed: usize = self.segments.iter().map(Sealed::bytes).sum();
        let deferred = self.deferred.len() * size_of::<VectorKey>();
        self.chunks().map(VectorIndex::bytes).sum::<usize>() + sealed + deferred
    }

    fn insert(&mut self, vectors: &[(VectorKey, &[f32])]) {
        for &(key, vector) in vectors {
            self.deferred.remove(&key);
            self.tail.iter_mut().for_each(|chunk| chunk.remove_key(key));
            self.segments.iter_mut().for_each(|sealed| sealed.hide(key));
            if let Some(begun) = &mut self.begun {
                begun.inserted.insert(key);
                if let Some(frozen) = &mut begun.frozen {
                    frozen.remove_key(key);
                }
            }
            self.add(key, vector);
        }
        self.tail.retain(|chunk| !chunk.is_empty());
    }

    fn remove(&mut self, items: &[u64]) {
        self.tail.iter_mut().for_each(|chunk| chunk.remove(items));
        self.tail.retain(|chunk| !chunk.is_empty());
        for &item in items {
            self.segments.iter_mut().for_each(|sealed| sealed.hide_item(item));
            let of_item = VectorKey { item, part: 0 }..=VectorKey { item, part: u32::MAX };
            while let Some(&key) = self.deferred.range(of_item.clone()).next() {
                self.deferred.remove(&key);
            }
        }
        if let Some(begun) = &mut self.begun {
            begun.removed.extend(items);
            if let Some(frozen) = &mut begun.frozen {
                frozen.remove(items);
            }
        }
    }

    fn search(&self, query: &[f32], search: IndexSearch, candidates: &dyn Candidates) -> Result<Found> {
        let mut lists = Vec::new();
        for chunk in self.chunks() {
            lists.push(chunk.search(query, search, candidates)?.neighbours);
        }
        let mut is_exact = true;
        for sealed in &self.segments {
            let segment = sealed.segment();
            let is_hidden = |place| sealed.is_hidden(place);
            let settings = SegmentSearch {
                limit: search.limit.max(1),
                ef: search.ef.unwrap_or_else(|| sealed.watch().ef(segment, search.kind, search.recall, search.limit)),
                exact: search.exact,
                pool: self.pool.as_deref(),
                is_hidden: sealed.has_hidden().then_some(&is_hidden),
                version: Some(sealed.version()),
            };
            let (neighbours, exact) = segment.search(query, settings, candidates)?;
            lists.push(neighbours);
            is_exact &= exact;
        }
        let neighbours = match lists.len() {
            0 | 1 => lists.pop().unwrap_or_default(),
            _ => {
                let mut top = TopK::new(search.limit, candidates);
                lists.into_iter().flatten().for_each(|neighbour| top.offer(neighbour));
                top.into_sorted()
            }
        };
        Ok(Found { neighbours, exact: is_exact })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_item_stay_together_and_no_chunk_is_empty() {
        let growth = Growth { seal_at: 1, ..Growth::default() };
        let mut index = SegmentedIndex::new(2, 3, None);
        for item in 0..4 {
            for part in 0..2 {
                index.insert(&[(VectorKey { item, part }, &[1.0, 0.0])]);
            }
        }
        // Replaced, so that the first chunk loses what it had.
        for part in 0..2 {
            index.insert(&[(VectorKey { item: 0, part }, &[0.0, 1.0]), (VectorKey { item: 1, part }, &[0.0, 1.0])]);
        }
        let mut found = Vec::new();
        while let Some(plan) = index.due(&growth, false) {
            assert!(plan.takes_tail, "{plan:?}");
            index.begin_segment(&plan).expect("none was begun");
            let writer = index.sources().and_then(Sources::collect).expect("vectors").expect("some");
            found.push(writer.len());
            index.publish(None).expect("it was begun");
        }
        assert_eq!(found, [4, 4], "three are a chunk, and the fourth is the third's sibling");
        assert_eq!(index.len(), 0);
    }
}
