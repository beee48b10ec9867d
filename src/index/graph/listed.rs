//! A query against listed items of a segment: what a filter leaves is scored at once where it is little.

use std::cell::RefCell;
use std::cmp::Ordering;

use super::collect::Collected;
use super::node_sets::Nodes;
use super::query::WalkQuery;
use super::search::SegmentSearch;
use super::segment::Segment;
use super::walk::Seen;
use crate::Result;
use crate::distance::{codes, signs};
use crate::index::{Among, Candidates, Neighbour};

/// Nodes that are looked at in order before all the others are put in order, too: so many, and so many for each hit.
const FIRST: usize = 32;
const FIRST_PER_HIT: usize = 4;
/// Of fewer nodes, sketches save less than they cost.
const SKETCHED_FROM: usize = 8_192;
/// Nodes that are looked at before sketches say which of the others are read, and how many of these at once.
const LEAST_BLOCK: usize = 512;
const BLOCK: usize = 4_096;

#[derive(Default)]
struct Scratch {
    query: WalkQuery,
    nodes: Vec<u32>,
    block: Vec<u32>,
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
        among: Among<'_>,
        candidates: &dyn Candidates,
    ) -> Result<Vec<Neighbour>> {
        let (rows, mut collected) = (self.rows(), Collected::new(search, candidates));
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { query: asked, nodes, block, kept, products, seen } = scratch;
            let set = self.listed_nodes(among, search);
            let mut left = match &set {
                Some(set) => set.nodes(),
                None => {
                    nodes.clear();
                    self.nodes_of(among.items, search.is_hidden, nodes);
                    Nodes::of(nodes)
                }
            };
            if search.exact {
                while left.next_block(BLOCK, block) {
                    for &node in &*block {
                        collected.add(self, node, || self.score(rows, query, node))?;
                    }
                }
                return Ok(collected.into_sorted());
            }
            asked.set_vector(rows, query);
            seen.clear();
            let n_first = FIRST_PER_HIT * search.limit + FIRST;
            let is_sketched = left.len() >= SKETCHED_FROM;
            let mut n_wanted = if is_sketched { LEAST_BLOCK } else { BLOCK };
            while left.next_block(n_wanted, block) {
                n_wanted = BLOCK;
                let nodes = match rows.sketches {
                    // What cannot be among the first is not read.
                    Some(sketches) if is_sketched && seen.len() >= n_first => {
                        seen.select_nth_unstable_by(n_first - 1, best_first);
                        seen.truncate(n_first);
                        kept.clear();
                        let least = seen[n_first - 1].score / asked.length;
                        (signs::best().survivors)(&asked.sketch.signs, sketches.words, block, least, kept);
                        &kept[..]
                    }
                    _ => &block[..],
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
}

fn best_first(a: &Seen, b: &Seen) -> Ordering {
    b.score.total_cmp(&a.score)
}
