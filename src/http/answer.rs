//! What is answered, as JSON: the names and meanings of `pictor.v1`, payloads as docs/payloads.md writes them.

use serde_json::{Map, Number, Value, json};

use super::query::AnswerForm;
use super::url::segment;
use crate::collection::backend::{FilterPlan, PartVector, Selection, StoredItem, StoredMedia};
use crate::search::{Explanation, FacetCount, SearchAnswer};
use crate::types::filter::Path;
use crate::types::json::{payload_to_json, value_to_json};
use crate::types::payload_index::PayloadKind;
use crate::types::{PartKind, PartRef, Value as PayloadValue};

/// The answer to a search; `keeps_pictures` says whether hits have thumbnails.
pub(super) fn search(answer: &SearchAnswer, collection: &str, form: &AnswerForm, keeps_pictures: bool) -> Value {
    let hit = |place: usize, rank: usize| -> Option<Value> {
        let hit = answer.hits.get(place)?;
        let explanation = answer.explanations.get(place);
        let mut object = item(&hit.item, form.select);
        object.insert("rank".to_owned(), rank.into());
        object.insert("score".to_owned(), short_float(hit.score));
        object.insert("field".to_owned(), field_of(answer, explanation, form).into());
        object.insert("part".to_owned(), part(&hit.part));
        object.insert("thumbnail".to_owned(), thumbnail(collection, &hit.item, &hit.part, keeps_pictures).into());
        if let Some(explanation) = explanation.filter(|_| form.is_explained) {
            object.insert("explanation".to_owned(), describe_explanation(explanation, &form.fields));
        }
        Some(object.into())
    };
    let n_alone = if answer.groups.is_empty() { answer.hits.len() } else { 0 };
    let hits: Vec<Value> = (0..n_alone).filter_map(|place| hit(place, form.offset + place + 1)).collect();
    // Ranks and offsets are those of groups.
    let mut groups: Vec<Value> = Vec::with_capacity(answer.groups.len());
    for (rank, group) in (form.offset + 1..).zip(&answer.groups) {
        let members: Vec<Value> = group.hits.iter().filter_map(|place| hit(*place, rank)).collect();
        groups.push(json!({ "value": value_to_json(&group.value), "hits": members }));
    }
    let counted = |(path, counts): (&String, &Vec<FacetCount>)| {
        facet(path, counts.len() as u64, counts.iter().map(|facet| (&facet.value, facet.count)))
    };
    let timings = answer.timings;
    json!({
        "hits": hits,
        "groups": groups,
        "facets": form.facets.iter().zip(&answer.facets).map(counted).collect::<Vec<_>>(),
        "plan": answer.plan.as_ref().filter(|_| form.is_explained).map(plan),
        "field": answer.field,
        "generation": answer.generation.number,
        "space": answer.generation.space,
        "fingerprint": answer.fingerprint.as_deref().unwrap_or_default(),
        "composer": answer.composer,
        "weights": answer.weights.iter().map(|weight| short_float(*weight)).collect::<Vec<_>>(),
        "lambdas": answer.lambdas.iter().map(|lambda| short_float(*lambda)).collect::<Vec<_>>(),
        "exact": answer.exact,
        "warnings": answer.warnings, "deferred_vectors": answer.deferred,
        "timings": {
            "encode_us": timings.encode.as_micros() as u64,
            "search_us": timings.search.as_micros() as u64,
            "fetch_us": timings.fetch.as_micros() as u64,
            "total_us": timings.total.as_micros() as u64,
            "cached_parts": timings.cached_parts,
        },
    })
}

/// The field that found a hit: of fused ones the first that has it, because its part is the one that is named.
fn field_of(answer: &SearchAnswer, explanation: Option<&Explanation>, form: &AnswerForm) -> String {
    let place = explanation.and_then(|explanation| explanation.fields.iter().position(Option::is_some));
    let named = place.and_then(|place| form.fields.get(place)).filter(|name| !name.is_empty());
    named.unwrap_or(&answer.field).clone()
}

/// What a hit's score is made of; a field that did not find the hit has null for rank and score.
fn describe_explanation(explanation: &Explanation, fields: &[String]) -> Value {
    let in_field = |(field, place): (&String, &Option<(usize, f32)>)| {
        let (rank, score) = place.unzip();
        json!({ "field": field, "rank": rank, "score": score.map(short_float) })
    };
    json!({
        "similarity": short_float(explanation.similarity),
        "boosts": explanation.boosts.iter().map(|boost| short_float(*boost)).collect::<Vec<_>>(),
        "fields": fields.iter().zip(&explanation.fields).map(in_field).collect::<Vec<_>>(),
    })
}

/// How a filter was answered; `matches` is null if not all were counted, a `kind` if no index would help.
fn plan(plan: &FilterPlan) -> Value {
    let missing = |(path, kind): &(Path, Option<PayloadKind>)| {
        let kind = kind.map(PayloadKind::name);
        json!({ "path": path.to_string(), "kind": kind })
    };
    json!({
        "strategy": plan.strategy.name(),
        "matches": plan.matches,
        "payloads_read": plan.payloads_read,
        "missing": plan.missing.iter().map(missing).collect::<Vec<_>>(),
    })
}

/// How many items have each value at a path.
pub(super) fn facet<'v>(path: &str, distinct: u64, counts: impl Iterator<Item = (&'v PayloadValue, u64)>) -> Value {
    let value = |(value, count): (&PayloadValue, u64)| json!({ "value": value_to_json(value), "count": count });
    json!({ "path": path, "distinct": distinct, "values": counts.map(value).collect::<Vec<_>>() })
}

/// An item with what was selected of it.
pub(super) fn item(item: &StoredItem, select: Selection) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("id".to_owned(), item.id.as_str().into());
    object.insert("version".to_owned(), item.version.into());
    if select.payload {
        object.insert("payload".to_owned(), payload_to_json(&item.payload).into());
    }
    if select.texts {
        object.insert("texts".to_owned(), json!(item.texts));
    }
    if select.media {
        object.insert("media".to_owned(), item.media.iter().map(media).collect());
    }
    if select.vectors {
        object.insert("vectors".to_owned(), item.vectors.iter().map(vector).collect());
    }
    object
}

/// Where a hit's preview is: of the picture that matched, or else of the first.
fn thumbnail(collection: &str, item: &StoredItem, part: &PartRef, keeps_pictures: bool) -> Option<String> {
    let index = if part.kind == PartKind::Media { part.index as usize } else { 0 };
    let media = item.media.get(index).filter(|_| keeps_pictures)?;
    Some(thumbnail_path(collection, item.id.as_str(), index, &media.info.hash))
}

/// The path of a thumbnail with the picture's hash, so that it may be kept for ever.
pub(super) fn thumbnail_path(collection: &str, id: &str, index: usize, hash: &[u8; 32]) -> String {
    format!("/v1/items/{}/{}/thumbnail?part={index}&v={}", segment(collection), segment(id), short_hash(hash))
}

/// Enough of a content's hash to tell its versions apart.
pub(super) fn short_hash(hash: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*hash).to_hex()[..16].to_owned()
}

/// A part as `{"kind", "name", "index"}`.
fn part(part: &PartRef) -> Value {
    let kind = match part.kind {
        PartKind::Media => "media",
        PartKind::Text => "text",
        PartKind::Vector => "vector",
    };
    json!({ "kind": kind, "name": part.name, "index": part.index })
}

fn media(media: &StoredMedia) -> Value {
    let info = &media.info;
    let mut object = json!({
        "hash": blake3::Hash::from_bytes(info.hash).to_hex().as_str(), "name": info.name, "mime_type": info.mime_type,
        "bytes": info.bytes, "width": info.width, "height": info.height,
    });
    if let Some(hash) = info.perceptual_hash {
        // JSON's numbers do not hold 64 bits everywhere.
        object["perceptual_hash"] = format!("{hash:016x}").into();
    }
    object
}

fn vector(vector: &PartVector) -> Value {
    json!({
        "field": vector.field, "generation": vector.generation, "part": part(&vector.part),
        "norm": short_float(vector.vector.norm),
        "values": vector.vector.values.iter().map(|value| short_float(*value)).collect::<Vec<_>>(),
    })
}

/// An f32 with as many digits as it has, not with those of its f64 neighbour.
fn short_float(number: f32) -> Value {
    number.to_string().parse().ok().and_then(Number::from_f64).map_or(Value::Null, Into::into)
}
