//! `GET …/runs/{run_id}` and `…/result`: one run, and waiting for its end.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tidewheel_api::waiting::{Follower, Standing, is_settled};
use tidewheel_api::{AtLeast, DurationParameter, Problem, Query, RunAnswer, RunPath, json};
use tidewheel_engine::RunHeader;
use utoipa::IntoParams;

use super::Reads;

/// Parameters of a read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReadParameters {
    /// Answer with no older state than this position, as an earlier answer gave it.
    #[param(value_type = Option<String>)]
    at_least: Option<AtLeast>,
    /// How long to wait for `at_least`, such as `500ms`, `30s` or `2m`; 10s unless said.
    #[param(value_type = Option<String>)]
    timeout: Option<DurationParameter>,
}

impl Reads {
    /// Waits for what the parameters of a read ask for.
    pub(super) async fn reach_for(&self, parameters: &ReadParameters) -> Result<(), Problem> {
        self.reach(parameters.at_least, parameters.timeout).await
    }

    /// The answer for a run as a follower was told of it.
    fn told(&self, standing: &Standing) -> Result<Response, Problem> {
        let position = self.position(standing.partition, standing.offset)?;
        let answer = RunAnswer::new(&standing.run, standing.output.as_ref(), position);
        Ok(json(waited_status(&standing.run), &answer))
    }
}

/// Read a run.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}/runs/{run_id}",
    tag = "runs",
    operation_id = "get_run",
    params(
        ("ns" = String, Path, description = "The namespace"),
        ("run_id" = String, Path, description = "The run"),
        ReadParameters,
    ),
    responses(
        (status = 200, description = "The run", body = RunAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_run(
    State(reads): State<Reads>,
    RunPath { namespace, run_id }: RunPath,
    Query(parameters): Query<ReadParameters>,
) -> Result<Response, Problem> {
    reads.reach_for(&parameters).await?;
    let stored = reads.find(&namespace, run_id).await?;
    Ok(json(StatusCode::OK, &reads.answer(stored).await?))
}

/// How a wait is answered that ended with `run`.
fn waited_status(run: &RunHeader) -> StatusCode {
    if run.status.is_finished() { StatusCode::OK } else { StatusCode::ACCEPTED }
}

/// The end of a run that `told` lets be told; of any other, never.
async fn settled_as(follower: &mut Follower, told: impl Fn(&Standing) -> bool) -> Standing {
    let standing = follower.settled().await;
    if told(&standing) { standing } else { std::future::pending().await }
}

/// Parameters of waiting for a result.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ResultParameters {
    /// Answer with no older state than this position, as an earlier answer gave it.
    #[param(value_type = Option<String>)]
    at_least: Option<AtLeast>,
    /// How long to wait for the run's end, such as `500ms`, `30s` or `2m`; not at all unless said.
    #[param(value_type = Option<String>, example = "30s")]
    timeout: Option<DurationParameter>,
}

/// Wait for a run's result.
///
/// Answers as soon as the run has ended, or with 202 and its state when the time is up or the run is parked, for it
/// will not end by itself. The answer follows the log and may be ahead of the views: reads that must show what it
/// says pass its `position` as `at_least`.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}/runs/{run_id}/result",
    tag = "runs",
    operation_id = "get_result",
    params(
        ("ns" = String, Path, description = "The namespace"),
        ("run_id" = String, Path, description = "The run"),
        ResultParameters,
    ),
    responses(
        (status = 200, description = "The run has ended", body = RunAnswer),
        (status = 202, description = "The time is up or the run is parked; the run as it stands", body = RunAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_result(
    State(mut reads): State<Reads>,
    RunPath { namespace, run_id }: RunPath,
    Query(parameters): Query<ResultParameters>,
) -> Result<Response, Problem> {
    // Before the view is read: the end may come in between.
    let mut follower = reads.shared.waiting.follow(run_id);
    let timeout = parameters.timeout.map_or(Duration::ZERO, |timeout| timeout.0);
    let deadline = tokio::time::Instant::now() + timeout;
    // Before anything is told: it must be no older than this.
    reads.reach(parameters.at_least, parameters.timeout).await?;
    let look = async {
        let stored = reads.find(&namespace, run_id).await?;
        if stored.header.status.is_finished() || timeout.is_zero() {
            return Ok(stored);
        }
        // An end, or the resume of a parked run, may have been told before we followed and not be in the views yet.
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        tokio::select! {
            biased;
            _ = reads.catch_up(stored.partition, left) => {}
            () = reads.shared.options.stopping.cancelled() => {}
        }
        reads.find(&namespace, run_id).await
    };
    let told = |standing: &Standing| standing.run.namespace == namespace && !timeout.is_zero();
    let mut stored = tokio::select! {
        biased;
        standing = settled_as(&mut follower, told) => return reads.told(&standing),
        found = look => found?,
    };
    if !is_settled(&stored.header) && !timeout.is_zero() {
        tokio::select! {
            biased;
            standing = settled_as(&mut follower, told) => return reads.told(&standing),
            () = tokio::time::sleep_until(deadline) => {}
            () = reads.shared.options.stopping.cancelled() => {}
        }
        reads = reads.renewed();
        stored = reads.find(&namespace, run_id).await?;
    }
    let status = waited_status(&stored.header);
    Ok(json(status, &reads.answer(stored).await?))
}
