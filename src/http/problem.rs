//! The one mapping from the library's errors to HTTP: `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::rpc::auth::Refusal;
use crate::types::Error;
use crate::types::limits::HTTP_BODY_BYTES;

/// A refused or failed request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    status: StatusCode,
    /// A stable word for programs.
    code: &'static str,
    detail: String,
    /// The request's field at fault.
    field: Option<String>,
    retry_after: Option<Duration>,
}

/// The status of an error.
fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::LimitExceeded { name, .. } if *name == HTTP_BODY_BYTES.name => StatusCode::PAYLOAD_TOO_LARGE,
        Error::InvalidArgument { .. } | Error::LimitExceeded { .. } => StatusCode::BAD_REQUEST,
        Error::NotFound { .. } => StatusCode::NOT_FOUND,
        Error::AlreadyExists { .. }
        | Error::VersionMismatch { .. }
        | Error::SchemaChanged { .. }
        | Error::FailedPrecondition { .. } => StatusCode::CONFLICT,
        Error::Overloaded { .. } | Error::Unavailable { .. } | Error::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Error::DeadlineExceeded { .. } => StatusCode::GATEWAY_TIMEOUT,
        Error::StorageFull(_) => StatusCode::INSUFFICIENT_STORAGE,
        Error::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        Error::Corruption(_) | Error::Storage(_) | Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = status_of(&error);
        let detail = if status == StatusCode::INTERNAL_SERVER_ERROR {
            // What libraries say of their failures names their insides.
            tracing::error!(%error, "an HTTP request failed");
            "the server failed at this; its log says why".to_owned()
        } else {
            match &error {
                Error::InvalidArgument { message, .. } => message.clone(),
                other => other.to_string(),
            }
        };
        let (code, retry_after) = (error.reason(), error.retry_after());
        let field = match error {
            Error::InvalidArgument { field, .. } | Error::LimitExceeded { what: field, .. } => Some(field),
            _ => None,
        };
        Self { status, code, detail, field, retry_after }
    }
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: String) -> Self {
        Self { status, code, detail, field: None, retry_after: None }
    }

    /// A key that is missing, unknown or too small.
    pub(super) fn refused(refusal: Refusal, path: &str) -> Self {
        let status = match refusal {
            Refusal::Missing | Refusal::Unknown => StatusCode::UNAUTHORIZED,
            Refusal::TooSmall { .. } => StatusCode::FORBIDDEN,
        };
        Self::new(status, refusal.reason(), refusal.message(path))
    }

    /// A name or an origin that is not the server's.
    pub(super) fn foreign(code: &'static str, detail: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    pub(super) fn no_route(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "UNKNOWN_ROUTE", format!("{path} is not served; docs/http.md lists what is"))
    }

    pub(super) fn wrong_method(method: &Method, path: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "WRONG_METHOD", format!("{path} does not take {method}"))
    }

    pub(super) fn wrong_media_type(detail: String) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "WRONG_CONTENT_TYPE", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        // No documents stand behind our problems, so the type is what the RFC gives for that; `code` tells them apart.
        body.insert("type".to_owned(), "about:blank".into());
        body.insert("title".to_owned(), self.status.canonical_reason().unwrap_or("Error").into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.insert("code".to_owned(), self.code.into());
        body.insert("detail".to_owned(), self.detail.into());
        if let Some(field) = self.field.filter(|field| !field.is_empty()) {
            body.insert("field".to_owned(), field.into());
        }
        if let Some(delay) = self.retry_after {
            body.insert("retry_after".to_owned(), delay.as_secs_f64().into());
        }
        let content_type = (header::CONTENT_TYPE, "application/problem+json");
        let mut response =
            (self.status, [content_type, (header::CACHE_CONTROL, "no-store")], Value::Object(body).to_string())
                .into_response();
        let headers = response.headers_mut();
        if let Some(delay) = self.retry_after {
            headers.insert(header::RETRY_AFTER, (delay.as_secs_f64().ceil() as u64).max(1).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
