//! What operators ask: `/livez`, `/readyz`, `/metrics`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Service;

pub(super) async fn livez() -> &'static str {
    "alive\n"
}

/// 200 once everything serves; else 503 with one line for each problem.
pub(super) async fn readyz(State(service): State<Service>) -> Response {
    let problems = service.engine().problems();
    if problems.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response()
}

pub(super) async fn metrics(State(service): State<Service>) -> Response {
    let engine = service.engine();
    let rendered = match engine.stats().await {
        Ok(stats) => engine.metrics().render(&stats),
        Err(error) => Err(error),
    };
    match rendered {
        Ok(text) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
