//! The bounded way into the producer. A batch takes its room until its fate is known, so what the client library
//! holds is bounded by it, too. Order in is order out.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tidewheel_schemas::{NewRecord, TopicPartition};
use tokio::sync::oneshot;

use crate::{Appended, LogError};

pub(super) type Answer = oneshot::Sender<Result<Appended, LogError>>;

/// A batch on its way to the producer.
pub(super) struct Batch {
    /// Ascends with every batch submitted to this queue.
    pub number: u64,
    pub to: TopicPartition,
    pub records: Vec<NewRecord>,
    pub bytes: usize,
    pub done: Answer,
    pub submitted_at: Instant,
}

#[derive(Default)]
struct State {
    waiting: Vec<Batch>,
    bytes: usize,
    records: usize,
    last_number: u64,
    closing: bool,
}

pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    bytes_max: usize,
    records_max: usize,
}

/// What waits in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Batches,
    /// None came in time.
    Nothing,
    /// None will come any more.
    Closed,
}

impl Queue {
    pub fn new(bytes_max: usize, records_max: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), bytes_max, records_max }
    }

    /// Takes a batch in, or says why not; then nothing was taken in.
    pub fn submit(
        &self,
        to: &TopicPartition,
        records: Vec<NewRecord>,
        bytes: usize,
    ) -> Result<oneshot::Receiver<Result<Appended, LogError>>, LogError> {
        let count = records.len().max(1);
        let mut state = self.state.lock();
        if state.closing {
            return Err(LogError::Closed);
        }
        // A batch larger than the bounds passes when nothing else is on its way, or else it never could.
        let is_over = state.bytes + bytes > self.bytes_max || state.records + count > self.records_max;
        if is_over && state.records > 0 {
            return Err(LogError::Overloaded);
        }
        state.bytes += bytes;
        state.records += count;
        state.last_number += 1;
        let (done, answer) = oneshot::channel();
        let number = state.last_number;
        let submitted_at = Instant::now();
        state.waiting.push(Batch { number, to: to.clone(), records, bytes, done, submitted_at });
        drop(state);
        self.filled.notify_one();
        Ok(answer)
    }

    /// Moves everything that waits into `into`, which must be empty; waits for something for a while.
    pub fn take_all(&self, into: &mut Vec<Batch>, patience: Duration) -> Taken {
        let mut state = self.state.lock();
        if state.waiting.is_empty() && !state.closing {
            self.filled.wait_for(&mut state, patience);
        }
        if !state.waiting.is_empty() {
            std::mem::swap(&mut state.waiting, into);
            return Taken::Batches;
        }
        if state.closing { Taken::Closed } else { Taken::Nothing }
    }

    /// Gives back the room of a batch whose fate is known.
    pub fn finished(&self, bytes: usize, records: usize) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.records = state.records.saturating_sub(records.max(1));
    }

    /// The number of the batch submitted last.
    pub fn last_number(&self) -> u64 {
        self.state.lock().last_number
    }

    /// Bytes and records on their way.
    pub fn depth(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.bytes, state.records)
    }

    /// Takes no more batches in.
    pub fn close(&self) {
        self.state.lock().closing = true;
        self.filled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidewheel_schemas::{RecordHeaders, Topic};

    use super::*;

    fn batch(records: usize, bytes: usize) -> Vec<NewRecord> {
        let record = NewRecord {
            key: Bytes::new(),
            headers: RecordHeaders::Foreign(String::new()),
            value: Bytes::from(vec![0; bytes / records]),
        };
        vec![record; records]
    }

    #[test]
    fn over_its_bounds_a_batch_is_refused_and_room_comes_back_when_fates_are_known() {
        let (queue, to) = (Queue::new(100, 10), TopicPartition::new(Topic::new("t"), 0));
        let submit = |records: usize, bytes: usize| queue.submit(&to, batch(records, bytes), bytes).map(drop);
        submit(1, 90).unwrap();
        assert!(matches!(submit(1, 20), Err(LogError::Overloaded)));
        submit(9, 9).unwrap();
        assert!(matches!(submit(1, 0), Err(LogError::Overloaded)));
        let mut taken = Vec::new();
        assert_eq!(queue.take_all(&mut taken, Duration::ZERO), Taken::Batches);
        assert_eq!(taken.iter().map(|batch| batch.number).collect::<Vec<_>>(), [1, 2]);
        assert!(matches!(submit(1, 20), Err(LogError::Overloaded)), "taken is not finished");
        queue.finished(90, 1);
        submit(1, 20).unwrap();
        queue.finished(9, 9);
        queue.finished(20, 1);
        assert_eq!(queue.depth(), (0, 0));
        submit(100, 1_000).unwrap();
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_has_and_takes_nothing_in() {
        let (queue, to) = (Queue::new(100, 10), TopicPartition::new(Topic::new("t"), 0));
        let mut taken = Vec::new();
        assert_eq!(queue.take_all(&mut taken, Duration::ZERO), Taken::Nothing);
        let _answer = queue.submit(&to, batch(1, 1), 1).unwrap();
        queue.close();
        assert!(matches!(queue.submit(&to, batch(1, 1), 1), Err(LogError::Closed)));
        assert_eq!(queue.take_all(&mut taken, Duration::ZERO), Taken::Batches);
        taken.clear();
        assert_eq!(queue.take_all(&mut taken, Duration::ZERO), Taken::Closed);
    }
}
