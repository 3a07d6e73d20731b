//! Waiting for the verdict on one record. Which verdict it is, is the fold's business.

use std::sync::Arc;

use tidewheel_engine::{RunHeader, Transition, Verdict};
use tidewheel_schemas::EventId;

use super::Waiting;
use super::registry::Slot;

/// What the fold made of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The record's offset.
    pub offset: i64,
    /// What was said of it.
    pub verdict: Verdict,
    /// The run as it stands after the record, if there is one.
    pub run: Option<Arc<RunHeader>>,
}

/// Outcomes of one event id in offset order, at most [`OUTCOMES_MAX`].
#[derive(Default)]
pub(super) struct Verdicts(Vec<Outcome>);

/// Enough for requests that race with one event id; of more, the oldest are forgotten, which
/// [`VerdictWaiter::at`] allows for.
const OUTCOMES_MAX: usize = 16;

/// The event whose waiters a transition is for. Nobody waits for what the engine wrote.
pub(super) fn told_by(transition: &Transition) -> Option<EventId> {
    transition.headers.as_ref().filter(|headers| headers.author.is_external()).map(|headers| headers.event_id)
}

impl Verdicts {
    pub(super) fn take(&mut self, transition: &Transition) -> bool {
        if self.0.len() >= OUTCOMES_MAX {
            self.0.remove(0);
        }
        self.0.push(Outcome {
            offset: transition.offset,
            verdict: transition.verdict,
            run: transition.run.as_ref().map(|change| Arc::clone(&change.after)),
        });
        true
    }
}

/// Waits for one event's verdict; waits no more when dropped.
pub struct VerdictWaiter {
    waiting: Waiting,
    event_id: EventId,
    slot: Arc<Slot<Verdicts>>,
}

impl VerdictWaiter {
    pub(super) fn new(waiting: Waiting, event_id: EventId) -> Self {
        let slot = waiting.0.verdicts.register(event_id);
        Self { waiting, event_id, slot }
    }

    /// What the fold said of the record at `offset`, which holds this event.
    ///
    /// Requests that race with one event id append it more than once; each is told of its own record. Should that
    /// one be forgotten among very many, the next record of the same event says the same: it is a duplicate.
    pub async fn at(&mut self, offset: i64) -> Outcome {
        self.slot.until(|verdicts| verdicts.0.iter().find(|outcome| outcome.offset >= offset).cloned()).await
    }
}

impl Drop for VerdictWaiter {
    fn drop(&mut self) {
        self.waiting.0.verdicts.unregister(&self.event_id, &self.slot);
    }
}
