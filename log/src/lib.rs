//! Where facts live: the log's promise as a trait, its backends, and the suite every backend passes.
//!
//! What a record *is* is said in `schemas`; what it *does* in `engine`. Vendors are named in here only.

pub mod clock;
pub mod error;
pub mod file;
pub mod limits;
pub mod memory;
#[cfg(feature = "test-util")]
pub mod suite;

use std::sync::Arc;

use async_trait::async_trait;
pub use clock::{Clock, SharedClock, SystemClock};
pub use error::LogError;
pub use file::{Durability, FileLog, FileLogOptions};
use futures::future::BoxFuture;
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

/// An append on its way. Resolves to the offset of the first record of the batch once the whole batch is durable.
pub type Appending = BoxFuture<'static, Result<i64, LogError>>;

/// An append-only, partitioned, durable sequence of records.
///
/// Promises every backend keeps (the suite in `suite.rs` checks them):
/// - `Ok` from an append means the records are durable and will be read by every reader, for ever, at
///   consecutive offsets, in the order given.
/// - Batches submitted to one partition by one caller, in the order of its calls to [`EventLog::append`], lie in
///   that order, also while earlier ones are still on their way. An error leaves a batch's fate unknown unless
///   the error says otherwise; nothing submitted later to the same partition by this process is accepted out of order.
/// - A batch is all or nothing as far as readers of this process see it.
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

    /// A reader that starts at `offset` (start <= offset <= end) and follows the partition as it grows.
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
    async fn offset_for_time(&self, of: &TopicPartition, time_us: i64) -> Result<i64, LogError>;
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
