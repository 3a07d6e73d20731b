//! `run_history`: the accepted records of a run, one row each, in buckets of 10,000. Insert-only.
//!
//! The row of a record is numbered by the run's version after it, so that every bucket but the last is full and a
//! page never reads an empty one.

use std::sync::Arc;

use tidewheel_engine::HistoryEntry;
use tidewheel_engine::run::Origin;
use tidewheel_schemas::{EventId, EventType, RunId};
use tidewheel_store::{Column, ColumnType, Key, Row, RowKey, Rows, StoreError, TableSchema, Value, Write};

use super::put;
use crate::columns::{Columns, count, text};

mod event;

/// The table.
pub static TABLE: TableSchema = TableSchema {
    name: "run_history",
    number: 2,
    partition_key: &[Column::new("run_id", ColumnType::Uuid), Column::new("bucket", ColumnType::Int)],
    clustering_key: &[Column::new("number", ColumnType::Int)],
    static_columns: &[],
    columns: &[
        Column::new("offset", ColumnType::Int),
        Column::new("event_id", ColumnType::Uuid),
        Column::new("recorded_at_us", ColumnType::Int),
        Column::new("ordinal", ColumnType::Int),
        Column::new("seen", ColumnType::Int),
        Column::new("idle", ColumnType::Bool),
        Column::new("type", ColumnType::Text),
        Column::new("location", ColumnType::Text),
        Column::new("name", ColumnType::Text),
        Column::new("attempt", ColumnType::Int),
        Column::new("due_us", ColumnType::Int),
        Column::new("ordinals", ColumnType::Text),
        Column::new("locations", ColumnType::Text),
        Column::new("code", ColumnType::Text),
        Column::new("message", ColumnType::Text),
        Column::new("target", ColumnType::Uuid),
        Column::new("reason", ColumnType::Text),
        Column::new("run_key", ColumnType::Text),
        Column::new("tags", ColumnType::Text),
        Column::new("expected", ColumnType::Text),
        Column::new("found", ColumnType::Text),
        Column::new("content_type", ColumnType::Text),
        Column::new("payload", ColumnType::Blob),
    ],
    // A short run is one bucket, and a row is found without reading more than its neighbours.
    bucket_bits: Some(6),
    rows: Rows::Final,
};

/// Entries of a bucket.
pub const BUCKET_ENTRIES: u64 = 10_000;

/// The bucket of entry `number`, which counts from 1.
pub const fn bucket_of(number: u64) -> u64 {
    number.saturating_sub(1) / BUCKET_ENTRIES
}

/// The partition key of a run's bucket.
pub fn partition_key(run_id: RunId, bucket: u64) -> Key {
    vec![Value::Uuid(*run_id.as_bytes()), count(bucket)]
}

/// The clustering key of entry `number`.
pub fn clustering_key(number: u64) -> Key {
    vec![count(number)]
}

/// The key of entry `number` of a run.
pub fn key(run_id: RunId, number: u64) -> RowKey {
    RowKey { partition: partition_key(run_id, bucket_of(number)), clustering: Some(clustering_key(number)) }
}

/// The row of entry `number` of a run.
pub fn write(run_id: RunId, number: u64, entry: &HistoryEntry, timestamp_us: i64) -> Write {
    let [ordinal, seen, idle] = match entry.origin {
        Origin::External { ordinal } => [count(ordinal), Value::Null, Value::Null],
        Origin::Engine { seen, idle } => [Value::Null, count(seen), Value::Bool(idle)],
    };
    let mut columns = Vec::with_capacity(TABLE.columns.len());
    columns.extend([
        Value::Int(entry.offset),
        Value::Uuid(*entry.event_id.as_bytes()),
        Value::Int(entry.recorded_at_us),
        ordinal,
        seen,
        idle,
        text(entry.event.event_type().as_str()),
    ]);
    event::push(&mut columns, &entry.event);
    put(&TABLE, partition_key(run_id, bucket_of(number)), Some(clustering_key(number)), timestamp_us, columns)
}

/// Reads an entry and its number back.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not one [`write()`] made.
pub fn read(row: Row) -> Result<(u64, HistoryEntry), StoreError> {
    let mut columns = Columns::new(&TABLE, row.columns);
    let Some(Value::Int(number)) = row.key.clustering.as_ref().and_then(|key| key.first()) else {
        return Err(columns.corrupt("an entry has no number"));
    };
    let offset = columns.int()?;
    let event_id = EventId::from_bytes(columns.uuid()?);
    let recorded_at_us = columns.int()?;
    let (ordinal, seen, idle) = (columns.maybe_count()?, columns.maybe_count()?, columns.maybe_bool()?);
    let origin = match (ordinal, seen, idle) {
        (Some(ordinal), None, None) => Origin::External { ordinal },
        (None, Some(seen), Some(idle)) => Origin::Engine { seen, idle },
        _ => return Err(columns.corrupt("an entry is neither external nor the engine's")),
    };
    let text = columns.text()?;
    let event_type = EventType::from_text(&text)
        .ok_or_else(|| columns.corrupt(format!("`{text}` is not an event type this build knows")))?;
    let event = Arc::new(event::read(event_type, &mut columns)?);
    Ok((number.cast_unsigned(), HistoryEntry { offset, event_id, recorded_at_us, origin, event }))
}
