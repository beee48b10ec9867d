//! What every call goes through: API key, deadline, metrics, and typed details for failures that happen before a handler runs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::auth::ApiKeys;
use super::scopes::scope_of;
use super::status::to_status;
use crate::metrics::Metrics;
use crate::types::Error;
use crate::types::limits::MESSAGE_BYTES;

/// When the caller stops waiting; an extension of every request that has one.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

pub(super) fn deadline_of<T>(request: &tonic::Request<T>) -> Option<Instant> {
    request.extensions().get::<Deadline>().map(|deadline| deadline.0)
}

/// Wraps the services of a server.
#[derive(Clone, Debug)]
pub struct CallLayer {
    keys: Arc<ApiKeys>,
    metrics: Arc<Metrics>,
}

impl CallLayer {
    #[must_use]
    pub fn new(keys: ApiKeys, metrics: Arc<Metrics>) -> Self {
        Self { keys: Arc::new(keys), metrics }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallService { inner, layer: self.clone() }
    }
}

/// A service inside a [`CallLayer`].
#[derive(Clone, Debug)]
pub struct CallService<S> {
    inner: S,
    layer: CallLayer,
}

impl<S> Service<Request<Body>> for CallService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone takes the place of the service that is ready.
        let replacement = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, replacement);
        let CallLayer { keys, metrics } = self.layer.clone();
        Box::pin(async move {
            let started = Instant::now();
            // Unknown paths share one label: a caller must not be able to make metrics grow.
            let method = if scope_of(request.uri().path()).is_some() {
                request.uri().path().to_owned()
            } else {
                "unknown".to_owned()
            };
            let response = match keys.authorize(request.uri().path(), request.headers()) {
                Err(refusal) => refusal.into_http(),
                Ok(()) => {
                    let timeout = timeout_of(request.headers());
                    if let Some(timeout) = timeout {
                        request.extensions_mut().insert(Deadline(started + timeout));
                    }
                    match timeout {
                        None => inner.call(request).await?,
                        Some(timeout) => match tokio::time::timeout(timeout, inner.call(request)).await {
                            Ok(response) => response?,
                            Err(_) => to_status(&Error::DeadlineExceeded { what: "the call" }).into_http(),
                        },
                    }
                }
            };
            let response = explain_response(response);
            metrics.record_call(&method, code_of(response.headers()), started.elapsed());
            Ok(response)
        })
    }
}

/// The time that the caller gives (`grpc-timeout`), shortened a little so that our own answer comes before the transport's.
fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let timeout = match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Some(timeout.saturating_sub(Duration::from_millis(1)).max(timeout / 2))
}

fn code_of(headers: &HeaderMap) -> Code {
    Status::from_header_map(headers).map_or(Code::Ok, |status| status.code())
}

fn explain_response(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(status) if is_decode_failure(&status) => explain_decode_failure(status).into_http(),
        _ => response,
    }
}

fn is_decode_failure(status: &Status) -> bool {
    status.details().is_empty()
        && match status.code() {
            Code::OutOfRange => status.message().contains("message length too large"),
            Code::Internal => status.message().contains("decode Protobuf"),
            _ => false,
        }
}

/// Gives a message that was too large or malformed the code and details of a caller's mistake.
pub(super) fn explain_decode_failure(status: Status) -> Status {
    if !is_decode_failure(&status) {
        return status;
    }
    if status.code() == Code::OutOfRange {
        // tonic names the size that it found.
        let found =
            status.message().split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(MESSAGE_BYTES.cap + 1);
        let what = "the message".to_owned();
        return to_status(&Error::LimitExceeded { what, name: MESSAGE_BYTES.name, cap: MESSAGE_BYTES.cap, found });
    }
    to_status(&Error::invalid("message", status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_read_from_its_header() {
        let check = |value: &str, expected: Option<Duration>| {
            let headers =
                HeaderMap::from_iter([("grpc-timeout".parse().expect("a name"), value.parse().expect("a value"))]);
            assert_eq!(timeout_of(&headers), expected, "{value}");
        };
        check("1S", Some(Duration::from_millis(999)));
        check("1m", Some(Duration::from_micros(500)));
        check("2H", Some(Duration::from_millis(7_199_999)));
        for malformed in ["", "S", "1", "1x", "-1S", "123456789S", "ü"] {
            let value = http::HeaderValue::from_bytes(malformed.as_bytes()).expect("a value");
            let headers = HeaderMap::from_iter([("grpc-timeout".parse().expect("a name"), value)]);
            assert_eq!(timeout_of(&headers), None, "{malformed}");
        }
    }
}
