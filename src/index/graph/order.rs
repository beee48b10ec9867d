//! Numbers nodes so that those which are met together lie together: a walk then finds more of what it needs in the caches.

use super::builder::BuiltGraph;
use super::links::{GrowingLinks, Links as _};

/// Every node in the order in which a breadth-first search of level 0 meets it, the ones that it does not meet at the end.
#[must_use]
pub(super) fn breadth_first(graph: &BuiltGraph) -> Vec<u32> {
    let n = graph.links.len();
    let (mut order, mut is_met) = (Vec::with_capacity(n), vec![false; n]);
    for first in graph.entry.into_iter().chain(0..n as u32) {
        if std::mem::replace(&mut is_met[first as usize], true) {
            continue;
        }
        let mut next = order.len();
        order.push(first);
        while let Some(&node) = order.get(next) {
            next += 1;
            graph.links.each(0, node, |neighbour| {
                if !std::mem::replace(&mut is_met[neighbour as usize], true) {
                    order.push(neighbour);
                }
            });
        }
    }
    order
}

/// The same graph with its nodes numbered as in `order`, which names each once.
#[must_use]
pub(super) fn renumbered(graph: &BuiltGraph, order: &[u32]) -> BuiltGraph {
    let mut numbers = vec![0_u32; order.len()];
    for (new, &old) in order.iter().enumerate() {
        numbers[old as usize] = new as u32;
    }
    let levels = order.iter().map(|&old| graph.links.levels[old as usize]).collect();
    let links = GrowingLinks::new(graph.links.m(), levels);
    let mut list = Vec::new();
    for (new, &old) in order.iter().enumerate() {
        for level in 0..=graph.links.levels[old as usize] as usize {
            list.clear();
            graph.links.each(level, old, |neighbour| list.push(numbers[neighbour as usize]));
            links.set(level, new as u32, &list);
        }
    }
    BuiltGraph { links, entry: graph.entry.map(|entry| numbers[entry as usize]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renumbered_graph_has_the_same_links() {
        let links = GrowingLinks::new(2, vec![0, 1, 0, 1, 0]);
        for (node, list) in [(0, vec![1]), (1, vec![3, 0]), (2, vec![4]), (3, vec![1, 2]), (4, vec![])] {
            links.set(0, node, &list);
        }
        links.set(1, 1, &[3]);
        let graph = BuiltGraph { links, entry: Some(3) };
        let order = breadth_first(&graph);
        assert_eq!(order, [3, 1, 2, 0, 4]);
        let new = renumbered(&graph, &order);
        assert_eq!((new.entry, &new.links.levels[..]), (Some(0), &[1, 1, 0, 0, 0][..]));
        let list = |level: usize, node: u32| {
            let mut list = Vec::new();
            new.links.copy(level, node, &mut list);
            list
        };
        assert_eq!(
            [list(0, 0), list(0, 1), list(0, 2), list(0, 3), list(0, 4)],
            [vec![1, 2], vec![0, 3], vec![4], vec![1], vec![]]
        );
        assert_eq!((list(1, 1), list(1, 0)), (vec![0], vec![]));
    }

    #[test]
    fn nodes_that_nobody_links_to_come_last() {
        let graph = BuiltGraph { links: GrowingLinks::new(2, vec![0; 3]), entry: Some(1) };
        assert_eq!(breadth_first(&graph), [1, 0, 2]);
    }
}
