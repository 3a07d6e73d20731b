//! Workflows: user code as a pure state machine. Polls it, answers from history, turns awaits into events.
//!
//! No runtime, clock or randomness lives here: results, timers and externals come in as calls on [`Machine`],
//! proposals and step launches go out as data.

pub mod context;
mod decision;
mod describe;
mod journal;
pub mod machine;
mod polling;
mod registry;
mod replay;
pub mod step;
mod valid;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tidewheel_schemas::{Failure, Name, Payload, RunId};

pub use context::{Await, Context};
pub use machine::{Launch, Machine, Output, Proposal};
pub use registry::Workflows;
pub use step::{RetryPolicy, StepCall, StepFailure, StepFuture, StepOptions, StepTask};

/// A running workflow function.
pub type WorkflowFuture = Pin<Box<dyn Future<Output = Result<Payload, WorkflowError>> + Send>>;

/// Code of a workflow. Must be deterministic: it may look at its context and input, at nothing else.
pub trait Workflow: Send + Sync + 'static {
    /// Begins one run. Called once per [`Machine`], so again on every replay.
    fn start(&self, context: Context, input: Payload) -> WorkflowFuture;
}

/// What ends an await or a workflow without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowError {
    /// It failed. A workflow that returns this fails for good.
    #[error("{}: {}", .0.code, .0.message)]
    Failed(Failure),
    /// A requested cancel ended it. A workflow that returns this is cancelled.
    #[error("the run was asked to cancel")]
    Cancelled,
}

/// What a workflow may know of its own run. Fixed at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInfo {
    /// The run.
    pub run_id: RunId,
    /// Its namespace.
    pub namespace: Name,
    /// Its workflow.
    pub workflow: Name,
    /// The key its id derives from, if it was started with one.
    pub key: Option<Arc<str>>,
}
