//! The views: each table declared once, with the pure functions from what the fold changed to rows and back.
//!
//! When rows are written, and how several changes become one row, is said in `chunk`.

pub mod index_days;
pub mod open_work;
pub mod outbox;
pub mod parked;
pub mod partition_control;
pub mod rejections;
pub mod run_history;
pub mod run_parts;
pub mod runs;
pub mod runs_by;

use tidewheel_store::{Key, RowKey, TableSchema, Value, Write};

/// Every table of one generation of the views.
pub const TABLES: &[&TableSchema] = &[
    &runs::TABLE,
    &run_history::TABLE,
    &runs_by::NAMESPACE,
    &runs_by::WORKFLOW,
    &runs_by::TAG,
    &runs_by::STATUS,
    &index_days::TABLE,
    &open_work::TABLE,
    &open_work::BUCKETS,
    &outbox::TABLE,
    &rejections::BY_DAY,
    &rejections::BY_SUBJECT,
    &parked::TABLE,
    &partition_control::TABLE,
];

/// Microseconds of a day.
pub const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// The day, counted from 1970 in UTC, that a time in microseconds falls on.
pub const fn day_of(time_us: i64) -> i64 {
    time_us.div_euclid(DAY_US)
}

/// The partition of the log as rows keep it.
pub(crate) const fn partition_value(partition: u32) -> Value {
    Value::Int(partition as i64)
}

/// Puts a row.
pub(crate) fn put(
    table: &'static TableSchema,
    partition: Key,
    clustering: Option<Key>,
    timestamp_us: i64,
    columns: Vec<Value>,
) -> Write {
    Write { table, key: RowKey { partition, clustering }, timestamp_us, columns: Some(columns) }
}

/// Deletes a row.
pub(crate) fn delete(
    table: &'static TableSchema,
    partition: Key,
    clustering: Key,
    timestamp_us: i64,
) -> Write {
    Write { table, key: RowKey { partition, clustering: Some(clustering) }, timestamp_us, columns: None }
}
