//! The volatile log: every promise of the trait but surviving the process. For tests, simulators, `--ephemeral`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use tidewheel_schemas::{NewRecord, Record, RecordHeaders, Topic, TopicPartition};
use tokio::sync::{Notify, oneshot};

use crate::limits::{check_batch, check_limit, check_offset};
use crate::{Appended, Appending, Bounds, EventLog, LogError, Tail};

/// A log in memory. Cloning shares it.
///
/// Its switches let a simulator decide when appends become durable and whether they do at all: see
/// [`MemoryLog::hold`], [`MemoryLog::release`], [`MemoryLog::overload`] and [`MemoryLog::fail`].
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<Topic, Vec<Partition>>,
    held: VecDeque<Held>,
    holding: bool,
    overloaded: bool,
    failed: Option<String>,
}

#[derive(Debug, Default)]
struct Partition {
    /// The first offset still held.
    start: i64,
    records: Vec<Record>,
    grown: Arc<Notify>,
}

/// A batch that was submitted and is not durable yet.
#[derive(Debug)]
struct Held {
    to: TopicPartition,
    records: Vec<NewRecord>,
    done: oneshot::Sender<Result<i64, LogError>>,
}

impl Partition {
    fn end(&self) -> i64 {
        self.start + offset_of(self.records.len())
    }

    fn bounds(&self) -> Bounds {
        Bounds { start: self.start, end: self.end() }
    }

    fn push(&mut self, records: Vec<NewRecord>) -> i64 {
        let first = self.end();
        self.records.extend(records.into_iter().zip(first..).map(|(record, offset)| Record {
            offset,
            key: record.key,
            headers: record.headers,
            value: record.value,
        }));
        self.grown.notify_waiters();
        first
    }

    fn slice(&self, offset: i64, records_max: usize) -> Vec<Record> {
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.records.len());
        let to = from.saturating_add(records_max).min(self.records.len());
        self.records[from..to].to_vec()
    }
}

fn offset_of(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

impl State {
    fn partition(&self, of: &TopicPartition) -> Result<&Partition, LogError> {
        let index = usize::try_from(of.partition).unwrap_or(usize::MAX);
        let found = self.topics.get(&of.topic).and_then(|partitions| partitions.get(index));
        found.ok_or_else(|| LogError::UnknownPartition(of.clone()))
    }

    fn partition_mut(&mut self, of: &TopicPartition) -> Result<&mut Partition, LogError> {
        let index = usize::try_from(of.partition).unwrap_or(usize::MAX);
        let found = self.topics.get_mut(&of.topic).and_then(|partitions| partitions.get_mut(index));
        found.ok_or_else(|| LogError::UnknownPartition(of.clone()))
    }

    fn release(&mut self, batches: usize) {
        for _ in 0..batches {
            let Some(held) = self.held.pop_front() else { return };
            let outcome = self.partition_mut(&held.to).map(|partition| partition.push(held.records));
            // The submitter may have dropped its future; the batch stays appended.
            let _ = held.done.send(outcome);
        }
    }
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// From here on appends are accepted, but become durable (and visible) only by [`MemoryLog::release`].
    pub fn hold(&self) {
        self.state.lock().holding = true;
    }

    /// Number of batches submitted and not durable yet.
    pub fn held(&self) -> usize {
        self.state.lock().held.len()
    }

    /// Makes the oldest `batches` held batches durable, in the order they were submitted.
    pub fn release(&self, batches: usize) {
        self.state.lock().release(batches);
    }

    /// Ends [`MemoryLog::hold`]: makes everything held durable, and later appends at once.
    pub fn resume(&self) {
        let mut state = self.state.lock();
        state.holding = false;
        state.release(usize::MAX);
    }

    /// Whether appends are answered with [`LogError::Overloaded`] from here on.
    pub fn overload(&self, overloaded: bool) {
        self.state.lock().overloaded = overloaded;
    }

    /// The log fails: the oldest `kept` held batches are in the log (their appenders do not learn it), the rest
    /// are lost, and every later append is answered with [`LogError::Failed`] until [`MemoryLog::revive`].
    pub fn fail(&self, reason: &str, kept: usize) {
        let mut state = self.state.lock();
        state.failed = Some(reason.to_owned());
        for (index, held) in std::mem::take(&mut state.held).into_iter().enumerate() {
            if index < kept
                && let Ok(partition) = state.partition_mut(&held.to)
            {
                partition.push(held.records);
            }
            let _ = held.done.send(Err(LogError::Failed(reason.to_owned())));
        }
        for partition in state.topics.values().flatten() {
            partition.grown.notify_waiters();
        }
    }

    /// A failed log takes appends again, as after a restart of its process.
    pub fn revive(&self) {
        let mut state = self.state.lock();
        state.failed = None;
        state.holding = false;
    }

    fn submit(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Submitted, LogError> {
        check_batch(&records)?;
        let mut state = self.state.lock();
        if let Some(reason) = &state.failed {
            return Err(LogError::Failed(reason.clone()));
        }
        if state.overloaded {
            return Err(LogError::Overloaded);
        }
        let holding = state.holding;
        let partition = state.partition_mut(to)?;
        if !holding {
            return Ok(Submitted::Durable(partition.push(records)));
        }
        let (done, outcome) = oneshot::channel();
        state.held.push_back(Held { to: to.clone(), records, done });
        Ok(Submitted::Held(outcome))
    }
}

enum Submitted {
    Durable(i64),
    Held(oneshot::Receiver<Result<i64, LogError>>),
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn create_topic(&self, topic: &Topic, partitions: u32) -> Result<(), LogError> {
        let mut state = self.state.lock();
        if let Some(found) = state.topics.get(topic) {
            let found = u32::try_from(found.len()).unwrap_or(u32::MAX);
            if found == partitions {
                return Ok(());
            }
            return Err(LogError::PartitionCount { topic: topic.clone(), found, expected: partitions });
        }
        state.topics.insert(topic.clone(), (0..partitions).map(|_| Partition::default()).collect());
        Ok(())
    }

    async fn partitions(&self, topic: &Topic) -> Result<Option<u32>, LogError> {
        let state = self.state.lock();
        Ok(state.topics.get(topic).map(|found| u32::try_from(found.len()).unwrap_or(u32::MAX)))
    }

    fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Appending {
        match self.submit(to, records) {
            Ok(Submitted::Durable(offset)) => std::future::ready(Ok(Appended::consecutive(offset))).boxed(),
            Ok(Submitted::Held(outcome)) => {
                async move { outcome.await.unwrap_or(Err(LogError::Closed)).map(Appended::consecutive) }
                    .boxed()
            }
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn tail(&self, from: &TopicPartition, offset: i64) -> Result<Box<dyn Tail>, LogError> {
        let state = self.state.lock();
        let partition = state.partition(from)?;
        check_offset(from, offset, partition.bounds())?;
        let (log, grown) = (self.clone(), Arc::clone(&partition.grown));
        Ok(Box::new(MemoryTail { log, from: from.clone(), next: offset, grown }))
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: i64,
        records_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        let state = self.state.lock();
        let partition = state.partition(from)?;
        check_offset(from, offset, partition.bounds())?;
        Ok(partition.slice(offset, records_max))
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        Ok(self.state.lock().partition(of)?.bounds())
    }

    async fn offset_for_time(&self, of: &TopicPartition, time_us: i64) -> Result<i64, LogError> {
        let state = self.state.lock();
        let partition = state.partition(of)?;
        let found = partition.records.iter().position(|record| match &record.headers {
            RecordHeaders::Known(headers) => headers.recorded_at_us >= time_us,
            RecordHeaders::Foreign(_) => false,
        });
        Ok(found.map_or(partition.end(), |index| partition.start + offset_of(index)))
    }

    async fn trim(&self, before: &BTreeMap<TopicPartition, i64>) -> Result<(), LogError> {
        let mut state = self.state.lock();
        for (of, offset) in before {
            check_limit(of, *offset, state.partition(of)?.bounds())?;
        }
        for (of, offset) in before {
            let partition = state.partition_mut(of)?;
            let count = usize::try_from(offset - partition.start).unwrap_or(0).min(partition.records.len());
            partition.records.drain(..count);
            partition.start += offset_of(count);
        }
        Ok(())
    }
}

struct MemoryTail {
    log: MemoryLog,
    from: TopicPartition,
    next: i64,
    grown: Arc<Notify>,
}

#[async_trait]
impl Tail for MemoryTail {
    async fn next(&mut self, records_max: usize) -> Result<Vec<Record>, LogError> {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            // Registered before looking, so that a record appended in between wakes us.
            grown.as_mut().enable();
            {
                let state = self.log.state.lock();
                let partition = state.partition(&self.from)?;
                check_offset(&self.from, self.next, partition.bounds())?;
                let records = partition.slice(self.next, records_max.max(1));
                if let Some(last) = records.last() {
                    self.next = last.offset + 1;
                    return Ok(records);
                }
                if let Some(reason) = &state.failed {
                    return Err(LogError::Failed(reason.clone()));
                }
            }
            grown.await;
        }
    }
}
