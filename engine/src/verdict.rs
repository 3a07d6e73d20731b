//! Verdicts: what the fold says of a record.

use std::fmt;

/// Why the fold refused a record. The codes are persisted in the `rejections` view and shown to users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// There is no such run.
    RunNotFound,
    /// The run has ended; it takes no more signals or commands.
    RunFinished,
    /// The run belongs to another namespace.
    WrongNamespace,
    /// The run has too many signals waiting.
    TooManySignals,
    /// The run ended before its workflow read this signal.
    SignalUnread,
    /// The run is not parked, or not where the request says, so there is nothing to resume.
    NotParked,
    /// The run is parked; its engine records wait for a resume.
    RunParked,
    /// Another result for this location was accepted before, or the location is not what the record says.
    LocationTaken,
    /// The record's key does not hash to its partition; its producer must use the murmur2 partitioner.
    WrongPartition,
    /// Headers or value cannot be read, or do not agree.
    Undecodable,
    /// The event type is not one its author may write.
    WrongAuthor,
    /// The event type or schema is not part of the fold version in force.
    NotInFold,
    /// A control record that comes too late or changes nothing: a second `LogCreated`, a lower fold version.
    Void,
    /// There is a namespace of this name.
    NamespaceExists,
    /// There is a token of this id.
    TokenExists,
    /// There is no such token.
    TokenNotFound,
    /// The token was revoked, which is for ever.
    TokenRevoked,
    /// The version the change was decided on is not the one in force.
    VersionConflict,
    /// There is no such replay.
    ReplayNotFound,
    /// The replay has ended.
    ReplayEnded,
    /// A replay runs that has to end first.
    ReplayRunning,
    /// There is no such generation of the views.
    GenerationNotFound,
    /// The generation is the one that is read.
    GenerationActive,
    /// There are as many generations as there may be.
    TooManyGenerations,
    /// Rows of the generation were mended in place as often as they can be.
    TooManyMendings,
}

impl Rejection {
    /// Every rejection.
    pub const ALL: &'static [Self] = &[
        Self::RunNotFound,
        Self::RunFinished,
        Self::WrongNamespace,
        Self::TooManySignals,
        Self::SignalUnread,
        Self::NotParked,
        Self::RunParked,
        Self::LocationTaken,
        Self::WrongPartition,
        Self::Undecodable,
        Self::WrongAuthor,
        Self::NotInFold,
        Self::Void,
        Self::NamespaceExists,
        Self::TokenExists,
        Self::TokenNotFound,
        Self::TokenRevoked,
        Self::VersionConflict,
        Self::ReplayNotFound,
        Self::ReplayEnded,
        Self::ReplayRunning,
        Self::GenerationNotFound,
        Self::GenerationActive,
        Self::TooManyGenerations,
        Self::TooManyMendings,
    ];

    /// The stable code, as in the `rejections` view and problem details.
    pub const fn code(self) -> &'static str {
        match self {
            Self::RunNotFound => "run_not_found",
            Self::RunFinished => "run_finished",
            Self::WrongNamespace => "wrong_namespace",
            Self::TooManySignals => "too_many_signals",
            Self::SignalUnread => "signal_unread",
            Self::NotParked => "not_parked",
            Self::RunParked => "run_parked",
            Self::LocationTaken => "location_taken",
            Self::WrongPartition => "wrong_partition",
            Self::Undecodable => "undecodable",
            Self::WrongAuthor => "wrong_author",
            Self::NotInFold => "not_in_fold",
            Self::Void => "void",
            Self::NamespaceExists => "namespace_exists",
            Self::TokenExists => "token_exists",
            Self::TokenNotFound => "token_not_found",
            Self::TokenRevoked => "token_revoked",
            Self::VersionConflict => "version_conflict",
            Self::ReplayNotFound => "replay_not_found",
            Self::ReplayEnded => "replay_ended",
            Self::ReplayRunning => "replay_running",
            Self::GenerationNotFound => "generation_not_found",
            Self::GenerationActive => "generation_active",
            Self::TooManyGenerations => "too_many_generations",
            Self::TooManyMendings => "too_many_mendings",
        }
    }

    /// The rejection with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rejection| rejection.code() == code)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RunNotFound => "there is no such run",
            Self::RunFinished => "the run has ended and takes no more signals or commands",
            Self::WrongNamespace => "the run belongs to another namespace",
            Self::TooManySignals => "the run has 10000 signals waiting; its workflow must read some first",
            Self::SignalUnread => "the run ended before its workflow read this signal",
            Self::NotParked => "the run is not parked, or not at that record, so there is nothing to resume",
            Self::RunParked => "the run is parked; resume it first",
            Self::LocationTaken => "another result for this location was accepted before",
            Self::WrongPartition => "the key does not hash to this partition; use the murmur2 partitioner",
            Self::Undecodable => "headers or value cannot be read, or do not agree",
            Self::WrongAuthor => "this event type may not be written by this author",
            Self::NotInFold => "the event type or schema is not part of the fold version in force",
            Self::Void => "a control record that changes nothing",
            Self::NamespaceExists => "there is a namespace of this name already",
            Self::TokenExists => "there is a token of this id already",
            Self::TokenNotFound => "there is no such token",
            Self::TokenRevoked => "the token was revoked, which is for ever; create another",
            Self::VersionConflict => "it was changed meanwhile; read it again and decide afresh",
            Self::ReplayNotFound => "there is no such replay",
            Self::ReplayEnded => "the replay has ended",
            Self::ReplayRunning => "a replay is running; wait for it or cancel it",
            Self::GenerationNotFound => "there is no such generation of the views",
            Self::GenerationActive => "the generation is the one that is read",
            Self::TooManyGenerations => "there are two generations of the views already; drop one first",
            Self::TooManyMendings => {
                "rows of this generation were mended in place seven times, which is the limit; rebuild the views"
            }
        })
    }
}

/// What the fold says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It changed its entity, or Control.
    Accepted,
    /// The same event was judged before: the first outcome, an error if that was a rejection.
    Duplicate(Result<(), Rejection>),
    /// It was refused and is listed in the `rejections` view.
    Rejected(Rejection),
    /// Its entity is parked; it waits until somebody retries or skips.
    Parked,
    /// Control did not let it through: an older claim, a gap in the sequence, a broken outbox chain.
    Stale,
    /// The entity was loaded from a view that already holds this record; nothing to do.
    Skipped,
}
