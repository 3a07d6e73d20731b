//! Why a log operation failed: what happened, where, what to do.

use std::sync::Arc;

use tidewheel_schemas::{Topic, TopicPartition};

use crate::topic_rules::{self, TopicViolation};

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
    /// Another log lies where this one did, or its end was cut off and written again.
    #[error(
        "{partition} was written again before offset {asked}, its end was lost or the topic was made anew; what was read before is no longer what it holds: rebuild the views from it"
    )]
    Rewritten {
        /// Which partition.
        partition: TopicPartition,
        /// The offset that was to be read next.
        asked: i64,
    },
    /// The servers of the log cannot be reached, or do not answer in time.
    #[error(
        "{what}: the Kafka brokers {brokers} cannot be reached: {cause}; it works again once they answer"
    )]
    Unreachable {
        /// What was being done.
        what: String,
        /// The brokers' addresses as configured.
        brokers: String,
        /// What the client library says.
        cause: String,
    },
    /// The servers do not accept who this process says it is, or it does not accept them.
    #[error(
        "{what}: the Kafka brokers {brokers} and this process do not trust each other: {cause}; correct user, password and mechanism, or the certificates"
    )]
    Credentials {
        /// What was being done.
        what: String,
        /// The brokers' addresses as configured.
        brokers: String,
        /// What the client library says; never a secret.
        cause: String,
    },
    /// The servers know who this process is and do not let it.
    #[error("{what}: the Kafka brokers do not permit it: {cause}; grant this user the permission")]
    Forbidden {
        /// What was being done.
        what: String,
        /// What the brokers say.
        cause: String,
    },
    /// Whether a batch was appended, in whole or in part, is not known.
    #[error("an append to {partition} ended without an answer: {cause}")]
    OutcomeUnknown {
        /// Which partition.
        partition: TopicPartition,
        /// Why there is none.
        cause: String,
    },
    /// The topic is not one that facts may be kept in.
    #[error("{}", topic_rules::report(.0))]
    Topic(Arc<[TopicViolation]>),
    /// This log keeps every record for good.
    #[error("this log keeps every record for good: nothing can be trimmed from it")]
    Untrimmable,
    /// What lies before the log's start is kept in an archive, and cannot be read there.
    #[error("{partition}: records before offset {start} are in the archive, and {what}")]
    Archive {
        /// Which partition.
        partition: TopicPartition,
        /// Where the log itself begins.
        start: i64,
        /// What is wrong and what to do.
        what: String,
        /// Whether it passes by itself.
        is_transient: bool,
    },
    /// The options of the log are not usable.
    #[error("the Kafka log cannot be used as it is configured: {0}")]
    Options(String),
}

impl LogError {
    /// Whether the error says that nothing of a batch was appended.
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::UnknownPartition(_)
            | Self::PartitionCount { .. }
            | Self::TooLarge { .. }
            | Self::Overloaded
            | Self::Refused { .. }
            | Self::Locked { .. }
            | Self::Topic(_)
            | Self::Untrimmable
            | Self::Options(_) => true,
            Self::Trimmed { .. }
            | Self::BeyondEnd { .. }
            | Self::Damaged { .. }
            | Self::Failed(_)
            | Self::Closed
            | Self::Io { .. }
            | Self::Rewritten { .. }
            | Self::Unreachable { .. }
            | Self::Credentials { .. }
            | Self::Forbidden { .. }
            | Self::Archive { .. }
            | Self::OutcomeUnknown { .. } => false,
        }
    }

    /// Whether it passes by itself, so that trying again is of use.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Overloaded
                | Self::Refused { .. }
                | Self::Unreachable { .. }
                | Self::OutcomeUnknown { .. }
                | Self::Archive { is_transient: true, .. }
        )
    }
}
