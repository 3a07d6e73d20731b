//! `GET /v1/status`: the partitions, who claims them, where their logs end and how far the views are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tidewheel_schemas::{LogId, Position};
use utoipa::ToSchema;

use super::Reads;
use tidewheel_api::json;

/// The node's status.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusAnswer {
    /// Every partition of the topic of workflow events.
    pub partitions: Vec<PartitionAnswer>,
    /// How many requests follow a run now.
    pub followers: usize,
}

/// One partition. Offsets count from 0.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartitionAnswer {
    /// Its number.
    pub partition: u32,
    /// Its log; absent before the first record was projected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub log_id: Option<LogId>,
    /// Offset of the claim in force: the fencing epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<i64>,
    /// The process that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub claimed_by: Option<Arc<str>>,
    /// The fold version in force.
    pub fold: u32,
    /// One past the log's last record; absent if it cannot be told now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_end: Option<i64>,
    /// Offset of the last record the views hold; -1 before the first.
    pub applied: i64,
    /// How many records the views are behind the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Where the views stand, to be passed as `at_least`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub position: Option<Position>,
}

/// Read the node's status.
#[utoipa::path(
    get,
    path = "/v1/status",
    tag = "node",
    operation_id = "get_status",
    responses((status = 200, description = "Partitions, claims and lag", body = StatusAnswer))
)]
pub async fn get_status(State(reads): State<Reads>) -> Response {
    let mut partitions = Vec::new();
    for partition in 0..reads.0.projector.partitions() {
        let log_end = (reads.0.options.log_end)(partition).await;
        let Some(control) = reads.0.projector.control(partition) else { continue };
        let applied = control.next_offset - 1;
        partitions.push(PartitionAnswer {
            partition,
            log_id: control.log.map(|log| log.log_id),
            claim: control.claim,
            claimed_by: control.claimed_by.clone(),
            fold: control.fold,
            log_end,
            applied,
            lag: log_end.map(|end| (end - 1 - applied).max(0)),
            position: reads.position(partition, applied).ok().filter(|_| applied >= 0),
        });
    }
    json(StatusCode::OK, &StatusAnswer { partitions, followers: reads.0.waiting.followers() })
}
