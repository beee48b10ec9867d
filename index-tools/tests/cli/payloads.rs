//! What the fixture's server does with payloads: counts of values, groups, orders, and indexes that jobs fill.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::pin::Pin;

use futures::Stream;
use pictor_proto::v1;
use pictor_proto::v1::jobs_server::Jobs;
use pictor_proto::v1::value::Kind;
use tonic::{Request, Response, Status};

use super::fixture::{Server, State, stored};

/// An item with its version.
pub(crate) type Versioned = (u64, v1::Item);

/// Items of one page of an ordered scroll.
const PAGE: usize = 3;

/// The values at a path of one word; a list's elements.
fn values_at(item: &v1::Item, path: &str) -> Vec<v1::Value> {
    match item.payload.get(path) {
        Some(v1::Value { kind: Some(Kind::ListValue(list)) }) => list.values.clone(),
        Some(value) => vec![value.clone()],
        None => Vec::new(),
    }
}

fn number_at(item: &v1::Item, path: &str) -> Option<i64> {
    match item.payload.get(path)?.kind {
        Some(Kind::IntValue(number)) => Some(number),
        _ => None,
    }
}

/// Understands filters like `n < 4`; any other one keeps every item.
fn satisfies(filter: Option<&v1::Filter>, item: &v1::Item) -> bool {
    let Some(v1::filter::Node::Expression(text)) = filter.and_then(|filter| filter.node.as_ref()) else { return true };
    let Some(bound) = text.strip_prefix("n < ").and_then(|bound| bound.parse::<i64>().ok()) else { return true };
    number_at(item, "n").is_some_and(|number| number < bound)
}

/// The most frequent values first, equally frequent ones in the order in which they are written.
fn facet<'i>(items: impl Iterator<Item = &'i v1::Item>, path: &str, limit: usize) -> v1::Facet {
    let mut counts: BTreeMap<String, v1::FacetValue> = BTreeMap::new();
    for value in items.flat_map(|item| values_at(item, path)) {
        let counted = counts.entry(format!("{value:?}")).or_default();
        counted.value = Some(value);
        counted.count += 1;
    }
    let distinct = counts.len() as u64;
    let mut values: Vec<_> = counts.into_values().collect();
    values.sort_by_key(|counted| Reverse(counted.count));
    values.truncate(limit);
    v1::Facet { path: path.to_owned(), values, distinct }
}

pub(crate) fn count_facets(state: &State, request: &v1::CountFacetsRequest) -> v1::CountFacetsResponse {
    let items = state.items.values().map(|(_, item)| item);
    let among: Vec<&v1::Item> = items.filter(|item| satisfies(request.filter.as_ref(), item)).collect();
    let limit = request.limit as usize;
    v1::CountFacetsResponse {
        facets: request.paths.iter().map(|path| facet(among.iter().copied(), path, limit)).collect(),
        items: among.len() as u64,
        warnings: request.filter.iter().map(|_| "filter: 7 payloads were read to judge n".to_owned()).collect(),
    }
}

/// Finds the items in the order of their ids, all with the same score, and ranks them as the request says.
pub(crate) fn answer(request: &v1::SearchRequest, items: &[Versioned]) -> v1::SearchResponse {
    let is_explained = request.explain() == v1::Explain::Plan;
    let is_ranked = !request.boosts.is_empty() || !request.fields.is_empty();
    let candidates: Vec<&Versioned> =
        items.iter().filter(|(_, item)| satisfies(request.filter.as_ref(), item)).collect();
    let limit = request.limit as usize;
    let hit = |rank: usize, (version, item): &Versioned| v1::Hit {
        rank: rank as u32,
        id: item.id.clone(),
        score: 0.1,
        part: Some(v1::PartRef { kind: v1::PartKind::Text.into(), name: "t".into(), index: 0 }),
        item: Some(stored(item, *version)),
        explanation: (is_explained && is_ranked).then(|| explanation(request)),
    };
    let mut groups: Vec<v1::HitGroup> = Vec::new();
    if let Some(group_by) = &request.group_by {
        for &candidate in &candidates {
            for value in values_at(&candidate.1, &group_by.path) {
                let known = groups.iter().position(|group| group.value.as_ref() == Some(&value));
                let place = known.unwrap_or(groups.len());
                if known.is_none() {
                    groups.push(v1::HitGroup { value: Some(value), hits: Vec::new() });
                }
                if groups[place].hits.len() < group_by.size as usize {
                    groups[place].hits.push(hit(place + 1, candidate));
                }
            }
        }
        groups.truncate(limit);
    }
    let alone = candidates.iter().copied().take(if request.group_by.is_some() { 0 } else { limit }).enumerate();
    let plan = v1::FilterPlan {
        strategy: "listed".into(),
        matches: Some(candidates.len() as u64),
        payloads_read: items.len() as u64,
        missing: vec![v1::MissingIndex { path: "n".into(), kind: "number".into() }],
    };
    let counted = |path: &String| facet(candidates.iter().map(|(_, item)| item), path, usize::MAX);
    v1::SearchResponse {
        hits: alone.map(|(place, candidate)| hit(place + 1, candidate)).collect(),
        groups,
        facets: request.facets.iter().map(counted).collect(),
        plan: (is_explained && request.filter.is_some()).then_some(plan),
        field: "text".into(),
        ..Default::default()
    }
}

/// Boosts add 0.25, 0.5 and so on; the first field finds the hit second, the others do not find it.
fn explanation(request: &v1::SearchRequest) -> v1::HitExplanation {
    let field = |(place, field): (usize, &v1::FusedField)| {
        let (rank, score) = if place == 0 { (2, 0.5) } else { (0, 0.0) };
        v1::FieldRank { field: field.field.clone(), rank, score }
    };
    v1::HitExplanation {
        similarity: 0.1,
        boosts: (1..=request.boosts.len()).map(|place| place as f32 * 0.25).collect(),
        fields: request.fields.iter().enumerate().map(field).collect(),
    }
}

/// A page of the items with a whole number at the path; the cursor is how many came before.
pub(crate) fn ordered_page(state: &State, order: &v1::OrderBy, cursor: &str) -> v1::ScrollResponse {
    let numbered = |(version, item): &Versioned| Some((number_at(item, &order.path)?, stored(item, *version)));
    let mut items: Vec<_> = state.items.values().filter_map(numbered).collect();
    // Stable: equal numbers stay in the order of ids.
    items.sort_by_key(|(number, _)| if order.descending { -number } else { *number });
    let from = cursor.parse::<usize>().unwrap_or(0);
    let next_cursor = if from + PAGE < items.len() { (from + PAGE).to_string() } else { String::new() };
    v1::ScrollResponse { items: items.into_iter().skip(from).take(PAGE).map(|(_, item)| item).collect(), next_cursor }
}

/// What a collection says of its indexes: a distinct value takes eight bytes.
pub(crate) fn described(state: &State) -> Vec<v1::PayloadIndexInfo> {
    let describe = |index: &v1::PayloadIndexInfo| {
        let path = index.spec.as_ref().map(|spec| spec.path.as_str()).unwrap_or_default();
        let items = state.items.values().map(|(_, item)| item);
        let values = if index.is_ready { facet(items, path, 0).distinct } else { 0 };
        v1::PayloadIndexInfo { values, bytes: 8 * values, ..index.clone() }
    };
    state.indexes.iter().map(describe).collect()
}

/// Adds an index; one of a collection with items is ready when its job was watched to its end.
pub(crate) fn create_index(
    state: &mut State,
    request: v1::CreatePayloadIndexRequest,
) -> Result<v1::CreatePayloadIndexResponse, Status> {
    if state.indexes.iter().any(|index| index.spec == request.index) {
        return Err(Status::already_exists("there is such an index already"));
    }
    let id = format!("job-{}", state.indexes.len() + 1);
    let job = (!state.items.is_empty()).then(|| filling(&id, v1::JobState::Queued));
    state.indexes.push(v1::PayloadIndexInfo {
        spec: request.index,
        is_ready: job.is_none(),
        job: job.as_ref().map(|job| job.id.clone()).unwrap_or_default(),
        ..Default::default()
    });
    Ok(v1::CreatePayloadIndexResponse { collection: Some(state.collection()), job })
}

pub(crate) fn drop_index(
    state: &mut State,
    request: &v1::DropPayloadIndexRequest,
) -> Result<v1::DropPayloadIndexResponse, Status> {
    let place = state.indexes.iter().position(|index| index.spec == request.index);
    state.indexes.remove(place.ok_or_else(|| Status::not_found("there is no such index"))?);
    Ok(v1::DropPayloadIndexResponse { collection: Some(state.collection()) })
}

fn filling(id: &str, job_state: v1::JobState) -> v1::Job {
    v1::Job { id: id.to_owned(), kind: "payload_index".into(), state: job_state.into(), ..Default::default() }
}

type Watched = Pin<Box<dyn Stream<Item = Result<v1::WatchJobResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Jobs for Server {
    type WatchJobStream = Watched;

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Watched>, Status> {
        let id = request.into_inner().id;
        self.with(|state| {
            let filled = state.indexes.iter_mut().find(|index| index.job == id);
            filled.ok_or_else(|| Status::not_found(format!("there is no job {id:?}")))?.is_ready = true;
            Ok::<(), Status>(())
        })?;
        let reply = |job_state: v1::JobState| -> Result<v1::WatchJobResponse, Status> {
            Ok(v1::WatchJobResponse { job: Some(filling(&id, job_state)) })
        };
        let replies = [v1::JobState::Running, v1::JobState::Succeeded].map(reply);
        Ok(Response::new(Box::pin(futures::stream::iter(replies))))
    }

    async fn list_jobs(&self, _: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let failed = v1::Job { error: "no room".to_owned(), ..filling("9", v1::JobState::Failed) };
        Ok(Response::new(v1::ListJobsResponse { jobs: vec![filling("8", v1::JobState::Succeeded), failed] }))
    }

    async fn get_job(&self, _: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn cancel_job(&self, _: Request<v1::CancelJobRequest>) -> Result<Response<v1::CancelJobResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn resume_job(&self, _: Request<v1::ResumeJobRequest>) -> Result<Response<v1::ResumeJobResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
