//! Events that something configured has seen, so that a repetition gets the first answer. When one is forgotten
//! follows from the log alone.

use std::collections::BTreeMap;

use tidewheel_schemas::EventId;

use crate::verdict::{Rejection, Verdict};

/// An id is kept while fewer newer ones than this are known,
const REMEMBERED_MIN: usize = 1_000;
/// and for this long in log time.
const REMEMBERED_MIN_US: i64 = 15 * 60 * 1_000_000;

/// Event ids and what was said of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Remembered {
    outcomes: BTreeMap<EventId, Result<(), Rejection>>,
    /// When each was judged, in that order: number, log time and id.
    order: BTreeMap<u64, (i64, EventId)>,
    next: u64,
}

impl Remembered {
    /// The verdict on an event that was judged before.
    pub(super) fn repeated(&self, event_id: EventId) -> Option<Verdict> {
        self.outcomes.get(&event_id).map(|outcome| Verdict::Duplicate(*outcome))
    }

    /// Remembers an event, forgets those that are old enough, and says the verdict.
    pub(super) fn judged(
        &mut self,
        log_time_us: i64,
        event_id: EventId,
        outcome: Result<(), Rejection>,
    ) -> Verdict {
        self.outcomes.insert(event_id, outcome);
        self.order.insert(self.next, (log_time_us, event_id));
        self.next = self.next.saturating_add(1);
        while self.order.len() > REMEMBERED_MIN
            && let Some((&number, &(judged_at_us, oldest))) = self.order.first_key_value()
            && log_time_us.saturating_sub(judged_at_us) >= REMEMBERED_MIN_US
        {
            self.order.remove(&number);
            self.outcomes.remove(&oldest);
        }
        match outcome {
            Ok(()) => Verdict::Accepted,
            Err(rejection) => Verdict::Rejected(rejection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_id(number: u32) -> EventId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        EventId::from_bytes(bytes)
    }

    #[test]
    fn an_id_is_forgotten_only_after_a_thousand_newer_ones_and_a_quarter_of_an_hour() {
        let mut remembered = Remembered::default();
        for number in 0..1_500 {
            remembered.judged(0, event_id(number), Ok(()));
        }
        assert_eq!(remembered.repeated(event_id(0)), Some(Verdict::Duplicate(Ok(()))));
        remembered.judged(REMEMBERED_MIN_US - 1, event_id(2_000), Ok(()));
        assert!(remembered.repeated(event_id(0)).is_some());
        remembered.judged(REMEMBERED_MIN_US, event_id(2_001), Err(Rejection::TokenRevoked));
        assert_eq!(remembered.repeated(event_id(501)), None);
        assert!(remembered.repeated(event_id(502)).is_some());
        let refused = Some(Verdict::Duplicate(Err(Rejection::TokenRevoked)));
        assert_eq!(remembered.repeated(event_id(2_001)), refused);
    }
}
