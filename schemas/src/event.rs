//! Events: the facts themselves. One Rust struct per event type, mirrored by `schemas/avro/<family>/<name>.avsc`.
//! Those of the configuration are in `config`.

mod config;
mod location;
mod replay;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::author::Author;
use crate::entity::Entity;
use crate::id::{EventId, LogId, RunId};
use crate::name::Name;
use crate::payload::{Failure, Payload};

pub use self::config::{ConfigEvent, NamespaceCreated, TokenCreated, TokenRevoked, TokenRotated};
pub use self::location::{Location, ParseLocationError};
pub use self::replay::{
    GenerationActivated, GenerationDropped, ReplayCancelled, ReplayFinished, ReplayPaused, ReplayProgressed,
    ReplayRateChanged, ReplayResumed, ReplayScope, ReplayStarted, ViewsMended,
};

/// Everything about an event but what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The event's name for ever.
    pub event_id: EventId,
    /// What it is about.
    pub entity: Entity,
    /// The namespace it belongs to; empty for control records (`None`).
    pub namespace: Option<Name>,
    /// Microseconds since 1970.
    pub recorded_at_us: i64,
    /// The event that led to this one, where one did.
    pub cause: Option<EventId>,
    /// W3C trace context of the request that led to it.
    pub traceparent: Option<String>,
    /// Who wrote it.
    pub author: Author,
}

macro_rules! events {
    (
        workflow { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? }
        config { $($(#[$config_doc:meta])* $config:ident = $config_text:literal),+ $(,)? }
    ) => {
        /// The type of an event. The texts are persisted in headers: appended, never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType {
            $($(#[$doc])* $variant,)+
            $($(#[$config_doc])* $config,)+
        }

        impl EventType {
            /// Every type this build knows.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+ $(Self::$config,)+];

            /// The types of workflow events, in the order of the Avro union; they come first in [`Self::ALL`].
            pub const WORKFLOW: &'static [Self] = &[$(Self::$variant),+];

            /// The persisted name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ $(Self::$config => $config_text,)+ }
            }

            /// The type with this persisted name.
            pub fn from_text(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    $($config_text => Some(Self::$config),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for EventType {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        /// What happened. Variants are appended in the order of the Avro union, never reordered.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Event {
            $($(#[$doc])* $variant($variant)),+
        }

        impl Event {
            /// The type of this event.
            pub const fn event_type(&self) -> EventType {
                match self { $(Self::$variant(_) => EventType::$variant),+ }
            }
        }

        $(impl From<$variant> for Event {
            fn from(event: $variant) -> Self { Self::$variant(event) }
        })+
    };
}

events! {
    workflow {
        /// First record of every partition.
        LogCreated = "log-created",
        /// A process claims a partition.
        PartitionClaimed = "partition-claimed",
        /// An operator raises the fold version.
        FoldRaised = "fold-raised",
        /// Outbox entries that were delivered are forgotten.
        OutboxTrimmed = "outbox-trimmed",
        /// A run is asked for.
        RunStarted = "run-started",
        /// A signal for a run.
        RunSignaled = "run-signaled",
        /// A run is asked to stop, its compensations run.
        RunCancelRequested = "run-cancel-requested",
        /// A run is ended at once.
        RunTerminated = "run-terminated",
        /// A parked run is to be tried again.
        RunResumed = "run-resumed",
        /// A step's result.
        StepCompleted = "step-completed",
        /// A step's attempt failed.
        StepFailed = "step-failed",
        /// A durable sleep began.
        TimerStarted = "timer-started",
        /// A durable sleep ended.
        TimerFired = "timer-fired",
        /// The workflow waits for signals.
        SignalAwaited = "signal-awaited",
        /// The workflow took signals, or its wait timed out.
        SignalReceived = "signal-received",
        /// The workflow's published state changed.
        RunStateChanged = "run-state-changed",
        /// The run's tags changed.
        RunTagged = "run-tagged",
        /// The workflow signals another run.
        SignalSent = "signal-sent",
        /// A requested cancel reached the workflow's code.
        RunCancelling = "run-cancelling",
        /// The workflow returned a result.
        RunCompleted = "run-completed",
        /// The workflow failed for good.
        RunFailed = "run-failed",
        /// The workflow ended after a cancel.
        RunCancelled = "run-cancelled",
        /// The workflow's code does not match its history.
        RunDiverged = "run-diverged",
        /// A run goes on without the record that parked it.
        RunUnparked = "run-unparked",
    }
    config {
        /// A namespace begins to exist.
        NamespaceCreated = "namespace-created",
        /// An access token begins to be valid.
        TokenCreated = "token-created",
        /// A token gets a second secret.
        TokenRotated = "token-rotated",
        /// A token is valid no more.
        TokenRevoked = "token-revoked",
        /// The views of a datacenter begin to be written again.
        ReplayStarted = "replay-started",
        /// A replay rests.
        ReplayPaused = "replay-paused",
        /// A paused replay goes on.
        ReplayResumed = "replay-resumed",
        /// A replay becomes faster or slower.
        ReplayRateChanged = "replay-rate-changed",
        /// A replay ends before its time.
        ReplayCancelled = "replay-cancelled",
        /// How far a backfill is.
        ReplayProgressed = "replay-progressed",
        /// A replay did all it was started for.
        ReplayFinished = "replay-finished",
        /// Reads move to another generation of the views.
        GenerationActivated = "generation-activated",
        /// A generation of the views goes.
        GenerationDropped = "generation-dropped",
        /// Rows of a generation are about to be mended in place.
        ViewsMended = "views-mended",
    }
}

impl EventType {
    /// Whether this is a control record: about a partition, folded by Control alone.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::LogCreated | Self::PartitionClaimed | Self::FoldRaised | Self::OutboxTrimmed)
    }

    /// Whether records of this type are about entities of this kind.
    pub const fn is_about(self, entity: &Entity) -> bool {
        match entity {
            Entity::Partition(_) => self.is_control(),
            Entity::Run(_) => !self.is_control() && !self.is_config(),
            Entity::Namespace(_) => matches!(self, Self::NamespaceCreated),
            Entity::Token(_) => matches!(self, Self::TokenCreated | Self::TokenRotated | Self::TokenRevoked),
            Entity::Views(_) => self.is_about_views(),
        }
    }

    /// Whether this is about the configuration: a record of `{prefix}.config.changes` that is no control record.
    pub const fn is_config(self) -> bool {
        matches!(self, Self::NamespaceCreated | Self::TokenCreated | Self::TokenRotated | Self::TokenRevoked)
            || self.is_about_views()
    }

    const fn is_about_views(self) -> bool {
        matches!(
            self,
            Self::ReplayStarted
                | Self::ReplayPaused
                | Self::ReplayResumed
                | Self::ReplayRateChanged
                | Self::ReplayCancelled
                | Self::ReplayProgressed
                | Self::ReplayFinished
                | Self::GenerationActivated
                | Self::GenerationDropped
                | Self::ViewsMended
        )
    }
}

/// First record of every partition; the first one counts, later ones are void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCreated {
    /// Name of this partition's log.
    pub log_id: LogId,
    /// Base of write timestamps: exceeds every one used under an earlier log of the prefix. Microseconds.
    pub epoch_us: i64,
    /// How many partitions the topic has, for ever.
    pub partitions: i32,
    /// The fold version the log begins with.
    pub fold: i32,
}

/// A process claims a partition. Accepted only if `replaces` is the claim in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionClaimed {
    /// Offset of the claim in force when this was written; none for the first.
    pub replaces: Option<i64>,
}

/// From here on records fold by version `fold`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldRaised {
    /// The new version; must be above the one in force.
    pub fold: i32,
}

/// Outbox entries up to and including this one were delivered to every destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxTrimmed {
    /// Offset part of the last delivered entry's name.
    pub offset: i64,
    /// Index part of the last delivered entry's name.
    pub index: i32,
}

/// A run is asked for. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// Which workflow.
    pub workflow: Name,
    /// The key the run id derives from, if the caller named one.
    pub key: Option<String>,
    /// The workflow's argument.
    pub input: Payload,
    /// Words to find the run by.
    pub tags: BTreeMap<String, String>,
}

/// A signal for a run. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSignaled {
    /// Which signal.
    pub name: Name,
    /// What it says.
    pub payload: Payload,
}

/// A run is asked to stop: its pending awaits end with `Cancelled` and its compensations run. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCancelRequested {
    /// Why, for people.
    pub reason: String,
}

/// A run is ended at once; no workflow code runs. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTerminated {
    /// Why, for people.
    pub reason: String,
}

/// A parked run is to be tried again with the code now deployed. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResumed {}

/// A step's result; at most one is accepted per location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCompleted {
    /// Where in the workflow.
    pub location: Location,
    /// The step's name.
    pub name: Name,
    /// Which attempt succeeded, from 1.
    pub attempt: i32,
    /// What it returned.
    pub output: Payload,
}

/// A step's attempt failed; tried again at `retry_at_us`, or for good when there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailed {
    /// Where in the workflow.
    pub location: Location,
    /// The step's name.
    pub name: Name,
    /// Which attempt failed, from 1.
    pub attempt: i32,
    /// Why.
    pub failure: Failure,
    /// When the next attempt is due, microseconds since 1970.
    pub retry_at_us: Option<i64>,
}

/// A durable sleep began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerStarted {
    /// Where in the workflow.
    pub location: Location,
    /// When it ends, microseconds since 1970.
    pub due_us: i64,
}

/// A durable sleep ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFired {
    /// Where in the workflow.
    pub location: Location,
}

/// The workflow waits for signals that have not come yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalAwaited {
    /// Where in the workflow.
    pub location: Location,
    /// Which signal.
    pub name: Name,
    /// When the wait ends without one, microseconds since 1970.
    pub due_us: Option<i64>,
}

/// The workflow took signals, or its wait timed out (then `signals` is empty).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalReceived {
    /// Where in the workflow.
    pub location: Location,
    /// Which signal.
    pub name: Name,
    /// The external ordinals (from 1, per run) of the signals taken, in order.
    pub signals: Vec<i64>,
}

/// The workflow's published state changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStateChanged {
    /// Where in the workflow.
    pub location: Location,
    /// The new state, whole.
    pub state: Payload,
}

/// The run's tags changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTagged {
    /// Where in the workflow.
    pub location: Location,
    /// The new tags, whole.
    pub tags: BTreeMap<String, String>,
}

/// The workflow signals another run; the fold puts the message into the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalSent {
    /// Where in the workflow.
    pub location: Location,
    /// The run it is for.
    pub target: RunId,
    /// Which signal.
    pub name: Name,
    /// What it says.
    pub payload: Payload,
}

/// A requested cancel reached the workflow's code: the awaits at `locations` end with `Cancelled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCancelling {
    /// Every await that was pending.
    pub locations: Vec<Location>,
}

/// The workflow returned a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCompleted {
    /// What it returned.
    pub output: Payload,
}

/// The workflow failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFailed {
    /// Why.
    pub failure: Failure,
}

/// The workflow ended after a cancel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCancelled {
    /// The reason of the cancel request.
    pub reason: String,
}

/// The workflow's code does not match its history; the run is parked until resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDiverged {
    /// The first place that differs.
    pub location: Location,
    /// What the code does there.
    pub expected: String,
    /// What the history says.
    pub found: String,
}

/// A run goes on without the record that parked it: what was decided on that record is decided anew. Accepted only if
/// the run is parked at exactly that record. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunUnparked {
    /// Offset of the record that parked the run.
    pub offset: i64,
    /// Why, for people.
    pub reason: String,
}
