//! Finds the best items for query vectors.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use roaring::RoaringTreemap;

use super::moment::{Inner, Look, Moment};
use super::state::{Eligible, GenerationKey, State};
use crate::collection::backend::{BackendHit, FilterPlan, SearchParams, SearchReply, VectorQuery};
use crate::collection::schema::{CollectionSchema, GenerationState};
use crate::distance;
use crate::index::{self, Among, IndexSearch, Neighbour, VectorIndex, VectorKey};
use crate::store::{ItemRecord, Snapshot, VectorSlot};
use crate::types::filter::{Filter, Mismatches};
use crate::{Error, Result};

/// A checked request.
pub(super) struct Request<'a> {
    pub(super) field: &'a str,
    pub(super) generation: u32,
    pub(super) queries: &'a [VectorQuery],
    pub(super) params: &'a SearchParams,
}

/// What an index found for each query, with the records of all of it.
pub(super) struct Found<'a> {
    pub(super) neighbours: Vec<Vec<Neighbour>>,
    /// True if every vector was compared.
    pub(super) exact: bool,
    /// Vectors that wait to be indexed.
    pub(super) deferred: u64,
    pub(super) records: HashMap<u64, Arc<ItemRecord>>,
    pub(super) snapshot: Snapshot<'a>,
    pub(super) schema: Arc<CollectionSchema>,
}

/// Hits beyond the limit that an exact search scores again, since the last ones may change places; more if these are as near.
const SLACK: usize = 16;
/// Two scores of an index may differ from the stored vectors' by so much together.
const INDEX_ERROR: f32 = 5e-5;

/// What a filter was found to be.
#[derive(Default)]
pub(super) struct Judgement {
    pub(super) mismatches: Mismatches,
    pub(super) plan: FilterPlan,
}

/// Where the time went.
#[derive(Default)]
pub(super) struct Stopwatch {
    pub(super) search: Duration,
    pub(super) fetch: Duration,
}

impl Inner {
    /// Finds the best items for each query. Segments that turn out to be damaged are put aside, and the search is done once more.
    ///
    /// # Errors
    /// As [`check`], and those of the store.
    pub(super) fn answer(&self, request: &Request<'_>, filter: Option<&Filter>) -> Result<SearchReply> {
        let search = || self.read(|look| self.search(request, filter, look));
        match search() {
            Err(Error::Corruption(_)) if self.put_damaged_aside(generation_key(&self.schema(), request)?)? => search(),
            outcome => outcome,
        }
    }

    fn search(&self, request: &Request<'_>, filter: Option<&Filter>, look: Look) -> Result<SearchReply> {
        check(&self.schema(), request)?;
        let mut times = Stopwatch::default();
        let mut judgement = Judgement::default();
        let found = match filter {
            None => {
                let found = self.look_up(self.moment(look)?, request, |query| query.limit, None, &mut times)?;
                cut(found, request, |_| true)
            }
            Some(filter) => self.search_filtered(request, filter, look, &mut judgement, &mut times)?,
        };
        let Judgement { mismatches, plan } = judgement;
        let plan = filter.map(|_| plan);
        let start = Instant::now();
        let (exact, deferred) = (found.exact, found.deferred);
        let hits = self.hits(found, request)?;
        times.fetch += start.elapsed();
        let exact = exact && deferred == 0;
        Ok(SearchReply { hits, exact, deferred, mismatches, plan, search_time: times.search, fetch_time: times.fetch })
    }

    /// Searches at a moment, of all items or `among` some, and reads the records found, letting go of the index in between.
    pub(super) fn look_up<'a>(
        &self,
        moment: Moment<'a>,
        request: &Request<'_>,
        limit: impl Fn(&VectorQuery) -> usize,
        among: Option<Among<'_>>,
        times: &mut Stopwatch,
    ) -> Result<Found<'a>> {
        let start = Instant::now();
        let Moment { state, snapshot, epoch } = moment;
        let schema = Arc::clone(&state.schema);
        let key = generation_key(&schema, request)?;
        let mut exact = true;
        let neighbours: Vec<Vec<Neighbour>> = request
            .queries
            .iter()
            .enumerate()
            .map(|(position, query)| {
                let wanted = limit(query);
                let within = |error: Error| error.within(&format!("queries[{position}]"));
                let only = self.only(&snapshot, query, among)?;
                let among = only.as_ref().map(Among::from).or(among);
                if request.params.exact {
                    return self.search_exactly((&state, &snapshot), key, query, wanted, among).map_err(within);
                }
                let search = IndexSearch {
                    limit: wanted,
                    exact: false,
                    recall: self.segments.recall,
                    kind: query.kind,
                    ef: None,
                };
                let found = search_one(&state, key, query, search, among).map_err(within)?;
                exact &= found.exact;
                let index = state.indexes.get(&key).filter(|_| !found.exact && among.is_none());
                if index.is_some_and(|index| index.canary().note(query.kind, &query.vector)) {
                    self.is_measurement_due.store(true, Ordering::Relaxed);
                }
                Ok(found.neighbours)
            })
            .collect::<Result<_>>()?;
        let deferred = state.indexes.get(&key).map_or(0, |index| index.deferred_len() as u64);
        drop(state);
        times.search += start.elapsed();
        let start = Instant::now();
        let internals: BTreeSet<u64> = neighbours.iter().flatten().map(|neighbour| neighbour.key.item).collect();
        let internals: Vec<u64> = internals.into_iter().collect();
        let records = self.cached_records((&snapshot, epoch), &internals)?.into_iter().collect();
        times.fetch += start.elapsed();
        Ok(Found { neighbours, exact, deferred, records, snapshot, schema })
    }

    /// The items that a query names as the only ones, as far as they are `among` others.
    fn only(
        &self,
        snapshot: &Snapshot<'_>,
        query: &VectorQuery,
        among: Option<Among<'_>>,
    ) -> Result<Option<RoaringTreemap>> {
        let Some(ids) = &query.only else { return Ok(None) };
        let named: RoaringTreemap = snapshot.internal_ids(self.id, ids)?.into_iter().flatten().collect();
        Ok(Some(among.map_or(named.clone(), |among| among.items & &named)))
    }

    /// The best of all vectors, scored by the stored ones themselves, which an index may know less exactly.
    fn search_exactly(
        &self,
        (state, snapshot): (&State, &Snapshot<'_>),
        key: GenerationKey,
        query: &VectorQuery,
        limit: usize,
        among: Option<Among<'_>>,
    ) -> Result<Vec<Neighbour>> {
        let mut slack = SLACK;
        let mut found = loop {
            let search = IndexSearch::exact(limit.saturating_add(slack));
            let found = search_one(state, key, query, search, among)?.neighbours;
            let is_closed = |found: &[Neighbour]| {
                found.last().is_some_and(|last| found[limit - 1].score - last.score > INDEX_ERROR)
            };
            if found.len() < search.limit || is_closed(&found) {
                break found;
            }
            slack = slack.saturating_mul(4);
        };
        let (field, generation) = key;
        let slot = |key: VectorKey| VectorSlot { field, generation, part: key.part };
        let slots: Vec<_> = found.iter().map(|found| (found.key.item, slot(found.key))).collect();
        for (neighbour, vector) in found.iter_mut().zip(snapshot.vectors(self.id, &slots)?) {
            // What a write has removed meanwhile keeps its score; its record is missing, too.
            if let Some(vector) = vector {
                neighbour.score = distance::dot(&query.vector, &vector.values);
            }
        }
        let name = |found: &Neighbour| state.names.get(&found.key.item);
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| name(a).cmp(&name(b))));
        found.truncate(limit);
        Ok(found)
    }

    fn hits(&self, found: Found<'_>, request: &Request<'_>) -> Result<Vec<Vec<BackendHit>>> {
        let Found { neighbours, mut records, snapshot, schema, .. } = found;
        let wanted: BTreeSet<u64> = neighbours.iter().flatten().map(|neighbour| neighbour.key.item).collect();
        let wanted: Vec<(u64, Arc<ItemRecord>)> =
            wanted.into_iter().filter_map(|internal| Some((internal, records.remove(&internal)?))).collect();
        let internals: Vec<u64> = wanted.iter().map(|(internal, _)| *internal).collect();
        let items = self.hydrate(&snapshot, &schema, wanted, request.params.select)?;
        let items: HashMap<u64, _> = internals.into_iter().zip(items).collect();
        let hit = |neighbour: &Neighbour| {
            let item = items.get(&neighbour.key.item);
            let part = item.and_then(|item| item.parts.get(neighbour.key.part as usize));
            let (Some(item), Some((part, _))) = (item, part) else {
                let key = neighbour.key;
                return Err(Error::Corruption(format!("internal id {} has no part {}", key.item, key.part)));
            };
            Ok(BackendHit { score: neighbour.score, part: part.clone(), item: item.clone() })
        };
        neighbours.iter().map(|list| list.iter().map(hit).collect()).collect()
    }
}

/// Keeps of each list what `is_match` says and the query allows.
pub(super) fn cut<'a>(mut found: Found<'a>, request: &Request<'_>, is_match: impl Fn(u64) -> bool) -> Found<'a> {
    for (list, query) in found.neighbours.iter_mut().zip(request.queries) {
        let is_good = |neighbour: &Neighbour| query.min_score.is_none_or(|least| neighbour.score >= least);
        list.retain(|neighbour| is_good(neighbour) && is_match(neighbour.key.item));
        list.truncate(query.limit);
    }
    found
}

fn search_one(
    state: &State,
    key: GenerationKey,
    query: &VectorQuery,
    search: IndexSearch,
    among: Option<Among<'_>>,
) -> Result<index::Found> {
    let index = state.indexes.get(&key).ok_or_else(|| Error::Internal("a generation has no index".to_owned()))?;
    if query.vector.len() != index.dimension() {
        return Err(dimension_error(index.dimension(), query.vector.len()));
    }
    let eligible = Eligible { names: &state.names, excluded: query.exclude.iter().collect(), among };
    index.search(&query.vector, search, &eligible)
}

fn check(schema: &CollectionSchema, request: &Request<'_>) -> Result<()> {
    generation_key(schema, request)?;
    for (position, query) in request.queries.iter().enumerate() {
        let within = |error: Error| error.within(&format!("queries[{position}]"));
        if query.limit == 0 {
            return Err(within(Error::invalid("limit", "expected at least 1, got 0")));
        }
        if query.vector.iter().any(|value| !value.is_finite()) {
            return Err(within(Error::invalid("vector", "every number must be finite")));
        }
    }
    Ok(())
}

fn generation_key(schema: &CollectionSchema, request: &Request<'_>) -> Result<GenerationKey> {
    let field = schema.field(request.field)?;
    let generation = field.generation(request.generation)?;
    if generation.state == GenerationState::Building && !request.params.include_building {
        return Err(Error::FailedPrecondition {
            reason: "GENERATION_IS_BUILDING",
            message: format!("generation {} of field {:?} is not complete yet", generation.number, field.name),
        });
    }
    Ok((field.id, generation.number))
}

fn dimension_error(expected: usize, found: usize) -> Error {
    Error::invalid("vector", format!("expected {expected} numbers, got {found}"))
}
