//! The bounded queue between appenders and the writer. Order in is order out.

use parking_lot::{Condvar, Mutex};
use tidewheel_schemas::{NewRecord, Topic};
use tokio::sync::oneshot;

use crate::LogError;

/// Something for the writer to do.
pub(crate) enum Item {
    Append {
        slot: usize,
        bytes: usize,
        records: Vec<NewRecord>,
        done: oneshot::Sender<Result<i64, LogError>>,
    },
    CreateTopic {
        topic: Topic,
        partitions: u32,
        done: oneshot::Sender<Result<(), LogError>>,
    },
}

impl Item {
    /// What it counts for in the bounds: bytes and records.
    pub fn weight(&self) -> (usize, usize) {
        match self {
            Self::Append { bytes, records, .. } => (*bytes, records.len().max(1)),
            Self::CreateTopic { .. } => (0, 1),
        }
    }

    /// Answers the submitter with an error. It may have stopped listening.
    pub fn refuse(self, error: LogError) {
        match self {
            Self::Append { done, .. } => drop(done.send(Err(error))),
            Self::CreateTopic { done, .. } => drop(done.send(Err(error))),
        }
    }
}

/// What the writer has not finished yet, waiting or being written.
#[derive(Default)]
struct State {
    waiting: Vec<Item>,
    bytes: usize,
    records: usize,
    closing: bool,
    closed: bool,
    failed: Option<String>,
}

pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    bytes_max: usize,
    records_max: usize,
}

impl Queue {
    pub fn new(bytes_max: usize, records_max: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), bytes_max, records_max }
    }

    /// Hands an item to the writer, or says why not; then nothing was taken in.
    pub fn submit(&self, item: Item) -> Result<(), LogError> {
        let (bytes, records) = item.weight();
        let mut state = self.state.lock();
        if let Some(reason) = &state.failed {
            return Err(LogError::Failed(reason.clone()));
        }
        if state.closing {
            return Err(LogError::Closed);
        }
        // A batch larger than the bounds passes when nothing else waits, or else it never could.
        let over = state.bytes + bytes > self.bytes_max || state.records + records > self.records_max;
        if over && state.records > 0 {
            return Err(LogError::Overloaded);
        }
        state.bytes += bytes;
        state.records += records;
        state.waiting.push(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for work and moves all of it into `into`, which must be empty; false when closed and done.
    pub fn take_all(&self, into: &mut Vec<Item>) -> bool {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closing {
                return false;
            }
            self.filled.wait(&mut state);
        }
        std::mem::swap(&mut state.waiting, into);
        true
    }

    /// Makes room for what was finished.
    pub fn finished(&self, bytes: usize, records: usize) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.records = state.records.saturating_sub(records);
    }

    /// Takes no more items; the writer ends when those waiting are done.
    pub fn close(&self) {
        self.state.lock().closing = true;
        self.filled.notify_one();
    }

    /// Takes no more items for good; hands back those waiting.
    pub fn fail(&self, reason: &str) -> Vec<Item> {
        let mut state = self.state.lock();
        state.failed.get_or_insert_with(|| reason.to_owned());
        std::mem::take(&mut state.waiting)
    }

    /// The writer has ended; nothing becomes durable any more.
    pub fn closed(&self) {
        self.state.lock().closed = true;
    }

    /// Why nothing becomes durable any more: failed or closed; none while something may.
    pub fn ended(&self) -> Option<LogError> {
        let state = self.state.lock();
        match &state.failed {
            Some(reason) => Some(LogError::Failed(reason.clone())),
            None => state.closed.then_some(LogError::Closed),
        }
    }
}
