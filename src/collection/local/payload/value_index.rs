//! One index: which items have which values at a path.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::blocks::{Blocks, Postings};
use crate::Result;
use crate::types::Value;
use crate::types::filter::Operator;
use crate::types::payload_index::{
    Entries, Entry, KEYWORD_BYTES, PayloadIndexSpec, PayloadKind, TypeMark, encode, prefix_start,
};

/// The values at a path of all items.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::collection::local) struct ValueIndex {
    spec: PayloadIndexSpec,
    /// Items by the types of what stands at the path.
    marks: BTreeMap<TypeMark, RoaringTreemap>,
    values: Blocks,
    /// Items with more than one value.
    several: RoaringTreemap,
}

impl ValueIndex {
    pub(in crate::collection::local) fn new(spec: PayloadIndexSpec) -> Self {
        Self { spec, marks: BTreeMap::new(), values: Blocks::default(), several: RoaringTreemap::new() }
    }

    /// Reads an index from its stored entries.
    ///
    /// # Errors
    /// Those of the entries.
    pub(in crate::collection::local) fn load(
        spec: PayloadIndexSpec,
        entries: impl Iterator<Item = Result<(Entry, u64)>>,
    ) -> Result<Self> {
        let mut index = Self::new(spec);
        let mut seen = RoaringTreemap::new();
        for entry in entries {
            let (entry, item) = entry?;
            match entry {
                Entry::Mark(mark) => _ = index.marks.entry(mark).or_default().insert(item),
                Entry::Key(key) => {
                    index.values.insert(&key, item);
                    if !seen.insert(item) {
                        index.several.insert(item);
                    }
                }
            }
        }
        Ok(index)
    }

    pub(in crate::collection::local) fn spec(&self) -> &PayloadIndexSpec {
        &self.spec
    }

    /// Adds an item that has no entries here yet, or these.
    pub(super) fn insert(&mut self, entries: &Entries, item: u64) {
        for &mark in &entries.marks {
            self.marks.entry(mark).or_default().insert(item);
        }
        entries.keys.iter().for_each(|key| self.values.insert(key, item));
        if entries.keys.len() > 1 {
            self.several.insert(item);
        }
    }

    /// Removes an item; `entries` is all that it has here.
    pub(super) fn remove(&mut self, entries: &Entries, item: u64) {
        for mark in &entries.marks {
            if let Some(items) = self.marks.get_mut(mark) {
                items.remove(item);
                if items.is_empty() {
                    self.marks.remove(mark);
                }
            }
        }
        self.values.remove(entries.keys.iter().map(Vec::as_slice), item);
        self.several.remove(item);
    }

    /// Items that have the path at all.
    pub(super) fn present(&self) -> RoaringTreemap {
        let mut present = RoaringTreemap::new();
        self.marks.values().for_each(|items| present |= items);
        present
    }

    /// Types that stand at the path and are not what the index holds.
    pub(in crate::collection::local) fn other_types(&self) -> impl Iterator<Item = TypeMark> + '_ {
        let own = self.spec.kind.mark();
        self.marks.keys().copied().filter(move |mark| *mark != own && *mark != TypeMark::Nothing)
    }

    /// Items with a value that compares so; `None` if the index cannot tell. A missing path is not among them.
    pub(super) fn compared(&self, operator: Operator, value: &Value) -> Option<RoaringTreemap> {
        if self.spec.kind == PayloadKind::Prefix {
            return None;
        }
        let key = encode(self.spec.kind, value)?;
        let is_cut = matches!(value, Value::String(text) if text.len() > KEYWORD_BYTES);
        let next = || [&key, [0].as_slice()].concat();
        match operator {
            Operator::Equal => Some(self.equal(&key)),
            // An item with several values has one that is another.
            Operator::NotEqual => {
                let own = self.marks.get(&self.spec.kind.mark()).cloned().unwrap_or_default();
                Some((own - self.equal(&key)) | &self.several)
            }
            // Of strings that are cut, the order is not known.
            _ if is_cut => None,
            Operator::Less => Some(self.values.range(None, Some(&key))),
            Operator::LessOrEqual => Some(self.values.range(None, Some(&next()))),
            Operator::Greater => Some(self.values.range(Some(&next()), None)),
            Operator::GreaterOrEqual => Some(self.values.range(Some(&key), None)),
        }
    }

    fn equal(&self, key: &[u8]) -> RoaringTreemap {
        let mut set = RoaringTreemap::new();
        self.values.get(key).iter().for_each(|postings| postings.add_to(&mut set));
        set
    }

    /// Items with a string that begins so; `None` if the index cannot tell.
    pub(super) fn beginning_with(&self, text: &str) -> Option<RoaringTreemap> {
        let from = prefix_start(self.spec.kind, text)?;
        let last = from.iter().rposition(|&byte| byte != u8::MAX);
        let to = last.map(|last| {
            let mut to = from[..=last].to_vec();
            to[last] += 1;
            to
        });
        Some(self.values.range(Some(&from), to.as_deref()))
    }

    /// Every distinct value with the number of items of a set (or of all) that have it, in the order of values.
    pub(in crate::collection::local) fn counts(
        &self,
        among: Option<&RoaringTreemap>,
    ) -> impl Iterator<Item = (&[u8], u64)> {
        let count = move |postings: &Postings| among.map_or(postings.len(), |set| postings.count_in(set));
        self.values.iter().map(move |(key, postings)| (key, count(postings)))
    }

    /// Every value with its items, by rising or falling value, from a key on.
    pub(in crate::collection::local) fn ordered<'a>(
        &'a self,
        is_descending: bool,
        from: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = (&'a [u8], &'a Postings)> + 'a> {
        match is_descending {
            true => Box::new(self.values.down_from(from)),
            false => Box::new(self.values.from(from)),
        }
    }

    /// True if an item has more than one value.
    pub(in crate::collection::local) fn has_several(&self, item: u64) -> bool {
        self.several.contains(item)
    }

    /// Distinct values.
    pub(in crate::collection::local) fn n_keys(&self) -> usize {
        self.values.n_keys()
    }

    /// About how many bytes of memory are held.
    pub(in crate::collection::local) fn bytes(&self) -> usize {
        self.values.bytes()
            + self.several.serialized_size()
            + self.marks.values().map(RoaringTreemap::serialized_size).sum::<usize>()
    }
}
