//! Finds the best items for query vectors.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::moment::{Inner, Look, Moment};
use super::state::{Eligible, GenerationKey, State};
use crate::collection::backend::{BackendHit, SearchParams, SearchReply, VectorQuery};
use crate::collection::schema::{CollectionSchema, GenerationState};
use crate::index::{IndexSearch, Neighbour, VectorIndex};
use crate::store::{ItemRecord, Snapshot};
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
    pub(super) records: HashMap<u64, ItemRecord>,
    pub(super) snapshot: Snapshot<'a>,
    pub(super) schema: Arc<CollectionSchema>,
}

/// Where the time went.
#[derive(Default)]
pub(super) struct Stopwatch {
    pub(super) search: Duration,
    pub(super) fetch: Duration,
}

impl Inner {
    pub(super) fn search(&self, request: &Request<'_>, filter: Option<&Filter>, look: Look) -> Result<SearchReply> {
        check(&self.schema(), request)?;
        let mut times = Stopwatch::default();
        let mut mismatches = Mismatches::default();
        let found = match filter {
            None => {
                let found = self.look_up(self.moment(look)?, request, |query| query.limit, &|_| true, &mut times)?;
                cut(found, request, |_| true)
            }
            Some(filter) => self.search_filtered(request, filter, look, &mut mismatches, &mut times)?,
        };
        let start = Instant::now();
        let hits = self.hits(found, request)?;
        times.fetch += start.elapsed();
        Ok(SearchReply { hits, exact: true, mismatches, search_time: times.search, fetch_time: times.fetch })
    }

    /// Searches at a moment and reads the records found, letting go of the index in between.
    pub(super) fn look_up<'a>(
        &self,
        moment: Moment<'a>,
        request: &Request<'_>,
        limit: impl Fn(&VectorQuery) -> usize,
        accepted: &(dyn Fn(u64) -> bool + Sync),
        times: &mut Stopwatch,
    ) -> Result<Found<'a>> {
        let start = Instant::now();
        let Moment { state, snapshot } = moment;
        let schema = Arc::clone(&state.schema);
        let key = generation_key(&schema, request)?;
        let neighbours: Vec<Vec<Neighbour>> = request
            .queries
            .iter()
            .enumerate()
            .map(|(position, query)| {
                let list = search_one(&state, key, query, limit(query), request.params.exact, accepted);
                list.map_err(|error| error.within(&format!("queries[{position}]")))
            })
            .collect::<Result<_>>()?;
        drop(state);
        times.search += start.elapsed();
        let start = Instant::now();
        let internals: BTreeSet<u64> = neighbours.iter().flatten().map(|neighbour| neighbour.key.item).collect();
        let internals: Vec<u64> = internals.into_iter().collect();
        let records = self.records(&snapshot, &internals)?.into_iter().collect();
        times.fetch += start.elapsed();
        Ok(Found { neighbours, records, snapshot, schema })
    }

    fn hits(&self, found: Found<'_>, request: &Request<'_>) -> Result<Vec<Vec<BackendHit>>> {
        let Found { neighbours, mut records, snapshot, schema } = found;
        let wanted: BTreeSet<u64> = neighbours.iter().flatten().map(|neighbour| neighbour.key.item).collect();
        let wanted: Vec<(u64, ItemRecord)> =
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
    limit: usize,
    exact: bool,
    accepted: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Vec<Neighbour>> {
    let index = state.indexes.get(&key).ok_or_else(|| Error::Internal("a generation has no index".to_owned()))?;
    if query.vector.len() != index.dimension() {
        return Err(dimension_error(index.dimension(), query.vector.len()));
    }
    let eligible = Eligible { names: &state.names, excluded: query.exclude.iter().collect(), accepted };
    Ok(index.search(&query.vector, IndexSearch { limit, exact }, &eligible))
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
