//! Verification: refolds a topic from its first record and compares every row of every view with what is stored.
//!
//! The expected rows are made record by record, never in the chunks the projector wrote, so that a difference also
//! shows where collecting several records into one row went wrong. Memory: the whole state of the views is held
//! once as expected rows and once as folded runs.

mod compare;
mod refold;

use std::collections::BTreeMap;

use serde::Serialize;
use tidewheel_engine::FoldError;
use tidewheel_log::{LogError, SharedLog};
use tidewheel_projector::views::TABLES;
use tidewheel_schemas::{Topic, TopicPartition};
use tidewheel_store::{Generation, MemoryStore, SharedStore, StateStore as _, StoreError};

/// What is compared: the views of one topic.
#[derive(Clone)]
pub struct Views {
    /// The log.
    pub log: SharedLog,
    /// The topic.
    pub topic: Topic,
    /// How many partitions it has.
    pub partitions: u32,
    /// The store.
    pub store: SharedStore,
    /// The generation of the views.
    pub generation: Generation,
}

/// The outcome of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Records that were folded.
    pub records: u64,
    /// Durable records after the checkpoints, which the views do not hold yet and that were not compared.
    pub behind: u64,
    /// Stored rows that were compared, by table.
    pub rows_by_table: BTreeMap<&'static str, u64>,
    /// How many differences there are.
    pub difference_count: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
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
}

/// Refolds every partition from offset 0 up to its stored checkpoint (to the end where there is none) and compares
/// every row of every view: keys, columns and write timestamps. At most `differences_max` differences are described;
/// all are counted. The views must not be written meanwhile.
///
/// # Errors
/// When log or store cannot be read, or when the log does not hold what the views were made from.
pub async fn verify(views: &Views, differences_max: usize) -> Result<Report, VerifyError> {
    let expected = MemoryStore::new();
    expected.create_tables(views.generation, TABLES).await?;
    let mut report = Report::default();
    for partition in 0..views.partitions {
        refold::partition(views, partition, &expected, &mut report).await?;
    }
    for table in TABLES {
        compare::table(views, table, &expected, differences_max, &mut report).await?;
    }
    Ok(report)
}
