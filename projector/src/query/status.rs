//! `GET /v1/status`: the partitions, who claims them, where their logs end and how far the views are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tidewheel_schemas::{LogId, Name, Position, registry};
use utoipa::ToSchema;

use super::Reads;
use tidewheel_api::json;

/// What a process says of itself.
pub struct Process {
    /// Its name, as claims carry it.
    pub name: Arc<str>,
    /// Name of the datacenter it is in.
    pub datacenter: Name,
    /// What it does: `ingest`, `engine`, `projector`.
    pub roles: Vec<&'static str>,
    /// Records the views may be behind the log.
    pub max_lag: u64,
    /// Its part in a partition.
    pub part: PartOf,
}

/// Tells a process's part in a partition as it is now.
pub type PartOf = Arc<dyn Fn(u32) -> Part + Send + Sync>;

/// A process's part in one partition, as it follows its log.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Whether it leads the partition.
    pub leading: bool,
    /// Whether it writes the partition's views.
    pub projecting: bool,
    /// The claim in force, as far as it has read.
    pub claim: Option<i64>,
    /// Who made it.
    pub claimed_by: Option<Arc<str>>,
    /// The log it reads.
    pub log_id: Option<LogId>,
}

/// A process's status and that of the partitions it sees.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusAnswer {
    /// The process that answers, as claims name it.
    #[schema(value_type = String)]
    pub process: Arc<str>,
    /// Name of its datacenter.
    #[schema(value_type = String)]
    pub datacenter: Name,
    /// What it does: `ingest`, `engine`, `projector`.
    #[schema(value_type = Vec<String>)]
    pub roles: Vec<&'static str>,
    /// The program's version.
    pub version: &'static str,
    /// The newest fold version it knows; a log whose fold is raised beyond it stops it.
    pub fold_newest: u32,
    /// The generation of the views that it reads.
    pub generation: u32,
    /// Records the views may be behind the log before it refuses new work.
    pub max_lag: u64,
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
    /// Whether the process that answers leads it.
    pub leading: bool,
    /// Whether the process that answers writes its views.
    pub projecting: bool,
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

/// Read a process's status.
///
/// Claims are as the process has read them from the log, applied offsets as the views say.
#[utoipa::path(
    get,
    path = "/v1/status",
    tag = "node",
    operation_id = "get_status",
    responses((status = 200, description = "The process, and each partition's leader, claim and lag", body = StatusAnswer))
)]
pub async fn get_status(State(reads): State<Reads>) -> Response {
    let process = &reads.shared.options.process;
    let ends = (0..reads.projector.partitions()).map(|partition| (reads.shared.options.log_end)(partition));
    let ends = futures::future::join_all(ends).await;
    let mut partitions = Vec::new();
    for (partition, log_end) in (0_u32..).zip(ends) {
        let Some(control) = reads.projector.control(partition) else { continue };
        let applied = control.next_offset - 1;
        let part = (process.part)(partition);
        // The views may be behind what the process has read itself.
        let (claim, claimed_by) = if part.claim >= control.claim {
            (part.claim, part.claimed_by)
        } else {
            (control.claim, control.claimed_by.clone())
        };
        partitions.push(PartitionAnswer {
            partition,
            log_id: part.log_id.or(control.log.map(|log| log.log_id)),
            leading: part.leading,
            projecting: part.projecting,
            claim,
            claimed_by,
            fold: control.fold,
            log_end,
            applied,
            lag: log_end.map(|end| (end - 1 - applied).max(0)),
            position: reads.position(partition, applied).ok().filter(|_| applied >= 0),
        });
    }
    let answer = StatusAnswer {
        process: Arc::clone(&process.name),
        datacenter: process.datacenter.clone(),
        roles: process.roles.clone(),
        version: env!("CARGO_PKG_VERSION"),
        fold_newest: registry::fold_newest(),
        generation: reads.projector.generation().0,
        max_lag: process.max_lag,
        partitions,
        followers: reads.shared.waiting.followers(),
    };
    json(StatusCode::OK, &answer)
}
