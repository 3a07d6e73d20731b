//! `outbox`: the messages of a partition that are not delivered to every destination yet, bucketed by offset.

use tidewheel_engine::outbox::OutboxEntry;
use tidewheel_schemas::{OutboxName, RunId};
use tidewheel_store::{Column, ColumnType, Key, Row, Rows, StoreError, TableSchema, Value, Write};

use super::{delete, partition_value, put};
use crate::columns::{Columns, payload, text};

/// The table.
pub static TABLE: TableSchema = TableSchema {
    name: "outbox",
    number: 10,
    partition_key: &[Column::new("log_partition", ColumnType::Int), Column::new("bucket", ColumnType::Int)],
    clustering_key: &[Column::new("offset", ColumnType::Int), Column::new("entry_index", ColumnType::Int)],
    static_columns: &[],
    columns: &[
        Column::new("sender", ColumnType::Uuid),
        Column::new("namespace", ColumnType::Text),
        Column::new("target", ColumnType::Uuid),
        Column::new("signal", ColumnType::Text),
        Column::new("content_type", ColumnType::Text),
        Column::new("payload", ColumnType::Blob),
    ],
    bucket_bits: None,
    rows: Rows::Index,
};

/// Offsets of a bucket.
pub const BUCKET_OFFSETS: i64 = 100_000;

/// The bucket of an entry created at `offset`.
pub const fn bucket_of(offset: i64) -> i64 {
    offset.div_euclid(BUCKET_OFFSETS)
}

/// The partition key of a bucket.
pub fn partition_key(partition: u32, bucket: i64) -> Key {
    vec![partition_value(partition), Value::Int(bucket)]
}

fn clustering_key(name: OutboxName) -> Key {
    vec![Value::Int(name.offset), Value::Int(i64::from(name.index))]
}

/// The row of an entry.
pub fn write(partition: u32, entry: &OutboxEntry, timestamp_us: i64) -> Write {
    let [content_type, data] = payload(Some(&entry.payload));
    let columns = vec![
        Value::Uuid(*entry.sender.as_bytes()),
        text(&entry.namespace),
        Value::Uuid(*entry.target.as_bytes()),
        text(&entry.signal),
        content_type,
        data,
    ];
    let key = partition_key(partition, bucket_of(entry.name.offset));
    put(&TABLE, key, Some(clustering_key(entry.name)), timestamp_us, columns)
}

/// The deletion of a delivered entry.
pub fn removal(partition: u32, name: OutboxName, timestamp_us: i64) -> Write {
    delete(&TABLE, partition_key(partition, bucket_of(name.offset)), clustering_key(name), timestamp_us)
}

/// Reads an entry back.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not one [`write()`] made.
pub fn read(row: Row) -> Result<OutboxEntry, StoreError> {
    let mut key = Columns::new(&TABLE, row.key.clustering.unwrap_or_default());
    let name = OutboxName { offset: key.int()?, index: key.small()? };
    let mut columns = Columns::new(&TABLE, row.columns);
    let sender = RunId::from_bytes(columns.uuid()?);
    let namespace = columns.name()?;
    let target = RunId::from_bytes(columns.uuid()?);
    let signal = columns.name()?;
    let payload = columns.maybe_payload()?.ok_or_else(|| columns.corrupt("a message has no payload"))?;
    Ok(OutboxEntry { name, sender, namespace, target, signal, payload })
}
