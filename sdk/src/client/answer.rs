//! Answers of the API as the client reads them. Fields it does not know are ignored.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tidewheel_schemas::RunId;

/// A run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunAnswer {
    /// The run.
    pub run_id: RunId,
    /// Its workflow; absent while a start is durable but not judged yet.
    #[serde(default)]
    pub workflow: Option<String>,
    /// `running`, `completed`, `failed`, `cancelled`, `terminated`, `parked`, or `pending` while not judged.
    pub status: String,
    /// What it returned, once completed.
    #[serde(default)]
    pub output: Option<Value>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<RunFailure>,
    /// State its workflow published.
    #[serde(default)]
    pub state: Option<Value>,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Where in the log this answer stands: pass it as `at_least` to read no older state.
    pub position: String,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunFailure {
    /// A stable word to branch on.
    pub code: String,
    /// What happened, for people.
    pub message: String,
}

/// What became of a signal or command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CommandAnswer {
    /// The run.
    pub run_id: RunId,
    /// `accepted`, `duplicate`, `parked` or `pending`.
    pub outcome: String,
    /// Where the run stands after it.
    #[serde(default)]
    pub status: Option<String>,
    /// Where in the log it lies.
    pub position: String,
}
