//! `POST …/runs/{run_id}/unpark`: a parked run goes on without the record that parked it. Which runs are parked, and at
//! which records, is listed by the crate of replays.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use tidewheel_api::body::{JSON_BODY_BYTES_MAX, read_body, require_json};
use tidewheel_api::{Code, Idempotency, JsonBody, Principal, Problem, Query, RunPath, Traceparent};
use tidewheel_engine::{Rejection, RunStatus};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Entity, Event, RunId, registry};

use super::commands::{Asked, CommandAnswer, CommandParameters, answer};
use crate::command::{Command, UnparkRun};
use crate::fold::Raising;
use crate::state::RETRY_AFTER_MS;

/// Let a parked run go on without the record that parked it.
///
/// What was decided on that record is decided anew, and what came from outside since counts. Refused unless the run is
/// parked at exactly that record.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{ns}/runs/{run_id}/unpark",
    tag = "runs",
    params(
        ("ns" = String, Path, description = "The namespace, for example `default`"),
        ("run_id" = String, Path, description = "The run"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes retries the same event; 1 to 512 printable characters"),
        CommandParameters,
    ),
    request_body = UnparkRun,
    responses(
        (status = 200, description = "Accepted, now or before", body = CommandAnswer),
        (status = 202, description = "Durable, but not judged in time, or its run is parked elsewhere or for good by now", body = CommandAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn unpark(
    State(raising): State<Raising>,
    run: RunPath,
    Query(parameters): Query<CommandParameters>,
    principal: Principal,
    idempotency: Idempotency,
    traceparent: Traceparent,
    request: Request,
) -> Result<Response, Problem> {
    raising.unparks(run.run_id)?;
    let (Parts { headers, .. }, body) = request.into_parts();
    require_json(&headers)?;
    let body = read_body(&headers, body, JSON_BODY_BYTES_MAX).await?;
    let UnparkRun { offset, .. } = JsonBody(body.clone()).parse()?;
    raising.is_parked_at(&run, offset).await?;
    let body = Body::from(body);
    let asked = Asked { run, parameters, principal, idempotency, traceparent };
    answer(&raising.ingest, asked, Command::Unpark, &headers, body).await
}

impl Raising {
    /// Refuses what the fold version in force for a run does not have: nobody writes what others may not read.
    fn unparks(&self, run_id: RunId) -> Result<(), Problem> {
        let key = Entity::Run(run_id).routing_key();
        let partition = partition_for(&key, self.ingest.0.producer.partitions());
        let (fold, needed) = ((self.in_force)(partition), registry::FOLD_UNPARKS);
        if fold >= needed {
            return Ok(());
        }
        if fold == 0 {
            let detail = format!(
                "this process has not yet read by which version partition {partition} folds; nothing was appended"
            );
            return Err(Problem::new(Code::NotReady, detail).retry_after_ms(RETRY_AFTER_MS));
        }
        let detail = format!(
            "partition {partition} folds by version {fold}, and parked runs go on from version {needed} on; once every \
             process knows it, raise it with `tidewheel fold raise {needed}`"
        );
        Err(Problem::new(Code::NotInFold, detail))
    }

    /// Refuses, before anything is appended, what would not let the run go on: a reader that had accepted the record at
    /// that offset would have to stand still.
    async fn is_parked_at(&self, asked: &RunPath, offset: i64) -> Result<(), Problem> {
        let run_id = asked.run_id;
        let run = (self.stored)(run_id).await.map_err(|what| {
            let detail =
                format!("run {run_id} cannot be read from the views, so nothing was appended: {what}");
            Problem::new(Code::ViewUnavailable, detail).retry_after_ms(RETRY_AFTER_MS)
        })?;
        let Some(run) = run else { return Err(Problem::rejected(Rejection::RunNotFound)) };
        let header = &run.header;
        if header.namespace != asked.namespace {
            return Err(Problem::rejected(Rejection::WrongNamespace));
        }
        // Final, so the fold refuses it whatever it names; and what let the run go on may be sent again.
        let is_named = |event: &Event| matches!(event, Event::RunUnparked(before) if before.offset == offset);
        if header.status.is_finished() || run.history.iter().any(|entry| is_named(&entry.event)) {
            return Ok(());
        }
        let detail = match header.parked_at {
            Some(_) if header.is_frozen() => format!(
                "run {run_id} parked below fold version {}, or the store refused a row of it: what came for it since is \
                 in no view, so it cannot go on without losing that; rebuild the views with a build that can do what \
                 was missing",
                registry::FOLD_UNPARKS
            ),
            Some(parked_at) if parked_at == offset => return Ok(()),
            Some(parked_at) => {
                format!("run {run_id} is parked at the record at offset {parked_at}, not at {offset}")
            }
            None if header.status == RunStatus::Parked => format!(
                "run {run_id} is parked since its code does not match its history: deploy code that does, and `resume` it"
            ),
            None => format!("no record that cannot be read parks run {run_id}, as far as the views say"),
        };
        Err(Problem::new(Code::NotParked, detail))
    }
}
