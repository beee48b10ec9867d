//! Finds nodes that walks do not reach, and links them.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::builder::BuiltGraph;
use super::insertion::{Selection, add_link};
use super::links::{GrowingLinks, Links};
use super::rows::RowsView;
use super::sketch::SEARCH_MARGIN;
use super::walk::{Scratch, descend, walk};

/// Every node must be found among so many when it asks for itself.
pub(super) const SELF_EF: usize = 32;
/// Rounds of linking what was not found; what is left then is compared with every query.
const ROUNDS: usize = 6;
/// Neighbours of a lost node that get a link to it, at most.
const HELPERS: usize = 4;
/// Nodes that a walk for a lost node's neighbours keeps.
const HELPERS_EF: usize = 200;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Nodes that did not find themselves before.
    pub lost: usize,
    /// Nodes that still do not; every search has to look at them.
    pub strays: Vec<u32>,
}

/// Makes every node findable by its own row.
#[must_use]
pub(super) fn repair(rows: RowsView<'_>, graph: &BuiltGraph, threads: usize) -> Repaired {
    let mut lost = lost_nodes(rows, graph, threads);
    let n_lost = lost.len();
    for _ in 0..ROUNDS {
        if lost.is_empty() {
            break;
        }
        let (mut scratch, mut selection) = (Scratch::default(), Selection::default());
        for &node in &lost {
            link(rows, graph, node, &mut scratch, &mut selection);
        }
        // A link that was put in another's place may have lost a third node.
        lost = lost_nodes(rows, graph, threads);
    }
    Repaired { lost: n_lost, strays: lost }
}

/// Nodes that do not find themselves, by their numbers.
fn lost_nodes(rows: RowsView<'_>, graph: &BuiltGraph, threads: usize) -> Vec<u32> {
    const CHUNK: usize = 256;
    let Some(entry) = graph.entry else { return Vec::new() };
    let (next, lost) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let (mut scratch, mut found) = (Scratch::default(), Vec::new());
                loop {
                    let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if first >= rows.len() {
                        break;
                    }
                    for node in first..rows.len().min(first + CHUNK) {
                        search(rows, &graph.links, (entry, node as u32), SELF_EF, &mut scratch);
                        if scratch.seen().iter().all(|seen| seen.node() != node as u32) {
                            found.push(node as u32);
                        }
                    }
                }
                lost.lock().extend(found);
            });
        }
    });
    let mut lost = lost.into_inner();
    lost.sort_unstable();
    lost
}

fn search(rows: RowsView<'_>, links: &GrowingLinks, (entry, node): (u32, u32), ef: usize, scratch: &mut Scratch) {
    let mut query = std::mem::take(&mut scratch.query);
    query.set_row(rows, node, SEARCH_MARGIN);
    let top = links.levels[entry as usize] as usize;
    let near = descend((rows, links), 1..top + 1, &query, entry, scratch);
    walk((rows, links), 0, &query, (&[near], ef), scratch);
    scratch.query = query;
}

/// Links the nodes that a walk ends at to the lost one, and the lost one to them.
fn link(rows: RowsView<'_>, graph: &BuiltGraph, node: u32, scratch: &mut Scratch, selection: &mut Selection) {
    let Some(entry) = graph.entry else { return };
    search(rows, &graph.links, (entry, node), SELF_EF, scratch);
    let ends: Vec<u32> = scratch.seen().iter().map(|seen| seen.node()).filter(|&other| other != node).collect();
    let mut helped = 0;
    for &end in &ends {
        let _lock = graph.links.lock(end);
        helped += usize::from(graph.links.push(0, end, node));
        if helped == HELPERS {
            break;
        }
    }
    if helped == 0 {
        // No place is left anywhere near: the nearest gives up the link that it needs least.
        if let Some(&nearest) = ends.first() {
            replace_last(&graph.links, nearest, node);
        }
    }
    search(rows, &graph.links, (entry, node), HELPERS_EF, scratch);
    let near: Vec<u32> =
        scratch.seen().iter().map(|seen| seen.node()).filter(|&other| other != node).take(HELPERS).collect();
    for other in near {
        add_link(rows, &graph.links, 0, (node, other), selection);
    }
}

/// Puts a link in the place of the last one, which is the farthest that was chosen.
fn replace_last(links: &GrowingLinks, from: u32, to: u32) {
    let _lock = links.lock(from);
    let mut list = Vec::new();
    links.copy(0, from, &mut list);
    list.pop();
    list.push(to);
    links.set(0, from, &list);
}
