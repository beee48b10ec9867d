//! Reads that go by payloads: facets, and items in the order of a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::moment::{Inner, Look, Moment};
use super::payload::{Resolved, ValueIndex};
use super::search::Judgement;
use super::state::State;
use crate::collection::backend::{Facet, FacetReply, OrderBy, OrderedPage, Selection};
use crate::store::{ItemRecord, Snapshot};
use crate::types::ItemId;
use crate::types::filter::{Filter, Path, matches};
use crate::types::payload_index::{PayloadIndexSpec, PayloadKind, TypeMark, decode, entries_of};
use crate::{Error, Result};

/// The kinds that together hold every value that a facet counts.
const COUNTED: [PayloadKind; 4] = [PayloadKind::Keyword, PayloadKind::Number, PayloadKind::Bool, PayloadKind::Time];
/// Which kind an order goes by if a path has indexes of several.
const ORDERED: [PayloadKind; 4] = [PayloadKind::Number, PayloadKind::Time, PayloadKind::Keyword, PayloadKind::Bool];
/// Records that an ordered scroll reads at once.
const PAGE: usize = 256;

/// How many items have each value.
type Counts = BTreeMap<(PayloadKind, Vec<u8>), u64>;

impl Inner {
    /// Counts the items by the values at each path, among those that satisfy a filter; the `limit` most frequent values of each.
    pub(super) fn facets(
        &self,
        paths: &[Path],
        filter: Option<&Filter>,
        limit: usize,
        look: Look,
    ) -> Result<FacetReply> {
        let Moment { state, snapshot, .. } = self.moment(look)?;
        let mut judgement = Judgement::default();
        let resolved = filter.map(|filter| (filter, state.payloads.resolve(&state.schema, filter)));
        let is_known = resolved.as_ref().is_none_or(|(_, resolved)| resolved.is_exact);
        let mut counted: Vec<Option<Counts>> = vec![None; paths.len()];
        let n_items = state.names.len() as u64;
        if is_known {
            let among = resolved.as_ref().and_then(|(_, resolved)| resolved.items.as_ref());
            counted = paths.iter().map(|path| indexed_counts(&state, path, among)).collect();
        }
        // Nobody waits for payloads to be read; what is judged by them is counted by them, too.
        drop(state);
        let among = resolved
            .map(|(filter, resolved)| self.judge_resolved(&snapshot, resolved, filter, &mut judgement))
            .transpose()?;
        let items = among.as_ref().map_or(n_items, RoaringTreemap::len);
        let open: Vec<usize> = (0..paths.len()).filter(|&at| counted[at].is_none()).collect();
        if !open.is_empty() {
            let open_paths: Vec<&Path> = open.iter().map(|&at| &paths[at]).collect();
            let found = self.read_counts(&snapshot, &open_paths, among.as_ref(), &mut judgement)?;
            open.iter().zip(found).for_each(|(&at, counts)| counted[at] = Some(counts));
        }
        let facets = paths.iter().zip(counted).map(|(path, counts)| facet(path, counts.unwrap_or_default(), limit));
        let (facets, Judgement { mismatches, plan }) = (facets.collect::<Result<_>>()?, judgement);
        // Of a filter that payloads had to decide, the filter's own warning says what is missing.
        let unindexed = open.into_iter().filter(|_| is_known).map(|at| paths[at].clone()).collect();
        Ok(FacetReply { facets, items, unindexed, mismatches, plan })
    }

    /// The items that satisfy a filter.
    pub(super) fn matching(
        &self,
        (state, snapshot): (&State, &Snapshot<'_>),
        filter: &Filter,
        judgement: &mut Judgement,
    ) -> Result<RoaringTreemap> {
        self.judge_resolved(snapshot, state.payloads.resolve(&state.schema, filter), filter, judgement)
    }

    /// The items that satisfy a filter, by their payloads as far as indexes leave it open.
    fn judge_resolved(
        &self,
        snapshot: &Snapshot<'_>,
        resolved: Resolved,
        filter: &Filter,
        judgement: &mut Judgement,
    ) -> Result<RoaringTreemap> {
        judgement.mismatches.merge(resolved.mismatches);
        judgement.plan.missing = resolved.missing;
        match resolved.items {
            Some(items) if resolved.is_exact => Ok(items),
            Some(items) => self.judge_all(snapshot, &items, filter, judgement),
            None => self.judge_heads(snapshot, filter, judgement),
        }
    }

    /// Counts values by reading payloads.
    fn read_counts(
        &self,
        snapshot: &Snapshot<'_>,
        paths: &[&Path],
        among: Option<&RoaringTreemap>,
        judgement: &mut Judgement,
    ) -> Result<Vec<Counts>> {
        let specs = paths.iter().map(|&path| COUNTED.map(|kind| PayloadIndexSpec { path: path.clone(), kind }));
        let specs: Vec<_> = specs.collect();
        let mut counts = vec![Counts::new(); paths.len()];
        for entry in snapshot.scan_heads(self.id) {
            let (internal, head) = entry?;
            if among.is_some_and(|among| !among.contains(internal)) {
                continue;
            }
            judgement.plan.payloads_read += 1;
            for (specs, counts) in specs.iter().zip(&mut counts) {
                for spec in specs {
                    for key in entries_of(spec, &head.payload).keys {
                        *counts.entry((spec.kind, key)).or_default() += 1;
                    }
                }
            }
        }
        Ok(counts)
    }

    /// Items with a value at a path in the value's order, equal ones by item id, after a cursor. An item with several values stands at its
    /// first one.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `NO_PAYLOAD_INDEX` if no index has the values.
    pub(super) fn scroll_by(
        &self,
        order: &OrderBy,
        after: Option<&[u8]>,
        filter: Option<&Filter>,
        (limit, select): (usize, Selection),
        look: Look,
    ) -> Result<OrderedPage> {
        if limit == 0 {
            return Err(Error::invalid("limit", "expected at least 1, got 0"));
        }
        let after = after.map(read_cursor).transpose()?;
        let Moment { state, snapshot, .. } = self.moment(look)?;
        let schema = Arc::clone(&state.schema);
        let mut judgement = Judgement::default();
        let among = filter.map(|filter| self.matching((&state, &snapshot), filter, &mut judgement)).transpose()?;
        let index = ORDERED.iter().find_map(|kind| state.payloads.find(&schema, &order.path, *kind));
        let index = index.ok_or_else(|| Error::FailedPrecondition {
            reason: "NO_PAYLOAD_INDEX",
            message: format!(
                "to order by {} takes an index of its values; create one with CreatePayloadIndex or `pictor index create`",
                order.path
            ),
        })?;
        let wanted = limit.saturating_add(1);
        let found = in_order(&state, index, (order.is_descending, after.as_ref()), among.as_ref(), wanted, |item| {
            let record = snapshot.records(self.id, &[item])?.into_iter().flatten().next();
            let keys = record.map(|record| entries_of(index.spec(), &record.head.payload).keys).unwrap_or_default();
            Ok(if order.is_descending { keys.into_iter().next_back() } else { keys.into_iter().next() })
        })?;
        drop(state);
        let next = (found.len() > limit).then(|| found[limit - 1].clone()).map(|(key, id, _)| write_cursor(&key, &id));
        let internals: Vec<u64> = found.iter().take(limit).map(|(_, _, item)| *item).collect();
        let mut records: Vec<(u64, ItemRecord)> = Vec::with_capacity(internals.len());
        for page in internals.chunks(PAGE) {
            records.extend(self.records(&snapshot, page)?);
        }
        for (internal, record) in &records {
            if filter.is_some_and(|filter| !matches(filter, &record.head.payload, &mut judgement.mismatches)) {
                return Err(Error::Corruption(format!("a payload index has other values for internal id {internal}")));
            }
        }
        let items = self.hydrate(&snapshot, &schema, records, select)?;
        Ok(OrderedPage { items, next, mismatches: judgement.mismatches, plan: judgement.plan })
    }
}

/// Items by the order of their values: the value's key, the item's id and internal id.
fn in_order(
    state: &State,
    index: &ValueIndex,
    (is_descending, after): (bool, Option<&(Vec<u8>, ItemId)>),
    among: Option<&RoaringTreemap>,
    wanted: usize,
    first_key: impl Fn(u64) -> Result<Option<Vec<u8>>>,
) -> Result<Vec<(Vec<u8>, ItemId, u64)>> {
    let mut found = Vec::new();
    let from = after.map(|(key, _)| key.as_slice());
    for (key, postings) in index.ordered(is_descending, from) {
        let mut items = RoaringTreemap::new();
        postings.add_to(&mut items);
        if let Some(among) = among {
            items &= among;
        }
        let mut of_key: Vec<(&ItemId, u64)> =
            items.iter().filter_map(|item| Some((state.names.get(&item)?, item))).collect();
        if let Some((last_key, last)) = after
            && last_key == key
        {
            of_key.retain(|(id, _)| *id > last);
        }
        of_key.sort_unstable();
        for (id, item) in of_key {
            if index.has_several(item) && first_key(item)?.as_deref() != Some(key) {
                continue;
            }
            found.push((key.to_vec(), id.clone(), item));
            if found.len() == wanted {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// What indexes count at a path; `None` if values stand there that no index has.
fn indexed_counts(state: &State, path: &Path, among: Option<&RoaringTreemap>) -> Option<Counts> {
    let indexes: Vec<&ValueIndex> =
        COUNTED.iter().filter_map(|kind| state.payloads.find(&state.schema, path, *kind)).collect();
    let is_known = |mark: TypeMark| {
        matches!(mark, TypeMark::Null | TypeMark::Map | TypeMark::Nothing)
            || indexes.iter().any(|index| index.spec().kind.mark() == mark)
    };
    if !indexes.first()?.other_types().all(is_known) {
        return None;
    }
    let mut counts = Counts::new();
    for index in indexes {
        let found = index.counts(among).filter(|(_, count)| *count > 0);
        counts.extend(found.map(|(key, count)| ((index.spec().kind, key.to_vec()), count)));
    }
    Some(counts)
}

/// The most frequent values, equally frequent ones in their order.
fn facet(path: &Path, counts: Counts, limit: usize) -> Result<Facet> {
    let distinct = counts.len() as u64;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(limit);
    let value = |((kind, key), count): ((PayloadKind, Vec<u8>), u64)| {
        let value = decode(kind, &key).ok_or_else(|| Error::Corruption(format!("a value of {path} cannot be read")))?;
        Ok((value, count))
    };
    Ok(Facet { path: path.clone(), values: counts.into_iter().map(value).collect::<Result<_>>()?, distinct })
}

/// A cursor: the length of the key, the key, the item's id.
fn write_cursor(key: &[u8], id: &ItemId) -> Vec<u8> {
    [&(key.len() as u32).to_le_bytes(), key, id.as_str().as_bytes()].concat()
}

fn read_cursor(bytes: &[u8]) -> Result<(Vec<u8>, ItemId)> {
    let parts = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
        let (key, id) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some((key.to_vec(), ItemId::new(std::str::from_utf8(id).ok()?).ok()?))
    });
    parts
        .ok_or_else(|| Error::invalid("cursor", "expected what the previous reply gave, of a scroll in the same order"))
}
