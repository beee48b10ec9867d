//! The page's files, held in the binary.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Service;
use super::items::{Names, is_known, names};
use super::problem::Problem;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Every file by its name: its type and its bytes.
const ASSETS: &[(&str, &str, &str)] = &[
    ("api.js", JAVASCRIPT, include_str!("page/api.js")),
    ("dom.js", JAVASCRIPT, include_str!("page/dom.js")),
    ("facets.js", JAVASCRIPT, include_str!("page/facets.js")),
    ("filters.js", JAVASCRIPT, include_str!("page/filters.js")),
    ("grid.js", JAVASCRIPT, include_str!("page/grid.js")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("messages.js", JAVASCRIPT, include_str!("page/messages.js")),
    ("page.js", JAVASCRIPT, include_str!("page/page.js")),
    ("pictures.js", JAVASCRIPT, include_str!("page/pictures.js")),
    ("style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("trail.js", JAVASCRIPT, include_str!("page/trail.js")),
];

const PAGE: &str = include_str!("page/index.html");

pub(super) async fn page(State(_): State<Service>, headers: HeaderMap) -> Response {
    answer(&headers, "text/html; charset=utf-8", PAGE)
}

pub(super) async fn asset(path: Names, headers: HeaderMap) -> Result<Response, Problem> {
    let [name] = names(path)?;
    match ASSETS.iter().find(|(listed, _, _)| *listed == name) {
        Some((_, content_type, text)) => Ok(answer(&headers, content_type, text)),
        None => Err(Problem::no_route(&format!("/assets/{name}"))),
    }
}

/// The file, or word that the caller has it: it is asked for each time, so that a new server's page is never mixed of two.
fn answer(headers: &HeaderMap, content_type: &'static str, text: &'static str) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..16]);
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if is_known(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, content_type)], text).into_response()
}
