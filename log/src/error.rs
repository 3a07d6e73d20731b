//! Why a log operation failed: what happened, where, what to do.

use tidewheel_schemas::{Topic, TopicPartition};

/// A failed log operation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The topic or partition does not exist.
    #[error("{0} does not exist in this log; create the topic or correct the partition")]
    UnknownPartition(TopicPartition),
    /// The topic exists with another number of partitions.
    #[error(
        "topic {topic} has {found} partitions, configured are {expected}; growing is a replay into a wider log"
    )]
    PartitionCount {
        /// The topic.
        topic: Topic,
        /// How many it has.
        found: u32,
        /// How many were asked for.
        expected: u32,
    },
    /// The offset lies before the first one held.
    #[error(
        "{partition} was trimmed: offset {asked} is gone, the first one held is {start}; restore it from an archive or rebuild from {start}"
    )]
    Trimmed {
        /// Which partition.
        partition: TopicPartition,
        /// The offset asked for.
        asked: i64,
        /// The first one held.
        start: i64,
    },
    /// The offset lies beyond the end.
    #[error(
        "{partition} ends at {end}, offset {asked} was asked for; the log was truncated or restored, rebuild the views from it"
    )]
    BeyondEnd {
        /// Which partition.
        partition: TopicPartition,
        /// The offset asked for.
        asked: i64,
        /// One past the last durable record.
        end: i64,
    },
    /// Bytes on disk are not what was written.
    #[error(
        "log damaged in segment {segment}, group {group}, at byte {byte}: {what}; restore the file from a copy"
    )]
    Damaged {
        /// Segment file.
        segment: String,
        /// Number of the group.
        group: u64,
        /// Where in the segment file.
        byte: u64,
        /// What is wrong.
        what: String,
    },
    /// A record over the limit; nothing of its batch was appended.
    #[error("a record of {bytes} bytes is over the limit of {limit}; nothing of its batch was appended")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The queue is full; nothing was appended.
    #[error("the log's queue is full, nothing was appended; try again")]
    Overloaded,
    /// The disk would not take it, it is full for example; the log goes on and nothing of the batch was appended.
    #[error("{what}; nothing was appended: {source}; free some disk and try again")]
    Refused {
        /// What was being done, to which file.
        what: String,
        /// The cause.
        #[source]
        source: std::sync::Arc<std::io::Error>,
    },
    /// Another process has the log open.
    #[error("the log in {path} is open in another process; stop that one first")]
    Locked {
        /// The folder.
        path: String,
    },
    /// The log failed and takes no more appends; what was on its way has an unknown fate until it is read back.
    #[error("the log has failed and takes no more appends: {0}")]
    Failed(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, to which file.
        what: String,
        /// The cause.
        #[source]
        source: std::sync::Arc<std::io::Error>,
    },
}

impl LogError {
    /// Whether it passes by itself, so that trying again is of use.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Overloaded)
    }
}
