//! Who waits for the fold's verdict on a change. Which verdict it is, is the fold's business.

use std::collections::HashMap;

use parking_lot::Mutex;
use tidewheel_engine::config::ConfigTransition;
use tidewheel_schemas::{Author, EventId};
use tokio::sync::watch;

use super::Judged;

/// The newest outcome of an event id: where it lies, and what was said of it.
type Outcome = Option<(i64, Judged)>;

/// The events somebody waits for.
#[derive(Default)]
pub(super) struct Verdicts(Mutex<HashMap<EventId, watch::Sender<Outcome>>>);

/// Waits for one event; waits no more when dropped.
pub(super) struct Waiter<'a> {
    verdicts: &'a Verdicts,
    event_id: EventId,
    outcome: Option<watch::Receiver<Outcome>>,
}

impl Verdicts {
    /// Waits for an event. To be called before the append, so that nothing is missed.
    pub(super) fn expect(&self, event_id: EventId) -> Waiter<'_> {
        let outcome = self.0.lock().entry(event_id).or_default().subscribe();
        Waiter { verdicts: self, event_id, outcome: Some(outcome) }
    }

    /// Tells those who wait, in the order of offsets.
    pub(super) fn tell(&self, transition: &ConfigTransition) {
        let Some(headers) = &transition.headers else { return };
        if !matches!(headers.author, Author::Ingest { .. }) {
            return;
        }
        if let Some(outcome) = self.0.lock().get(&headers.event_id) {
            let judged = Judged { verdict: transition.verdict, after: transition.after.clone() };
            outcome.send_replace(Some((transition.offset, judged)));
        }
    }
}

impl Waiter<'_> {
    /// What the fold said of the record at `offset`, which holds the event. Requests that race with one event id append
    /// it more than once; a later record of the same event says the same, for it is a duplicate.
    pub(super) async fn at(&mut self, offset: i64) -> Judged {
        if let Some(receiver) = &mut self.outcome
            && let Ok(outcome) =
                receiver.wait_for(|outcome| outcome.as_ref().is_some_and(|(at, _)| *at >= offset)).await
            && let Some((_, judged)) = &*outcome
        {
            return judged.clone();
        }
        // The sender stays until the last waiter is gone.
        std::future::pending().await
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.verdicts.0.lock();
        self.outcome = None;
        if waiting.get(&self.event_id).is_some_and(|outcome| outcome.receiver_count() == 0) {
            waiting.remove(&self.event_id);
        }
    }
}
