//! `POST /v1/fold`: an operator raises the fold version of this datacenter, after every process was upgraded.

use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewheel_api::{Code, JsonBody, Principal, Problem, json};
use tidewheel_schemas::registry;
use utoipa::ToSchema;

use crate::fold::{RaisedPartition, Raising};

/// The version wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RaiseFold {
    /// The fold version that records are to be folded by from now on. There is no way back.
    #[schema(example = 2)]
    to: u32,
}

/// What became of each partition.
#[derive(Debug, Serialize, ToSchema)]
pub struct RaisedAnswer {
    /// The fold version asked for.
    pub fold: u32,
    /// The partitions of this datacenter.
    pub partitions: Vec<RaisedPartition>,
}

/// Raise the fold version of every partition of this datacenter.
///
/// Refused while a process that leads or follows a partition does not know the version: it would stop. Asked again, it
/// goes on where it ended.
#[utoipa::path(
    post,
    path = "/v1/fold",
    tag = "node",
    operation_id = "raise_fold",
    request_body = RaiseFold,
    responses(
        (status = 200, description = "In force everywhere", body = RaisedAnswer),
        (status = 202, description = "Durable, but not judged in time for some partition", body = RaisedAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn raise(
    State(raising): State<Raising>,
    principal: Principal,
    body: JsonBody,
) -> Result<Response, Problem> {
    let to = body.parse::<RaiseFold>()?.to;
    let newest = registry::fold_newest();
    if !(1..=newest).contains(&to) {
        let detail =
            format!("this process knows the fold versions 1 to {newest}; for a newer one upgrade it first");
        return Err(Problem::new(Code::InvalidField, detail).field("to"));
    }
    let shared = &raising.ingest.0;
    raising.ingest.admit()?;
    if (0..shared.producer.partitions()).any(|partition| (raising.in_force)(partition) < to) {
        raising.check(to).await?;
    }
    let deadline = Instant::now() + shared.settings.verdict_timeout;
    let mut partitions = Vec::new();
    for partition in 0..shared.producer.partitions() {
        partitions.push(raising.raise(partition, to, &principal, deadline).await?);
    }
    let is_pending = partitions.iter().any(|partition| partition.outcome == "pending");
    let status = if is_pending { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(json(status, &RaisedAnswer { fold: to, partitions }))
}
