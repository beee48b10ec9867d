//! From a filter to the items that satisfy it, as far as indexes know.

use roaring::RoaringTreemap;

use super::indexes::PayloadIndexes;
use super::value_index::ValueIndex;
use crate::collection::schema::CollectionSchema;
use crate::types::Value;
use crate::types::filter::{Filter, Mismatches, Operator, Path};
use crate::types::payload_index::PayloadKind;

/// What indexes say of a filter.
pub(in crate::collection::local) struct Resolved {
    /// Every item that satisfies the filter; also others unless `is_exact`. `None`: any item may.
    pub(in crate::collection::local) items: Option<RoaringTreemap>,
    /// False if payloads have to be asked as well.
    pub(in crate::collection::local) is_exact: bool,
    /// Comparisons that no index answers: the path, and the kind of index that would.
    pub(in crate::collection::local) missing: Vec<(Path, Option<PayloadKind>)>,
    pub(in crate::collection::local) mismatches: Mismatches,
}

struct Resolver<'a> {
    indexes: &'a PayloadIndexes,
    schema: &'a CollectionSchema,
    missing: Vec<(Path, Option<PayloadKind>)>,
    mismatches: Mismatches,
}

impl PayloadIndexes {
    /// Finds the items that satisfy a filter, as far as complete indexes tell.
    pub(in crate::collection::local) fn resolve(&self, schema: &CollectionSchema, filter: &Filter) -> Resolved {
        let mut resolver = Resolver { indexes: self, schema, missing: Vec::new(), mismatches: Mismatches::default() };
        let found = resolver.node(filter);
        let Resolver { mut missing, mismatches, .. } = resolver;
        missing.sort();
        missing.dedup();
        let (items, is_exact) = found.map_or((None, false), |(items, is_exact)| (Some(items), is_exact));
        Resolved { items, is_exact, missing, mismatches }
    }
}

impl<'a> Resolver<'a> {
    /// A set that holds every match, and whether it holds nothing else; `None` if nothing is known.
    fn node(&mut self, filter: &Filter) -> Option<(RoaringTreemap, bool)> {
        let exact = |items: RoaringTreemap| Some((items, true));
        match filter {
            Filter::And(filters) => {
                let found: Vec<_> = filters.iter().map(|filter| self.node(filter)).collect();
                let is_exact = found.iter().all(|found| matches!(found, Some((_, true))));
                let mut sets: Vec<RoaringTreemap> = found.into_iter().flatten().map(|(items, _)| items).collect();
                // The smallest first, so that what follows is short.
                sets.sort_by_key(RoaringTreemap::len);
                let mut sets = sets.into_iter();
                let first = sets.next()?;
                Some((sets.fold(first, |both, items| both & items), is_exact))
            }
            Filter::Or(filters) => {
                // Every part is asked, so that every lacking index is named.
                let found: Vec<_> = filters.iter().map(|filter| self.node(filter)).collect();
                let is_exact = found.iter().all(|found| matches!(found, Some((_, true))));
                let sets: Vec<RoaringTreemap> = found.into_iter().map(|found| Some(found?.0)).collect::<Option<_>>()?;
                Some((sets.into_iter().reduce(|both, items| both | items)?, is_exact))
            }
            Filter::Not(filter) => {
                let (items, is_exact) = self.node(filter)?;
                is_exact.then(|| (self.indexes.all() - items, true))
            }
            Filter::Compare(path, operator, value) => {
                let index = self.index(path, PayloadKind::of(value))?;
                self.note_types(index, value);
                let mut items = index.compared(*operator, value)?;
                if *operator == Operator::NotEqual {
                    items |= self.indexes.all() - index.present();
                }
                exact(items)
            }
            Filter::In(_, values) if values.is_empty() => exact(RoaringTreemap::new()),
            Filter::In(path, values) => {
                let kind = values.first().and_then(PayloadKind::of);
                let kind = kind.filter(|kind| values.iter().all(|value| PayloadKind::of(value) == Some(*kind)));
                let index = self.index(path, kind)?;
                let mut items = RoaringTreemap::new();
                for value in values {
                    items |= index.compared(Operator::Equal, value)?;
                }
                exact(items)
            }
            Filter::Exists(path) => {
                let index = self.indexes.find_any(self.schema, path);
                if index.is_none() {
                    // Any kind tells; of a keyword one can ask more.
                    self.missing.push((path.clone(), Some(PayloadKind::Keyword)));
                }
                exact(index?.present())
            }
            Filter::Prefix(path, text) => {
                let of = |kind| self.indexes.find(self.schema, path, kind);
                let known = of(PayloadKind::Keyword).or_else(|| of(PayloadKind::Prefix));
                let Some(index) = known else {
                    self.missing.push((path.clone(), Some(PayloadKind::Keyword)));
                    return None;
                };
                self.note_types(index, &Value::String(String::new()));
                exact(index.beginning_with(text)?)
            }
        }
    }

    fn index(&mut self, path: &Path, kind: Option<PayloadKind>) -> Option<&'a ValueIndex> {
        let found = kind.and_then(|kind| self.indexes.find(self.schema, path, kind));
        if found.is_none() {
            self.missing.push((path.clone(), kind));
        }
        found
    }

    fn note_types(&mut self, index: &ValueIndex, wanted: &Value) {
        for stored in index.other_types() {
            self.mismatches.note_types(&index.spec().path, stored.name(), wanted.type_name());
        }
    }
}
