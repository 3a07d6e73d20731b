//! How a run is answered, by every route that answers one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tidewheel_engine::{RunHeader, RunStatus};
use tidewheel_schemas::{Name, Payload, Position, RunId};
use utoipa::ToSchema;

use crate::payload::PayloadAnswer;
use crate::time::Time;

/// A run as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunAnswer {
    /// The run.
    #[schema(value_type = String, format = Uuid)]
    pub run_id: RunId,
    /// Its workflow.
    #[schema(value_type = String)]
    pub workflow: Name,
    /// Where it stands: `running`, `completed`, `failed`, `cancelled`, `terminated` or `parked`.
    #[serde(serialize_with = "status_text")]
    #[schema(value_type = String, example = "running")]
    pub status: RunStatus,
    /// What it returned, once completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<PayloadAnswer>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// Why it was cancelled or terminated, in the words of who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Arc<str>>,
    /// Where in the log this answer stands: pass it as `at_least` to read no older state.
    #[schema(value_type = String)]
    pub position: Position,
    /// The key its id derives from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key: Option<Arc<str>>,
    /// Its tags.
    #[schema(value_type = BTreeMap<String, String>)]
    pub tags: Arc<BTreeMap<String, String>>,
    /// State its workflow published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<PayloadAnswer>,
    /// When it was started.
    pub created_at: Time,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Number of records it accepted.
    pub version: u64,
    /// Where code and history differ, while parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<DivergenceAnswer>,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RunError {
    /// A stable word to branch on, as the workflow gave it.
    pub code: String,
    /// What happened, for people.
    pub message: String,
}

/// The first place where a run's code and history differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DivergenceAnswer {
    /// The place: dotted numbers from 1.
    pub location: String,
    /// What the code does there.
    pub expected: String,
    /// What the history says.
    pub found: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn status_text<S: Serializer>(status: &RunStatus, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_str())
}

/// The status users see: a run at which a reader stopped is parked, like one whose code and history differ.
pub fn shown_status(run: &RunHeader) -> RunStatus {
    if run.parked_at.is_some() && !run.status.is_finished() { RunStatus::Parked } else { run.status }
}

impl RunAnswer {
    /// The answer for a run whose state is `header` as of `position`; `output` is what it returned, if it is known.
    pub fn new(header: &RunHeader, output: Option<&Payload>, position: Position) -> Self {
        Self {
            run_id: header.run_id,
            workflow: header.workflow.clone(),
            status: shown_status(header),
            output: output.cloned().map(PayloadAnswer),
            error: header
                .failure
                .as_ref()
                .map(|failure| RunError { code: failure.code.clone(), message: failure.message.clone() }),
            reason: header.reason.clone(),
            position,
            key: header.key.clone(),
            tags: Arc::clone(&header.tags),
            state: header.state.clone().map(PayloadAnswer),
            created_at: Time(header.created_at_us),
            finished_at: header.finished_at_us.map(Time),
            version: header.version,
            divergence: header.divergence.as_ref().map(|divergence| DivergenceAnswer {
                location: divergence.location.to_string(),
                expected: divergence.expected.clone(),
                found: divergence.found.clone(),
            }),
        }
    }
}
