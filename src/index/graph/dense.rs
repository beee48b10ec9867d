//! Items as a map of bits: whether one is there is asked for every node that a walk meets.

use roaring::RoaringTreemap;

/// What the standard form of a bitmap begins with, without and with containers of runs.
const WITHOUT_RUNS: u32 = 12_346;
const WITH_RUNS: u16 = 12_347;
/// A container of more values than this is a map of bits.
const LONGEST_ARRAY: usize = 4_096;
/// Below so many containers that have runs, no places follow.
const LEAST_PLACES: usize = 4;

/// A range of items, one bit each.
pub(super) struct DenseItems {
    /// A multiple of 65,536.
    first: u64,
    words: Vec<u64>,
}

impl DenseItems {
    /// A range of items may be so many times as long as there are keys before a map is too large for what it saves.
    pub(super) const SPREAD: u64 = 8;

    /// Those of the items that lie from `first` to `last`; perhaps some beside them.
    pub(super) fn of(items: &RoaringTreemap, first: u64, last: u64) -> Self {
        let base = first >> 16 << 16;
        let mut dense = Self { first: base, words: vec![0; (((last - base) >> 16) + 1) as usize * 1_024] };
        let mut bytes = Vec::new();
        for (high, bitmap) in items.bitmaps() {
            let high = u64::from(high) << 32;
            if high > last || high + u64::from(u32::MAX) < first {
                continue;
            }
            bytes.clear();
            // The library gives no other way to its maps of bits than this form, and one by one is ten times slower.
            let is_written = bitmap.serialize_into(&mut bytes).is_ok();
            if !is_written || dense.add_serialized(high, &bytes).is_none() {
                bitmap.iter().for_each(|low| dense.insert(high | u64::from(low)));
            }
        }
        dense
    }

    #[inline]
    pub(super) fn contains(&self, item: u64) -> bool {
        let at = item.wrapping_sub(self.first);
        self.words.get((at >> 6) as usize).is_some_and(|word| word >> (at & 63) & 1 == 1)
    }

    /// Calls with each item, by rising number.
    #[inline]
    pub(super) fn each(&self, mut call: impl FnMut(u64)) {
        for (at, &word) in self.words.iter().enumerate() {
            let first = self.first + at as u64 * 64;
            let mut left = word;
            while left != 0 {
                call(first + u64::from(left.trailing_zeros()));
                left &= left - 1;
            }
        }
    }

    fn insert(&mut self, item: u64) {
        let at = item.wrapping_sub(self.first);
        if let Some(word) = self.words.get_mut((at >> 6) as usize) {
            *word |= 1 << (at & 63);
        }
    }

    /// Adds a bitmap in its standard form (the Roaring bitmap format specification); `None` if it is something else.
    fn add_serialized(&mut self, high: u64, bytes: &[u8]) -> Option<()> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let has_runs = u16_at(0)? == WITH_RUNS;
        let (n_containers, mut at) = match has_runs {
            true => (usize::from(u16_at(2)?) + 1, 4),
            false if u32_at(0)? == WITHOUT_RUNS => (u32_at(4)? as usize, 8),
            false => return None,
        };
        let runs_at = at;
        at += if has_runs { n_containers.div_ceil(8) } else { 0 };
        let heads_at = at;
        at += 4 * n_containers + if has_runs && n_containers < LEAST_PLACES { 0 } else { 4 * n_containers };
        for container in 0..n_containers {
            let first = high | u64::from(u16_at(heads_at + 4 * container)?) << 16;
            let n_values = usize::from(u16_at(heads_at + 4 * container + 2)?) + 1;
            if has_runs && bytes.get(runs_at + container / 8)? >> (container % 8) & 1 == 1 {
                let n_runs = usize::from(u16_at(at)?);
                for run in 0..n_runs {
                    let (start, more) = (u16_at(at + 2 + 4 * run)?, u16_at(at + 4 + 4 * run)?);
                    (0..=u64::from(more)).for_each(|step| self.insert(first + u64::from(start) + step));
                }
                at += 2 + 4 * n_runs;
            } else if n_values <= LONGEST_ARRAY {
                for low in bytes.get(at..at + 2 * n_values)?.as_chunks::<2>().0 {
                    self.insert(first + u64::from(u16::from_le_bytes(*low)));
                }
                at += 2 * n_values;
            } else {
                let map = bytes.get(at..at + 8_192)?.as_chunks::<8>().0;
                let place = first.wrapping_sub(self.first) as usize / 64;
                if let Some(words) = self.words.get_mut(place..place.saturating_add(1_024)) {
                    words.iter_mut().zip(map).for_each(|(word, map)| *word |= u64::from_le_bytes(*map));
                }
                at += 8_192;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn bits_are_what_the_set_has() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for round in 0..60_u64 {
            let base = [0, 5 << 16, (1 << 32) - 100_000, 7 << 33][round as usize % 4];
            let mut items = RoaringTreemap::new();
            for _ in 0..random.random_range(0..6) {
                let start = base + random.random_range(0..300_000_u64);
                match random.random_range(0..3) {
                    0 => _ = items.insert_range(start..start + random.random_range(0..90_000)),
                    1 => items.extend((0..random.random_range(0..9_000)).map(|step| start + step * 7)),
                    _ => items.extend((0..20_000).map(|_| start + random.random_range(0..70_000_u64))),
                }
            }
            if round % 3 == 0 {
                items.optimize();
            }
            let (first, last) = (base + 40_000, base + 310_000);
            let dense = DenseItems::of(&items, first, last);
            let inside = |found: &u64| (first..=last).contains(found);
            let mut found = Vec::new();
            dense.each(|item| found.push(item));
            assert!(found.into_iter().filter(inside).eq(items.iter().filter(inside)), "round {round}");
            for _ in 0..2_000 {
                let item = random.random_range(first..=last);
                assert_eq!(dense.contains(item), items.contains(item), "round {round}, {item}");
            }
            assert!(!dense.contains(u64::MAX) && !dense.contains(first.saturating_sub(1 << 20)));
        }
    }
}
