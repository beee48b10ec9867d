//! Queries and answers.

use pictor_proto::v1;
use pictor_proto::v1::query_part::Content;

use super::filter::filter_from_proto;
use super::items::{selection_from_proto, stored_to_proto};
use super::ranking::{explanation_to_proto, facets_to_proto, plan_to_proto, ranking_from_proto};
use super::values::{micros, part_to_proto, value_to_proto};
use crate::search::{Query, QueryContent, QueryPart, SearchAnswer};
use crate::types::{Error, Result};

pub(in crate::rpc) fn query_from_proto(mut request: v1::SearchRequest) -> Result<Query> {
    let ranking = ranking_from_proto(&mut request)?;
    let part_from_proto = |(position, part): (usize, v1::QueryPart)| {
        let content = match part.content {
            Some(Content::Text(text)) => QueryContent::Text(text),
            Some(Content::Image(bytes)) => QueryContent::Image(bytes),
            Some(Content::ItemId(id)) => QueryContent::Item(id),
            Some(Content::Vector(vector)) => QueryContent::Vector(vector.values),
            None => {
                return Err(Error::invalid(
                    format!("parts[{position}]"),
                    "a part is a text, an image, an item id or a vector",
                ));
            }
        };
        Ok(QueryPart { content, weight: part.weight.unwrap_or(1.0) })
    };
    Ok(Query {
        field: request.field,
        parts: request.parts.into_iter().enumerate().map(part_from_proto).collect::<Result<_>>()?,
        composer: request.composer,
        filter: filter_from_proto(request.filter)?,
        limit: request.limit as usize,
        offset: request.offset as usize,
        min_score: request.min_score,
        exact: request.exact,
        exclude_reference: request.exclude_reference.unwrap_or(true),
        select: selection_from_proto(request.select),
        only: None,
        ranking,
    })
}

/// How an answer is to be written.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct AnswerForm {
    pub offset: u32,
    pub is_explained: bool,
    /// The query's fused fields and the paths that it counts.
    pub fields: Vec<String>,
    pub facets: Vec<String>,
}

impl AnswerForm {
    pub(in crate::rpc) fn of(request: &v1::SearchRequest) -> Self {
        Self {
            offset: request.offset,
            is_explained: request.explain() == v1::Explain::Plan,
            fields: request.fields.iter().map(|field| field.field.clone()).collect(),
            facets: request.facets.clone(),
        }
    }
}

pub(in crate::rpc) fn answer_to_proto(answer: SearchAnswer, form: &AnswerForm) -> v1::SearchResponse {
    let hit_to_proto = |(rank, hit): (u32, crate::collection::backend::BackendHit)| v1::Hit {
        rank,
        id: hit.item.id.to_string(),
        score: hit.score,
        part: Some(part_to_proto(hit.part)),
        item: Some(stored_to_proto(hit.item)),
        explanation: None,
    };
    let timings = answer.timings;
    let mut hits: Vec<v1::Hit> = (form.offset + 1..).zip(answer.hits).map(hit_to_proto).collect();
    if form.is_explained {
        for (hit, explanation) in hits.iter_mut().zip(answer.explanations) {
            hit.explanation = Some(explanation_to_proto(explanation, &form.fields));
        }
    }
    let mut groups = Vec::with_capacity(answer.groups.len());
    for (position, group) in answer.groups.into_iter().enumerate() {
        // Members stand one after the other, and ranks are those of groups.
        let rank = form.offset + position as u32 + 1;
        let members = hits.drain(..group.hits.len()).map(|hit| v1::Hit { rank, ..hit }).collect();
        groups.push(v1::HitGroup { value: Some(value_to_proto(group.value)), hits: members });
    }
    v1::SearchResponse {
        hits,
        groups,
        facets: facets_to_proto(answer.facets, &form.facets),
        plan: answer.plan.filter(|_| form.is_explained).map(plan_to_proto),
        field: answer.field,
        generation: answer.generation.number,
        space: answer.generation.space,
        fingerprint: answer.fingerprint.unwrap_or_default(),
        composer: answer.composer,
        weights: answer.weights,
        lambdas: answer.lambdas,
        exact: answer.exact,
        warnings: answer.warnings,
        deferred_vectors: answer.deferred,
        timings: Some(v1::SearchTimings {
            encode_us: micros(timings.encode),
            search_us: micros(timings.search),
            fetch_us: micros(timings.fetch),
            total_us: micros(timings.total),
            cached_parts: timings.cached_parts,
        }),
    }
}
