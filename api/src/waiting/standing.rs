//! Following one run: where its newest record left it. What lies between two looks is read from the views.

use std::sync::Arc;

use tidewheel_engine::{RunChange, RunHeader, RunStatus, Transition};
use tidewheel_schemas::{Event, Payload, RunId};

use super::Waiting;
use super::registry::Slot;
use crate::run::shown_status;

/// A run as one record left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The partition of the log.
    pub partition: u32,
    /// The record's offset.
    pub offset: i64,
    /// The run after it.
    pub run: Arc<RunHeader>,
    /// What the run returned, if this record completed it.
    pub output: Option<Payload>,
}

/// Whether waiting longer is of no use: the run has ended, or it is parked and goes on only when somebody steps in.
pub fn is_settled(run: &RunHeader) -> bool {
    let status = shown_status(run);
    status.is_finished() || status == RunStatus::Parked
}

/// The newest standing of one run, however many there were, so a slow follower costs nothing.
#[derive(Default)]
pub(super) struct Watched {
    newest: Option<Standing>,
    /// How often there was news.
    count: u64,
    /// The follower waits for the end alone: anything before it is kept and not worth waking for.
    until_settled: bool,
}

/// The change whose followers a transition is for.
///
/// An end is told by the record that made it and by no other: a record refused after it says nothing new, and has no
/// output to tell.
pub(super) fn told_by(transition: &Transition) -> Option<&RunChange> {
    let change = transition.run.as_deref()?;
    (change.entry.is_some() || !change.after.status.is_finished()).then_some(change)
}

impl Watched {
    pub(super) fn take(&mut self, transition: &Transition, change: &RunChange) -> bool {
        let output = change.entry.as_ref().and_then(|entry| match &*entry.event {
            Event::RunCompleted(completed) => Some(completed.output.clone()),
            _ => None,
        });
        let (partition, offset, run) = (transition.partition, transition.offset, Arc::clone(&change.after));
        let wake = !self.until_settled || is_settled(&run);
        self.newest = Some(Standing { partition, offset, run, output });
        self.count += 1;
        wake
    }
}

/// Follows one run; follows no more when dropped.
pub struct Follower {
    waiting: Waiting,
    run_id: RunId,
    slot: Arc<Slot<Watched>>,
    /// How much news [`Self::next`] has returned or passed over.
    seen: u64,
}

impl Follower {
    pub(super) fn new(waiting: Waiting, run_id: RunId) -> Self {
        let slot = waiting.0.runs.register(run_id);
        Self { waiting, run_id, slot, seen: 0 }
    }

    /// Waits for a record that touched the run since the last call, and returns how the newest one left it.
    pub async fn next(&mut self) -> Standing {
        let seen = self.seen;
        self.slot.change(|watched| watched.until_settled = false);
        let news = |watched: &Watched| watched.newest.clone().filter(|_| watched.count > seen);
        let (standing, count) =
            self.slot.until(|watched| news(watched).map(|standing| (standing, watched.count))).await;
        self.seen = count;
        standing
    }

    /// Waits until the run has ended or is parked (see [`is_settled`]): how the newest record left it.
    pub async fn settled(&mut self) -> Standing {
        self.slot.change(|watched| watched.until_settled = true);
        self.slot.until(|watched| watched.newest.clone().filter(|standing| is_settled(&standing.run))).await
    }

    /// The run as the newest record left it; `None` if no record touched it since the following began.
    pub fn newest(&self) -> Option<Standing> {
        self.slot.read(|watched| watched.newest.clone())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.waiting.0.runs.unregister(&self.run_id, &self.slot);
    }
}
