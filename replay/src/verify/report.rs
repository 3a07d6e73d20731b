//! What a verification found, as it is told.

use std::collections::BTreeMap;

use serde::Serialize;
use tidewheel_engine::FoldError;
use tidewheel_log::LogError;
use tidewheel_schemas::{EventId, TopicPartition};
use tidewheel_store::StoreError;

/// The outcome of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Records that the rows compared follow from.
    pub records: u64,
    /// Durable records after the checkpoints, as of the beginning: what they lead to need not be stored yet.
    pub behind: u64,
    /// Stored rows within the scope, by table.
    pub rows_by_table: BTreeMap<&'static str, u64>,
    /// How many differences there are.
    pub difference_count: u64,
    /// How many of them can be mended in place.
    pub mendable_count: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// Stored rows that were not compared, because there are more differences than a verification looks through.
    pub not_compared: u64,
    /// What was mended, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mended: Option<Mended>,
    /// Passes over the log that the first look at the views took, of the partition that took most.
    pub passes: u32,
    /// How long it took.
    pub elapsed_ms: u64,
}

impl Report {
    /// Rows that were compared, over all tables.
    pub fn compared_rows(&self) -> u64 {
        self.rows_by_table.values().sum()
    }

    /// Whether every row within the scope is what the log says, or was made so.
    pub fn is_clean(&self) -> bool {
        let remaining = self.mended.as_ref().map_or(self.difference_count, |mended| mended.remaining);
        remaining == 0 && self.not_compared == 0
    }
}

/// What a mend did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// Its number, 1 to 7.
    pub number: u8,
    /// Rows written.
    pub rows: u64,
    /// Differences that are left when the rows are read again: they need a rebuild.
    pub remaining: u64,
}

/// A row that is not what the log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// The row's key: names and values.
    pub key: String,
    /// What kind of difference.
    pub kind: Kind,
    /// What differs: columns with the expected and the stored value.
    pub what: String,
    /// The first record after which the stored row is not what the log says; none if no record is about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_divergent: Option<Divergent>,
    /// What mends it.
    pub remedy: Remedy,
    /// Whether this verification mended it.
    pub is_mended: bool,
}

/// The first record after which a stored row is not what the log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Divergent {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Its type; none if another program wrote it.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<&'static str>,
    /// Its event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
}

/// Kinds of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The log says it exists, the store has none.
    Missing,
    /// The store has one, the log says it does not exist.
    Extra,
    /// The stored row was written by an earlier record than the last one that concerns it.
    Stale,
    /// The stored row carries a newer timestamp than any record gives it: somebody else wrote it.
    Newer,
    /// Same record, other values.
    Edited,
}

impl Kind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Stale => "stale",
            Self::Newer => "newer",
            Self::Edited => "edited",
        }
    }
}

/// What makes a row what the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Writing it, where it is.
    InPlace,
    /// Rebuilding the views: what is stored would win over every write that follows from a record.
    Rebuild,
}

/// A verification that could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The log could not be read.
    #[error("reading the log: {0}")]
    Log(#[from] LogError),
    /// The store could not be read.
    #[error("reading the views: {0}")]
    Store(#[from] StoreError),
    /// The log is ahead of this build.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The log begins after its first record: what it says from the beginning is not known.
    #[error("{partition} begins at offset {start}; verify with an archive of what was trimmed")]
    Trimmed {
        /// The partition.
        partition: TopicPartition,
        /// The first offset held.
        start: i64,
    },
    /// The views hold more than the log.
    #[error(
        "the views of {partition} stand at offset {checkpoint}, the log ends at {end}: the log was truncated or \
         replaced; rebuild the views"
    )]
    AheadOfLog {
        /// The partition.
        partition: TopicPartition,
        /// Where the views stand.
        checkpoint: i64,
        /// Where the log ends.
        end: i64,
    },
    /// A partition that the topic does not have.
    #[error("partition {partition} does not exist; the topic has {partitions}, numbered from 0")]
    UnknownPartition {
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// Views that were mended too often.
    #[error("mends are numbered from 1 to 7, {number} is none of them; rebuild the views")]
    MendNumber {
        /// The number given.
        number: u8,
    },
    /// It was asked to stop.
    #[error("the verification was stopped")]
    Stopped,
    /// A thread of it could not be started, or ended.
    #[error("a thread of the verification: {0}")]
    Thread(String),
}
