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
pub(super) struct Verdicts {
    outcomes: Vec<Outcome>,
    /// The waiter waits for something else once the record is accepted, so that is not worth waking for.
    unless_accepted: bool,
}

/// Enough for requests that race with one event id; of more, the oldest are forgotten, which
/// [`VerdictWaiter::at`] allows for.
const OUTCOMES_MAX: usize = 16;

/// The event whose waiters a transition is for. Nobody waits for what the engine wrote.
pub(super) fn told_by(transition: &Transition) -> Option<EventId> {
    transition.headers.as_ref().filter(|headers| headers.author.is_external()).map(|headers| headers.event_id)
}

impl Verdicts {
    pub(super) fn take(&mut self, transition: &Transition) -> bool {
        if self.outcomes.len() >= OUTCOMES_MAX {
            self.outcomes.remove(0);
        }
        self.outcomes.push(Outcome {
            offset: transition.offset,
            verdict: transition.verdict,
            run: transition.header().map(Arc::clone),
        });
        !self.unless_accepted || transition.verdict != Verdict::Accepted
    }

    fn at(&self, offset: i64) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.offset >= offset)
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
        self.slot.change(|verdicts| verdicts.unless_accepted = false);
        self.slot.until(|verdicts| verdicts.at(offset).cloned()).await
    }

    /// As [`Self::at`], but never resolves if the record is accepted: for who waits for what comes of it, beside
    /// which the acceptance is no news.
    pub async fn at_unless_accepted(&mut self, offset: i64) -> Outcome {
        self.slot.change(|verdicts| verdicts.unless_accepted = true);
        let not_accepted = |outcome: &&Outcome| outcome.verdict != Verdict::Accepted;
        self.slot.until(|verdicts| verdicts.at(offset).filter(not_accepted).cloned()).await
    }
}

impl Drop for VerdictWaiter {
    fn drop(&mut self) {
        self.waiting.0.verdicts.unregister(&self.event_id, &self.slot);
    }
}
