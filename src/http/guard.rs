//! What every request goes through: the server's name, the key, the deadline, panics, headers, metrics.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;

use super::Service;
use super::problem::Problem;
use super::routes::{Access, route_of};
use crate::rpc::Deadline;
use crate::types::Error;
use crate::types::limits::HTTP_CALL_MS;

/// How long the caller waits, in milliseconds.
pub(super) const TIMEOUT_HEADER: &str = "x-timeout-ms";

/// The page runs its own scripts and nothing else, asks nobody else for anything, and is not shown inside another page.
const SECURITY: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; object-src 'none'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

pub(super) async fn guard(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    let pattern = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = pattern.as_deref().and_then(route_of);
    // Nobody's paths share one label: a caller must not be able to make metrics grow.
    let label = route.map_or("unknown", |route| route.path);
    let access = route.map_or(Access::Open, |route| route.access);
    let answered = match admit(&service, &request, access) {
        Err(problem) => Err(problem),
        Ok(timeout) => {
            request.extensions_mut().insert(Deadline(Instant::now() + timeout));
            run(request, next, timeout).await
        }
    };
    let mut response = answered.unwrap_or_else(Problem::into_response);
    for (name, value) in SECURITY {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if !response.headers().contains_key(header::CACHE_CONTROL) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    service.engine().metrics().record_http(label, response.status().as_u16());
    response
}

async fn run(request: Request, next: Next, timeout: Duration) -> Result<Response, Problem> {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(timeout, answer).await {
        Err(_) => Err(Error::DeadlineExceeded { what: "the call" }.into()),
        Ok(Ok(response)) => Ok(response),
        // Says no more: what panics say names insides.
        Ok(Err(_)) => Err(Error::Internal("a handler panicked".to_owned()).into()),
    }
}

/// Lets a request in, and says how long it may take.
fn admit(service: &Service, request: &Request, access: Access) -> Result<Duration, Problem> {
    let headers = request.headers();
    // Who needs a key is safe from foreign pages: a browser does not send it for them.
    if access != Access::Probe && !service.0.keys.is_required() {
        check_name(service, request)?;
    }
    if let Access::Scope(needed) = access {
        let refuse = |refusal| Problem::refused(refusal, request.uri().path());
        service.0.keys.check(needed, headers).map_err(refuse)?;
    }
    timeout_of(headers).map_err(Problem::from)
}

/// Refuses a page of somebody else: one that made its own name point here, and one that asks across origins.
fn check_name(service: &Service, request: &Request) -> Result<(), Problem> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let host = host.unwrap_or_default();
    if service.0.is_loopback && !is_local(host) {
        let detail = format!(
            "this server has no API keys and listens on loopback, so it answers to localhost and not to {host:?}; set \
             --api-key-file, or let the proxy send `Host: localhost`"
        );
        return Err(Problem::foreign("FOREIGN_HOST", detail));
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host)) => {
            let detail = format!("pages of {origin:?} may not call this server, which is {host:?}");
            Err(Problem::foreign("FOREIGN_ORIGIN", detail))
        }
        _ => Ok(()),
    }
}

/// True if a `Host` header names this machine.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = |address: IpAddr| address.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

/// The time that the caller gives, at most the cap.
fn timeout_of(headers: &HeaderMap) -> crate::Result<Duration> {
    let Some(value) = headers.get(TIMEOUT_HEADER) else { return Ok(Duration::from_millis(HTTP_CALL_MS.cap)) };
    let milliseconds = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|given| *given > 0);
    match milliseconds {
        Some(given) => Ok(Duration::from_millis(HTTP_CALL_MS.cap.min(given))),
        None => Err(Error::invalid(TIMEOUT_HEADER, format!("expected milliseconds, at least 1, got {value:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:7601", "127.0.0.1", "127.0.0.1:7601", "[::1]:7601", "[::1]", "127.9.9.9:1"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["", "example.org", "localhost.example.org", "127.0.0.1.example.org:7601", "10.0.0.1", "[::2]:1", "::"]
        {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn a_timeout_is_read_from_its_header() {
        let check = |value: &'static str, expected: Option<u64>| {
            let name = HeaderName::from_static(TIMEOUT_HEADER);
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            assert_eq!(timeout_of(&headers).ok(), expected.map(Duration::from_millis), "{value}");
        };
        check("250", Some(250));
        check("999999999", Some(HTTP_CALL_MS.cap));
        for malformed in ["", "0", "-1", "1s", "1.5", "99999999999999999999"] {
            check(malformed, None);
        }
    }
}
