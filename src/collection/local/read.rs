//! Reads without a query vector.

use std::sync::Arc;

use super::moment::{Inner, Look, Moment};
use super::search::Judgement;
use super::state::State;
use crate::collection::backend::{BackendStats, IndexReport, PayloadIndexReport, ScrollPage, Selection, StoredItem};
use crate::index::{KindReport, QueryKind, Sealed, SegmentedIndex, VectorIndex as _};
use crate::store::{ItemRecord, Snapshot};
use crate::types::ItemId;
use crate::types::filter::{Filter, Mismatches, matches};
use crate::{Error, Result};

/// Records that a filtered scroll reads at once.
const SCROLL_BATCH: usize = 256;

impl Inner {
    pub(super) fn get(&self, ids: &[ItemId], select: Selection, look: Look) -> Result<Vec<Option<StoredItem>>> {
        let Moment { state, snapshot, .. } = self.moment(look)?;
        let schema = Arc::clone(&state.schema);
        drop(state);
        let internals = snapshot.internal_ids(self.id, ids)?;
        let found: Vec<u64> = internals.iter().flatten().copied().collect();
        let records = self.records(&snapshot, &found)?;
        let mut items = self.hydrate(&snapshot, &schema, records, select)?.into_iter();
        Ok(internals.iter().map(|internal| internal.and_then(|_| items.next())).collect())
    }

    pub(super) fn scroll(
        &self,
        after: Option<&ItemId>,
        filter: Option<&Filter>,
        limit: usize,
        select: Selection,
        look: Look,
    ) -> Result<ScrollPage> {
        if limit == 0 {
            return Err(Error::invalid("limit", "expected at least 1, got 0"));
        }
        let Moment { state, snapshot, .. } = self.moment(look)?;
        let schema = Arc::clone(&state.schema);
        let resolved = filter.map(|filter| state.payloads.resolve(&schema, filter));
        drop(state);
        let mut mismatches = Mismatches::default();
        let among = resolved.and_then(|resolved| {
            mismatches.merge(resolved.mismatches);
            resolved.items
        });
        if among.is_some() && look == Look::AtOnce {
            // An item that was just written anew has another internal id than the indexes know.
            return self.scroll(after, filter, limit, select, Look::Agreed);
        }
        let may_match = |internal: &u64| among.as_ref().is_none_or(|among| among.contains(*internal));
        let mut ids = snapshot.scan_ids(self.id, after).peekable();
        let mut found: Vec<(u64, ItemRecord)> = Vec::new();
        let mut is_more = ids.peek().is_some();
        while is_more && found.len() < limit {
            let missing = limit - found.len();
            let wanted = if filter.is_some() { SCROLL_BATCH.max(missing) } else { missing };
            let internals: Vec<u64> =
                ids.by_ref().take(wanted).map(|entry| entry.map(|(_, internal)| internal)).collect::<Result<_>>()?;
            is_more = ids.peek().is_some();
            let last = internals.last().copied();
            let internals: Vec<u64> = internals.into_iter().filter(may_match).collect();
            for (internal, record) in self.records(&snapshot, &internals)? {
                if filter.is_none_or(|filter| matches(filter, &record.head.payload, &mut mismatches)) {
                    found.push((internal, record));
                    if found.len() == limit {
                        is_more |= Some(internal) != last;
                        break;
                    }
                }
            }
        }
        let next = found.last().filter(|_| is_more).map(|(_, record)| record.head.id.clone());
        let items = self.hydrate(&snapshot, &schema, found, select)?;
        Ok(ScrollPage { items, next, mismatches })
    }

    pub(super) fn count(&self, filter: Option<&Filter>, look: Look) -> Result<u64> {
        let Moment { state, snapshot, .. } = self.moment(look)?;
        let Some(filter) = filter else { return Ok(state.names.len() as u64) };
        let resolved = state.payloads.resolve(&state.schema, filter);
        drop(state);
        match resolved.items {
            Some(items) if resolved.is_exact => Ok(items.len()),
            Some(items) => Ok(self.judge_all(&snapshot, &items, filter, &mut Judgement::default())?.len()),
            None => Ok(self.judge_heads(&snapshot, filter, &mut Judgement::default())?.len()),
        }
    }

    /// The records of internal ids that must be there.
    pub(super) fn records(&self, snapshot: &Snapshot<'_>, internals: &[u64]) -> Result<Vec<(u64, ItemRecord)>> {
        let records = snapshot.records(self.id, internals)?.into_iter().zip(internals);
        records
            .map(|(record, &internal)| {
                let lost = || Error::Corruption(format!("internal id {internal} is listed but has no record"));
                Ok((internal, record.ok_or_else(lost)?))
            })
            .collect()
    }

    fn report(&self, (state, field, generation): (&State, u32, u32), index: &SegmentedIndex) -> Option<IndexReport> {
        let segments = index.segments();
        Some(IndexReport {
            field: state.schema.field_of(field, generation)?.name.clone(),
            generation,
            vectors: index.len() as u64,
            tail_vectors: index.tail_len() as u64,
            tail_capacity: self.tail_capacity(index) as u64,
            deferred_vectors: index.deferred_len() as u64,
            segments: segments.len() as u64,
            segment_bytes: segments.iter().map(|sealed| sealed.segment().file_bytes() as u64).sum(),
            deleted_vectors: segments.iter().map(|sealed| (sealed.segment().n_keys() - sealed.n_live()) as u64).sum(),
            self_retrieval: self_retrieval(segments),
            kinds: kinds(segments, self.segments.recall),
        })
    }

    pub(super) fn stats(&self) -> BackendStats {
        let state = self.state.read();
        let mut stats = BackendStats {
            items: state.names.len() as u64,
            version: state.counters.version,
            applied_version: state.counters.version,
            ..BackendStats::default()
        };
        for index in &state.schema.payload_indexes {
            let held = state.payloads.index(index.id);
            let (values, bytes) = held.map_or((0, 0), |held| (held.n_keys() as u64, held.bytes() as u64));
            stats.index_bytes += bytes;
            stats.payload_indexes.push(PayloadIndexReport { index: index.clone(), values, bytes });
        }
        for (&(field, generation), index) in &state.indexes {
            stats.index_bytes += index.bytes() as u64;
            stats.indexes.extend(self.report((&state, field, generation), index));
            if let Some(field) = state.schema.field_of(field, generation) {
                stats.vectors.insert((field.name.clone(), generation), index.len() as u64);
            }
        }
        stats
    }
}

/// The mean of all segments by their vectors; `None` until each was measured.
fn self_retrieval(segments: &[Sealed]) -> Option<f32> {
    let shares: Option<Vec<f32>> = segments.iter().map(|sealed| sealed.watch().self_retrieval()).collect();
    let weights = segments.iter().map(|sealed| sealed.segment().n_nodes() as f32);
    mean(shares?.into_iter().zip(weights))
}

/// What the kinds show that were measured: recalls are means of all segments by their vectors, nodes are those of the largest.
fn kinds(segments: &[Sealed], recall: f32) -> Vec<KindReport> {
    let mut by_size: Vec<&Sealed> = segments.iter().collect();
    by_size.sort_by_key(|sealed| std::cmp::Reverse(sealed.n_live()));
    let of_kind = |kind: QueryKind| {
        let reports: Vec<(KindReport, f32)> = by_size
            .iter()
            .filter_map(|sealed| {
                let report = sealed.watch().reports(recall).into_iter().find(|report| report.kind == kind)?;
                Some((report, sealed.segment().n_nodes() as f32))
            })
            .collect();
        let recall = mean(reports.iter().map(|(report, weight)| (report.recall, *weight)))?;
        Some(KindReport { recall, ..reports.first()?.0 })
    };
    QueryKind::ALL.into_iter().filter_map(of_kind).collect()
}

/// `None` of nothing.
fn mean(weighted: impl Iterator<Item = (f32, f32)>) -> Option<f32> {
    let (sum, weight) = weighted.fold((0.0, 0.0), |(sum, all), (value, weight)| (sum + value * weight, all + weight));
    (weight > 0.0).then(|| sum / weight)
}
