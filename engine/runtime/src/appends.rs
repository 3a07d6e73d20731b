//! Appends to the owner's own partition: in order, cut into batches the log takes, a bounded amount on the way.

use std::collections::VecDeque;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tidewheel_log::{Appended, LogError, SharedLog};
use tidewheel_schemas::{NewRecord, TopicPartition};

/// Bytes of a batch, unless one record has more. Far below what a log takes, so that others have room beside it.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of keys and values that one owner has on the way to its log at once, one batch beyond it at most.
pub const APPENDS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The appends of one owner.
pub(crate) struct Appends {
    log: SharedLog,
    place: TopicPartition,
    waiting: VecDeque<NewRecord>,
    on_the_way: FuturesUnordered<BoxFuture<'static, (usize, Result<Appended, LogError>)>>,
    bytes_on_the_way: usize,
}

pub(crate) fn bytes_of(record: &NewRecord) -> usize {
    record.key.len() + record.value.len()
}

impl Appends {
    pub(crate) fn new(log: SharedLog, place: TopicPartition) -> Self {
        let (waiting, on_the_way) = (VecDeque::new(), FuturesUnordered::new());
        Self { log, place, waiting, on_the_way, bytes_on_the_way: 0 }
    }

    /// Whether nothing waits and nothing is on the way.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.on_the_way.is_empty()
    }

    /// Appends these after all before them.
    pub(crate) fn push(&mut self, records: Vec<NewRecord>) {
        let bytes = records.iter().map(bytes_of).sum();
        if self.waiting.is_empty() && bytes <= BATCH_BYTES_MAX && self.has_room() {
            self.submit(records, bytes);
        } else {
            self.waiting.extend(records);
            self.go_on();
        }
    }

    /// Drops what was not submitted: the reign it was decided in is over.
    pub(crate) fn abandon(&mut self) {
        self.waiting.clear();
    }

    /// The next outcome; never while nothing is on the way. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Appended, LogError> {
        let Some((bytes, outcome)) = self.on_the_way.next().await else {
            return std::future::pending().await;
        };
        self.bytes_on_the_way -= bytes;
        // After an error nothing may follow: it would be out of sequence.
        if outcome.is_ok() {
            self.go_on();
        }
        outcome
    }

    fn has_room(&self) -> bool {
        self.bytes_on_the_way < APPENDS_BYTES_MAX
    }

    fn go_on(&mut self) {
        while self.has_room() && !self.waiting.is_empty() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some(record) = self
                .waiting
                .pop_front_if(|record| batch.is_empty() || bytes + bytes_of(record) <= BATCH_BYTES_MAX)
            {
                bytes += bytes_of(&record);
                batch.push(record);
            }
            self.submit(batch, bytes);
        }
    }

    fn submit(&mut self, records: Vec<NewRecord>, bytes: usize) {
        let appending = self.log.append(&self.place, records);
        self.bytes_on_the_way += bytes;
        self.on_the_way.push(appending.map(move |outcome| (bytes, outcome)).boxed());
    }
}
