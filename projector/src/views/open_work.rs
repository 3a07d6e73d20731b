//! `open_work`: the runs for which their owner has something to do, now or at a time. What a takeover reads.
//!
//! Work that is due now is bucketed by the offset of the run's start, later work by ten minutes.
//! `open_work_buckets` names the buckets that have rows, so that no takeover tries empty ones.

use tidewheel_engine::RunHeader;
use tidewheel_schemas::RunId;
use tidewheel_store::{Column, ColumnType, Key, Row, Rows, StoreError, TableSchema, Value, Write};

use super::{delete, partition_value, put};
use crate::columns::Columns;

/// The table.
pub static TABLE: TableSchema = TableSchema {
    name: "open_work",
    number: 8,
    partition_key: &[
        Column::new("log_partition", ColumnType::Int),
        Column::new("later", ColumnType::Bool),
        Column::new("bucket", ColumnType::Int),
    ],
    clustering_key: &[Column::new("due_us", ColumnType::Int), Column::new("started_offset", ColumnType::Int)],
    static_columns: &[],
    columns: &[Column::new("run_id", ColumnType::Uuid), Column::new("applied_offset", ColumnType::Int)],
    bucket_bits: None,
    rows: Rows::Index,
};

/// The buckets that have rows.
pub static BUCKETS: TableSchema = TableSchema {
    name: "open_work_buckets",
    number: 9,
    partition_key: &[Column::new("log_partition", ColumnType::Int)],
    clustering_key: &[Column::new("later", ColumnType::Bool), Column::new("bucket", ColumnType::Int)],
    static_columns: &[],
    columns: &[Column::new("applied_offset", ColumnType::Int)],
    bucket_bits: None,
    rows: Rows::Index,
};

/// Offsets of starts in a bucket of work that is due now.
pub const NOW_BUCKET_OFFSETS: i64 = 10_000;
/// Length of a bucket of later work, microseconds.
pub const LATER_BUCKET_US: i64 = 10 * 60 * 1_000_000;

/// A bucket of open work; work due now sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    /// Whether it holds work that is due at a time rather than now.
    pub later: bool,
    /// Its number: offset of the start or time due, divided by the bucket's length.
    pub number: i64,
}

impl Bucket {
    /// The bucket of a run's work due at `due_us` (`i64::MIN` is now).
    pub const fn of(header: &RunHeader, due_us: i64) -> Self {
        if due_us == i64::MIN {
            Self { later: false, number: header.started_offset.div_euclid(NOW_BUCKET_OFFSETS) }
        } else {
            Self { later: true, number: due_us.div_euclid(LATER_BUCKET_US) }
        }
    }

    /// Its rows' partition key.
    pub fn partition_key(self, partition: u32) -> Key {
        vec![partition_value(partition), Value::Bool(self.later), Value::Int(self.number)]
    }

    /// Its clustering key in `open_work_buckets`.
    pub fn clustering_key(self) -> Key {
        vec![Value::Bool(self.later), Value::Int(self.number)]
    }
}

/// The row of a run's work due at `due_us`, put (`true`) or deleted by the record at `offset`.
pub fn write(
    header: &RunHeader,
    partition: u32,
    due_us: i64,
    live: bool,
    offset: i64,
    timestamp_us: i64,
) -> Write {
    let bucket = Bucket::of(header, due_us);
    let clustering = vec![Value::Int(due_us), Value::Int(header.started_offset)];
    if live {
        let columns = vec![Value::Uuid(*header.run_id.as_bytes()), Value::Int(offset)];
        put(&TABLE, bucket.partition_key(partition), Some(clustering), timestamp_us, columns)
    } else {
        delete(&TABLE, bucket.partition_key(partition), clustering, timestamp_us)
    }
}

/// Notes whether a bucket has rows, after a change of one of them by the record at `offset`.
pub fn bucket_write(bucket: Bucket, partition: u32, live: bool, offset: i64, timestamp_us: i64) -> Write {
    let key = vec![partition_value(partition)];
    if live {
        put(&BUCKETS, key, Some(bucket.clustering_key()), timestamp_us, vec![Value::Int(offset)])
    } else {
        delete(&BUCKETS, key, bucket.clustering_key(), timestamp_us)
    }
}

/// Reads the time due, the offset of the run's start and the run back.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not one [`write()`] made.
pub fn read(row: Row) -> Result<(i64, i64, RunId), StoreError> {
    let mut key = Columns::new(&TABLE, row.key.clustering.unwrap_or_default());
    let mut columns = Columns::new(&TABLE, row.columns);
    Ok((key.int()?, key.int()?, RunId::from_bytes(columns.uuid()?)))
}

/// Reads a bucket back.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not one [`bucket_write`] made.
pub fn read_bucket(row: Row) -> Result<Bucket, StoreError> {
    let mut key = Columns::new(&BUCKETS, row.key.clustering.unwrap_or_default());
    Ok(Bucket { later: key.boolean()?, number: key.int()? })
}
