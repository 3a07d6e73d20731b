//! A log in memory with faults: appends that are lost, appends whose success is not told, partitions nobody can read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use tidewheel_log::{Appending, Bounds, EventLog, LogError, MemoryLog, Tail};
use tidewheel_schemas::{Author, NewRecord, Record, RecordHeaders, Topic, TopicPartition};
use tokio::sync::watch;

/// Whose append fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Engine,
    Outbox,
}

/// An append that fails.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub whose: Whose,
    pub partition: u32,
    /// Whether the records are in the log all the same.
    pub landed: bool,
}

/// The log.
#[derive(Clone)]
pub struct FaultyLog {
    pub log: MemoryLog,
    faults: Arc<Mutex<Vec<Fault>>>,
    /// Up to where each partition can be followed.
    shown: watch::Sender<Vec<i64>>,
    /// How many appends of outbox messages were tried.
    pub deliveries: Arc<AtomicI64>,
}

fn whose(records: &[NewRecord]) -> Option<Whose> {
    match &records.first()?.headers {
        RecordHeaders::Known(headers) => match headers.author {
            Author::Engine { .. } => Some(Whose::Engine),
            Author::Outbox { .. } => Some(Whose::Outbox),
            Author::Ingest { .. } | Author::Candidate { .. } => None,
        },
        RecordHeaders::Foreign(_) => None,
    }
}

impl FaultyLog {
    pub fn new(partitions: u32) -> Self {
        Self {
            log: MemoryLog::new(),
            faults: Arc::default(),
            shown: watch::Sender::new(vec![i64::MAX; partitions as usize]),
            deliveries: Arc::default(),
        }
    }

    /// The next append of this kind fails.
    pub fn fail_next(&self, fault: Fault) {
        self.faults.lock().push(fault);
    }

    /// Whether every fault has happened.
    pub fn faults_happened(&self) -> bool {
        self.faults.lock().is_empty()
    }

    /// Where the partition ends.
    pub async fn log_end(&self, partition: u32) -> i64 {
        let place = TopicPartition::new(Topic::new("events"), partition);
        self.log.bounds(&place).await.expect("bounds").end
    }

    /// Followers of the partition see nothing at or after `offset`.
    pub fn show_until(&self, partition: u32, offset: i64) {
        self.shown.send_modify(|shown| shown[partition as usize] = offset);
    }
}

#[async_trait]
impl EventLog for FaultyLog {
    async fn create_topic(&self, topic: &Topic, partitions: u32) -> Result<(), LogError> {
        self.log.create_topic(topic, partitions).await
    }

    async fn partitions(&self, topic: &Topic) -> Result<Option<u32>, LogError> {
        self.log.partitions(topic).await
    }

    fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Appending {
        let whose = whose(&records);
        if whose == Some(Whose::Outbox) {
            self.deliveries.fetch_add(1, Ordering::SeqCst);
        }
        let mut faults = self.faults.lock();
        let found =
            faults.iter().position(|fault| Some(fault.whose) == whose && fault.partition == to.partition);
        let fault = found.map(|index| faults.remove(index));
        drop(faults);
        let Some(fault) = fault else { return self.log.append(to, records) };
        if fault.landed {
            drop(self.log.append(to, records));
        }
        let source = Arc::new(std::io::Error::other("planned"));
        std::future::ready(Err(LogError::Io { what: "a planned fault".to_owned(), source })).boxed()
    }

    async fn tail(&self, from: &TopicPartition, offset: i64) -> Result<Box<dyn Tail>, LogError> {
        let tail = self.log.tail(from, offset).await?;
        let (shown, partition) = (self.shown.subscribe(), from.partition as usize);
        Ok(Box::new(FaultyTail { tail, shown, partition, next: offset, read: VecDeque::new() }))
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: i64,
        records_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        self.log.read(from, offset, records_max).await
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        self.log.bounds(of).await
    }

    async fn offset_for_time(&self, of: &TopicPartition, time_us: i64) -> Result<i64, LogError> {
        self.log.offset_for_time(of, time_us).await
    }
}

struct FaultyTail {
    tail: Box<dyn Tail>,
    shown: watch::Receiver<Vec<i64>>,
    partition: usize,
    next: i64,
    /// Read, but perhaps not to be seen yet.
    read: VecDeque<Record>,
}

#[async_trait]
impl Tail for FaultyTail {
    async fn next(&mut self, records_max: usize) -> Result<Vec<Record>, LogError> {
        if self.read.is_empty() {
            self.read.extend(self.tail.next(records_max).await?);
        }
        let (partition, next) = (self.partition, self.next);
        let until = {
            let shown = self.shown.wait_for(|shown| shown[partition] > next).await;
            shown.map_err(|_| LogError::Closed)?[partition]
        };
        let count = self.read.iter().take(records_max).take_while(|record| record.offset < until).count();
        self.next += i64::try_from(count).unwrap_or(0);
        Ok(self.read.drain(..count).collect())
    }
}
