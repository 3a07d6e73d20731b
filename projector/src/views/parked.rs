//! `parked`: the runs that a reader parked (an unknown event type, a row the store refused), and where.
//! Runs parked by a divergence are listed by their status instead.

use bytes::Bytes;
use tidewheel_schemas::RunId;
use tidewheel_store::{Column, ColumnType, Key, Row, RowKey, Rows, StoreError, TableSchema, Value, Write};

use super::{delete, partition_value, put};
use crate::columns::{Columns, text};

/// The table.
pub static TABLE: TableSchema = TableSchema {
    name: "parked",
    number: 13,
    partition_key: &[Column::new("log_partition", ColumnType::Int)],
    clustering_key: &[Column::new("run_id", ColumnType::Blob)],
    static_columns: &[],
    columns: &[Column::new("parked_at", ColumnType::Int), Column::new("cause", ColumnType::Text)],
    bucket_bits: None,
    rows: Rows::Current,
};

/// The cause when the fold parked a run.
pub const CAUSE_UNREADABLE: &str = "a record this build cannot read";

/// A parked run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedRow {
    /// The run.
    pub run_id: RunId,
    /// Offset of the first record that is not applied.
    pub parked_at: i64,
    /// Why, for people.
    pub cause: String,
}

/// The partition key of a log partition's parked runs.
pub fn partition_key(partition: u32) -> Key {
    vec![partition_value(partition)]
}

fn clustering_key(run_id: RunId) -> Key {
    vec![Value::Blob(Bytes::copy_from_slice(run_id.as_bytes()))]
}

/// The key of a run's row.
pub fn row_key(partition: u32, run_id: RunId) -> RowKey {
    RowKey { partition: partition_key(partition), clustering: Some(clustering_key(run_id)) }
}

/// The first clustering key after that of a run.
pub fn key_after(run_id: RunId) -> Key {
    let mut bytes = run_id.as_bytes().to_vec();
    bytes.push(0);
    vec![Value::Blob(bytes.into())]
}

/// The row of a parked run.
pub fn write(partition: u32, row: &ParkedRow, timestamp_us: i64) -> Write {
    let columns = vec![Value::Int(row.parked_at), text(&row.cause)];
    put(&TABLE, partition_key(partition), Some(clustering_key(row.run_id)), timestamp_us, columns)
}

/// The deletion of a run that is parked no more.
pub fn removal(partition: u32, run_id: RunId, timestamp_us: i64) -> Write {
    delete(&TABLE, partition_key(partition), clustering_key(run_id), timestamp_us)
}

/// Reads a row back.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not one [`write()`] made.
pub fn read(row: Row) -> Result<ParkedRow, StoreError> {
    let mut columns = Columns::new(&TABLE, row.columns);
    let run_id = match row.key.clustering.as_deref() {
        Some([Value::Blob(bytes)]) => <[u8; 16]>::try_from(bytes.as_ref()).ok(),
        _ => None,
    };
    let run_id = RunId::from_bytes(run_id.ok_or_else(|| columns.corrupt("a parked run has no id"))?);
    Ok(ParkedRow { run_id, parked_at: columns.int()?, cause: columns.text()? })
}
