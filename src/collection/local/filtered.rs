//! Search with a filter.
//!
//! Where indexes on payloads know every match, the index of vectors is asked for the best of these alone. Where they do not, but leave few
//! items, these are judged by their payloads. Else the best items of all, or of what is left, are judged, in growing windows: cheap if many
//! items match. If the windows become a sixteenth of the collection, every payload is judged once.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::moment::{Inner, Look, Moment};
use super::search::{Found, Judgement, Request, Stopwatch, cut};
use crate::collection::backend::{FilterStrategy, VectorQuery};
use crate::index::{Among, Neighbour};
use crate::store::{ItemRecord, Snapshot};
use crate::types::filter::{Filter, Mismatches, matches};
use crate::{Error, Result};

/// The smallest first window.
const FIRST_WINDOW: usize = 64;
/// Windows grow by this factor.
const GROWTH: usize = 4;
/// Windows may be this part of the collection, and what indexes leave is judged one by one if it is no more.
const WINDOW_SHARE: usize = 16;
/// Scans that may start again because too many payloads changed meanwhile.
const SCANS: usize = 5;
/// Payloads that are read at once.
const PAGE: usize = 4_096;

impl Inner {
    pub(super) fn search_filtered(
        &self,
        request: &Request<'_>,
        filter: &Filter,
        look: Look,
        judgement: &mut Judgement,
        times: &mut Stopwatch,
    ) -> Result<Found<'_>> {
        let largest = request.queries.iter().map(|query| query.limit).max().unwrap_or(1);
        let mut window = largest.saturating_mul(GROWTH).max(FIRST_WINDOW);
        loop {
            let moment = self.moment(look)?;
            let start = std::time::Instant::now();
            let resolved = moment.state.payloads.resolve_kept(&moment.state.schema, filter);
            let (left, is_exact) = (resolved.among(), resolved.is_exact);
            judgement.mismatches.merge(resolved.mismatches.clone());
            judgement.plan.missing.clone_from(&resolved.missing);
            let few = moment.state.names.len() / WINDOW_SHARE;
            let is_known = is_exact || left.is_some_and(|left| left.items.len() <= few as u64);
            let judged = match left.filter(|_| is_known && !is_exact) {
                Some(left) => Some(self.judge_all(&moment.snapshot, left.items, filter, judgement)?),
                None => None,
            };
            let among = judged.as_ref().map(Among::from).or(left);
            times.search += start.elapsed();
            if let Some(known) = among.filter(|_| is_known) {
                judgement.plan.matches = Some(known.items.len());
                let found = self.look_up(moment, request, |query| query.limit, Some(known), times)?;
                let is_walk = !found.exact;
                judgement.plan.strategy = if is_walk { FilterStrategy::Walk } else { FilterStrategy::Listed };
                check_hits(&found.records, filter, &mut judgement.mismatches)?;
                return Ok(cut(found, request, |_| true));
            }
            if window > few {
                drop(moment);
                return self.search_scanned(request, filter, look, judgement, times);
            }
            let found = self.look_up(moment, request, |_| window, among, times)?;
            judgement.plan.strategy = FilterStrategy::Windows;
            judgement.plan.payloads_read += found.records.len() as u64;
            let judged = judge(&found.records, filter, &mut judgement.mismatches);
            let is_match = |internal: u64| judged.get(&internal) == Some(&true);
            let lists = found.neighbours.iter().zip(request.queries);
            if lists.into_iter().all(|(list, query)| is_complete(list, query, window, &is_match)) {
                return Ok(cut(found, request, is_match));
            }
            // As wide as the matches so far suggest, twice over.
            let lists = found.neighbours.iter();
            let matches = lists.map(|list| list.iter().filter(|neighbour| is_match(neighbour.key.item)).count());
            let fewest = matches.min().unwrap_or(0).max(1);
            window = window.saturating_mul(GROWTH.max(2 * largest / fewest));
        }
    }

    /// Judges every payload, then searches among the matches. Items that changed meanwhile are judged again when found.
    fn search_scanned(
        &self,
        request: &Request<'_>,
        filter: &Filter,
        look: Look,
        judgement: &mut Judgement,
        times: &mut Stopwatch,
    ) -> Result<Found<'_>> {
        for _ in 0..SCANS {
            let Moment { state, snapshot, .. } = self.moment(look)?;
            let counters = state.counters;
            // What indexes know to be out is not read.
            let left = state.payloads.resolve(&state.schema, filter).items;
            drop(state);
            let start = std::time::Instant::now();
            let matching = match left {
                Some(left) => self.judge_all(&snapshot, &left, filter, judgement)?,
                None => self.judge_heads(&snapshot, filter, judgement)?,
            };
            times.fetch += start.elapsed();
            judgement.plan.matches = Some(matching.len());
            // Changed items may be found and then refused, so more than the limit may have to be looked at.
            let mut extra = 0;
            loop {
                let moment = self.moment(look)?;
                let Some(changed) = moment.state.payload_changes.since(counters.version) else { break };
                let mut among = matching.clone();
                among.extend(changed);
                let mut newer = moment.state.payloads.all().iter();
                newer.advance_to(counters.next_internal);
                among.extend(newer);
                let limit = |query: &VectorQuery| query.limit.saturating_add(extra);
                let found = self.look_up(moment, request, limit, Some(Among::from(&among)), times)?;
                judgement.plan.strategy = if found.exact { FilterStrategy::Listed } else { FilterStrategy::Walk };
                let judged = judge(&found.records, filter, &mut judgement.mismatches);
                let is_match = |internal: u64| judged.get(&internal) == Some(&true);
                let lists = found.neighbours.iter().zip(request.queries);
                if lists.into_iter().all(|(list, query)| is_complete(list, query, limit(query), &is_match)) {
                    return Ok(cut(found, request, is_match));
                }
                extra = (extra * GROWTH).max(FIRST_WINDOW);
            }
        }
        Err(Error::Unavailable {
            what: "the filtered search".to_owned(),
            message: "payloads change faster than they can be read".to_owned(),
            retry_after: std::time::Duration::from_secs(1),
        })
    }

    /// The matches of all items, by their payloads.
    pub(super) fn judge_heads(
        &self,
        snapshot: &Snapshot<'_>,
        filter: &Filter,
        judgement: &mut Judgement,
    ) -> Result<RoaringTreemap> {
        let mut matching = RoaringTreemap::new();
        for entry in snapshot.scan_heads(self.id) {
            let (internal, head) = entry?;
            judgement.plan.payloads_read += 1;
            if matches(filter, &head.payload, &mut judgement.mismatches) {
                matching.insert(internal);
            }
        }
        Ok(matching)
    }

    /// The matches of some items, by their payloads; items that are not there any more are none.
    pub(super) fn judge_all(
        &self,
        snapshot: &Snapshot<'_>,
        items: &RoaringTreemap,
        filter: &Filter,
        judgement: &mut Judgement,
    ) -> Result<RoaringTreemap> {
        let mut matching = RoaringTreemap::new();
        let mut left = items.iter();
        loop {
            let page: Vec<u64> = left.by_ref().take(PAGE).collect();
            if page.is_empty() {
                return Ok(matching);
            }
            judgement.plan.payloads_read += page.len() as u64;
            for (&internal, record) in page.iter().zip(snapshot.records(self.id, &page)?) {
                let is_match = |record: &ItemRecord| matches(filter, &record.head.payload, &mut judgement.mismatches);
                if record.as_ref().is_some_and(is_match) {
                    matching.insert(internal);
                }
            }
        }
    }
}

/// A hit whose payload is another than an index on payloads knows: the write that changed it is not in the index yet, and the caller looks
/// again, when both agree.
fn check_hits(records: &HashMap<u64, Arc<ItemRecord>>, filter: &Filter, mismatches: &mut Mismatches) -> Result<()> {
    match judge(records, filter, mismatches).into_iter().find(|(_, is_match)| !is_match) {
        Some((internal, _)) => {
            Err(Error::Corruption(format!("a payload index has other values for internal id {internal} than its item")))
        }
        None => Ok(()),
    }
}

/// Which of the records satisfy the filter.
fn judge(records: &HashMap<u64, Arc<ItemRecord>>, filter: &Filter, mismatches: &mut Mismatches) -> HashMap<u64, bool> {
    records.iter().map(|(&internal, record)| (internal, matches(filter, &record.head.payload, mismatches))).collect()
}

/// True if no item outside the list could be among the query's hits.
fn is_complete(list: &[Neighbour], query: &VectorQuery, window: usize, is_match: &impl Fn(u64) -> bool) -> bool {
    let is_everything = list.len() < window;
    let is_below = |last: &Neighbour| query.min_score.is_some_and(|least| last.score < least);
    is_everything
        || list.last().is_some_and(is_below)
        || list.iter().filter(|neighbour| is_match(neighbour.key.item)).count() >= query.limit
}
