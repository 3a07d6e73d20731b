//! The workloads: what a client does again and again, and what is called its latency.

mod batch;
mod probe;
mod signal;
mod start;
mod steps;

use crate::load::{LoadError, Plan, measure};
use crate::report::Report;
use crate::target::{RESTATE_STEPS, Target};

/// A workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    /// `GET` of a path: what the generator itself costs and can do.
    Probe {
        /// The path.
        path: String,
    },
    /// W1: start a workflow until it is durable.
    Start,
    /// W1b: start many workflows with one request.
    Batch {
        /// Runs of a request.
        lines: usize,
    },
    /// W2: start a workflow and wait for its result.
    Steps {
        /// Steps of a workflow.
        steps: u32,
    },
    /// W3: signal a workflow that waits, until its result arrives.
    Signal,
}

impl Workload {
    /// What it is called in reports.
    pub fn name(&self) -> String {
        match self {
            Self::Probe { .. } => "probe".to_owned(),
            Self::Start => "W1 start".to_owned(),
            Self::Batch { lines } => format!("W1b batch of {lines}"),
            Self::Steps { steps: 1 } => "W2 1 step".to_owned(),
            Self::Steps { steps } => format!("W2 {steps} steps"),
            Self::Signal => "W3 signal".to_owned(),
        }
    }

    /// What its latency is the time of.
    pub const fn measures(&self) -> &'static str {
        match self {
            Self::Probe { .. } => "request to answer",
            Self::Start => "start to durable, judged acknowledgement",
            Self::Batch { .. } => "batch to its last durable, judged acknowledgement; the rate is of runs",
            Self::Steps { .. } => "start to result",
            Self::Signal => {
                "signal to the result at a client that already waits; the rate is of whole start-signal-result rounds"
            }
        }
    }

    /// Applies the load to a server.
    ///
    /// # Errors
    /// When the load cannot be made, or the workload has no meaning there.
    pub async fn run(&self, target: &Target, plan: Plan, payload_bytes: usize) -> Result<Report, LoadError> {
        let rate = plan.rate;
        let target = target.clone();
        let measured = match (self, &target) {
            (Self::Probe { path }, _) => {
                let path = path.clone();
                measure(plan, move |_| probe::Probe::new(target.server(), &path)).await
            }
            (Self::Start, _) => {
                measure(plan, move |client| start::Start::new(&target, client, payload_bytes)).await
            }
            (Self::Batch { lines }, Target::Tidewheel { api }) => {
                let (lines, api) = (*lines, api.clone());
                measure(plan, move |client| batch::Batch::new(&api, client, lines, payload_bytes)).await
            }
            (Self::Steps { steps }, Target::Restate { .. }) if !RESTATE_STEPS.contains(steps) => {
                Err(LoadError::Plan(format!("Restate's worker has no workflow of {steps} steps")))
            }
            (Self::Steps { steps }, _) => {
                let steps = *steps;
                measure(plan, move |client| steps::Steps::new(&target, client, steps, payload_bytes)).await
            }
            (Self::Signal, Target::Tidewheel { api }) => {
                let api = api.clone();
                measure(plan, move |client| signal::Signal::new(&api, client, payload_bytes)).await
            }
            (Self::Signal, Target::Restate { ingress, awakeables }) => {
                let (ingress, awakeables) = (ingress.clone(), awakeables.clone());
                measure(plan, move |client| {
                    signal::Awakeable::new(&ingress, &awakeables, client, payload_bytes)
                })
                .await
            }
            (Self::Batch { .. }, Target::Restate { .. }) => {
                Err(LoadError::Plan("Restate has no batch of starts".to_owned()))
            }
        }?;
        Ok(Report::new(&self.name(), self.measures(), rate, &measured))
    }
}
