//! Bodies of requests: bounded before they are read, JSON or a form with JSON and files.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header;
use bytes::Bytes;
use futures::stream;
use multer::Multipart;
use tokio::sync::OwnedSemaphorePermit;

use super::Service;
use super::problem::Problem;
use crate::types::limits::{HTTP_BODIES_BYTES, HTTP_BODY_BYTES, QUERY_PARTS};
use crate::types::{Error, Result};

/// The name of the form's part that holds the JSON.
const JSON_PART: &str = "query";

/// A body that was read.
pub(super) struct Body {
    pub(super) json: Bytes,
    /// A form's files by the names of their parts.
    pub(super) files: BTreeMap<String, Bytes>,
    /// Its room, taken as long as it is held.
    _room: OwnedSemaphorePermit,
}

/// Reads a body of `application/json` or `multipart/form-data`.
///
/// # Errors
/// 415 for another type, 413 for one that is too large, 503 if there is no room for it now, 400 for a damaged one.
pub(super) async fn read(service: &Service, request: Request) -> Result<Body, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(kind.as_str(), "application/json" | "multipart/form-data") {
        let found = if kind.is_empty() { "none" } else { &kind };
        let detail = format!("expected the content type application/json or multipart/form-data, got {found}");
        return Err(Problem::wrong_media_type(detail));
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length: usize = length.unwrap_or(HTTP_BODY_BYTES.get());
    HTTP_BODY_BYTES.check("body", length)?;
    let room = take_room(service, length)?;
    let read = to_bytes(request.into_body(), HTTP_BODY_BYTES.get()).await;
    let bytes = read.map_err(|error| broken(&error))?;
    if kind == "application/json" {
        return Ok(Body { json: bytes, files: BTreeMap::new(), _room: room });
    }
    let (json, files) = read_form(&content_type, bytes).await?;
    Ok(Body { json, files, _room: room })
}

fn take_room(service: &Service, length: usize) -> Result<OwnedSemaphorePermit> {
    let bodies = &service.0.bodies;
    let kib = u32::try_from(length.div_ceil(1 << 10)).unwrap_or(u32::MAX);
    bodies.clone().try_acquire_many_owned(kib).map_err(|_| Error::Overloaded {
        what: "the memory for request bodies",
        depth: HTTP_BODIES_BYTES.cap - ((bodies.available_permits() as u64) << 10),
        capacity: HTTP_BODIES_BYTES.cap,
        retry_after: Duration::from_secs(1),
    })
}

fn broken(error: &axum::Error) -> Error {
    // axum wraps the error of http-body-util, which knows this case only by its text.
    if error.to_string().contains("length limit exceeded") {
        let (what, found) = ("body".to_owned(), HTTP_BODY_BYTES.cap + 1);
        return Error::LimitExceeded { what, name: HTTP_BODY_BYTES.name, cap: HTTP_BODY_BYTES.cap, found };
    }
    Error::invalid("body", format!("the body broke off: {error}"))
}

async fn read_form(content_type: &str, bytes: Bytes) -> Result<(Bytes, BTreeMap<String, Bytes>)> {
    let damaged = |error: multer::Error| Error::invalid("body", format!("the form cannot be read: {error}"));
    let boundary = multer::parse_boundary(content_type).map_err(damaged)?;
    let mut form = Multipart::new(stream::iter([Ok::<_, Infallible>(bytes)]), boundary);
    let (mut json, mut files) = (None, BTreeMap::new());
    while let Some(part) = form.next_field().await.map_err(damaged)? {
        let name = part.name().unwrap_or_default().to_owned();
        let content = part.bytes().await.map_err(damaged)?;
        let earlier = if name == JSON_PART { json.replace(content) } else { files.insert(name.clone(), content) };
        if earlier.is_some() {
            return Err(Error::invalid("body", format!("the form's part {name:?} stands twice")));
        }
        QUERY_PARTS.check("body", files.len())?;
    }
    let missing = || Error::invalid("body", format!("the form needs a part {JSON_PART:?} that holds the JSON"));
    Ok((json.ok_or_else(missing)?, files))
}
