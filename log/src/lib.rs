//! Where facts live: the log's promise as a trait, its backends, and the suite every backend passes.
//!
//! What a record *is* is said in `schemas`; what it *does* in `engine`. Vendors are named in here only.

pub mod appended;
pub mod clock;
pub mod error;
pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod limits;
pub mod memory;
#[cfg(feature = "test-util")]
pub mod suite;
pub mod topic_rules;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use appended::Appended;
use async_trait::async_trait;
pub use clock::{Clock, SharedClock, SystemClock};
pub use error::LogError;
pub use file::{Durability, FileLog, FileLogOptions};
use futures::future::BoxFuture;
#[cfg(feature = "kafka")]
pub use kafka::{KafkaLog, KafkaLogOptions};
pub use memory::MemoryLog;
use tidewheel_schemas::{NewRecord, Record, TopicPartition};

/// The readable range of a partition: `start <= offset < end`, all of it durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// First offset still held.
    pub start: i64,
    /// One past the last durable record.
    pub end: i64,
}

/// An append on its way. Resolves to the offsets of the batch's records once the whole batch is durable.
pub type Appending = BoxFuture<'static, Result<Appended, LogError>>;

/// An append-only, partitioned, durable sequence of records.
///
/// Promises every backend keeps (the suite in `suite.rs` checks them):
/// - `Ok` from an append means the records are durable and will be read by every reader, for ever, at the offsets
///   it names, which ascend in the order given. They are consecutive unless another process writes to the same
///   partition meanwhile (which only a log that is shared between processes allows).
/// - Batches submitted to one partition by one caller, in the order of its calls to [`EventLog::append`], lie in
///   that order, also while earlier ones are still on their way. An error leaves a batch's fate unknown unless
///   the error says otherwise ([`LogError::is_refusal`]); nothing submitted later to the same partition by this
///   process is accepted before it. Behind a batch of unknown fate, those that were submitted to the same partition
///   before that was known fail, too.
/// - Batches of one process never mix with each other. A batch that was answered with an error may be there in
///   part where the log is Kafka, and another process may append between its records: who needs several records to
///   count together or not at all says so in the records (the engine does, by claim and sequence number). The
///   embedded logs keep a batch whole.
/// - Readers get offsets without holes. Where a log has an offset without a record (the marker of a transaction
///   that some other program wrote to a Kafka topic), a foreign record without key and value stands for it.
/// - No reader sees a record that is not durable.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Creates a topic with `partitions` partitions, or checks that it exists with exactly as many.
    async fn create_topic(&self, topic: &tidewheel_schemas::Topic, partitions: u32) -> Result<(), LogError>;

    /// Number of partitions of a topic; `None` if there is no such topic.
    async fn partitions(&self, topic: &tidewheel_schemas::Topic) -> Result<Option<u32>, LogError>;

    /// Submits a batch to one partition. Submission happens in this call, before the future is polled, and
    /// dropping the future does not undo it. Over the bounds of the backend's queue the future resolves to
    /// [`LogError::Overloaded`] and nothing was appended.
    fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Appending;

    /// A reader that starts at `offset` (start <= offset <= end) and follows the partition as it grows. While the
    /// log cannot be reached it waits; it ends with an error only when what it would read next is not there any
    /// more ([`LogError::Trimmed`], [`LogError::BeyondEnd`], [`LogError::Rewritten`]), or may not be read.
    async fn tail(&self, from: &TopicPartition, offset: i64) -> Result<Box<dyn Tail>, LogError>;

    /// Reads up to `records_max` records from `offset` on, without waiting; empty at the end.
    async fn read(
        &self,
        from: &TopicPartition,
        offset: i64,
        records_max: usize,
    ) -> Result<Vec<Record>, LogError>;

    /// The readable range now.
    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError>;

    /// The offset of the first record whose `recorded_at_us` is at or after `time_us`; the end if there is none.
    /// On Kafka a record that another program wrote with a record timestamp before its own `recorded-at` header may
    /// be passed over.
    async fn offset_for_time(&self, of: &TopicPartition, time_us: i64) -> Result<i64, LogError>;

    /// The headers of a record whose headers are not ours ([`tidewheel_schemas::RecordHeaders::Foreign`]), in order, for
    /// who must keep what no build understands yet. Empty where the log keeps none of them.
    async fn foreign_headers(
        &self,
        of: &TopicPartition,
        offset: i64,
    ) -> Result<Vec<(String, bytes::Bytes)>, LogError> {
        let _ = (of, offset);
        Ok(Vec::new())
    }

    /// Removes records below the offset given for each partition; other partitions keep everything. What was removed
    /// is gone for ever and [`LogError::Trimmed`] to whoever asks for it, also to a tail that has not got so far.
    /// A log may remove less than it is allowed to (the file log goes by whole segments), never more; what it still
    /// holds is told by [`EventLog::bounds`]. Interrupted at any point, a partition begins at some offset between its
    /// old start and the one given, without holes behind it.
    ///
    /// # Errors
    /// [`LogError::Untrimmable`] where a log keeps everything for good, [`LogError::UnknownPartition`] and
    /// [`LogError::BeyondEnd`] before anything is removed, and whatever keeps the log from being written.
    async fn trim(&self, before: &BTreeMap<TopicPartition, i64>) -> Result<(), LogError> {
        let _ = before;
        Err(LogError::Untrimmable)
    }
}

/// A reader that follows one partition.
#[async_trait]
pub trait Tail: Send {
    /// Waits until at least one record is there, then returns up to `records_max` of them in order. Cancel-safe:
    /// a dropped call loses nothing.
    async fn next(&mut self, records_max: usize) -> Result<Vec<Record>, LogError>;
}

/// A log shared by the roles of a process.
pub type SharedLog = Arc<dyn EventLog>;
