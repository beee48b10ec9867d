//! From items to the nodes of a segment.

use std::sync::Arc;

use roaring::RoaringTreemap;

use super::among::KeptNodes;
use super::dense::DenseItems;
use super::node_sets::NodeSet;
use super::search::{IsHidden, SegmentSearch};
use super::segment::Segment;
use crate::index::Among;

/// Nodes are put in order by a map of bits if they are more than this part of all, else by sorting.
const MARKED_SHARE: u64 = 64;
/// Items that a walk starts at besides the query's own place.
const SAMPLED: u64 = 32;
/// Nodes of these that are kept: items may have many vectors.
const MOST_SAMPLED: usize = 128;
/// Nodes by which the share of all that are kept is estimated.
const COUNTED: usize = 2_048;

/// Nodes that are kept if an item of theirs is, which is asked of their keys one by one: what a filter costs whose nodes are not known.
pub(super) struct ByItem<'a> {
    segment: &'a Segment,
    items: &'a RoaringTreemap,
    /// Of items that stand far apart, a map would be mostly empty.
    dense: Option<DenseItems>,
    is_hidden: Option<IsHidden<'a>>,
}

impl KeptNodes for ByItem<'_> {
    fn contains(&self, node: u32) -> bool {
        let is_found = |place: u32| {
            let item = self.segment.key(place).item;
            self.dense.as_ref().map_or_else(|| self.items.contains(item), |dense| dense.contains(item))
                && self.is_hidden.is_none_or(|is_hidden| !is_hidden(place))
        };
        self.segment.key_places(node).any(is_found)
    }

    fn share(&self) -> f32 {
        let all = self.segment.n_nodes();
        let counted = (0..all as u32).step_by(all.div_ceil(COUNTED).max(1));
        counted.clone().filter(|&node| self.contains(node)).count() as f32 / counted.len().max(1) as f32
    }

    fn sample(&self) -> Vec<u32> {
        let mut nodes = self.segment.sample(self.items);
        nodes.retain(|&node| self.contains(node));
        nodes
    }
}

impl Segment {
    pub(super) fn by_item<'a>(&'a self, items: &'a RoaringTreemap, is_hidden: Option<IsHidden<'a>>) -> ByItem<'a> {
        let (first, last) = self.item_range().unwrap_or_default();
        let is_close = last - first <= DenseItems::SPREAD * self.n_keys() as u64;
        let dense = is_close.then(|| DenseItems::of(items, first, last));
        ByItem { segment: self, items, dense, is_hidden }
    }

    /// The nodes of a filter's items by a bit each, if they are kept or can be from now on.
    pub(super) fn walked_nodes(&self, among: Among<'_>, search: SegmentSearch<'_>) -> Option<Arc<NodeSet>> {
        let (sets, version) = (among.nodes?, search.version?);
        sets.find(version, true).or_else(|| {
            sets.keep(version, NodeSet::bytes_of_bits(self.n_nodes(), MOST_SAMPLED), || {
                let kept_nodes = self.by_item(among.items, search.is_hidden);
                let bits = self.marked(among.items, search.is_hidden).unwrap_or_else(|| {
                    let mut bits = vec![0_u64; self.n_nodes().div_ceil(64)];
                    let nodes = (0..self.n_nodes() as u32).filter(|&node| kept_nodes.contains(node));
                    nodes.for_each(|node| bits[node as usize / 64] |= 1 << (node % 64));
                    bits
                });
                let sample = kept_nodes.sample();
                let step = sample.len().div_ceil(MOST_SAMPLED).max(1);
                NodeSet::of_bits(bits, self.n_nodes(), sample.into_iter().step_by(step).collect())
            })
        })
    }

    /// The nodes of a filter's items by rising number, if they are kept or can be from now on.
    pub(super) fn listed_nodes(&self, among: Among<'_>, search: SegmentSearch<'_>) -> Option<Arc<NodeSet>> {
        let (sets, version) = (among.nodes?, search.version?);
        sets.find(version, false).or_else(|| {
            // A list is shorter than bits if it has fewer nodes than bits have words of four bytes.
            if among.items.len() > self.n_nodes() as u64 / 32 {
                return self.walked_nodes(among, search);
            }
            let mut nodes = Vec::new();
            self.nodes_of(among.items, search.is_hidden, &mut nodes);
            nodes.sort_unstable();
            nodes.shrink_to_fit();
            sets.keep(version, NodeSet::bytes_of_list(nodes.len()), || NodeSet::of_list(nodes, self.n_nodes()))
        })
    }

    /// Nodes of items that stand evenly among those listed.
    fn sample(&self, items: &RoaringTreemap) -> Vec<u32> {
        let Some((first, last)) = self.item_range() else { return Vec::new() };
        let step = ((last - first) / SAMPLED).max(1);
        let (mut inside, mut chosen) = (items.iter(), RoaringTreemap::new());
        let mut from = first;
        while from <= last {
            inside.advance_to(from);
            let Some(item) = inside.next().filter(|item| *item <= last) else { break };
            chosen.insert(item);
            from = (item + 1).max(from + step);
        }
        let mut nodes = Vec::new();
        self.nodes_of(&chosen, None, &mut nodes);
        nodes
    }

    /// Appends the nodes of those of the items that the segment has and does not hide, each once; of many, by rising number: rows are then
    /// read in their order.
    pub(super) fn nodes_of(&self, items: &RoaringTreemap, is_hidden: Option<IsHidden<'_>>, nodes: &mut Vec<u32>) {
        let Some((first, last)) = self.item_range() else { return };
        if items.len() >= self.n_nodes() as u64 / MARKED_SHARE
            && let Some(marked) = self.marked(items, is_hidden)
        {
            for (at, mut word) in marked.into_iter().enumerate() {
                while word != 0 {
                    nodes.push(at as u32 * 64 + word.trailing_zeros());
                    word &= word - 1;
                }
            }
            return;
        }
        let (order, directory) = (self.key_order(), self.directory());
        let is_alike = self.n_keys() != self.n_nodes();
        let node_of = |place: u32| if is_alike { self.node(place) } else { place };
        let is_shown = |place: &u32| is_hidden.is_none_or(|is_hidden| !is_hidden(*place));
        let mut inside = items.iter();
        inside.advance_to(first);
        for item in inside.take_while(|item| *item <= last) {
            match directory {
                Some(directory) => {
                    let places = order[directory.of_item(item)].iter().copied();
                    nodes.extend(places.filter(is_shown).map(node_of));
                }
                None => nodes.extend(self.item_places(item).filter(is_shown).map(node_of)),
            }
        }
        if is_alike {
            nodes.sort_unstable();
            nodes.dedup();
        }
    }

    /// A bit for each node of those of the items that the segment has and does not hide; `None` if its items stand far apart.
    fn marked(&self, items: &RoaringTreemap, is_hidden: Option<IsHidden<'_>>) -> Option<Vec<u64>> {
        let (first, last) = self.item_range()?;
        let (order, directory) = (self.key_order(), self.directory()?);
        let is_alike = self.n_keys() != self.n_nodes();
        let mut marks = vec![0_u64; self.n_nodes().div_ceil(64)];
        DenseItems::of(items, first, last).each(|item| {
            if (first..=last).contains(&item) {
                for &place in &order[directory.of_item(item)] {
                    if is_hidden.is_none_or(|is_hidden| !is_hidden(place)) {
                        let node = if is_alike { self.node(place) } else { place };
                        marks[node as usize / 64] |= 1 << (node % 64);
                    }
                }
            }
        });
        Some(marks)
    }
}

/// Where each item's keys stand in the order of keys; made when a filter first needs it.
pub(super) struct Directory {
    first_item: u64,
    /// By item, counted from the first: where its keys begin, and at last where all end.
    starts: Vec<u32>,
}

impl Directory {
    /// `None` for a segment without keys, or if its items are too far apart.
    pub(super) fn of(segment: &Segment) -> Option<Self> {
        let (first_item, last) = segment.item_range()?;
        let span = last - first_item + 1;
        if span > DenseItems::SPREAD * segment.n_keys() as u64 {
            return None;
        }
        let order = segment.key_order();
        let mut starts = Vec::with_capacity(span as usize + 1);
        for (at, &place) in order.iter().enumerate() {
            let number = (segment.key(place).item - first_item) as usize;
            // Also of items that are not here, which begin where the next one does.
            if number >= starts.len() {
                starts.resize(number + 1, at as u32);
            }
        }
        starts.push(order.len() as u32);
        Some(Self { first_item, starts })
    }

    /// The places in the order of keys that an item of the segment's range has.
    fn of_item(&self, item: u64) -> std::ops::Range<usize> {
        let number = (item - self.first_item) as usize;
        self.starts[number] as usize..self.starts[number + 1] as usize
    }

    pub(super) fn bytes(&self) -> usize {
        self.starts.len() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::index::VectorKey;
    use crate::index::graph::{BUILDERS, BuildSettings, NodeRoom, NodeSets, SegmentWriter};

    /// Items with up to three parts and vectors that stand more than once, close together or far apart.
    fn segment(folder: &std::path::Path, step: u64, random: &mut ChaCha8Rng) -> Segment {
        let mut writer = SegmentWriter::new(3, 700);
        for item in 0..350 {
            for part in 0..random.random_range(0..3) {
                let vector = match random.random_range(0..3_u32) {
                    0 => [0.6, 0.8, 0.0],
                    number => [f32::from(number as u8), random.random(), random.random()],
                };
                let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
                writer.push(VectorKey { item: 50 + item * step, part }, &vector.map(|value| value / length));
            }
        }
        let settings = BuildSettings { m: 4, ef_construction: 10, ..BuildSettings::default() };
        writer.write(&folder.join("kept.segment"), BUILDERS[0], &settings, &false.into()).expect("a segment").segment
    }

    #[test]
    fn kept_nodes_are_those_of_which_a_key_is_left_and_shown() {
        let (folder, mut random) = (tempfile::tempdir().expect("a folder"), ChaCha8Rng::seed_from_u64(11));
        for (round, step) in [1, 3, 1_000, 1 << 40].into_iter().enumerate() {
            let segment = segment(folder.path(), step, &mut random);
            assert!(segment.n_nodes() < segment.n_keys());
            for share in [0.0, 0.02, 0.3, 1.0] {
                let items: RoaringTreemap =
                    (0..400).filter(|_| random.random_bool(share)).map(|n| n * step + 50).collect();
                let hidden: Vec<bool> = (0..segment.n_keys()).map(|_| random.random_bool(0.3)).collect();
                let is_hidden = |place: u32| hidden[place as usize];
                for is_hidden in [None, Some(&is_hidden as IsHidden<'_>)] {
                    let is_found = |place: u32| {
                        items.contains(segment.key(place).item) && is_hidden.is_none_or(|is_hidden| !is_hidden(place))
                    };
                    let is_kept = |node: &u32| segment.key_places(*node).any(is_found);
                    let expected: Vec<u32> = (0..segment.n_nodes() as u32).filter(is_kept).collect();
                    let sets = NodeSets::new(&NodeRoom::new(1 << 20));
                    let among = Among { items: &items, nodes: Some(&sets) };
                    let search =
                        SegmentSearch { limit: 1, ef: 1, exact: false, pool: None, is_hidden, version: Some(3) };
                    for set in [segment.listed_nodes(among, search), segment.walked_nodes(among, search)] {
                        let set = set.expect("room for it");
                        let (mut nodes, mut found) = (set.nodes(), Vec::new());
                        assert!(nodes.next_block(10_000, &mut found) || expected.is_empty());
                        assert_eq!(found, expected, "round {round}, {share}, hidden: {}", is_hidden.is_some());
                        let share = expected.len() as f32 / segment.n_nodes() as f32;
                        let by_item = segment.by_item(&items, is_hidden);
                        assert!(
                            set.bits().is_none_or(|bits| bits.share() == share && bits.sample() == by_item.sample())
                        );
                        assert_eq!(by_item.share(), share);
                    }
                    let mut anew = Vec::new();
                    segment.nodes_of(&items, is_hidden, &mut anew);
                    anew.sort_unstable();
                    assert_eq!(anew, expected);
                    // Without a version or without sets, nothing is kept.
                    assert!(segment.walked_nodes(Among::from(&items), search).is_none());
                    assert!(segment.walked_nodes(among, SegmentSearch { version: None, ..search }).is_none());
                }
            }
        }
    }
}
