//! Search with a filter, without an index on payloads.
//!
//! First the best items of all are judged, in growing windows: cheap if many items match. If the windows become a sixteenth
//! of the collection, every payload is judged once and the search runs among the items that match.

use std::collections::{HashMap, HashSet};

use super::id_set::IdSet;
use super::moment::{Inner, Look, Moment};
use super::search::{Found, Request, Stopwatch, cut};
use crate::collection::backend::VectorQuery;
use crate::index::Neighbour;
use crate::store::ItemRecord;
use crate::types::filter::{Filter, Mismatches, matches};
use crate::{Error, Result};

/// The smallest first window.
const FIRST_WINDOW: usize = 64;
/// Windows grow by this factor.
const GROWTH: usize = 4;
/// Windows may be this part of the collection.
const WINDOW_SHARE: usize = 16;
/// Scans that may start again because too many payloads changed meanwhile.
const SCANS: usize = 5;

impl Inner {
    pub(super) fn search_filtered(
        &self,
        request: &Request<'_>,
        filter: &Filter,
        look: Look,
        mismatches: &mut Mismatches,
        times: &mut Stopwatch,
    ) -> Result<Found<'_>> {
        let largest = request.queries.iter().map(|query| query.limit).max().unwrap_or(1);
        let mut window = largest.saturating_mul(GROWTH).max(FIRST_WINDOW);
        loop {
            let moment = self.moment(look)?;
            if window > moment.state.names.len() / WINDOW_SHARE {
                drop(moment);
                return self.search_scanned(request, filter, look, mismatches, times);
            }
            let found = self.look_up(moment, request, |_| window, None, times)?;
            let judged = judge(&found.records, filter, mismatches);
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
        mismatches: &mut Mismatches,
        times: &mut Stopwatch,
    ) -> Result<Found<'_>> {
        for _ in 0..SCANS {
            let Moment { state, snapshot } = self.moment(look)?;
            let counters = state.counters;
            drop(state);
            let start = std::time::Instant::now();
            let mut matching = IdSet::default();
            for entry in snapshot.scan_heads(self.id) {
                let (internal, head) = entry?;
                if matches(filter, &head.payload, mismatches) {
                    matching.insert(internal);
                }
            }
            times.fetch += start.elapsed();
            // Changed items may be found and then refused, so more than the limit may have to be looked at.
            let mut extra = 0;
            loop {
                let moment = self.moment(look)?;
                let Some(changed) = moment.state.payload_changes.since(counters.version) else { break };
                let changed: HashSet<u64> = changed.into_iter().collect();
                let is_unsure = |internal: u64| internal >= counters.next_internal || changed.contains(&internal);
                let accepted = |internal: u64| is_unsure(internal) || matching.contains(internal);
                let limit = |query: &VectorQuery| query.limit.saturating_add(extra);
                let found = self.look_up(moment, request, limit, Some(&accepted), times)?;
                let judged = judge(&found.records, filter, mismatches);
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
}

/// Which of the records satisfy the filter.
fn judge(records: &HashMap<u64, ItemRecord>, filter: &Filter, mismatches: &mut Mismatches) -> HashMap<u64, bool> {
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
