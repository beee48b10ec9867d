//! `GET /v1/collections` and `GET /v1/collections/{collection}`.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Service;
use super::items::{Names, names};
use super::problem::Problem;
use super::search::json as answer_json;
use crate::collection::backend::{BackendStats, CollectionBackend as _, PayloadIndexReport};
use crate::collection::schema::{Field, FieldSource, Generation, GenerationState, MediaOriginals};
use crate::collection::{CollectionInfo, PayloadIndexState};
use crate::engine::Takes;
use crate::types::Result;

pub(super) async fn list(State(service): State<Service>) -> Response {
    let collections: Vec<Value> = service.engine().list_collections().iter().map(|info| summary(info).into()).collect();
    answer_json(&json!({ "collections": collections }))
}

pub(super) async fn describe(State(service): State<Service>, path: Names) -> Result<Response, Problem> {
    let [name] = names(path)?;
    let info = service.engine().collection_info(&name)?;
    let mut object = summary(&info);
    if let Some(schema) = &info.schema {
        let stats = info.backend.as_ref().map(|backend| backend.stats()).unwrap_or_default();
        let mut fields = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            let takes = match field.current() {
                Ok(generation) => service.engine().takes(generation).await,
                Err(error) => Err(error),
            };
            fields.push(describe_field(field, &stats, takes));
        }
        object.insert("uid".to_owned(), schema.uid.clone().into());
        object.insert("created".to_owned(), schema.created.to_string().into());
        object.insert("fields".to_owned(), fields.into());
        let indexes = stats.payload_indexes.iter().map(describe_payload_index).collect();
        object.insert("payload_indexes".to_owned(), indexes);
    }
    Ok(answer_json(&object.into()))
}

/// What a list shows of a collection.
fn summary(info: &CollectionInfo) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("name".to_owned(), info.name.clone().into());
    object.insert("aliases".to_owned(), info.aliases.clone().into());
    let stats = match &info.backend {
        Ok(backend) => {
            object.insert("state".to_owned(), "ready".into());
            backend.stats()
        }
        Err(error) => {
            object.insert("state".to_owned(), "broken".into());
            object.insert("problem".to_owned(), error.to_string().into());
            BackendStats::default()
        }
    };
    object.insert("items".to_owned(), stats.items.into());
    object.insert("version".to_owned(), stats.version.into());
    if let Some(schema) = &info.schema {
        let media = match schema.media_originals {
            MediaOriginals::Keep => "keep",
            MediaOriginals::Thumbnail => "thumbnail",
            MediaOriginals::None => "none",
        };
        object.insert("media".to_owned(), media.into());
        object.insert("default_field".to_owned(), schema.default_field.clone().into());
        let expiry = schema.expiry.as_ref();
        let expiry =
            expiry.map(|expiry| json!({ "path": expiry.path.to_string(), "after_seconds": expiry.after_seconds }));
        object.insert("expiry".to_owned(), expiry.into());
    }
    object
}

/// A field; `takes` says what its searches may hold, or why it cannot be searched.
fn describe_field(field: &Field, stats: &BackendStats, takes: Result<Takes>) -> Value {
    let mut object = match &field.source {
        FieldSource::Media { encoder } => json!({ "name": field.name, "source": "media", "encoder": encoder }),
        FieldSource::Text { encoder, names } => {
            json!({ "name": field.name, "source": "text", "encoder": encoder, "texts": names })
        }
        FieldSource::Vector { dimension, space } => {
            json!({ "name": field.name, "source": "vector", "dimension": dimension, "space": space })
        }
    };
    match takes {
        Ok(Takes { text, image }) => {
            let kinds = [("text", text), ("image", image), ("item", true), ("vector", true)];
            object["takes"] = kinds.iter().filter(|(_, takes)| *takes).map(|(kind, _)| *kind).collect();
        }
        Err(error) => {
            object["takes"] = json!([]);
            object["problem"] = error.to_string().into();
        }
    }
    let vectors = |number: u32| stats.vectors.get(&(field.name.clone(), number)).copied().unwrap_or(0);
    object["generations"] = field
        .generations
        .iter()
        .map(|generation| describe_generation(generation, vectors(generation.number)))
        .collect();
    object
}

fn describe_generation(generation: &Generation, vectors: u64) -> Value {
    let state = match generation.state {
        GenerationState::Building => "building",
        GenerationState::Ready => "ready",
        GenerationState::Current => "current",
        GenerationState::Retired => "retired",
    };
    json!({
        "number": generation.number, "encoder": generation.encoder, "space": generation.space,
        "dimension": generation.dimension, "state": state, "vectors": vectors, "fingerprint": generation.fingerprint,
        "query_encoder": generation.query_encoder, "composer": generation.composer,
    })
}

fn describe_payload_index(report: &PayloadIndexReport) -> Value {
    let PayloadIndexReport { index, values, bytes } = report;
    json!({
        "path": index.spec.path.to_string(), "kind": index.spec.kind.name(),
        "ready": index.state == PayloadIndexState::Ready, "values": values, "bytes": bytes, "job": index.job,
    })
}
