//! A segment in use: which of its keys still count, and how well its walks do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::growth::SegmentSize;
use super::{SegmentWatch, VectorKey};
use crate::index::graph::Segment;

/// A segment with the marks of what is not there any more.
pub struct Sealed {
    segment: Arc<Segment>,
    /// A bit for each key's place.
    hidden: Vec<u64>,
    n_hidden: usize,
    version: u64,
    watch: Arc<SegmentWatch>,
}

/// The number of the next version of any segment's marks.
static NEXT_VERSION: AtomicU64 = AtomicU64::new(0);

fn new_version() -> u64 {
    NEXT_VERSION.fetch_add(1, Ordering::Relaxed)
}

impl Sealed {
    /// A segment of which all keys count, or none.
    pub(super) fn new(segment: Arc<Segment>, is_hidden: bool) -> Self {
        let n_keys = segment.n_keys();
        let hidden = vec![if is_hidden { u64::MAX } else { 0 }; n_keys.div_ceil(64)];
        let (n_hidden, version) = (if is_hidden { n_keys } else { 0 }, new_version());
        Self { segment, hidden, n_hidden, version, watch: Arc::default() }
    }

    #[must_use]
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// What was measured of its walks.
    #[must_use]
    pub fn watch(&self) -> &Arc<SegmentWatch> {
        &self.watch
    }

    /// Keys that count.
    #[must_use]
    pub fn n_live(&self) -> usize {
        self.segment.n_keys() - self.n_hidden
    }

    /// Names this segment with these marks: no other segment of the process has the number, nor this one with other marks.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn size(&self) -> SegmentSize {
        SegmentSize { live: self.n_live(), deleted: self.n_hidden }
    }

    pub(super) fn bytes(&self) -> usize {
        self.segment.memory_bytes() + self.hidden.len() * 8
    }

    /// True if any key does not count.
    pub(super) fn has_hidden(&self) -> bool {
        self.n_hidden > 0
    }

    pub(super) fn is_hidden(&self, place: u32) -> bool {
        self.hidden[place as usize / 64] >> (place % 64) & 1 == 1
    }

    pub(super) fn show(&mut self, place: u32) {
        if self.is_hidden(place) {
            self.hidden[place as usize / 64] &= !(1 << (place % 64));
            self.n_hidden -= 1;
            self.version = new_version();
        }
    }

    pub(super) fn hide(&mut self, key: VectorKey) {
        if let Some(place) = self.segment.place(key) {
            self.hide_place(place);
        }
    }

    pub(super) fn hide_item(&mut self, item: u64) {
        let places: Vec<u32> = self.segment.item_places(item).collect();
        places.into_iter().for_each(|place| self.hide_place(place));
    }

    fn hide_place(&mut self, place: u32) {
        if !self.is_hidden(place) {
            self.hidden[place as usize / 64] |= 1 << (place % 64);
            self.n_hidden += 1;
            self.version = new_version();
        }
    }

    /// The segment with the places of the keys that count.
    pub(super) fn live_places(&self) -> (Arc<Segment>, Vec<u32>) {
        let places = (0..self.segment.n_keys() as u32).filter(|&place| !self.is_hidden(place)).collect();
        (Arc::clone(&self.segment), places)
    }
}
