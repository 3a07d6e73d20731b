//! A run: the state of one execution of a workflow, as the fold keeps it.

pub(crate) mod apply;
pub mod digest;
mod progress;
pub(crate) mod rewind;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidewheel_schemas::{Event, EventId, Failure, Location, Name, Payload, RunId};

use crate::remembered::RememberedEvents;

/// Where a run stands. Texts are persisted and shown to users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunStatus {
    /// Its workflow runs or waits.
    Running,
    /// Its workflow returned a result.
    Completed,
    /// Its workflow failed for good.
    Failed,
    /// Its workflow ended after a cancel.
    Cancelled,
    /// It was ended at once.
    Terminated,
    /// Its code does not match its history; waits for a resume.
    Parked,
}

impl RunStatus {
    /// Every status.
    pub const ALL: &'static [Self] =
        &[Self::Running, Self::Completed, Self::Failed, Self::Cancelled, Self::Terminated, Self::Parked];

    /// The persisted text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
            Self::Parked => "parked",
        }
    }

    /// The status with this text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }

    /// Whether the run has ended for good.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Terminated)
    }
}

/// A divergence: the first place where code and history differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The place.
    pub location: Location,
    /// What the code does there.
    pub expected: String,
    /// What the history says.
    pub found: String,
}

/// The small part of a run: what lists show and indexes are made of. One row of the `runs` view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunHeader {
    /// The run.
    pub run_id: RunId,
    /// Its namespace.
    pub namespace: Name,
    /// Its workflow.
    pub workflow: Name,
    /// The key its id derives from, if it was started with one.
    pub key: Option<Arc<str>>,
    /// Its tags.
    pub tags: Arc<BTreeMap<String, String>>,
    /// Where it stands.
    pub status: RunStatus,
    /// `recorded_at` of its start, microseconds since 1970.
    pub created_at_us: i64,
    /// `recorded_at` of the record that ended it.
    pub finished_at_us: Option<i64>,
    /// Offset of its start.
    pub started_offset: i64,
    /// Offset of the record that ended it; its history entry holds the output.
    pub finished_offset: Option<i64>,
    /// Number of records it accepted.
    pub version: u64,
    /// Number of external records it accepted after its start; the newest one's ordinal.
    pub externals: u64,
    /// Having seen this many externals, the run waits only for externals and timers; `None` while work is in flight.
    pub idle_seen: Option<u64>,
    /// The earliest timer, microseconds since 1970.
    pub next_due_us: Option<i64>,
    /// State the workflow published.
    pub state: Option<Payload>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The reason of an accepted cancel request, or of the termination.
    pub reason: Option<Arc<str>>,
    /// Where code and history differ, while parked.
    pub divergence: Option<Arc<Divergence>>,
    /// Offset of the record at which this run halted: nobody can read it, or a view's store refused a row. From fold
    /// version 2 on an unreadable record counts as applied, and what comes from outside after it is; else see
    /// [`Self::is_frozen`]. Stays when the run is terminated meanwhile.
    pub parked_at: Option<i64>,
    /// Offset of the last record that changed this entity; records at or below it are skipped on a refold.
    pub applied_offset: i64,
    /// Digest of the parts that belong to this header: a load that does not reproduce it is torn.
    pub parts: digest::PartsDigest,
}

impl RunHeader {
    /// Whether nothing is applied after the record that parked it: a row of it was refused, or an unreadable record came
    /// under fold version 1. Only a rebuild of the views helps.
    pub fn is_frozen(&self) -> bool {
        self.parked_at.is_some_and(|parked_at| self.applied_offset < parked_at)
    }

    /// When `decide` has something to do for this run: `Some(i64::MIN)` now, `Some(due)` at that time, `None` never
    /// (until another external record).
    pub fn work_due_us(&self) -> Option<i64> {
        if self.status != RunStatus::Running || self.parked_at.is_some() {
            None
        } else if self.idle_seen == Some(self.externals) {
            self.next_due_us
        } else {
            Some(i64::MIN)
        }
    }
}

/// How an entry of a history came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From outside: its ordinal among the run's externals, from 1; 0 for the start.
    External {
        /// The ordinal.
        ordinal: u64,
    },
    /// By the engine.
    Engine {
        /// How many externals it was decided on.
        seen: u64,
        /// Whether the run waits only for externals and timers after it.
        idle: bool,
    },
}

/// One accepted record of a run. An entry of the `run_history` view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Where it lies in the partition.
    pub offset: i64,
    /// The event's id.
    pub event_id: EventId,
    /// When it was written, microseconds since 1970.
    pub recorded_at_us: i64,
    /// How it came to be.
    pub origin: Origin,
    /// What happened.
    pub event: Arc<Event>,
}

/// A signal that waits to be read. A part of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadSignal {
    /// Its ordinal among the run's externals.
    pub ordinal: u64,
    /// Offset of its record.
    pub offset: i64,
    /// Id of its event.
    pub event_id: EventId,
    /// Its name. The payload is in the history.
    pub name: Name,
}

/// What happens when a timer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerKind {
    /// A durable sleep ends.
    Sleep,
    /// A wait for a signal times out.
    SignalTimeout,
    /// A step is tried again.
    Retry {
        /// The attempt that is due, from 2.
        attempt: u32,
    },
}

/// A timer. A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// Microseconds since 1970.
    pub due_us: i64,
    /// What happens then.
    pub kind: TimerKind,
    /// Offset of the record that set it.
    pub offset: i64,
}

/// The state of a run: header and parts. The fold changes it, nothing else does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The small part.
    pub header: Arc<RunHeader>,
    /// Accepted records in offset order.
    pub history: Vec<HistoryEntry>,
    /// Signals not read yet, by ordinal.
    pub unread: BTreeMap<u64, UnreadSignal>,
    /// Timers by location.
    pub timers: BTreeMap<Location, Timer>,
    /// Locations that have their result: derived from the history.
    pub resolved: BTreeSet<Location>,
    /// External event ids and their outcomes, for deduplication.
    pub remembered: RememberedEvents,
    /// The ordinal of the newest external that let the run go on without a record, 0 if there is none: what was decided
    /// on fewer externals was decided on that record. Derived from the history.
    pub decided_from: u64,
}

impl Run {
    /// Puts a run together from what a view stores: the header, the history in offset order and the parts.
    /// What is derived (resolved locations, what decisions must have seen) is derived here.
    pub fn from_parts(
        header: Arc<RunHeader>,
        history: Vec<HistoryEntry>,
        unread: BTreeMap<u64, UnreadSignal>,
        timers: BTreeMap<Location, Timer>,
        remembered: RememberedEvents,
    ) -> Self {
        let (mut resolved, mut decided_from) = (BTreeSet::new(), 0);
        for entry in &history {
            if let (Event::RunUnparked(_), Origin::External { ordinal }) = (&*entry.event, entry.origin) {
                decided_from = ordinal;
            }
            progress::resolved_by(&entry.event, |location| {
                resolved.insert(location.clone());
            });
        }
        Self { header, history, unread, timers, resolved, remembered, decided_from }
    }
}
