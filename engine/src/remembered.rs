//! External events that an entity has judged, so that a repetition gets the first answer. When one is forgotten
//! follows from the log alone.

use std::collections::{BTreeMap, VecDeque, vec_deque};

use tidewheel_schemas::EventId;
use tidewheel_schemas::mutation::{self, Mutation};

use crate::verdict::Rejection;

/// An id is kept while fewer newer ones than this are known...
const REMEMBERED_MIN: usize = 1_000;
/// ...and for this long in log time, microseconds.
const REMEMBERED_MIN_US: i64 = 15 * 60 * 1_000_000;
/// Up to here the ids are looked through one by one: most runs see a few external events, and the first one in a map
/// takes a node with room for eleven.
const SCANNED_MAX: usize = 16;

/// Remembered outcome of an external event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// Offset of the first record with this event id.
    pub offset: i64,
    /// Log time when it was judged, microseconds since 1970.
    pub log_time_us: i64,
    /// What was said of it.
    pub outcome: Result<(), Rejection>,
}

/// The external events an entity remembers, by offset.
#[derive(Debug, Clone, Default)]
pub struct RememberedEvents {
    order: VecDeque<(EventId, Remembered)>,
    /// The offset of each, once there are too many to look through; empty before.
    offsets: BTreeMap<EventId, i64>,
}

impl RememberedEvents {
    /// What was said of an event; `None` if it was never seen, or is forgotten.
    pub fn get(&self, event_id: &EventId) -> Option<&Remembered> {
        if self.offsets.is_empty() {
            return self.order.iter().find(|(id, _)| id == event_id).map(|(_, first)| first);
        }
        let offset = self.offsets.get(event_id)?;
        let place = self.order.binary_search_by_key(offset, |(_, first)| first.offset).ok()?;
        self.order.get(place).map(|(_, first)| first)
    }

    /// Remembers an event that is not known yet.
    pub fn insert(&mut self, event_id: EventId, first: Remembered) {
        let place = self.order.partition_point(|(_, other)| other.offset < first.offset);
        self.order.insert(place, (event_id, first));
        if !self.offsets.is_empty() {
            self.offsets.insert(event_id, first.offset);
        } else if self.order.len() > SCANNED_MAX {
            self.offsets = self.order.iter().map(|(event_id, first)| (*event_id, first.offset)).collect();
        }
    }

    /// Forgets the oldest if it is old enough at `log_time_us`. To be repeated until there is none.
    pub fn forget(&mut self, log_time_us: i64) -> Option<(EventId, Remembered)> {
        let forgets_early = mutation::is(Mutation::DedupForgetsEarly);
        if self.order.len() <= if forgets_early { 1 } else { REMEMBERED_MIN } {
            return None;
        }
        let (_, oldest) = self.order.front()?;
        if log_time_us.saturating_sub(oldest.log_time_us) < REMEMBERED_MIN_US && !forgets_early {
            return None;
        }
        let oldest = self.order.pop_front()?;
        self.offsets.remove(&oldest.0);
        Some(oldest)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> vec_deque::Iter<'_, (EventId, Remembered)> {
        self.order.iter()
    }
}

/// How they are looked up is not part of what they are.
impl PartialEq for RememberedEvents {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for RememberedEvents {}

impl FromIterator<(EventId, Remembered)> for RememberedEvents {
    fn from_iter<I: IntoIterator<Item = (EventId, Remembered)>>(events: I) -> Self {
        let mut order: Vec<_> = events.into_iter().collect();
        order.sort_unstable_by_key(|(_, first)| first.offset);
        let offsets = if order.len() > SCANNED_MAX {
            order.iter().map(|(event_id, first)| (*event_id, first.offset)).collect()
        } else {
            BTreeMap::new()
        };
        Self { order: order.into(), offsets }
    }
}

impl<'a> IntoIterator for &'a RememberedEvents {
    type Item = &'a (EventId, Remembered);
    type IntoIter = vec_deque::Iter<'a, (EventId, Remembered)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for RememberedEvents {
    type Item = (EventId, Remembered);
    type IntoIter = vec_deque::IntoIter<(EventId, Remembered)>;

    fn into_iter(self) -> Self::IntoIter {
        self.order.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_id(number: u32) -> EventId {
        let mut bytes = [0; 16];
        // Ids are in another order than offsets.
        bytes[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        EventId::from_bytes(bytes)
    }

    fn judged(events: &mut RememberedEvents, number: u32, log_time_us: i64) {
        let first = Remembered { offset: i64::from(number), log_time_us, outcome: Ok(()) };
        events.insert(event_id(number), first);
        while events.forget(log_time_us).is_some() {}
    }

    #[test]
    fn an_id_is_forgotten_only_after_a_thousand_newer_ones_and_a_quarter_of_an_hour() {
        let mut events = RememberedEvents::default();
        for number in 0..1_500 {
            judged(&mut events, number, 0);
        }
        assert!(events.get(&event_id(0)).is_some());
        judged(&mut events, 2_000, REMEMBERED_MIN_US - 1);
        assert!(events.get(&event_id(0)).is_some());
        judged(&mut events, 2_001, REMEMBERED_MIN_US);
        assert_eq!(events.get(&event_id(501)), None);
        assert!(events.get(&event_id(502)).is_some());
        assert_eq!(events.len(), REMEMBERED_MIN);
    }

    proptest::proptest! {
        #[test]
        fn every_event_is_found_and_none_that_was_not_remembered(
            numbers in proptest::collection::btree_set(0_u32..80, 0..60),
            order in proptest::prelude::any::<u64>(),
        ) {
            let mut shuffled: Vec<u32> = numbers.iter().copied().collect();
            shuffled.sort_by_key(|number| u64::from(*number).wrapping_mul(order | 1).rotate_left(17));
            let first = |number: u32| Remembered { offset: i64::from(number), log_time_us: 0, outcome: Ok(()) };
            let mut events = RememberedEvents::default();
            for number in &shuffled {
                events.insert(event_id(*number), first(*number));
            }
            for number in 0..80 {
                let expected = numbers.contains(&number).then(|| first(number));
                proptest::prop_assert_eq!(events.get(&event_id(number)).copied(), expected);
            }
            let offsets: Vec<i64> = events.iter().map(|(_, first)| first.offset).collect();
            proptest::prop_assert!(offsets.is_sorted());
            let collected: RememberedEvents = shuffled.iter().map(|number| (event_id(*number), first(*number))).collect();
            proptest::prop_assert_eq!(&collected, &events);
            proptest::prop_assert_eq!(collected.offsets.len(), events.offsets.len());
        }
    }
}
