//! The API's answers as JSON objects.

use pictor_proto::v1;
use pictor_proto::v1::field_spec::Source;
use pictor_proto::v1::value::Kind;
use serde_json::{Map, Value, json};

use crate::json::{payload_to_json, short_float, struct_to_json, timestamp_text, value_to_json};
use crate::units;

/// A part as `{"kind", "name", "index"}`.
#[must_use]
pub fn part(part: &v1::PartRef) -> Value {
    let kind = match part.kind() {
        v1::PartKind::Media => "media",
        v1::PartKind::Text => "text",
        v1::PartKind::Vector => "vector",
        v1::PartKind::Unspecified => "unspecified",
    };
    json!({ "kind": kind, "name": part.name, "index": part.index })
}

/// A part as people read it: `media[0]`, `text name[0]`.
#[must_use]
pub fn part_label(part: &v1::PartRef) -> String {
    match part.kind() {
        v1::PartKind::Media => format!("media[{}]", part.index),
        v1::PartKind::Text => format!("{}[{}]", part.name, part.index),
        v1::PartKind::Vector => format!("vector {}[{}]", part.name, part.index),
        v1::PartKind::Unspecified => String::new(),
    }
}

/// Texts as `{name: [chunk, …]}`.
#[must_use]
pub fn texts(item: &v1::StoredItem) -> Value {
    item.texts.iter().map(|(name, parts)| (name.clone(), parts.chunks.clone().into())).collect::<Map<_, _>>().into()
}

/// A picture's description without its bytes.
#[must_use]
pub fn media(media: &v1::StoredMedia) -> Value {
    let mut object = json!({
        "hash": media.hash, "name": media.name, "mime_type": media.mime_type, "bytes": media.bytes,
        "width": media.width, "height": media.height,
    });
    if let Some(hash) = media.perceptual_hash {
        object["perceptual_hash"] = format!("{hash:016x}").into();
    }
    object
}

/// An item with everything that the reply carries.
#[must_use]
pub fn item(item: &v1::StoredItem) -> Value {
    let mut object = json!({
        "id": item.id, "version": item.version, "payload": payload_to_json(&item.payload), "texts": texts(item),
        "media": item.media.iter().map(media).collect::<Vec<_>>(),
    });
    if !item.vectors.is_empty() {
        object["vectors"] = item
            .vectors
            .iter()
            .map(|vector| {
                json!({
                    "field": vector.field, "generation": vector.generation,
                    "part": vector.part.as_ref().map(part), "norm": short_float(vector.norm),
                    "values": vector.values.iter().map(|value| short_float(*value)).collect::<Vec<_>>(),
                })
            })
            .collect();
    }
    object
}

/// A collection with its fields.
#[must_use]
pub fn collection(collection: &v1::Collection) -> Value {
    let mut object = json!({
        "name": collection.name, "uid": collection.uid, "state": collection_state(collection),
        "items": collection.items, "version": collection.version, "default_field": collection.default_field,
        "media": media_originals(collection.media_originals()),
        "created": collection.created.as_ref().map(timestamp_text), "aliases": collection.aliases,
        "fields": collection.fields.iter().map(field).collect::<Vec<_>>(),
        "payload_indexes": collection.payload_indexes.iter().map(payload_index).collect::<Vec<_>>(),
    });
    if let Some(expiry) = &collection.expiry {
        object["expiry"] = json!({ "path": expiry.path, "after_seconds": expiry.after_seconds });
    }
    if !collection.problem.is_empty() {
        object["problem"] = collection.problem.clone().into();
    }
    object
}

/// When items end, as a sentence's end.
#[must_use]
pub fn expiry(expiry: &v1::Expiry) -> String {
    match expiry.after_seconds {
        0 => format!("at {}", expiry.path),
        seconds => format!("{} after {}", units::seconds(seconds as f64), expiry.path),
    }
}

/// The state as a word.
#[must_use]
pub fn collection_state(collection: &v1::Collection) -> &'static str {
    match collection.state() {
        v1::CollectionState::Ready => "ready",
        v1::CollectionState::Broken => "broken",
        v1::CollectionState::Unspecified => "unspecified",
    }
}

/// What is kept of a picture's bytes, as `--media` writes it.
#[must_use]
pub const fn media_originals(kept: v1::MediaOriginals) -> &'static str {
    match kept {
        v1::MediaOriginals::Unspecified | v1::MediaOriginals::Keep => "keep",
        v1::MediaOriginals::Thumbnail => "thumbnail",
        v1::MediaOriginals::None => "none",
    }
}

/// A field with its generations.
#[must_use]
pub fn field(info: &v1::FieldInfo) -> Value {
    let spec = info.spec.clone().unwrap_or_default();
    let mut object = json!({ "name": spec.name });
    match spec.source {
        Some(Source::Text(text)) => {
            object["source"] = "text".into();
            object["encoder"] = text.encoder.into();
            object["texts"] = text.names.into();
        }
        Some(Source::Media(media)) => {
            object["source"] = "media".into();
            object["encoder"] = media.encoder.into();
        }
        Some(Source::Vector(vector)) => {
            object["source"] = "vector".into();
            object["dimension"] = vector.dimension.into();
            object["space"] = vector.space.into();
        }
        None => {}
    }
    object["generations"] = info
        .generations
        .iter()
        .map(|generation| {
            json!({
                "number": generation.number, "encoder": generation.encoder, "space": generation.space,
                "dimension": generation.dimension, "state": generation_state(generation.state()),
                "vectors": generation.vectors, "fingerprint": generation.fingerprint, "query_encoder": generation.query_encoder,
                "composer": generation.composer,
            })
        })
        .collect();
    object
}

/// A generation's state as a word.
#[must_use]
pub const fn generation_state(state: v1::GenerationState) -> &'static str {
    match state {
        v1::GenerationState::Unspecified => "unspecified",
        v1::GenerationState::Building => "building",
        v1::GenerationState::Ready => "ready",
        v1::GenerationState::Current => "current",
        v1::GenerationState::Retired => "retired",
    }
}

/// An index on payloads; `job` is null if none filled it.
#[must_use]
pub fn payload_index(info: &v1::PayloadIndexInfo) -> Value {
    let spec = info.spec.clone().unwrap_or_default();
    json!({
        "path": spec.path, "kind": payload_kind(spec.kind()), "ready": info.is_ready, "values": info.values,
        "bytes": info.bytes, "job": Some(info.job.as_str()).filter(|job| !job.is_empty()),
    })
}

/// Which values an index on payloads holds, as `--kind` writes it.
#[must_use]
pub const fn payload_kind(kind: v1::PayloadKind) -> &'static str {
    match kind {
        v1::PayloadKind::Unspecified => "unspecified",
        v1::PayloadKind::Keyword => "keyword",
        v1::PayloadKind::Number => "number",
        v1::PayloadKind::Bool => "bool",
        v1::PayloadKind::Time => "time",
        v1::PayloadKind::Prefix => "prefix",
    }
}

/// A payload value as people read it: strings and times without quotes.
#[must_use]
pub fn value_label(value: &v1::Value) -> String {
    match &value.kind {
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::TimestampValue(time)) => timestamp_text(time),
        _ => value_to_json(value).to_string(),
    }
}

/// How often each value stands at a path.
#[must_use]
pub fn facet(facet: &v1::Facet) -> Value {
    let value = |counted: &v1::FacetValue| {
        let value = counted.value.as_ref().map(value_to_json);
        json!({ "value": value, "count": counted.count })
    };
    let values: Vec<_> = facet.values.iter().map(value).collect();
    json!({ "facet": facet.path, "distinct": facet.distinct, "values": values })
}

/// What a hit's score is made of; `boosts` are the paths that the request's boosts name.
#[must_use]
pub fn explanation(explanation: &v1::HitExplanation, boosts: &[String]) -> Value {
    let boost = |(path, added): (&String, &f32)| json!({ "path": path, "added": short_float(*added) });
    let field = |field: &v1::FieldRank| match field.rank {
        // The field did not find the hit.
        0 => json!({ "field": field.field, "rank": null, "score": null }),
        rank => json!({ "field": field.field, "rank": rank, "score": short_float(field.score) }),
    };
    json!({
        "similarity": short_float(explanation.similarity),
        "boosts": boosts.iter().zip(&explanation.boosts).map(boost).collect::<Vec<_>>(),
        "fields": explanation.fields.iter().map(field).collect::<Vec<_>>(),
    })
}

/// How a filter was answered.
#[must_use]
pub fn plan(plan: &v1::FilterPlan) -> Value {
    let missing = |missing: &v1::MissingIndex| {
        let kind = Some(missing.kind.as_str()).filter(|kind| !kind.is_empty());
        json!({ "path": missing.path, "kind": kind })
    };
    json!({
        "strategy": plan.strategy, "matches": plan.matches, "payloads_read": plan.payloads_read,
        "missing": plan.missing.iter().map(missing).collect::<Vec<_>>(),
    })
}

/// A job without its specification.
#[must_use]
pub fn job(job: &v1::Job) -> Value {
    json!({
        "id": job.id, "kind": job.kind, "state": job_state(job.state()), "done": job.done, "total": job.total,
        "message": job.message, "error": job.error, "created": job.created.as_ref().map(timestamp_text),
        "heartbeat": job.heartbeat.as_ref().map(timestamp_text), "result": job.result.as_ref().map(struct_to_json),
    })
}

/// A job's state as a word.
#[must_use]
pub const fn job_state(state: v1::JobState) -> &'static str {
    match state {
        v1::JobState::Unspecified => "unspecified",
        v1::JobState::Queued => "queued",
        v1::JobState::Running => "running",
        v1::JobState::Succeeded => "succeeded",
        v1::JobState::Failed => "failed",
        v1::JobState::Cancelled => "cancelled",
        v1::JobState::Interrupted => "interrupted",
    }
}
