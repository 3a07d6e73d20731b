//! `runs_by_*`: indexes of runs by namespace, workflow, tag and status, bucketed by day of creation and log
//! partition, newest first.
//!
//! A row is written when what it indexes changes and carries the offset of that record; a reader shows it only
//! while the run's header agrees.

use std::collections::BTreeMap;

use tidewheel_engine::{RunHeader, RunStatus};
use tidewheel_schemas::RunId;
use tidewheel_store::{Column, ColumnType, Key, Row, Rows, StoreError, TableSchema, Value};

use super::{day_of, partition_value};
use crate::columns::{Columns, text};

const NAMESPACE_COLUMN: Column = Column::new("namespace", ColumnType::Text);
const DAY_COLUMN: Column = Column::new("day", ColumnType::Int);
const LOG_PARTITION_COLUMN: Column = Column::new("log_partition", ColumnType::Int);
const CLUSTERING: &[Column] = &[
    Column::descending("created_at_us", ColumnType::Int),
    Column::descending("started_offset", ColumnType::Int),
];
const COLUMNS: &[Column] =
    &[Column::new("run_id", ColumnType::Uuid), Column::new("applied_offset", ColumnType::Int)];

/// A quarter of a second: as many runs as a page has, at thousands of starts a second.
const BUCKET: Option<u8> = Some(18);

const fn index(
    name: &'static str,
    number: u16,
    partition_key: &'static [Column],
    bucket_bits: Option<u8>,
) -> TableSchema {
    TableSchema {
        name,
        number,
        partition_key,
        clustering_key: CLUSTERING,
        static_columns: &[],
        columns: COLUMNS,
        bucket_bits,
        rows: Rows::Index,
    }
}

/// Every run of a namespace. Rows are put once and stay.
pub static NAMESPACE: TableSchema =
    index("runs_by_namespace", 3, &[NAMESPACE_COLUMN, DAY_COLUMN, LOG_PARTITION_COLUMN], BUCKET);
/// The runs of a workflow. Rows are put once and stay.
pub static WORKFLOW: TableSchema = index(
    "runs_by_workflow",
    4,
    &[NAMESPACE_COLUMN, Column::new("workflow", ColumnType::Text), DAY_COLUMN, LOG_PARTITION_COLUMN],
    BUCKET,
);
/// The runs that carry a tag.
pub static TAG: TableSchema = index(
    "runs_by_tag",
    5,
    &[
        NAMESPACE_COLUMN,
        Column::new("tag", ColumnType::Text),
        Column::new("value", ColumnType::Text),
        DAY_COLUMN,
        LOG_PARTITION_COLUMN,
    ],
    None,
);
/// The runs of a status.
pub static STATUS: TableSchema = index(
    "runs_by_status",
    6,
    &[NAMESPACE_COLUMN, Column::new("status", ColumnType::Text), DAY_COLUMN, LOG_PARTITION_COLUMN],
    None,
);

/// What an index row of a run says of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// It belongs to its namespace.
    Namespace,
    /// It executes its workflow.
    Workflow,
    /// It has this status.
    Status(RunStatus),
    /// It carries this tag.
    Tag(String, String),
}

impl Entry {
    /// The index this entry is a row of.
    pub const fn table(&self) -> &'static TableSchema {
        match self {
            Self::Namespace => &NAMESPACE,
            Self::Workflow => &WORKFLOW,
            Self::Status(_) => &STATUS,
            Self::Tag(..) => &TAG,
        }
    }

    /// The partition key of the entry's row for runs created on `day` in the log partition `partition`.
    pub fn partition_key(&self, namespace: &str, workflow: &str, day: i64, partition: u32) -> Key {
        let mut key = Vec::with_capacity(self.table().partition_key.len());
        key.push(text(namespace));
        match self {
            Self::Namespace => {}
            Self::Workflow => key.push(text(workflow)),
            Self::Status(status) => key.push(text(status.as_str())),
            Self::Tag(tag, value) => key.extend([text(tag), text(value)]),
        }
        key.extend([Value::Int(day), partition_value(partition)]);
        key
    }

    /// The partition key of the entry's row for the run `header` is of.
    pub fn key_of(&self, header: &RunHeader, partition: u32) -> Key {
        self.partition_key(&header.namespace, &header.workflow, day_of(header.created_at_us), partition)
    }
}

/// Calls `changed` with every entry that `after` has and `before` lacks (`true`) or the other way round (`false`).
pub fn changes(before: Option<&RunHeader>, after: &RunHeader, mut changed: impl FnMut(Entry, bool)) {
    let Some(before) = before else {
        changed(Entry::Namespace, true);
        changed(Entry::Workflow, true);
        changed(Entry::Status(after.status), true);
        for (tag, value) in &*after.tags {
            changed(Entry::Tag(tag.clone(), value.clone()), true);
        }
        return;
    };
    if before.status != after.status {
        changed(Entry::Status(before.status), false);
        changed(Entry::Status(after.status), true);
    }
    if !std::sync::Arc::ptr_eq(&before.tags, &after.tags) {
        let lacks = |tags: &BTreeMap<String, String>, tag: &str, value: &str| {
            tags.get(tag).is_none_or(|found| found != value)
        };
        for (tag, value) in before.tags.iter().filter(|(tag, value)| lacks(&after.tags, tag, value)) {
            changed(Entry::Tag(tag.clone(), value.clone()), false);
        }
        for (tag, value) in after.tags.iter().filter(|(tag, value)| lacks(&before.tags, tag, value)) {
            changed(Entry::Tag(tag.clone(), value.clone()), true);
        }
    }
}

/// The clustering key of a run in every index.
pub fn clustering_key(header: &RunHeader) -> Key {
    vec![Value::Int(header.created_at_us), Value::Int(header.started_offset)]
}

/// The columns of an index row that the record at `offset` caused.
pub fn columns(run_id: RunId, offset: i64) -> Vec<Value> {
    vec![Value::Uuid(*run_id.as_bytes()), Value::Int(offset)]
}

/// A row of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRow {
    /// The run.
    pub run_id: RunId,
    /// When it was created, microseconds since 1970.
    pub created_at_us: i64,
    /// Offset of its start.
    pub started_offset: i64,
    /// Offset of the record that caused the row.
    pub applied_offset: i64,
    /// The row's write timestamp.
    pub timestamp_us: i64,
}

/// Reads an index row back.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not of an index of runs.
pub fn read(table: &'static TableSchema, row: Row) -> Result<IndexRow, StoreError> {
    let mut key = Columns::new(table, row.key.clustering.unwrap_or_default());
    let (created_at_us, started_offset) = (key.int()?, key.int()?);
    let mut columns = Columns::new(table, row.columns);
    Ok(IndexRow {
        run_id: RunId::from_bytes(columns.uuid()?),
        created_at_us,
        started_offset,
        applied_offset: columns.int()?,
        timestamp_us: row.timestamp_us,
    })
}
