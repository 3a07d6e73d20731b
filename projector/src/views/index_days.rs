//! `index_days`: on which days, and from which log partitions, an index that is bucketed by day has rows. Lets a
//! list go from day to day without trying empty ones.

use tidewheel_store::{Column, ColumnType, Key, Row, Rows, StoreError, TableSchema, Value, Write};

use super::{partition_value, put};
use crate::columns::{Columns, text};

/// The table.
pub static TABLE: TableSchema = TableSchema {
    name: "index_days",
    number: 7,
    partition_key: &[Column::new("index_name", ColumnType::Text), Column::new("namespace", ColumnType::Text)],
    clustering_key: &[
        Column::descending("day", ColumnType::Int),
        Column::new("log_partition", ColumnType::Int),
    ],
    static_columns: &[],
    columns: &[Column::new("applied_offset", ColumnType::Int)],
    bucket_bits: None,
    rows: Rows::Current,
};

/// The indexes that are bucketed by day. Texts are persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Index {
    /// Every index of runs.
    Runs,
    /// The rejections.
    Rejections,
}

impl Index {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Rejections => "rejections",
        }
    }

    /// The partition key of this index's days in a namespace.
    pub fn partition_key(self, namespace: &str) -> Key {
        vec![text(self.as_str()), text(namespace)]
    }
}

/// Notes that `index` has rows of `day` from the log partition `partition`, the last one caused at `offset`.
pub fn write(
    index: Index,
    namespace: &str,
    day: i64,
    partition: u32,
    offset: i64,
    timestamp_us: i64,
) -> Write {
    let clustering = vec![Value::Int(day), partition_value(partition)];
    put(&TABLE, index.partition_key(namespace), Some(clustering), timestamp_us, vec![Value::Int(offset)])
}

/// Reads the day and the log partition back.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not one [`write()`] made.
pub fn read(row: Row) -> Result<(i64, u32), StoreError> {
    let mut key = Columns::new(&TABLE, row.key.clustering.unwrap_or_default());
    Ok((key.int()?, key.small()?))
}
