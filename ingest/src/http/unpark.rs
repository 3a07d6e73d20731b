//! `POST …/runs/{run_id}/unpark`: a parked run goes on without the record that parked it. Which runs are parked, and at
//! which records, is told by the crate of replays.

use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use tidewheel_api::{Code, Idempotency, Principal, Problem, Query, RunPath, Traceparent};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Entity, RunId, registry};

use super::commands::{Asked, CommandAnswer, CommandParameters, answer};
use crate::command::{Command, UnparkRun};
use crate::fold::Raising;

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
        (status = 202, description = "Durable, but not judged in time", body = CommandAnswer),
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
    let asked = Asked { run, parameters, principal, idempotency, traceparent };
    let (Parts { headers, .. }, body) = request.into_parts();
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
        let detail = format!(
            "partition {partition} folds by version {fold}, and parked runs go on from version {needed} on; once every \
             process knows it, raise it with `tidewheel fold raise {needed}`"
        );
        Err(Problem::new(Code::NotInFold, detail))
    }
}
