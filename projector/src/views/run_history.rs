//! `run_history`: the accepted records of a run, in segments of consecutive ones, in buckets of 10,000. Insert-only.
//!
//! The entry of a record is numbered by the run's version after it, so that every bucket but the last is full and a
//! page never reads an empty one. A segment is a row that bears the number of its first entry. Segments that were
//! written by other chunks may overlap; what they share is equal, and all of them together are the history.

use std::sync::Arc;

use tidewheel_engine::HistoryEntry;
use tidewheel_engine::run::Origin;
use tidewheel_schemas::{EventId, EventType, RunId};
use tidewheel_store::{
    Column, ColumnType, FieldWriter, Item, Items, ItemsBuilder, Key, Row, Rows, StoreError, TableSchema,
    Value, Write,
};

use super::put;
use crate::columns::{Columns, count};

mod event;

/// The fields of an entry.
const ENTRY: &[Column] = &[
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
];

/// The table.
pub static TABLE: TableSchema = TableSchema {
    name: "run_history",
    number: 15,
    partition_key: &[Column::new("run_id", ColumnType::Uuid), Column::new("bucket", ColumnType::Int)],
    clustering_key: &[Column::new("number", ColumnType::Int)],
    static_columns: &[],
    // Not `entries`, a word that CQL keeps for itself.
    columns: &[Column::new("events", ColumnType::List(ENTRY))],
    // A short run is one bucket, and a segment is found without reading more than its neighbours.
    bucket_bits: Some(6),
    rows: Rows::Final,
};

/// Most entries of a segment: those of a group, and none crosses from one group to the next, so that whoever reads
/// from the middle knows where to begin.
pub const GROUP_ENTRIES: u64 = 16;

/// Bytes of entries that a segment of several may have. A larger entry is a segment by itself.
pub const SEGMENT_BYTES: usize = 64 * 1024;

/// Entries of a bucket, a whole number of groups.
pub const BUCKET_ENTRIES: u64 = 10_000;

const _: () = assert!(BUCKET_ENTRIES.is_multiple_of(GROUP_ENTRIES));

/// The bucket of entry `number`, which counts from 1.
pub const fn bucket_of(number: u64) -> u64 {
    number.saturating_sub(1) / BUCKET_ENTRIES
}

/// The partition key of a run's bucket.
pub fn partition_key(run_id: RunId, bucket: u64) -> Key {
    vec![Value::Uuid(*run_id.as_bytes()), count(bucket)]
}

/// The first number of the group of entry `number`.
pub const fn group_start(number: u64) -> u64 {
    number.saturating_sub(1) / GROUP_ENTRIES * GROUP_ENTRIES + 1
}

/// The clustering key of the segment that begins with entry `number`.
pub fn clustering_key(number: u64) -> Key {
    vec![count(number)]
}

/// Appends an entry as an item of the list that a segment is.
pub fn push(out: &mut Vec<u8>, entry: &HistoryEntry) {
    let mut fields = FieldWriter::new(out);
    fields.int(entry.offset);
    fields.uuid(entry.event_id.as_bytes());
    fields.int(entry.recorded_at_us);
    match entry.origin {
        Origin::External { ordinal } => {
            fields.int(ordinal.cast_signed());
            fields.null();
            fields.null();
        }
        Origin::Engine { seen, idle } => {
            fields.null();
            fields.int(seen.cast_signed());
            fields.bool(idle);
        }
    }
    fields.text(entry.event.event_type().as_str());
    event::push(&mut fields, &entry.event);
}

/// The segment of the entries from number `first` on, each as [`push`] made it, at the timestamp of the last one.
pub fn write(run_id: RunId, first: u64, entries: Items, timestamp_us: i64) -> Write {
    let columns = vec![Value::List(entries)];
    put(&TABLE, partition_key(run_id, bucket_of(first)), Some(clustering_key(first)), timestamp_us, columns)
}

/// The segment that is one entry.
pub fn write_one(run_id: RunId, number: u64, entry: Item<'_>, timestamp_us: i64) -> Write {
    let mut entries = ItemsBuilder::default();
    entries.push(entry);
    write(run_id, number, entries.finish(), timestamp_us)
}

/// Takes a segment apart: the number of its first entry, and all of them.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not a segment.
pub fn split(row: Row) -> Result<(u64, Items), StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt { table: TABLE.name, what: what.to_owned() };
    let Some(Value::Int(first)) = row.key.clustering.as_ref().and_then(|key| key.first()) else {
        return Err(corrupt("a segment has no number"));
    };
    match row.columns.into_iter().next() {
        Some(Value::List(entries)) if !entries.is_empty() => Ok((first.cast_unsigned(), entries)),
        _ => Err(corrupt("a segment has no entries")),
    }
}

/// The fields of an entry, in the order of the table.
///
/// # Errors
/// [`StoreError::Corrupt`] when its bytes are none.
pub fn fields(entry: Item<'_>) -> Result<Vec<Value>, StoreError> {
    entry.values(ENTRY).map_err(|what| StoreError::Corrupt { table: TABLE.name, what: what.to_owned() })
}

/// Reads an entry back.
///
/// # Errors
/// [`StoreError::Corrupt`] when it is not what [`push`] made.
pub fn read(entry: Item<'_>) -> Result<HistoryEntry, StoreError> {
    let mut columns = Columns::new(&TABLE, fields(entry)?);
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
    Ok(HistoryEntry { offset, event_id, recorded_at_us, origin, event })
}
