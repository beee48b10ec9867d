//! `POST /v1/search`.

use axum::extract::{Extension, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::{Service, answer, body, query};
use crate::collection::CollectionInfo;
use crate::collection::schema::MediaOriginals;
use crate::rpc::Deadline;

pub(super) async fn search(
    State(service): State<Service>,
    Extension(deadline): Extension<Deadline>,
    request: Request,
) -> Result<Response, Problem> {
    let body = body::read(&service, request).await?;
    // Base64 of a large picture takes milliseconds.
    let read = tokio::task::spawn_blocking(move || query::read(&body).map(|search| (search, body))).await;
    let (search, _body) = read.map_err(|error| crate::Error::Internal(error.to_string()))??;
    let query::Search { collection, query, form } = search;
    let found = service.engine().search(&collection, query, Some(deadline.0)).await?;
    let keeps_pictures = keeps_pictures(&service.engine().collection_info(&collection)?);
    Ok(json(&answer::search(&found, &collection, &form, keeps_pictures)))
}

/// True if the collection keeps something that a thumbnail can be made of.
pub(super) fn keeps_pictures(info: &CollectionInfo) -> bool {
    info.schema.as_ref().is_some_and(|schema| schema.media_originals != MediaOriginals::None)
}

/// An answer in JSON.
pub(super) fn json(value: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
