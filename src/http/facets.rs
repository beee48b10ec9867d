//! `POST /v1/collections/{collection}/facets`.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::items::{Names, names};
use super::problem::Problem;
use super::query::{FilterJson, read_filter};
use super::ranking::read_paths;
use super::search::json as answer_json;
use super::{Service, answer, body};
use crate::collection::backend::Facet;
use crate::search::facet_warnings;
use crate::types::Error;

/// Values of each path where the request says nothing.
const LIMIT: u32 = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FacetsJson {
    paths: Vec<String>,
    filter: Option<FilterJson>,
    limit: Option<u32>,
}

pub(super) async fn count(State(service): State<Service>, path: Names, request: Request) -> Result<Response, Problem> {
    let [collection] = names(path)?;
    let body = body::read(&service, request).await?;
    let json: FacetsJson = serde_json::from_slice(&body.json)
        .map_err(|error| Error::invalid("body", format!("expected the JSON of a count: {error}")))?;
    if let Some(name) = body.files.keys().next() {
        return Err(Error::invalid("body", format!("nothing of a count names the file {name:?}")).into());
    }
    let filter = json.filter.map(read_filter).transpose()?;
    let paths = read_paths(&json.paths, "paths")?;
    let limit = json.limit.unwrap_or(LIMIT) as usize;
    if limit == 0 {
        return Err(Error::invalid("limit", "expected at least 1, got 0").into());
    }
    let reply = service.engine().facets(&collection, paths, filter, limit).await?;
    let facet = |(path, facet): (&String, &Facet)| {
        answer::facet(path, facet.distinct, facet.values.iter().map(|(value, count)| (value, *count)))
    };
    let facets: Vec<Value> = json.paths.iter().zip(&reply.facets).map(facet).collect();
    let warnings = facet_warnings(&reply);
    Ok(answer_json(&json!({ "facets": facets, "items": reply.items, "warnings": warnings })))
}
