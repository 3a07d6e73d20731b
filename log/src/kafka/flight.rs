//! Batches between the producer and the brokers, by partition, and what becomes of them.
//!
//! One failed record makes the fate of its batch unknown, and of those behind it: the client library keeps the order
//! within a partition, but whether it goes on behind a record that it gave up is not for callers to rely on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tidewheel_schemas::TopicPartition;

use super::queue::{Answer, Queue};
use crate::{Appended, LogError};

/// The way to one partition.
pub(super) struct Lane {
    pub place: TopicPartition,
    queue: Arc<Queue>,
    state: Mutex<LaneState>,
}

#[derive(Default)]
struct LaneState {
    /// In the order they were handed to the producer; answered ones leave it from the front.
    flights: VecDeque<Arc<Flight>>,
    /// Batches up to this number were submitted before a failure was known.
    failed_through: u64,
}

/// A batch that was handed to the producer.
pub(super) struct Flight {
    lane: Arc<Lane>,
    bytes: usize,
    records: usize,
    submitted_at: Instant,
    state: Mutex<FlightState>,
}

struct FlightState {
    /// Records whose fate the producer has not told.
    missing: usize,
    first: i64,
    delivered: usize,
    /// Every offset, as soon as they are not consecutive.
    scattered: Vec<i64>,
    done: Option<Answer>,
}

impl Lane {
    pub fn new(place: TopicPartition, queue: Arc<Queue>) -> Arc<Self> {
        Arc::new(Self { place, queue, state: Mutex::default() })
    }

    /// Lets a batch of `records` records onto the way. `None` if one before it has failed meanwhile; then it was
    /// answered.
    pub fn enter(
        self: &Arc<Self>,
        number: u64,
        (records, bytes): (usize, usize),
        submitted_at: Instant,
        done: Answer,
    ) -> Option<Arc<Flight>> {
        let mut state = self.state.lock();
        if number <= state.failed_through {
            drop(state);
            self.queue.finished(bytes, records);
            let cause = "an append before it failed; nothing of this one was sent".to_owned();
            let _ = done.send(Err(LogError::OutcomeUnknown { partition: self.place.clone(), cause }));
            return None;
        }
        let flight = Arc::new(Flight {
            lane: Arc::clone(self),
            bytes,
            records,
            submitted_at,
            state: Mutex::new(FlightState {
                missing: records,
                first: 0,
                delivered: 0,
                scattered: Vec::new(),
                done: Some(done),
            }),
        });
        state.flights.push_back(Arc::clone(&flight));
        Some(flight)
    }

    /// Everything on the way has an unknown fate, and so has what was submitted and not handed to the producer yet.
    pub fn fail(&self, cause: &str) {
        // The number first: what is submitted from here on comes behind the failure.
        let failed_through = self.queue.last_number();
        let flights: Vec<_> = {
            let mut state = self.state.lock();
            state.failed_through = state.failed_through.max(failed_through);
            state.flights.iter().map(Arc::clone).collect()
        };
        for flight in flights {
            flight.answer(|_| {
                let partition = self.place.clone();
                Err(LogError::OutcomeUnknown { partition, cause: cause.to_owned() })
            });
        }
    }

    fn sweep(&self) {
        let mut state = self.state.lock();
        while state.flights.front().is_some_and(|flight| flight.state.lock().missing == 0) {
            state.flights.pop_front();
        }
    }
}

impl Flight {
    /// A record of the batch is durable at `offset`.
    pub fn delivered(&self, offset: i64) {
        let mut state = self.state.lock();
        let expected = state.first.saturating_add(i64::try_from(state.delivered).unwrap_or(i64::MAX));
        let last = match state.scattered.last() {
            Some(last) => *last,
            None if state.delivered == 0 => -1,
            None => expected - 1,
        };
        if offset <= last {
            // Durable, but nobody can say where: a retry was answered without an offset.
            drop(state);
            self.lost(1, "it is durable, but the brokers did not say where");
            return;
        }
        if state.delivered == 0 {
            state.first = offset;
        } else if !state.scattered.is_empty() {
            state.scattered.push(offset);
        } else if offset != expected {
            let first = state.first;
            state.scattered = (first..expected).collect();
            state.scattered.push(offset);
        }
        state.delivered += 1;
        state.missing = state.missing.saturating_sub(1);
        let is_over = state.missing == 0;
        drop(state);
        if is_over {
            self.over();
        }
    }

    /// The producer gave up `count` records of the batch, or never took them.
    pub fn lost(&self, count: usize, cause: &str) {
        // Behind a batch that has failed already others were failed with it; what came later is on its own.
        if self.state.lock().done.is_some() {
            self.lane.fail(cause);
        }
        let mut state = self.state.lock();
        state.missing = state.missing.saturating_sub(count);
        let is_over = state.missing == 0;
        drop(state);
        if is_over {
            self.over();
        }
    }

    /// The batch was refused as a whole and the error says more than that its fate is unknown.
    pub fn refused(&self, error: LogError) {
        self.answer(|_| Err(error));
    }

    /// Nothing of the batch remains with the producer.
    fn over(&self) {
        self.answer(|state| {
            let scattered = std::mem::take(&mut state.scattered);
            Ok(Appended::at(scattered).unwrap_or(Appended::consecutive(state.first)))
        });
        self.lane.queue.finished(self.bytes, self.records);
        self.lane.sweep();
    }

    /// Answers who submitted the batch; the first answer counts.
    fn answer(&self, answer: impl FnOnce(&mut FlightState) -> Result<Appended, LogError>) {
        let mut state = self.state.lock();
        let Some(done) = state.done.take() else { return };
        let answer = answer(&mut state);
        drop(state);
        match &answer {
            Ok(_) => {
                metrics::counter!("tidewheel_log_appended_records_total").increment(self.records as u64);
                metrics::histogram!("tidewheel_log_append_seconds").record(self.submitted_at.elapsed());
            }
            Err(_) => metrics::counter!("tidewheel_log_failed_appends_total").increment(1),
        }
        // Who submitted it may have stopped listening; what is durable stays.
        let _ = done.send(answer);
    }

    /// Where it goes.
    pub fn place(&self) -> &TopicPartition {
        &self.lane.place
    }

    /// Whether no record of it was acknowledged.
    pub fn is_untouched(&self) -> bool {
        self.state.lock().delivered == 0
    }
}

#[cfg(test)]
mod tests {
    use tidewheel_schemas::Topic;
    use tokio::sync::oneshot;

    use super::*;

    type Outcome = oneshot::Receiver<Result<Appended, LogError>>;

    fn lane() -> (Arc<Queue>, Arc<Lane>) {
        let queue = Arc::new(Queue::new(1_000, 1_000));
        let lane = Lane::new(TopicPartition::new(Topic::new("t"), 0), Arc::clone(&queue));
        (queue, lane)
    }

    fn enter(queue: &Queue, lane: &Arc<Lane>, records: usize) -> (Option<Arc<Flight>>, Outcome) {
        drop(queue.submit(&lane.place, Vec::new(), 1).unwrap());
        let (done, outcome) = oneshot::channel();
        (lane.enter(queue.last_number(), (records, 1), Instant::now(), done), outcome)
    }

    #[test]
    fn a_batch_answers_when_its_last_record_is_durable_and_names_every_offset() {
        let (queue, lane) = lane();
        let (flight, mut outcome) = enter(&queue, &lane, 3);
        let flight = flight.unwrap();
        flight.delivered(5);
        flight.delivered(6);
        assert!(outcome.try_recv().is_err());
        flight.delivered(9);
        let appended = outcome.try_recv().unwrap().unwrap();
        assert_eq!([0, 1, 2].map(|index| appended.offset(index)), [5, 6, 9]);
        assert!(lane.state.lock().flights.is_empty());
        let (flight, mut outcome) = enter(&queue, &lane, 2);
        let flight = flight.unwrap();
        flight.delivered(10);
        flight.delivered(11);
        assert_eq!(outcome.try_recv().unwrap().unwrap(), Appended::consecutive(10));
    }

    #[test]
    fn one_lost_record_makes_the_fate_of_its_batch_and_of_those_behind_it_unknown() {
        let (queue, lane) = lane();
        let (first, mut first_outcome) = enter(&queue, &lane, 2);
        let (second, mut second_outcome) = enter(&queue, &lane, 1);
        // Submitted and not handed over yet when the first one fails.
        drop(queue.submit(&lane.place, Vec::new(), 1).unwrap());
        let third_number = queue.last_number();
        let first = first.unwrap();
        first.delivered(0);
        first.lost(1, "timed out");
        for outcome in [&mut first_outcome, &mut second_outcome] {
            assert!(matches!(outcome.try_recv().unwrap(), Err(LogError::OutcomeUnknown { .. })));
        }
        let (done, mut third_outcome) = oneshot::channel();
        assert!(lane.enter(third_number, (1, 1), Instant::now(), done).is_none());
        assert!(matches!(third_outcome.try_recv().unwrap(), Err(LogError::OutcomeUnknown { .. })));
        // What comes later is on its own, and what was in the way keeps its room until the producer lets go of it.
        let (fourth, mut fourth_outcome) = enter(&queue, &lane, 1);
        assert_eq!(lane.state.lock().flights.len(), 2);
        second.unwrap().delivered(1);
        fourth.unwrap().delivered(2);
        assert_eq!(fourth_outcome.try_recv().unwrap().unwrap().first(), 2);
        assert!(lane.state.lock().flights.is_empty());
    }

    #[test]
    fn an_acknowledgement_without_an_ascending_offset_counts_as_none() {
        let (queue, lane) = lane();
        for offset in [-1_001, 7] {
            let (flight, mut outcome) = enter(&queue, &lane, 2);
            let flight = flight.unwrap();
            flight.delivered(7);
            flight.delivered(offset);
            assert!(matches!(outcome.try_recv().unwrap(), Err(LogError::OutcomeUnknown { .. })));
        }
    }
}
