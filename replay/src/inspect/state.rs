//! A run as it is shown by what looks into the past: all that the fold keeps of it, but the ids of events it has judged.

use std::collections::BTreeMap;

use serde::Serialize;
use tidewheel_api::run::{DivergenceAnswer, RunError, shown_status};
use tidewheel_api::{PayloadAnswer, Time};
use tidewheel_engine::run::TimerKind;
use tidewheel_engine::{Run, RunStatus};
use tidewheel_schemas::Event;
use utoipa::ToSchema;

/// A run as it stood.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunState {
    /// The run.
    pub run_id: String,
    /// Its namespace.
    pub namespace: String,
    /// Its workflow.
    pub workflow: String,
    /// The key its id derives from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `running`, `completed`, `failed`, `cancelled`, `terminated` or `parked`.
    pub status: &'static str,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// State its workflow had published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<PayloadAnswer>,
    /// What it had returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<PayloadAnswer>,
    /// Why it had failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// Why it was cancelled or terminated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where code and history differed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<DivergenceAnswer>,
    /// Offset of the record that no reader could apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked_at: Option<i64>,
    /// When it was started.
    pub created_at: Time,
    /// When it had ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Number of records it had accepted.
    pub version: u64,
    /// Number of records from outside among them, after its start.
    pub externals: u64,
    /// What happens next.
    pub next: Next,
    /// Signals that its workflow had not read.
    pub signals: Vec<WaitingSignal>,
    /// Timers that ran.
    pub timers: Vec<RunningTimer>,
}

/// What happens next with a run, as far as that follows from its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Next {
    /// `now` if its workflow has something to do, `timer` if it waits for one at the latest, `externals` if only a
    /// signal or a command moves it, `nothing` if it has ended or is parked.
    pub when: &'static str,
    /// When that timer ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Time>,
}

/// A signal that waits to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WaitingSignal {
    /// Its ordinal among the run's records from outside.
    pub ordinal: u64,
    /// Its name.
    pub name: String,
    /// Offset of its record.
    pub offset: i64,
}

/// A timer that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RunningTimer {
    /// Where in the workflow.
    pub location: String,
    /// `sleep`, `signal-timeout` or `retry`.
    pub kind: &'static str,
    /// The attempt that is due, for a retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When it ends.
    pub due_at: Time,
    /// Offset of the record that set it.
    pub offset: i64,
}

impl RunState {
    /// The run as it stands.
    pub fn of(run: &Run) -> Self {
        let header = &run.header;
        let output = run.history.iter().rev().find_map(|entry| match &*entry.event {
            Event::RunCompleted(completed) => Some(PayloadAnswer(completed.output.clone())),
            _ => None,
        });
        let timers = run.timers.iter().map(|(location, timer)| {
            let (kind, attempt) = match timer.kind {
                TimerKind::Sleep => ("sleep", None),
                TimerKind::SignalTimeout => ("signal-timeout", None),
                TimerKind::Retry { attempt } => ("retry", Some(attempt)),
            };
            let (due_at, offset) = (Time(timer.due_us), timer.offset);
            RunningTimer { location: location.to_string(), kind, attempt, due_at, offset }
        });
        let signals = run.unread.values().map(|signal| WaitingSignal {
            ordinal: signal.ordinal,
            name: signal.name.to_string(),
            offset: signal.offset,
        });
        Self {
            run_id: header.run_id.to_string(),
            namespace: header.namespace.to_string(),
            workflow: header.workflow.to_string(),
            key: header.key.as_deref().map(str::to_owned),
            status: shown_status(header).as_str(),
            tags: (*header.tags).clone(),
            state: header.state.clone().map(PayloadAnswer),
            output,
            error: header
                .failure
                .as_ref()
                .map(|failure| RunError { code: failure.code.clone(), message: failure.message.clone() }),
            reason: header.reason.as_deref().map(str::to_owned),
            divergence: header.divergence.as_ref().map(|divergence| DivergenceAnswer {
                location: divergence.location.to_string(),
                expected: divergence.expected.clone(),
                found: divergence.found.clone(),
            }),
            parked_at: header.parked_at,
            created_at: Time(header.created_at_us),
            finished_at: header.finished_at_us.map(Time),
            version: header.version,
            externals: header.externals,
            next: next(run),
            signals: signals.collect(),
            timers: timers.collect(),
        }
    }
}

fn next(run: &Run) -> Next {
    let none = |when| Next { when, due_at: None };
    match run.header.work_due_us() {
        Some(i64::MIN) => none("now"),
        Some(due_us) => Next { when: "timer", due_at: Some(Time(due_us)) },
        None if run.header.status == RunStatus::Running && run.header.parked_at.is_none() => {
            none("externals")
        }
        None => none("nothing"),
    }
}
