//! A query against listed items of a segment: what a filter leaves is scored at once where it is little.

use std::cell::RefCell;
use std::cmp::Ordering;

use roaring::RoaringTreemap;

use super::collect::Collected;
use super::dense::DenseItems;
use super::query::WalkQuery;
use super::search::SegmentSearch;
use super::segment::Segment;
use super::walk::Seen;
use crate::Result;
use crate::distance::{codes, signs};
use crate::index::{Candidates, Neighbour};

/// Nodes that are looked at in order before all the others are put in order, too: so many, and so many for each hit.
const FIRST: usize = 32;
const FIRST_PER_HIT: usize = 4;
/// Nodes are put in order by a map of bits if they are more than this part of all, else by sorting.
const MARKED_SHARE: u64 = 64;
/// Of fewer nodes, sketches save less than they cost.
const SKETCHED_FROM: usize = 8_192;
/// Nodes that are looked at before sketches say which of the others are read, and how many of these at once.
const LEAST_BLOCK: usize = 512;
const BLOCK: usize = 4_096;

#[derive(Default)]
struct Scratch {
    query: WalkQuery,
    nodes: Vec<u32>,
    kept: Vec<u32>,
    products: Vec<i32>,
    seen: Vec<Seen>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Segment {
    /// The best of listed items: each is compared, by its high byte and, where that leaves it open or the search is exact, by both.
    ///
    /// # Errors
    /// [`crate::Error::Corruption`] if the file is damaged.
    pub fn search_listed(
        &self,
        query: &[f32],
        search: SegmentSearch<'_>,
        items: &RoaringTreemap,
        candidates: &dyn Candidates,
    ) -> Result<Vec<Neighbour>> {
        let (rows, mut collected) = (self.rows(), Collected::new(search, candidates));
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { query: asked, nodes, kept, products, seen } = scratch;
            nodes.clear();
            self.nodes_of(items, nodes);
            if search.exact {
                for &node in &*nodes {
                    collected.add(self, node, || self.score(rows, query, node))?;
                }
                return Ok(collected.into_sorted());
            }
            asked.set_vector(rows, query);
            seen.clear();
            let n_first = FIRST_PER_HIT * search.limit + FIRST;
            let is_sketched = nodes.len() >= SKETCHED_FROM;
            let mut block = if is_sketched { LEAST_BLOCK } else { BLOCK };
            let mut left = &nodes[..];
            while !left.is_empty() {
                let (nodes, rest) = left.split_at(block.min(left.len()));
                (left, block) = (rest, BLOCK);
                let nodes = match rows.sketches {
                    // What cannot be among the first is not read.
                    Some(sketches) if is_sketched && seen.len() >= n_first => {
                        seen.select_nth_unstable_by(n_first - 1, best_first);
                        seen.truncate(n_first);
                        kept.clear();
                        let least = seen[n_first - 1].score / asked.length;
                        (signs::best().survivors)(&asked.sketch.signs, sketches.words, nodes, least, kept);
                        &kept[..]
                    }
                    _ => nodes,
                };
                products.resize(nodes.len(), 0);
                (codes::best().dots)(asked.shifted(), rows.high, nodes, products);
                let score = |node: u32, product: i32| Seen::new(rows.terms[node as usize].score(product), node);
                seen.extend(nodes.iter().zip(&*products).map(|(&node, &product)| score(node, product)));
            }
            let n_first = n_first.min(seen.len());
            if n_first < seen.len() {
                seen.select_nth_unstable_by(n_first, best_first);
            }
            let (first, rest) = seen.split_at_mut(n_first);
            first.sort_unstable_by(best_first);
            if collected.add_all(self, (query, asked), first)? {
                return Ok(collected.into_sorted());
            }
            rest.sort_unstable_by(best_first);
            collected.add_all(self, (query, asked), rest)?;
            Ok(collected.into_sorted())
        })
    }

    /// Nodes of items that stand evenly among those listed, for walks to start at.
    pub(super) fn sample(&self, items: &RoaringTreemap, n_sampled: u64) -> Vec<u32> {
        let Some((first, last)) = self.item_range() else { return Vec::new() };
        let step = ((last - first) / n_sampled).max(1);
        let (mut inside, mut chosen) = (items.iter(), RoaringTreemap::new());
        let mut from = first;
        while from <= last {
            inside.advance_to(from);
            let Some(item) = inside.next().filter(|item| *item <= last) else { break };
            chosen.insert(item);
            from = (item + 1).max(from + step);
        }
        let mut nodes = Vec::new();
        self.nodes_of(&chosen, &mut nodes);
        nodes
    }

    /// Appends the nodes of those of the items that the segment has, each once; of many, by rising number: rows are then read in their order.
    fn nodes_of(&self, items: &RoaringTreemap, nodes: &mut Vec<u32>) {
        let Some((first, last)) = self.item_range() else { return };
        let (order, directory) = (self.key_order(), self.directory());
        let is_alike = self.n_keys() != self.n_nodes();
        let node_of = |place: u32| if is_alike { self.node(place) } else { place };
        let Some(directory) = directory.filter(|_| items.len() >= self.n_nodes() as u64 / MARKED_SHARE) else {
            let mut inside = items.iter();
            inside.advance_to(first);
            for item in inside.take_while(|item| *item <= last) {
                match directory {
                    Some(directory) => nodes.extend(order[directory.of_item(item)].iter().copied().map(node_of)),
                    None => nodes.extend(self.item_places(item).map(node_of)),
                }
            }
            if is_alike {
                nodes.sort_unstable();
                nodes.dedup();
            }
            return;
        };
        let mut marks = vec![0_u64; self.n_nodes().div_ceil(64)];
        DenseItems::of(items, first, last).each(|item| {
            if (first..=last).contains(&item) {
                for &place in &order[directory.of_item(item)] {
                    let node = node_of(place);
                    marks[node as usize / 64] |= 1 << (node % 64);
                }
            }
        });
        for (at, mut word) in marks.into_iter().enumerate() {
            while word != 0 {
                nodes.push(at as u32 * 64 + word.trailing_zeros());
                word &= word - 1;
            }
        }
    }
}

fn best_first(a: &Seen, b: &Seen) -> Ordering {
    b.score.total_cmp(&a.score)
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
