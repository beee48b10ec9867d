//! What is answered, as JSON: the names and meanings of `pictor.v1`, payloads as docs/payloads.md writes them.

use serde_json::{Map, Number, Value, json};

use super::url::segment;
use crate::collection::backend::{PartVector, Selection, StoredItem, StoredMedia};
use crate::search::SearchAnswer;
use crate::types::json::payload_to_json;
use crate::types::{PartKind, PartRef};

/// The answer to a search; `keeps_pictures` says whether hits have thumbnails.
pub(super) fn search(
    answer: &SearchAnswer,
    collection: &str,
    offset: usize,
    select: Selection,
    keeps_pictures: bool,
) -> Value {
    let hit = |(rank, hit): (usize, &crate::collection::backend::BackendHit)| {
        let mut object = item(&hit.item, select);
        object.insert("rank".to_owned(), rank.into());
        object.insert("score".to_owned(), short_float(hit.score));
        object.insert("field".to_owned(), answer.field.clone().into());
        object.insert("part".to_owned(), part(&hit.part));
        object.insert("thumbnail".to_owned(), thumbnail(collection, &hit.item, &hit.part, keeps_pictures).into());
        Value::Object(object)
    };
    let timings = answer.timings;
    json!({
        "hits": (offset + 1..).zip(&answer.hits).map(hit).collect::<Vec<_>>(),
        "field": answer.field,
        "generation": answer.generation.number,
        "space": answer.generation.space,
        "fingerprint": answer.fingerprint.as_deref().unwrap_or_default(),
        "composer": answer.composer,
        "weights": answer.weights.iter().map(|weight| short_float(*weight)).collect::<Vec<_>>(),
        "lambdas": answer.lambdas.iter().map(|lambda| short_float(*lambda)).collect::<Vec<_>>(),
        "exact": answer.exact,
        "warnings": answer.warnings,
        "timings": {
            "encode_us": timings.encode.as_micros() as u64,
            "search_us": timings.search.as_micros() as u64,
            "fetch_us": timings.fetch.as_micros() as u64,
            "total_us": timings.total.as_micros() as u64,
            "cached_parts": timings.cached_parts,
        },
    })
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
    json!({
        "hash": blake3::Hash::from_bytes(info.hash).to_hex().as_str(), "name": info.name, "mime_type": info.mime_type,
        "bytes": info.bytes, "width": info.width, "height": info.height,
    })
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
