//! The nodes of segments that a filter leaves, kept for whoever asks with it again.
//!
//! A set belongs to a version of a segment's marks, whose number is never given again: once a key is hidden or shown, or another segment has
//! taken the place, nobody asks for the set any more. It holds numbers only, so that it keeps no segment in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::among::KeptNodes;

/// Bytes that the sets of several filters may take together.
pub struct NodeRoom {
    most: usize,
    used: AtomicUsize,
}

/// Part of a room, given back when dropped.
struct Taken {
    room: Arc<NodeRoom>,
    bytes: usize,
}

impl NodeRoom {
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, used: AtomicUsize::new(0) })
    }

    /// Bytes that sets take, also those that are let go of while searches still use them.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes that sets may take.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    fn take(self: &Arc<Self>, bytes: usize) -> Option<Taken> {
        let with = |used: usize| used.checked_add(bytes).filter(|&used| used <= self.most);
        let is_taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok();
        is_taken.then(|| Taken { room: Arc::clone(self), bytes })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// By segment, the nodes that the items of one filter have.
pub struct NodeSets {
    room: Arc<NodeRoom>,
    sets: Mutex<Vec<(u64, Arc<NodeSet>)>>,
    /// Bytes that the last set without a place would have taken.
    lacking: AtomicUsize,
}

impl NodeSets {
    /// No sets yet, and a room for them.
    #[must_use]
    pub fn new(room: &Arc<NodeRoom>) -> Self {
        Self { room: Arc::clone(room), sets: Mutex::default(), lacking: AtomicUsize::new(0) }
    }

    /// Lets go of every set; searches that use one finish with it.
    pub fn clear(&self) {
        self.sets.lock().clear();
    }

    /// True if no set is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.lock().is_empty()
    }

    /// Bytes that must become free before a set that was wanted has a place; 0 from then on until it happens again.
    #[must_use]
    pub fn take_lacking(&self) -> usize {
        self.lacking.swap(0, Ordering::Relaxed)
    }

    /// The set for a version of a segment's marks. Without bits, a walk cannot use it.
    pub(super) fn find(&self, version: u64, needs_bits: bool) -> Option<Arc<NodeSet>> {
        let sets = self.sets.lock();
        let is_wanted =
            |(known, set): &&(u64, Arc<NodeSet>)| *known == version && (set.bits().is_some() || !needs_bits);
        sets.iter().find(is_wanted).map(|(_, set)| Arc::clone(set))
    }

    /// Makes and keeps a set of `bytes` if there is room for so much; else makes nothing.
    pub(super) fn keep(&self, version: u64, bytes: usize, make: impl FnOnce() -> NodeSet) -> Option<Arc<NodeSet>> {
        let Some(taken) = self.room.take(bytes) else {
            // What is larger than the room is not worth emptying it.
            self.lacking.store(if bytes <= self.room.most { bytes } else { 0 }, Ordering::Relaxed);
            return None;
        };
        let set = Arc::new(NodeSet { _taken: Some(taken), ..make() });
        let mut sets = self.sets.lock();
        // Another search may have made the same one meanwhile, or a walk needs bits where there was a list.
        sets.retain(|(known, _)| *known != version);
        sets.push((version, Arc::clone(&set)));
        Some(set)
    }
}

/// Some nodes of a segment.
pub(super) struct NodeSet {
    form: Form,
    n_nodes: usize,
    /// The share of the segment's nodes.
    share: f32,
    /// Nodes of the set that stand evenly in the order of items.
    sample: Vec<u32>,
    /// What it takes of the room, while it is kept.
    _taken: Option<Taken>,
}

enum Form {
    /// A bit for each node.
    Bits(Vec<u64>),
    /// By rising number.
    List(Vec<u32>),
}

impl NodeSet {
    /// What a set takes with a bit for each of so many nodes.
    pub(super) fn bytes_of_bits(n_nodes: usize, n_sampled: usize) -> usize {
        size_of::<Self>() + n_nodes.div_ceil(64) * 8 + n_sampled * 4
    }

    /// What a set takes that lists so many nodes.
    pub(super) fn bytes_of_list(n_nodes: usize) -> usize {
        size_of::<Self>() + n_nodes * 4
    }

    /// Nodes that are marked by a bit each, of `all`.
    pub(super) fn of_bits(bits: Vec<u64>, all: usize, sample: Vec<u32>) -> Self {
        let n_nodes = bits.iter().map(|word| word.count_ones() as usize).sum();
        Self { form: Form::Bits(bits), n_nodes, share: n_nodes as f32 / all.max(1) as f32, sample, _taken: None }
    }

    /// Listed nodes of `all`, by rising number.
    pub(super) fn of_list(list: Vec<u32>, all: usize) -> Self {
        let (n_nodes, sample) = (list.len(), Vec::new());
        Self { form: Form::List(list), n_nodes, share: n_nodes as f32 / all.max(1) as f32, sample, _taken: None }
    }

    /// `None` of a list.
    pub(super) fn bits(&self) -> Option<NodeBits<'_>> {
        match &self.form {
            Form::Bits(words) => Some(NodeBits { set: self, words }),
            Form::List(_) => None,
        }
    }

    /// The nodes by rising number.
    pub(super) fn nodes(&self) -> Nodes<'_> {
        match &self.form {
            Form::Bits(words) => Nodes { n_nodes: self.n_nodes, left: Left::Words { words, at: 0 } },
            Form::List(list) => Nodes::of(list),
        }
    }
}

/// Nodes by a bit each, as a walk asks for them.
pub(super) struct NodeBits<'a> {
    set: &'a NodeSet,
    words: &'a [u64],
}

impl KeptNodes for NodeBits<'_> {
    #[inline]
    fn contains(&self, node: u32) -> bool {
        self.words[node as usize / 64] >> (node % 64) & 1 == 1
    }

    fn share(&self) -> f32 {
        self.set.share
    }

    fn sample(&self) -> Vec<u32> {
        self.set.sample.clone()
    }
}

/// Nodes that are given out in blocks, in their order.
pub(super) struct Nodes<'a> {
    n_nodes: usize,
    left: Left<'a>,
}

enum Left<'a> {
    List(&'a [u32]),
    Words { words: &'a [u64], at: usize },
}

impl<'a> Nodes<'a> {
    pub(super) fn of(list: &'a [u32]) -> Self {
        Self { n_nodes: list.len(), left: Left::List(list) }
    }

    /// All of them, also those that were given out.
    pub(super) fn len(&self) -> usize {
        self.n_nodes
    }

    /// Puts the next nodes into `block` in place of what it holds, about `n_wanted`; false if there are no more.
    pub(super) fn next_block(&mut self, n_wanted: usize, block: &mut Vec<u32>) -> bool {
        block.clear();
        match &mut self.left {
            Left::List(list) => {
                let (next, rest) = list.split_at(n_wanted.min(list.len()));
                block.extend_from_slice(next);
                *list = rest;
            }
            Left::Words { words, at } => {
                while block.len() < n_wanted
                    && let [word, rest @ ..] = *words
                {
                    let mut word = *word;
                    while word != 0 {
                        block.push(*at as u32 + word.trailing_zeros());
                        word &= word - 1;
                    }
                    (*words, *at) = (rest, *at + 64);
                }
            }
        }
        !block.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(numbers: std::ops::Range<u32>) -> NodeSet {
        NodeSet::of_list(numbers.collect(), 1_000)
    }

    #[test]
    fn sets_take_no_more_than_the_room_and_give_it_back() {
        let room = NodeRoom::new(100);
        let [one, other] = [NodeSets::new(&room), NodeSets::new(&room)];
        let used = one.keep(1, 40, || list(0..10)).expect("room for it");
        assert!(other.keep(1, 60, || list(0..15)).is_some());
        assert!(other.keep(2, 4, || panic!("made without a place")).is_none());
        assert_eq!((room.used(), other.take_lacking(), other.take_lacking()), (100, 4, 0));
        assert!(one.keep(3, 101, || panic!("made without a place")).is_none());
        assert_eq!(one.take_lacking(), 0, "no room would ever do");
        one.clear();
        assert_eq!((one.is_empty(), room.used()), (true, 100), "a search still has it");
        drop(used);
        assert_eq!(room.used(), 60);
        drop(other);
        assert_eq!(room.used(), 0);
    }

    #[test]
    fn sets_are_found_by_their_version_and_a_walk_finds_only_bits() {
        let sets = NodeSets::new(&NodeRoom::new(1_000));
        sets.keep(5, 40, || list(0..10));
        sets.keep(6, 12, || list(0..3));
        let found = |version: u64, needs_bits: bool| sets.find(version, needs_bits).map(|set| set.nodes().len());
        assert_eq!([4, 5, 6].map(|version| found(version, false)), [None, Some(10), Some(3)]);
        assert_eq!(found(5, true), None);
        sets.keep(5, 16, || NodeSet::of_bits(vec![5, 1 << 63], 128, vec![]));
        assert_eq!((found(5, true), found(5, false), sets.room.used()), (Some(3), Some(3), 28), "in place of the list");
    }

    #[test]
    fn bits_and_lists_give_the_same_blocks() {
        let listed: Vec<u32> = (0..900).filter(|number| number * number % 7 < 3).collect();
        let mut bits = vec![0_u64; 15];
        listed.iter().for_each(|&node| bits[node as usize / 64] |= 1 << (node % 64));
        for set in [NodeSet::of_bits(bits, 900, vec![]), NodeSet::of_list(listed.clone(), 900)] {
            let (mut nodes, mut found, mut block) = (set.nodes(), Vec::new(), Vec::new());
            while nodes.next_block(100, &mut block) {
                assert!(block.len() < 164, "{}", block.len());
                found.extend_from_slice(&block);
            }
            assert_eq!((&found, nodes.len()), (&listed, listed.len()));
            for node in 0..900 {
                let is_kept = set.bits().is_none_or(|bits| bits.contains(node) == listed.contains(&node));
                assert!(is_kept, "{node}");
            }
        }
    }
}
