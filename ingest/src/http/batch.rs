//! `POST /v1/namespaces/{ns}/runs:batch`: one start a line in, one verdict a line out, in the same order.

mod elsewhere;
mod lines;
mod work;

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use tidewheel_api::body::require_content_type;
use tidewheel_api::{Idempotency, Namespace, Principal, Problem, Traceparent};
use tidewheel_schemas::{Position, RunId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use crate::datacenters::Place;
use crate::forward::Forwarder;
use crate::http::batch::work::Work;
use crate::start::StartRun;
use crate::state::Ingest;

/// Most lines of one batch.
pub const BATCH_LINES_MAX: usize = 10_000;

/// What became of one line of a batch: either a run, or a problem.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineAnswer {
    /// The line in the request, from 1.
    pub line: usize,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub run_id: Option<RunId>,
    /// `accepted`, `duplicate` (the run existed), `parked` or `pending` (durable, but not judged in time).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    /// Where the run stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// Where in the log the start lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub position: Option<Position>,
    /// Why the line was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl LineAnswer {
    fn problem(line: usize, problem: Problem) -> Self {
        Self { line, run_id: None, outcome: None, status: None, position: None, problem: Some(problem) }
    }
}

/// Start many runs.
///
/// The body is NDJSON: one start a line, at most 10,000; empty lines are skipped. The answer is NDJSON too: one
/// verdict a line, in the same order, while the request is still being read. A bad line is answered with its
/// problem and the others go on. Lines for another datacenter are sent on to it. With an `Idempotency-Key`, a line's
/// own key is that and the line's number.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{ns}/runs:batch",
    tag = "runs",
    operation_id = "start_runs",
    params(
        ("ns" = String, Path, description = "The namespace, for example `default`"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes retries the same events; 1 to 512 printable characters"),
    ),
    request_body(content = StartRun, content_type = "application/x-ndjson"),
    responses(
        (status = 200, description = "One verdict a line", body = LineAnswer, content_type = "application/x-ndjson"),
        (status = "4XX", description = "Refused as a whole", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn start_batch(
    State(ingest): State<Ingest>,
    Namespace(namespace): Namespace,
    principal: Principal,
    idempotency: Idempotency,
    traceparent: Traceparent,
    request: Request,
) -> Result<Response, Problem> {
    let accepted = |essence: &str| {
        ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines"]
            .iter()
            .any(|known| essence.eq_ignore_ascii_case(known))
    };
    if !elsewhere::is_numbered(request.headers()) {
        require_content_type(request.headers(), accepted, "application/x-ndjson")?;
    }
    let is_forwarded = Forwarder::is_forwarded(request.headers());
    // Lines for other datacenters need nothing of this one.
    if let Place::Here = ingest.0.settings.forwarder.of_start(&namespace, None, is_forwarded)? {
        ingest.admit()?;
    }
    // Room for every answer a batch can have: a client that sends all before it reads must not wait for itself.
    let (answers, received) = mpsc::channel(BATCH_LINES_MAX + 1);
    let (head, body) = request.into_parts();
    let work = Work {
        ingest,
        namespace,
        principal,
        idempotency_key: idempotency.0,
        traceparent: traceparent.0,
        head,
        answers,
    };
    tokio::spawn(work.run(body));
    let body = Body::from_stream(ReceiverStream::new(received).map(Ok::<_, Infallible>));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
