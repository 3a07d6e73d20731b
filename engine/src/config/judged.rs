//! The events that something configured has judged, as verdicts.

use tidewheel_schemas::EventId;

use crate::remembered::{Remembered, RememberedEvents};
use crate::run::apply::Place;
use crate::verdict::{Rejection, Verdict};

/// Events and what was said of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Judged(RememberedEvents);

impl Judged {
    /// The verdict on an event that was judged before.
    pub(super) fn repeated(&self, event_id: EventId) -> Option<Verdict> {
        self.0.get(&event_id).map(|first| Verdict::Duplicate(first.outcome))
    }

    /// Remembers an event, forgets those that are old enough, and says the verdict.
    pub(super) fn judge(
        &mut self,
        place: Place,
        event_id: EventId,
        outcome: Result<(), Rejection>,
    ) -> Verdict {
        let Place { offset, log_time_us } = place;
        self.0.insert(event_id, Remembered { offset, log_time_us, outcome });
        while self.0.forget(log_time_us).is_some() {}
        match outcome {
            Ok(()) => Verdict::Accepted,
            Err(rejection) => Verdict::Rejected(rejection),
        }
    }
}
