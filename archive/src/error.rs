//! Why an archive could not be used: what happened, to which object, what to do.

use std::sync::Arc;

use tidewheel_log::LogError;
use tidewheel_schemas::{LogId, TopicPartition};

/// A failed operation of the archive.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArchiveError {
    /// A location that is none.
    #[error(
        "`{given}` is no place for an archive: {what}; give one such as file:///var/archive or s3://bucket/prefix"
    )]
    Location {
        /// As given; without what may be a secret.
        given: String,
        /// What is wrong.
        what: String,
    },
    /// The object store or folder did not do what was asked.
    #[error(
        "{what} failed: {source}; look whether the archive can be reached and may be written by this process"
    )]
    Store {
        /// What was being done, to which object.
        what: String,
        /// The cause.
        #[source]
        source: Arc<object_store::Error>,
    },
    /// An object that this archive's program did not write, under a name that it gives its own.
    #[error("{object} is not of this archive: {what}; move it elsewhere")]
    Foreign {
        /// The object.
        object: String,
        /// What it is not.
        what: String,
    },
    /// An object that is not what was written.
    #[error("{object} is damaged: {what}; restore it from a copy, or export again what the log still holds")]
    Damaged {
        /// The object.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// Offsets that are nowhere.
    #[error("{partition}: offsets {from} to {last} are neither in the archive nor in the log")]
    Gap {
        /// The partition.
        partition: TopicPartition,
        /// The first missing offset.
        from: i64,
        /// The last missing offset.
        last: i64,
    },
    /// The archive holds another log under this topic's name.
    #[error(
        "{partition}: the archive holds the log {archived}, which is not the one here{}; give each log a place of its own",
        .here.map_or_else(String::new, |here| format!(" ({here})"))
    )]
    OtherLog {
        /// The partition.
        partition: TopicPartition,
        /// The archived log.
        archived: LogId,
        /// The log here, if it can be told.
        here: Option<LogId>,
    },
    /// The archive holds other records than the log at the same offsets of the same log.
    #[error(
        "{partition}: at offset {offset} the archive and the log hold different records of the log {log_id}; two logs go \
         on under one name, or the log's end was lost and written again"
    )]
    Diverged {
        /// The partition.
        partition: TopicPartition,
        /// Which log.
        log_id: LogId,
        /// The first offset found to differ.
        offset: i64,
    },
    /// The archive holds more than the log.
    #[error(
        "{partition}: the archive holds offsets up to {archived}, the log ends at {end}; the log has lost its end, or \
         another one goes on under its name"
    )]
    AheadOfLog {
        /// The partition.
        partition: TopicPartition,
        /// One past the last archived offset.
        archived: i64,
        /// One past the last offset of the log.
        end: i64,
    },
    /// The log does not begin with what begins a log, and no archive says which one it is.
    #[error("{partition}: it cannot be told which log this is: {what}")]
    Unknown {
        /// The partition.
        partition: TopicPartition,
        /// Why not.
        what: String,
    },
    /// A sealed file that cannot be turned into columns.
    #[error("{object} cannot be written as columns: {what}")]
    Columns {
        /// The sealed file.
        object: String,
        /// What went wrong.
        what: String,
    },
    /// Another number of partitions than can be made of those that are archived.
    #[error("{asked} partitions cannot be made of {archived}: {what}")]
    Width {
        /// How many were asked for.
        asked: u32,
        /// How many are archived.
        archived: u32,
        /// What to choose.
        what: String,
    },
    /// A record that has no place in a wider log.
    #[error(
        "{partition}: the record at offset {offset} cannot be moved to a wider log: {what}; import it with as many \
         partitions as are archived"
    )]
    Unmoved {
        /// The archived partition.
        partition: TopicPartition,
        /// Where it lies there.
        offset: i64,
        /// Why not.
        what: String,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ArchiveError {
    /// Whether it passes by itself, so that trying again is of use.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store { source, .. } => matches!(&**source, object_store::Error::Generic { .. }),
            Self::Log(error) => error.is_transient(),
            Self::Location { .. }
            | Self::Foreign { .. }
            | Self::Damaged { .. }
            | Self::Gap { .. }
            | Self::OtherLog { .. }
            | Self::Diverged { .. }
            | Self::AheadOfLog { .. }
            | Self::Unknown { .. }
            | Self::Columns { .. }
            | Self::Width { .. }
            | Self::Unmoved { .. } => false,
        }
    }
}
