//! `GET /v1/items/{collection}/{id}` and its thumbnails.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Extension, RawPathParams, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::search::{json, keeps_pictures};
use super::url::parameters;
use super::{Service, answer};
use crate::collection::backend::Selection;
use crate::rpc::Deadline;
use crate::types::{Error, Result};

/// Sides that a thumbnail may have; few, so that caches serve many.
const SIDES: [u32; 4] = [64, 128, 256, 512];
const DEFAULT_SIDE: u32 = 256;

/// Raised whenever the same picture gives another thumbnail.
const THUMBNAIL_RULE: u32 = 1;

/// The names in a request's path, or that they are none.
pub(super) type Names = Result<RawPathParams, RawPathParamsRejection>;

/// The names in a path.
pub(super) fn names<const N: usize>(path: Names) -> Result<[String; N]> {
    let path = path.map_err(|_| Error::invalid("path", "expected UTF-8 in percent-encoding"))?;
    let names: Vec<String> = path.iter().map(|(_, name)| name.to_owned()).collect();
    names.try_into().map_err(|_| Error::Internal("a route has other names than its handler".to_owned()))
}

pub(super) async fn describe(
    State(service): State<Service>,
    path: Names,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let [collection, id] = names(path)?;
    let select = parameters(query.as_deref(), &["select"])?.remove("select");
    let select = read_selection(select.as_deref().unwrap_or("payload,texts,media"))?;
    let fetched = Selection { media: true, ..select };
    let found = service.engine().get(&collection, std::slice::from_ref(&id), fetched).await?.pop().flatten();
    let item = found.ok_or(Error::NotFound { kind: "item", name: id })?;
    let mut object = answer::item(&item, select);
    let keeps_pictures = keeps_pictures(&service.engine().collection_info(&collection)?);
    let path = |(index, media): (usize, &crate::collection::backend::StoredMedia)| {
        answer::thumbnail_path(&collection, item.id.as_str(), index, &media.info.hash)
    };
    let thumbnails: Vec<_> = item.media.iter().enumerate().filter(|_| keeps_pictures).map(path).collect();
    object.insert("thumbnails".to_owned(), thumbnails.into());
    Ok(json(&object.into()))
}

fn read_selection(text: &str) -> Result<Selection> {
    let mut select = Selection::default();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match word {
            "payload" => select.payload = true,
            "texts" => select.texts = true,
            "media" => select.media = true,
            "vectors" => select.vectors = true,
            _ => {
                let message = format!("expected payload, texts, media and vectors, joined by commas, got {word:?}");
                return Err(Error::invalid("select", message));
            }
        }
    }
    Ok(select)
}

pub(super) async fn thumbnail(
    State(service): State<Service>,
    Extension(deadline): Extension<Deadline>,
    path: Names,
    request: Request,
) -> Result<Response, Problem> {
    let [collection, id] = names(path)?;
    let parameters = parameters(request.uri().query(), &["part", "size", "v"])?;
    let number = |name: &str, default: u32| match parameters.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| Error::invalid(name, format!("expected a whole number, got {text:?}"))),
    };
    let (part, side) = (number("part", 0)? as usize, number("size", DEFAULT_SIDE)?);
    if !SIDES.contains(&side) {
        return Err(Error::invalid("size", format!("expected one of {SIDES:?} pixels, got {side}")).into());
    }
    let info = service.engine().picture(&collection, &id, part).await?;
    let version = answer::short_hash(&info.hash);
    let tag = format!("\"{version}-{side}-{THUMBNAIL_RULE}\"");
    // Under the content's own name it never changes; under the item's it does with the item.
    let is_named = parameters.get("v").is_some_and(|named| *named == version);
    let caching = if is_named { "private, max-age=31536000, immutable" } else { "private, no-cache" };
    let headers = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, caching.to_owned())];
    if is_known(request.headers(), &tag) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let bytes = service.engine().thumbnail(&collection, &id, part, side, deadline.0).await?;
    Ok((headers, [(header::CONTENT_TYPE, "image/jpeg")], bytes).into_response())
}

/// True if the caller has this version already.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').any(|known| matches!(known.trim().trim_start_matches("W/"), known if known == tag || known == "*"))
}
