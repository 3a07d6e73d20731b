//! Transitions: what one record changed, as data for projectors, waiters and tests.

use std::sync::Arc;

use tidewheel_schemas::{EventId, Headers, Location, OutboxName};

use crate::outbox::OutboxEntry;
use crate::remembered::Remembered;
use crate::run::{HistoryEntry, RunHeader, Timer, UnreadSignal};
use crate::verdict::Verdict;

/// What the fold made of one record. Every record yields exactly one, in offset order.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The partition.
    pub partition: u32,
    /// The record's offset.
    pub offset: i64,
    /// Its headers; `None` when a foreign producer wrote ones that cannot be read.
    pub headers: Option<Headers>,
    /// What the fold said.
    pub verdict: Verdict,
    /// What changed in a run, if anything. Also set (with `before == after`) for most records that were refused.
    pub run: Option<Box<RunChange>>,
    /// The run as it stands, for duplicates: so that a waiter can answer with it.
    pub standing: Option<Arc<RunHeader>>,
    /// What changed in the partition's outbox.
    pub outbox: Vec<OutboxChange>,
}

impl Transition {
    /// The run after the record, whether it changed or not; `None` if the record is about none, or about one that
    /// it must not show.
    pub fn header(&self) -> Option<&Arc<RunHeader>> {
        self.run.as_ref().map(|change| &change.after).or(self.standing.as_ref())
    }
}

/// What a record changed in its run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunChange {
    /// The header before; `None` if the record created the run.
    pub before: Option<Arc<RunHeader>>,
    /// The header after.
    pub after: Arc<RunHeader>,
    /// The new history entry; `None` when the record was not accepted.
    pub entry: Option<HistoryEntry>,
    /// Changed parts.
    pub parts: Vec<PartChange>,
    /// Signals that the run's end left unread; each becomes a row of the `rejections` view.
    pub left_unread: Vec<UnreadSignal>,
}

/// A part that was put (`Some`) or removed (`None`).
#[derive(Debug, Clone, PartialEq)]
pub enum PartChange {
    /// An unread signal, by ordinal.
    Signal(u64, Option<UnreadSignal>),
    /// A timer, by location.
    Timer(Location, Option<Timer>),
    /// A remembered event id.
    Remembered(EventId, Option<Remembered>),
}

/// A change in the outbox of the partition.
#[derive(Debug, Clone, PartialEq)]
pub enum OutboxChange {
    /// An entry was created.
    Put(OutboxEntry),
    /// Every entry up to and including this one was delivered and is forgotten.
    Trimmed(OutboxName),
}
