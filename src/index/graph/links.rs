//! Who is linked with whom: lists of fixed length, one for each node and level.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::distance::prefetch;

/// Ends a list that is not full.
pub(super) const NONE: u32 = u32::MAX;

/// The links of a graph, level by level; level 0 holds every node.
pub(super) trait Links: Sync {
    /// Calls with each of a node's neighbours.
    fn each(&self, level: usize, node: u32, call: impl FnMut(u32));

    /// Puts a node's neighbours into `out`, in place of what it holds.
    fn copy(&self, level: usize, node: u32, out: &mut Vec<u32>) {
        out.clear();
        self.each(level, node, |link| out.push(link));
    }

    /// Asks the processor to bring a node's list near.
    fn prefetch(&self, _level: usize, _node: u32) {}
}

/// Links of a graph that is being built: readers take no locks, writers lock the node whose lists they change.
pub struct GrowingLinks {
    m: usize,
    /// The highest level of each node.
    pub levels: Vec<u8>,
    base: Vec<AtomicU32>,
    /// The lists above level 0 of all nodes, in their order.
    upper: Vec<AtomicU32>,
    /// Where each node's lists above level 0 begin, in lists.
    upper_at: Vec<u32>,
    locks: Vec<Mutex<()>>,
}

impl GrowingLinks {
    /// No links, with room for `m` at each level and twice as many at level 0.
    #[must_use]
    pub fn new(m: usize, levels: Vec<u8>) -> Self {
        let mut n_lists = 0;
        let upper_at = levels
            .iter()
            .map(|&level| {
                let at = n_lists;
                n_lists += u32::from(level);
                at
            })
            .collect();
        let empty = |n: usize| (0..n).map(|_| AtomicU32::new(NONE)).collect();
        let locks = levels.iter().map(|_| Mutex::new(())).collect();
        Self { m, base: empty(levels.len() * 2 * m), upper: empty(n_lists as usize * m), upper_at, locks, levels }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    #[must_use]
    pub fn m(&self) -> usize {
        self.m
    }

    /// Places that a list of this level has.
    #[must_use]
    pub fn capacity(&self, level: usize) -> usize {
        if level == 0 { 2 * self.m } else { self.m }
    }

    /// Held by whoever changes the node's lists.
    pub fn lock(&self, node: u32) -> MutexGuard<'_, ()> {
        self.locks[node as usize].lock()
    }

    /// Replaces a list. The caller holds the node's lock, or is alone.
    pub fn set(&self, level: usize, node: u32, links: &[u32]) {
        let list = self.list(level, node);
        for (place, slot) in list.iter().enumerate() {
            slot.store(links.get(place).copied().unwrap_or(NONE), Ordering::Relaxed);
        }
    }

    /// Adds a link if there is a place left; true if it is there now. The caller holds the node's lock, or is alone.
    pub fn push(&self, level: usize, node: u32, link: u32) -> bool {
        for slot in self.list(level, node) {
            match slot.load(Ordering::Relaxed) {
                NONE => {
                    slot.store(link, Ordering::Relaxed);
                    return true;
                }
                known if known == link => return true,
                _ => {}
            }
        }
        false
    }

    /// Every list of level 0, and the lists above of all nodes in their order.
    #[must_use]
    pub fn into_lists(self) -> (Vec<u32>, Vec<u32>, Vec<u8>) {
        let plain = |slots: Vec<AtomicU32>| slots.into_iter().map(AtomicU32::into_inner).collect();
        (plain(self.base), plain(self.upper), self.levels)
    }

    fn list(&self, level: usize, node: u32) -> &[AtomicU32] {
        match level {
            0 => &self.base[node as usize * 2 * self.m..][..2 * self.m],
            _ => &self.upper[(self.upper_at[node as usize] as usize + level - 1) * self.m..][..self.m],
        }
    }
}

impl Links for GrowingLinks {
    #[inline]
    fn each(&self, level: usize, node: u32, call: impl FnMut(u32)) {
        let links = self.list(level, node).iter().map(|slot| slot.load(Ordering::Relaxed));
        links.take_while(|&link| link != NONE).for_each(call);
    }

    #[inline]
    fn prefetch(&self, level: usize, node: u32) {
        prefetch(self.list(level, node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_levels_are_apart() {
        let links = GrowingLinks::new(2, vec![2, 0, 1]);
        let lists = [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 2)];
        for (number, (level, node)) in lists.into_iter().enumerate() {
            links.set(level, node, &[number as u32, 50]);
            assert_eq!(links.push(level, node, 70), level == 0, "two places above level 0, four on it");
            assert!(links.push(level, node, 50), "a link that is there is not added twice");
        }
        for (number, (level, node)) in lists.into_iter().enumerate() {
            let mut found = Vec::new();
            links.copy(level, node, &mut found);
            let rest: &[u32] = if level == 0 { &[50, 70] } else { &[50] };
            assert_eq!((found[0], &found[1..]), (number as u32, rest));
        }
        let (base, upper, levels) = links.into_lists();
        assert_eq!((base.len(), upper.len(), levels), (12, 6, vec![2, 0, 1]));
    }
}
