//! `POST …/runs/{run_id}/signals|cancel|terminate|resume`: what is asked of an existing run. Letting a parked one go on
//! without a record is in `unpark`.

use std::borrow::Cow;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tidewheel_api::body::{JSON_BODY_BYTES_MAX, read_body, require_json};
use tidewheel_api::{
    DurationParameter, Idempotency, JsonBody, Principal, Problem, Query, RunPath, Traceparent, json,
};
use tidewheel_engine::Verdict;
use tidewheel_schemas::{EventId, Position, RunId};
use utoipa::{IntoParams, ToSchema};

use crate::command::{Command, EndRun, ResumeRun, SignalRun};
use crate::state::Ingest;
use crate::submit::{Asker, Prepared, refusal};

/// Parameters of a command.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CommandParameters {
    /// Wait this long for the fold's verdict, such as `500ms` or `30s`; 10 s if absent, at most `5m`.
    #[param(value_type = Option<String>, example = "10s")]
    timeout: Option<DurationParameter>,
}

/// What became of a command.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandAnswer {
    /// The run it is about.
    #[schema(value_type = String, format = Uuid)]
    pub run_id: RunId,
    /// The event's name for ever.
    #[schema(value_type = String, format = Uuid)]
    pub event_id: EventId,
    /// `accepted`, `duplicate` (accepted before), `parked` (waits with its run) or `pending` (not judged yet).
    pub outcome: &'static str,
    /// Where the run stands after it; absent while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// Where in the log it lies: pass it as `at_least` to read no older state.
    #[schema(value_type = String)]
    pub position: Position,
}

pub(super) struct Asked {
    pub(super) run: RunPath,
    pub(super) parameters: CommandParameters,
    pub(super) principal: Principal,
    pub(super) idempotency: Idempotency,
    pub(super) traceparent: Traceparent,
}

macro_rules! command {
    ($(#[doc = $doc:literal])+ $name:ident, $path:literal, $command:ident, $body:ident) => {
        $(#[doc = $doc])+
        #[utoipa::path(
            post,
            path = $path,
            tag = "runs",
            params(
                ("ns" = String, Path, description = "The namespace, for example `default`"),
                ("run_id" = String, Path, description = "The run"),
                ("Idempotency-Key" = Option<String>, Header, description = "Makes retries the same event; 1 to 512 printable characters"),
                CommandParameters,
            ),
            request_body = $body,
            responses(
                (status = 200, description = "Accepted, now or before", body = CommandAnswer),
                (status = 202, description = "Durable, but not judged in time, or its run is parked", body = CommandAnswer),
                (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
                (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
            )
        )]
        pub async fn $name(
            State(ingest): State<Ingest>,
            run: RunPath,
            Query(parameters): Query<CommandParameters>,
            principal: Principal,
            idempotency: Idempotency,
            traceparent: Traceparent,
            request: Request,
        ) -> Result<Response, Problem> {
            let asked = Asked { run, parameters, principal, idempotency, traceparent };
            let (Parts { headers, .. }, body) = request.into_parts();
            answer(&ingest, asked, Command::$command, &headers, body).await
        }
    };
}

command!(
    /// Signal a run.
    signal, "/v1/namespaces/{ns}/runs/{run_id}/signals", Signal, SignalRun
);
command!(
    /// Ask a run to stop: its pending awaits end and its compensations run.
    cancel, "/v1/namespaces/{ns}/runs/{run_id}/cancel", Cancel, EndRun
);
command!(
    /// End a run at once; no workflow code runs.
    terminate, "/v1/namespaces/{ns}/runs/{run_id}/terminate", Terminate, EndRun
);
command!(
    /// Try a parked run again with the code now deployed.
    resume, "/v1/namespaces/{ns}/runs/{run_id}/resume", Resume, ResumeRun
);

/// Appends what a command says of a run and tells what became of it.
pub(super) async fn answer(
    ingest: &Ingest,
    asked: Asked,
    command: Command,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    // Without a body no content type is asked for, so that `curl -X POST …/cancel` does what it says.
    let may_be_empty = command.may_be_empty() && !headers.contains_key(CONTENT_TYPE);
    if !may_be_empty {
        require_json(headers)?;
    }
    let body = JsonBody(read_body(headers, body, JSON_BODY_BYTES_MAX).await?);
    if !body.0.is_empty() {
        require_json(headers)?;
    }
    let event = command.event(&body)?;
    ingest.admit()?;
    let run_id = asked.run.run_id;
    let asker = Asker {
        namespace: &asked.run.namespace,
        principal: asked.principal,
        traceparent: asked.traceparent.0,
        idempotency_key: asked.idempotency.0.as_deref().map(Cow::Borrowed),
    };
    let prepared = ingest.prepare(&asker, run_id, command.verb(), &event)?;
    let Prepared { event_id, partition, record, .. } = prepared;
    let patience = asked.parameters.timeout.map_or(ingest.0.settings.verdict_timeout, |timeout| timeout.0);
    let judged = ingest.submit(partition, event_id, record, Instant::now() + patience, None).await?;
    let position = judged.position;
    let Some(outcome) = judged.outcome else {
        let answer = CommandAnswer { run_id, event_id, outcome: "pending", status: None, position };
        return Ok(json(StatusCode::ACCEPTED, &answer));
    };
    if let Some(problem) = refusal(outcome.verdict, position) {
        return Err(problem.instance(run_id.to_string()));
    }
    let (status, word) = match outcome.verdict {
        Verdict::Parked => (StatusCode::ACCEPTED, "parked"),
        // A reader that began behind this record knows that it was judged, not how.
        Verdict::Skipped => (StatusCode::ACCEPTED, "pending"),
        Verdict::Duplicate(_) => (StatusCode::OK, "duplicate"),
        Verdict::Accepted | Verdict::Rejected(_) | Verdict::Stale => (StatusCode::OK, "accepted"),
    };
    let run_status = outcome.run.map(|run| run.status.as_str());
    Ok(json(status, &CommandAnswer { run_id, event_id, outcome: word, status: run_status, position }))
}
