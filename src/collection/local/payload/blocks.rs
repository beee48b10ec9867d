//! Keys in their order with the items that have them, in blocks and shelves of blocks that also know all their items: a range of keys is
//! mostly whole ones.

use roaring::{MultiOps as _, RoaringTreemap};

/// A block with more keys than this is cut in two, and so is a shelf with more blocks than this.
const MOST_KEYS: usize = if cfg!(test) { 16 } else { 512 };
const MOST_BLOCKS: usize = if cfg!(test) { 8 } else { 64 };

/// The items of one key; most keys of a price or a name have one.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::collection::local) enum Postings {
    One(u64),
    Many(RoaringTreemap),
}

impl Postings {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::Many(items) => items.len(),
        }
    }

    pub(in crate::collection::local) fn add_to(&self, set: &mut RoaringTreemap) {
        match self {
            Self::One(item) => _ = set.insert(*item),
            Self::Many(items) => *set |= items,
        }
    }

    /// How many of the items are in a set.
    pub(super) fn count_in(&self, set: &RoaringTreemap) -> u64 {
        match self {
            Self::One(item) => u64::from(set.contains(*item)),
            Self::Many(items) => items.intersection_len(set),
        }
    }

    fn insert(&mut self, item: u64) {
        match self {
            Self::One(own) if *own == item => {}
            Self::One(own) => *self = Self::Many(RoaringTreemap::from_iter([*own, item])),
            Self::Many(items) => _ = items.insert(item),
        }
    }

    /// Takes an item out; true if none is left.
    fn remove(&mut self, item: u64) -> bool {
        match self {
            Self::One(own) => *own == item,
            Self::Many(items) => {
                items.remove(item);
                match items.len() {
                    0 => return true,
                    1 => *self = Self::One(items.min().unwrap_or(item)),
                    _ => {}
                }
                false
            }
        }
    }
}

type Key = Box<[u8]>;

#[derive(Clone, Debug, Default)]
struct Block {
    /// By rising key; never empty but in a list without keys.
    keys: Vec<(Key, Postings)>,
    /// The items of all keys.
    items: RoaringTreemap,
}

/// Neighbouring blocks, so that a wide range is mostly whole shelves.
#[derive(Clone, Debug, Default)]
struct Shelf {
    /// Never empty but in a list without keys.
    blocks: Vec<Block>,
    /// The items of all keys.
    items: RoaringTreemap,
}

impl Block {
    fn first_key(&self) -> Option<&Key> {
        self.keys.first().map(|(key, _)| key)
    }

    fn last_key(&self) -> Option<&Key> {
        self.keys.last().map(|(key, _)| key)
    }

    fn of(keys: Vec<(Key, Postings)>) -> Self {
        let mut items = RoaringTreemap::new();
        keys.iter().for_each(|(_, postings)| postings.add_to(&mut items));
        Self { keys, items }
    }

    /// The upper half, cut off.
    fn split(&mut self) -> Self {
        let upper = Self::of(self.keys.split_off(self.keys.len() / 2));
        *self = Self::of(std::mem::take(&mut self.keys));
        upper
    }
}

impl Shelf {
    fn first_key(&self) -> Option<&Key> {
        self.blocks.first()?.first_key()
    }

    fn last_key(&self) -> Option<&Key> {
        self.blocks.last()?.last_key()
    }

    fn of(blocks: Vec<Block>) -> Self {
        let items = blocks.iter().map(|block| &block.items).union();
        Self { blocks, items }
    }

    /// The block that a key belongs to: the last that begins at it or before, else the first.
    fn place(&self, key: &[u8]) -> usize {
        let is_before = |block: &Block| block.first_key().is_some_and(|first| **first <= *key);
        self.blocks.partition_point(is_before).saturating_sub(1)
    }

    fn insert(&mut self, key: &[u8], item: u64) {
        if self.blocks.is_empty() {
            self.blocks.push(Block::default());
        }
        self.items.insert(item);
        let place = self.place(key);
        let block = &mut self.blocks[place];
        block.items.insert(item);
        match block.keys.binary_search_by(|(own, _)| (**own).cmp(key)) {
            Ok(found) => block.keys[found].1.insert(item),
            Err(at) => block.keys.insert(at, (key.into(), Postings::One(item))),
        }
        if block.keys.len() > MOST_KEYS {
            let upper = block.split();
            self.blocks.insert(place + 1, upper);
        }
    }

    /// Takes an item from a key; all its other keys go, too.
    fn remove(&mut self, key: &[u8], item: u64) {
        self.items.remove(item);
        let place = self.place(key);
        let Some(block) = self.blocks.get_mut(place) else { return };
        block.items.remove(item);
        if let Ok(found) = block.keys.binary_search_by(|(own, _)| (**own).cmp(key))
            && block.keys[found].1.remove(item)
        {
            block.keys.remove(found);
            if block.keys.is_empty() {
                self.blocks.remove(place);
            }
        }
    }
}

/// Every key of an index.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    shelves: Vec<Shelf>,
}

impl PartialEq for Blocks {
    /// Where blocks are cut means nothing.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// Keys from `from` (inclusive) to `to` (exclusive), all where there is none.
#[derive(Clone, Copy)]
struct Range<'a> {
    from: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
}

impl Range<'_> {
    fn has(self, key: &[u8]) -> bool {
        self.from.is_none_or(|from| *key >= *from) && self.to.is_none_or(|to| *key < *to)
    }

    /// True if all keys between these two are inside.
    fn has_all(self, first: Option<&Key>, last: Option<&Key>) -> bool {
        first.zip(last).is_some_and(|(first, last)| self.has(first) && self.has(last))
    }

    /// True if some keys between these two may be inside.
    fn meets(self, first: Option<&Key>, last: Option<&Key>) -> bool {
        first.zip(last).is_some_and(|(first, last)| {
            self.from.is_none_or(|from| **last >= *from) && self.to.is_none_or(|to| **first < *to)
        })
    }
}

impl Blocks {
    fn blocks(&self) -> impl DoubleEndedIterator<Item = &Block> {
        self.shelves.iter().flat_map(|shelf| &shelf.blocks)
    }

    /// Every key with its items, in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &Postings)> {
        self.blocks().flat_map(|block| block.keys.iter().map(|(key, postings)| (&**key, postings)))
    }

    /// Keys from one on, in order.
    pub(super) fn from<'a>(&'a self, key: Option<&[u8]>) -> impl Iterator<Item = (&'a [u8], &'a Postings)> + use<'a> {
        let range = Range { from: key, to: None };
        // What lies wholly before is passed by without a look at its keys.
        let shelves = self.shelves.iter().position(|shelf| range.meets(shelf.first_key(), shelf.last_key()));
        let shelves = &self.shelves[shelves.unwrap_or(self.shelves.len())..];
        let first = shelves.first().map_or(0, |shelf| key.map_or(0, |key| shelf.place(key)));
        let skipped = key.map_or(0, |key| {
            let block = shelves.first().and_then(|shelf| shelf.blocks.get(first));
            block.map_or(0, |block| block.keys.partition_point(|(own, _)| **own < *key))
        });
        let blocks = shelves.iter().flat_map(|shelf| &shelf.blocks).skip(first).enumerate();
        blocks.flat_map(move |(at, block)| {
            let skipped = if at == 0 { skipped } else { 0 };
            block.keys[skipped..].iter().map(|(key, postings)| (&**key, postings))
        })
    }

    /// Keys up to one (inclusive), from the last to the first.
    pub(super) fn down_from<'a>(
        &'a self,
        key: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a [u8], &'a Postings)> + use<'a> {
        let is_above = |first: Option<&Key>| key.is_some_and(|key| first.is_some_and(|first| **first > *key));
        let n_shelves = self.shelves.partition_point(|shelf| !is_above(shelf.first_key()));
        let shelves = &self.shelves[..n_shelves];
        let n_above =
            shelves.last().map_or(0, |shelf| shelf.blocks.iter().filter(|block| is_above(block.first_key())).count());
        let blocks = shelves.iter().flat_map(|shelf| &shelf.blocks).rev().skip(n_above).enumerate();
        let last = shelves.last().and_then(|shelf| shelf.blocks.iter().rev().nth(n_above));
        let n_keys = last.map_or(0, |block| match key {
            Some(key) => block.keys.partition_point(|(own, _)| **own <= *key),
            None => block.keys.len(),
        });
        blocks.flat_map(move |(at, block)| {
            let n_keys = if at == 0 { n_keys } else { block.keys.len() };
            block.keys[..n_keys].iter().rev().map(|(key, postings)| (&**key, postings))
        })
    }

    pub(super) fn n_keys(&self) -> usize {
        self.blocks().map(|block| block.keys.len()).sum()
    }

    /// About how many bytes of memory are held.
    pub(super) fn bytes(&self) -> usize {
        let of_key = |(key, postings): &(Key, Postings)| {
            let items = match postings {
                Postings::One(_) => 0,
                Postings::Many(items) => items.serialized_size(),
            };
            size_of::<(Key, Postings)>() + key.len() + items
        };
        let of_block = |block: &Block| block.keys.iter().map(of_key).sum::<usize>() + block.items.serialized_size();
        let of_shelves: usize = self.shelves.iter().map(|shelf| shelf.items.serialized_size()).sum();
        of_shelves + self.blocks().map(of_block).sum::<usize>()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Postings> {
        let shelf = self.shelves.get(self.place(key))?;
        let block = shelf.blocks.get(shelf.place(key))?;
        let found = block.keys.binary_search_by(|(own, _)| (**own).cmp(key)).ok()?;
        Some(&block.keys[found].1)
    }

    /// The shelf that a key belongs to: the last that begins at it or before, else the first.
    fn place(&self, key: &[u8]) -> usize {
        let is_before = |shelf: &Shelf| shelf.first_key().is_some_and(|first| **first <= *key);
        self.shelves.partition_point(is_before).saturating_sub(1)
    }

    pub(super) fn insert(&mut self, key: &[u8], item: u64) {
        if self.shelves.is_empty() {
            self.shelves.push(Shelf::default());
        }
        let place = self.place(key);
        let shelf = &mut self.shelves[place];
        shelf.insert(key, item);
        if shelf.blocks.len() > MOST_BLOCKS {
            let upper = shelf.blocks.split_off(MOST_BLOCKS / 2);
            *shelf = Shelf::of(std::mem::take(&mut shelf.blocks));
            self.shelves.insert(place + 1, Shelf::of(upper));
        }
    }

    /// Takes an item from all of its keys; `keys` is every key that it has.
    pub(super) fn remove<'k>(&mut self, keys: impl IntoIterator<Item = &'k [u8]>, item: u64) {
        for key in keys {
            let place = self.place(key);
            let Some(shelf) = self.shelves.get_mut(place) else { return };
            shelf.remove(key, item);
            if shelf.blocks.is_empty() {
                self.shelves.remove(place);
            }
        }
    }

    /// The items of the keys from `from` (inclusive) to `to` (exclusive).
    pub(super) fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> RoaringTreemap {
        let range = Range { from, to };
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        for shelf in &self.shelves {
            let (first, last) = (shelf.first_key(), shelf.last_key());
            if range.has_all(first, last) {
                whole.push(&shelf.items);
            } else if range.meets(first, last) {
                for block in &shelf.blocks {
                    let (first, last) = (block.first_key(), block.last_key());
                    if range.has_all(first, last) {
                        whole.push(&block.items);
                    } else if range.meets(first, last) {
                        cut.push(block);
                    }
                }
            }
        }
        let mut set = whole.union();
        for block in cut {
            let inside = block.keys.iter().filter(|(key, _)| range.has(key));
            inside.for_each(|(_, postings)| postings.add_to(&mut set));
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn key(number: u16) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    /// What the blocks should hold: the keys of each item.
    type Expected = BTreeMap<u64, BTreeSet<u16>>;

    fn check(blocks: &Blocks, expected: &Expected, random: &mut ChaCha8Rng) {
        let mut by_key: BTreeMap<u16, BTreeSet<u64>> = BTreeMap::new();
        for (&item, keys) in expected {
            keys.iter().for_each(|&key| _ = by_key.entry(key).or_default().insert(item));
        }
        assert_eq!(blocks.n_keys(), by_key.len());
        let items = |postings: &Postings| {
            let mut set = RoaringTreemap::new();
            postings.add_to(&mut set);
            set.iter().collect::<BTreeSet<_>>()
        };
        let found: Vec<_> = blocks.iter().map(|(key, postings)| (key.to_vec(), items(postings))).collect();
        let wanted: Vec<_> = by_key.iter().map(|(&number, items)| (key(number), items.clone())).collect();
        assert_eq!(found, wanted);
        for _ in 0..20 {
            let (from, to) = (random.random_range(0..3000_u16), random.random_range(0..3000_u16));
            let (open_from, open_to) = (random.random_bool(0.1), random.random_bool(0.1));
            let (from_key, to_key) = (key(from), key(to));
            let found = blocks.range(Some(&*from_key).filter(|_| !open_from), Some(&*to_key).filter(|_| !open_to));
            let inside = |number: &u16| (open_from || *number >= from) && (open_to || *number < to);
            let wanted: BTreeSet<u64> =
                by_key.iter().filter(|(number, _)| inside(number)).flat_map(|(_, items)| items.clone()).collect();
            assert!(found.iter().eq(wanted), "{from} to {to}");
            assert_eq!(blocks.get(&from_key).map(items), by_key.get(&from).cloned());
            let keys = |found: Vec<&[u8]>| found.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
            let rising = keys(blocks.from(Some(&from_key)).map(|(key, _)| key).collect());
            assert_eq!(rising, by_key.range(from..).map(|(&number, _)| key(number)).collect::<Vec<_>>());
            let falling = keys(blocks.down_from(Some(&from_key)).map(|(key, _)| key).collect());
            assert_eq!(falling, by_key.range(..=from).rev().map(|(&number, _)| key(number)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn blocks_hold_what_was_put_in() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let (mut blocks, mut expected) = (Blocks::default(), Expected::new());
        for step in 0..20_000 {
            let item = random.random_range(0..4000_u64);
            if let Some(keys) = expected.remove(&item) {
                let keys: Vec<_> = keys.into_iter().map(key).collect();
                blocks.remove(keys.iter().map(Vec::as_slice), item);
            }
            // Many keys first, then few, so that blocks are cut and go.
            let share = if step < 12_000 { 0.9 } else { 0.2 };
            if random.random_bool(share) {
                let keys: BTreeSet<u16> =
                    (0..random.random_range(1..4)).map(|_| random.random_range(0..3000)).collect();
                keys.iter().for_each(|&number| blocks.insert(&key(number), item));
                expected.insert(item, keys);
            }
            if step % 1_000 == 999 {
                check(&blocks, &expected, &mut random);
            }
        }
        assert!(blocks.shelves.len() > 1, "keys of several shelves");
        for (item, keys) in expected {
            let keys: Vec<_> = keys.into_iter().map(key).collect();
            blocks.remove(keys.iter().map(Vec::as_slice), item);
        }
        assert!(blocks.shelves.is_empty());
        check(&blocks, &Expected::new(), &mut random);
    }
}
