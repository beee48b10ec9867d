//! A set of internal ids.

use std::collections::HashMap;

/// Ids of one chunk: 2¹⁶ bits.
type Bits = [u64; 1024];

/// A set of numbers that stand close together: a bit map in chunks of 2¹⁶.
#[derive(Default)]
pub(super) struct IdSet {
    chunks: HashMap<u64, Box<Bits>>,
}

impl IdSet {
    pub(super) fn insert(&mut self, id: u64) {
        let chunk = self.chunks.entry(id >> 16).or_insert_with(|| Box::new([0; 1024]));
        chunk[(id >> 6 & 1023) as usize] |= 1 << (id & 63);
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.chunks.get(&(id >> 16)).is_some_and(|chunk| chunk[(id >> 6 & 1023) as usize] >> (id & 63) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::IdSet;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let ids = [0, 1, 63, 64, 65_535, 65_536, 1 << 40, u64::MAX];
        let mut set = IdSet::default();
        ids.iter().for_each(|&id| set.insert(id));
        for id in ids {
            assert!(set.contains(id), "{id}");
        }
        for id in [2, 62, 65, 65_534, 65_537, (1 << 40) + 1, u64::MAX - 1] {
            assert!(!set.contains(id), "{id}");
        }
    }
}
