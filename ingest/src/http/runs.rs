//! `POST /v1/namespaces/{ns}/runs`: starts a run. Reading runs is the projector's.

use std::borrow::Cow;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewheel_api::body::{JSON_BODY_BYTES_MAX, require_json};
use tidewheel_api::waiting::{Follower, Standing, is_settled};
use tidewheel_api::{
    DurationParameter, Idempotency, Namespace, Principal, Problem, Query, RunAnswer, Traceparent, json,
    read_body,
};
use tidewheel_engine::{RunHeader, Verdict};
use tidewheel_schemas::{Position, RunId};
use tokio::time::timeout_at;
use utoipa::{IntoParams, ToSchema};

use crate::forward::Forwarder;
use crate::start::{Start, StartRun};
use crate::state::Ingest;
use crate::submit::{Asker, Prepared, refusal};

/// Parameters of a start.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StartParameters {
    /// Wait this long for the run's result, such as `500ms`, `30s` or `2m`; at most `5m`.
    #[param(value_type = Option<String>, example = "30s")]
    wait: Option<DurationParameter>,
}

/// A record that is durable in the log, but that the fold has not judged yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct PendingAnswer {
    /// The run it is about.
    #[schema(value_type = String, format = Uuid)]
    pub run_id: RunId,
    /// Always `pending`.
    pub status: &'static str,
    /// Where the record lies: read the run with it as `at_least` to learn its fate.
    #[schema(value_type = String)]
    pub position: Position,
}

impl PendingAnswer {
    pub(crate) fn new(run_id: RunId, position: Position) -> Self {
        Self { run_id, status: "pending", position }
    }
}

/// Start a run.
///
/// Answers once the start is durable and judged. With `wait`, answers with the result, or with 202 and the run's
/// state when the time is up or the run is parked, for it will not end by itself. A retry with the same
/// `Idempotency-Key`, or another start with the same `key`, answers with the run that exists. An `Idempotency-Key` that
/// is a UUID of version 7 is judged quickest.
///
/// A run lives in one datacenter: the one the start names, else its namespace's home. A start for another datacenter
/// than the one that is asked is forwarded and answered from there. `datacenter_unreachable` says that nothing was
/// sent, `outcome_unknown` that it was and no answer came.
///
/// The answer follows the log and may be ahead of the views: reads that must show what it says pass its `position`
/// as `at_least`.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{ns}/runs",
    tag = "runs",
    operation_id = "start_run",
    params(
        ("ns" = String, Path, description = "The namespace, for example `default`"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes retries the same event; 1 to 512 printable characters"),
        StartParameters,
    ),
    request_body = StartRun,
    responses(
        (status = 201, description = "The run was started", body = RunAnswer),
        (status = 200, description = "The run existed already, or ended within `wait`", body = RunAnswer),
        (status = 202, description = "Time is up or the run is parked: its state; or where the unjudged start lies", body = RunAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn start(
    State(ingest): State<Ingest>,
    Namespace(namespace): Namespace,
    Query(parameters): Query<StartParameters>,
    principal: Principal,
    Idempotency(idempotency_key): Idempotency,
    Traceparent(traceparent): Traceparent,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    require_json(&head.headers)?;
    let body = read_body(&head.headers, body, JSON_BODY_BYTES_MAX).await?;
    let is_forwarded = Forwarder::is_forwarded(&head.headers);
    let request = match ingest.read_start(&namespace, &body, is_forwarded)? {
        Start::Here(request) => request,
        Start::There(to) => return Ok(ingest.0.settings.forwarder.forward_parts(&to, &head, body).await),
    };
    ingest.admit()?;
    let asker = Asker {
        namespace: &namespace,
        principal,
        traceparent,
        idempotency_key: idempotency_key.as_deref().map(Cow::Borrowed),
    };
    let Prepared { run_id, event_id, partition, record } = ingest.prepare_start(&asker, request, &body)?;
    let deadline = Instant::now() + parameters.wait.map_or(ingest.0.settings.verdict_timeout, |wait| wait.0);
    // Before the append, so that no end is missed.
    let mut follower = parameters.wait.map(|_| ingest.0.waiting.follow(run_id));
    let judged = ingest.submit(partition, event_id, record, deadline, follower.as_mut()).await?;
    let position = judged.position;
    let Some(outcome) = judged.outcome else {
        return Ok(json(StatusCode::ACCEPTED, &PendingAnswer::new(run_id, position)));
    };
    if let Some(problem) = refusal(outcome.verdict, position) {
        return Err(problem.instance(run_id.to_string()));
    }
    let Some(run) = outcome.run else {
        return Ok(json(StatusCode::ACCEPTED, &PendingAnswer::new(run_id, position)));
    };
    let status = match outcome.verdict {
        Verdict::Parked | Verdict::Skipped => StatusCode::ACCEPTED,
        Verdict::Accepted => StatusCode::CREATED,
        Verdict::Duplicate(_) | Verdict::Rejected(_) | Verdict::Stale => StatusCode::OK,
    };
    match follower {
        Some(mut follower) if !is_settled(&run) => {
            let started = RunAnswer::new(&run, None, position);
            let (status, answer) = follow(&ingest, &mut follower, deadline, started).await;
            Ok(json(status, &answer))
        }
        Some(_) => Ok(json(waited(&run), &ingest.answer(&run, position).await?)),
        None => Ok(json(status, &ingest.answer(&run, position).await?)),
    }
}

/// How a wait is answered that ended with `run`.
fn waited(run: &RunHeader) -> StatusCode {
    if run.status.is_finished() { StatusCode::OK } else { StatusCode::ACCEPTED }
}

/// Waits until a run has ended or is parked, until the deadline or until the node stops.
async fn follow(
    ingest: &Ingest,
    follower: &mut Follower,
    deadline: Instant,
    started: RunAnswer,
) -> (StatusCode, RunAnswer) {
    let shown = |standing: &Standing| {
        let offset = standing.offset.max(started.position.offset);
        let position = Position { offset, ..started.position };
        RunAnswer::new(&standing.run, standing.output.as_ref(), position)
    };
    let settled = tokio::select! {
        biased;
        settled = timeout_at(deadline.into(), follower.settled()) => settled.ok(),
        () = ingest.0.settings.stopping.cancelled() => None,
    };
    match settled.or_else(|| follower.newest()) {
        Some(standing) => (waited(&standing.run), shown(&standing)),
        None => (StatusCode::ACCEPTED, started),
    }
}
