//! The seam to the node: where records are appended and what ingest must know of the node. Not how verdicts come back.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::BoxFuture;
use tidewheel_log::{Appending, LogError, SharedLog};
use tidewheel_schemas::{Event, LogId, NewRecord, Payload, RecordHeaders, Topic, TopicPartition, codec};

/// What ingest needs of the node it runs in.
pub trait Producer: Send + Sync + 'static {
    /// How many partitions the topic of workflow events has; at least 1.
    fn partitions(&self) -> u32;

    /// Submits a batch to one partition, before the future is polled; dropping the future does not undo it.
    fn append(&self, partition: u32, records: Vec<NewRecord>) -> Appending;

    /// The partition's log; `None` until its first record was read back, and nothing is appended before that.
    fn log_id(&self, partition: u32) -> Option<LogId>;

    /// The time now, microseconds since 1970.
    fn now_us(&self) -> i64;

    /// Random bytes for ids.
    fn random(&self) -> [u8; 16];

    /// Whether the node takes requests.
    fn ready(&self) -> bool;

    /// Whether the views are further behind the log than `max_lag`; new work is refused until they are not.
    fn lag_over_limit(&self) -> bool;

    /// What the run returned that the record at this place ended; `None` if that record ended none with a result.
    fn output(&self, partition: u32, offset: i64) -> BoxFuture<'static, Result<Option<Payload>, LogError>>;
}

/// A producer over a log. The node sets what only it knows: log ids, readiness and lag.
pub struct LogProducer {
    log: SharedLog,
    partitions: Vec<(TopicPartition, OnceLock<LogId>)>,
    ready: AtomicBool,
    lag_over_limit: AtomicBool,
}

impl LogProducer {
    /// Appends to `topic`, which has this many partitions. Not ready until [`Self::set_ready`].
    pub fn new(log: SharedLog, topic: &Topic, partitions: u32) -> Self {
        let partitions = (0..partitions.max(1))
            .map(|partition| (TopicPartition::new(topic.clone(), partition), OnceLock::new()))
            .collect();
        Self { log, partitions, ready: AtomicBool::new(false), lag_over_limit: AtomicBool::new(false) }
    }

    /// Says which log a partition is, once its first record was read. The first call counts.
    pub fn set_log_id(&self, partition: u32, log_id: LogId) {
        if let Some((_, slot)) = self.partitions.get(partition as usize) {
            slot.get_or_init(|| log_id);
        }
    }

    /// Says whether the node takes requests.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Says whether the views are too far behind.
    pub fn set_lag_over_limit(&self, over: bool) {
        self.lag_over_limit.store(over, Ordering::Relaxed);
    }
}

impl Producer for LogProducer {
    fn partitions(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    fn append(&self, partition: u32, records: Vec<NewRecord>) -> Appending {
        match self.partitions.get(partition as usize) {
            Some((to, _)) => self.log.append(to, records),
            None => {
                let error = LogError::Failed(format!("partition {partition} is not one of the topic's"));
                std::future::ready(Err(error)).boxed()
            }
        }
    }

    fn log_id(&self, partition: u32) -> Option<LogId> {
        self.partitions.get(partition as usize)?.1.get().copied()
    }

    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn random(&self) -> [u8; 16] {
        // Version and variant of the UUID are not random, so two are mixed.
        let (first, second) = (uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes());
        std::array::from_fn(|index| first[index] ^ second[(index + 5) % 16])
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn lag_over_limit(&self) -> bool {
        self.lag_over_limit.load(Ordering::Relaxed)
    }

    fn output(&self, partition: u32, offset: i64) -> BoxFuture<'static, Result<Option<Payload>, LogError>> {
        let Some((from, _)) = self.partitions.get(partition as usize) else {
            return std::future::ready(Ok(None)).boxed();
        };
        let (log, from) = (SharedLog::clone(&self.log), from.clone());
        async move {
            let records = log.read(&from, offset, 1).await?;
            let output = records.first().filter(|record| record.offset == offset).and_then(|record| {
                let RecordHeaders::Known(headers) = &record.headers else { return None };
                match codec::decode(headers, &record.value) {
                    Ok((_, Event::RunCompleted(completed))) => Some(completed.output),
                    _ => None,
                }
            });
            Ok(output)
        }
        .boxed()
    }
}
