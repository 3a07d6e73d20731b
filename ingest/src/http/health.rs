//! `/health/live`, `/health/ready`, `/metrics`: what an operator's tools ask.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use tidewheel_api::{Code, Problem, json};
use utoipa::ToSchema;

use crate::state::Ingest;

/// How the node is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `live` or `ready`.
    status: &'static str,
}

/// Whether the process answers at all.
#[utoipa::path(get, path = "/health/live", tag = "node", responses((status = 200, description = "It answers", body = Health)))]
pub async fn live() -> Response {
    json(StatusCode::OK, &Health { status: "live" })
}

/// Whether the node takes requests.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "node",
    responses(
        (status = 200, description = "It takes requests", body = Health),
        (status = 503, description = "It is starting or stopping", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn ready(State(ingest): State<Ingest>) -> Result<Response, Problem> {
    if ingest.0.producer.ready() && !ingest.0.settings.stopping.is_cancelled() {
        Ok(json(StatusCode::OK, &Health { status: "ready" }))
    } else {
        Err(Problem::new(Code::NotReady, "the node is starting or stopping").retry_after_ms(1_000))
    }
}

/// Counters for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "node",
    responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain"))
)]
pub async fn metrics(State(ingest): State<Ingest>) -> Response {
    let text = ingest.0.settings.metrics.as_ref().map(|handle| handle.render()).unwrap_or_default();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
