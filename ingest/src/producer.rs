//! The seam to the node: where records are appended and what ingest must know of the node. Not how verdicts come back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use futures::future::BoxFuture;
use tidewheel_log::{Appending, LogError, SharedClock, SharedLog, SystemClock};
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

/// Records that requests may have on their way to the log at once; beyond it they are answered with 429. The log
/// takes more, so that owners, whose records end work instead of adding it, always find room.
pub const RECORDS_ON_THE_WAY_MAX: usize = 50_000;
/// Bytes of keys and values that requests may have on their way at once.
pub const BYTES_ON_THE_WAY_MAX: usize = 32 * 1024 * 1024;

/// What requests have on their way to the log.
#[derive(Default)]
struct OnTheWay {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// A place on the way, given back when the append is answered or nobody waits for it any more.
struct Room {
    on_the_way: Arc<OnTheWay>,
    records: usize,
    bytes: usize,
}

impl OnTheWay {
    /// Takes room for a batch. A batch over the whole bound passes alone.
    fn take(self: &Arc<Self>, records: &[NewRecord]) -> Option<Room> {
        let bytes = records.iter().map(|record| record.key.len() + record.value.len()).sum();
        let room = Room { on_the_way: Arc::clone(self), records: records.len(), bytes };
        let records_before = self.records.fetch_add(room.records, Ordering::Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = records_before + room.records <= RECORDS_ON_THE_WAY_MAX
            && bytes_before + bytes <= BYTES_ON_THE_WAY_MAX;
        // Refused room is given back by its drop.
        (fits || records_before == 0).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.on_the_way.records.fetch_sub(self.records, Ordering::Relaxed);
        self.on_the_way.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A producer over a log. The node sets what only it knows: log ids, readiness and lag.
pub struct LogProducer {
    log: SharedLog,
    clock: SharedClock,
    on_the_way: Arc<OnTheWay>,
    partitions: Vec<(TopicPartition, OnceLock<LogId>)>,
    ready: AtomicBool,
    lag_over_limit: AtomicBool,
}

impl LogProducer {
    /// Appends to `topic`, which has this many partitions, by the machine's clock. Not ready until
    /// [`Self::set_ready`].
    pub fn new(log: SharedLog, topic: &Topic, partitions: u32) -> Self {
        Self::with_clock(log, topic, partitions, SystemClock::shared())
    }

    /// As [`Self::new`], with time and randomness from `clock`.
    pub fn with_clock(log: SharedLog, topic: &Topic, partitions: u32, clock: SharedClock) -> Self {
        let partitions = (0..partitions.max(1))
            .map(|partition| (TopicPartition::new(topic.clone(), partition), OnceLock::new()))
            .collect();
        Self {
            log,
            clock,
            on_the_way: Arc::default(),
            partitions,
            ready: AtomicBool::new(false),
            lag_over_limit: AtomicBool::new(false),
        }
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
            Some((to, _)) => match self.on_the_way.take(&records) {
                Some(room) => {
                    let appending = self.log.append(to, records);
                    async move {
                        let answer = appending.await;
                        drop(room);
                        answer
                    }
                    .boxed()
                }
                None => std::future::ready(Err(LogError::Overloaded)).boxed(),
            },
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
        self.clock.now_us()
    }

    fn random(&self) -> [u8; 16] {
        self.clock.random_16()
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn records(count: usize) -> Vec<NewRecord> {
        let record = NewRecord {
            key: Bytes::from_static(b"key"),
            headers: RecordHeaders::Foreign(String::new()),
            value: Bytes::new(),
        };
        vec![record; count]
    }

    #[test]
    fn requests_are_refused_beyond_their_share_of_the_log_and_taken_again_once_it_answered() {
        let on_the_way = Arc::<OnTheWay>::default();
        let most = on_the_way.take(&records(RECORDS_ON_THE_WAY_MAX)).expect("an empty way has room");
        assert!(on_the_way.take(&records(1)).is_none());
        drop(most);
        assert!(on_the_way.take(&records(1)).is_some());
    }

    #[test]
    fn a_batch_over_the_whole_share_passes_alone() {
        let on_the_way = Arc::<OnTheWay>::default();
        let whole = on_the_way.take(&records(RECORDS_ON_THE_WAY_MAX + 1));
        assert!(whole.is_some());
        assert!(on_the_way.take(&records(1)).is_none());
    }
}
