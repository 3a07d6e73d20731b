//! `partition_control`: Control and the checkpoint of a partition in one row, with the lowest live keys of the
//! views that a takeover reads.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use tidewheel_engine::{Control, LogInfo};
use tidewheel_schemas::{EventId, LogId, OutboxName};
use tidewheel_store::{Column, ColumnType, Row, RowKey, Rows, StoreError, TableSchema, Value, Write};

use super::open_work::Bucket;
use super::{partition_value, put};
use crate::columns::{Columns, count, maybe_int, maybe_text};

/// The table.
pub static TABLE: TableSchema = TableSchema {
    name: "partition_control",
    number: 14,
    partition_key: &[Column::new("log_partition", ColumnType::Int)],
    clustering_key: &[],
    static_columns: &[],
    columns: &[
        Column::new("next_offset", ColumnType::Int),
        Column::new("last_event_id", ColumnType::Uuid),
        Column::new("log_id", ColumnType::Uuid),
        Column::new("epoch_us", ColumnType::Int),
        Column::new("log_partitions", ColumnType::Int),
        Column::new("fold", ColumnType::Int),
        Column::new("claim", ColumnType::Int),
        Column::new("claimed_by", ColumnType::Text),
        Column::new("next_seq", ColumnType::Int),
        Column::new("log_time_us", ColumnType::Int),
        Column::new("sources", ColumnType::Blob),
        Column::new("open_now_from", ColumnType::Int),
        Column::new("open_later_from", ColumnType::Int),
        Column::new("outbox_from", ColumnType::Int),
        Column::new("newest_fresh_ms", ColumnType::Int),
    ],
    bucket_bits: None,
    rows: Rows::Current,
};

/// Where the views of a partition stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Control after the last record the views hold; its `next_offset` is where reading goes on.
    pub control: Control,
    /// The lowest bucket of open work that is due now.
    pub open_now_from: Option<i64>,
    /// The lowest bucket of open work that is due later.
    pub open_later_from: Option<i64>,
    /// Offset of the oldest entry in the outbox.
    pub outbox_from: Option<i64>,
}

impl Checkpoint {
    /// The lowest live bucket among those due now (`false`) or later (`true`).
    pub fn lowest(&self, later: bool) -> Option<Bucket> {
        let number = if later { self.open_later_from } else { self.open_now_from };
        number.map(|number| Bucket { later, number })
    }
}

/// The key of a partition's row.
pub fn key(partition: u32) -> RowKey {
    RowKey { partition: vec![partition_value(partition)], clustering: Some(Vec::new()) }
}

const SOURCE_BYTES: usize = 16 + 4 + 8 + 4;

fn sources_value(sources: &BTreeMap<(LogId, u32), OutboxName>) -> Value {
    if sources.is_empty() {
        return Value::Null;
    }
    let mut bytes = BytesMut::with_capacity(sources.len() * SOURCE_BYTES);
    for ((log_id, partition), name) in sources {
        bytes.put_slice(log_id.as_bytes());
        bytes.put_u32(*partition);
        bytes.put_i64(name.offset);
        bytes.put_u32(name.index);
    }
    Value::Blob(bytes.freeze())
}

fn read_sources(bytes: Option<Bytes>) -> Option<BTreeMap<(LogId, u32), OutboxName>> {
    let bytes = bytes.unwrap_or_default();
    let (sources, rest) = bytes.as_chunks::<SOURCE_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let mut out = BTreeMap::new();
    for source in sources {
        let (log_id, rest) = source.split_first_chunk::<16>()?;
        let (partition, rest) = rest.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (index, _) = rest.split_first_chunk::<4>()?;
        let name = OutboxName { offset: i64::from_be_bytes(*offset), index: u32::from_be_bytes(*index) };
        out.insert((LogId::from_bytes(*log_id), u32::from_be_bytes(*partition)), name);
    }
    Some(out)
}

/// The row of a checkpoint.
pub fn write(checkpoint: &Checkpoint, timestamp_us: i64) -> Write {
    let control = &checkpoint.control;
    let log = control.log.as_ref();
    let columns = vec![
        Value::Int(control.next_offset),
        control.last_event_id.map_or(Value::Null, |event_id| Value::Uuid(*event_id.as_bytes())),
        log.map_or(Value::Null, |log| Value::Uuid(*log.log_id.as_bytes())),
        maybe_int(log.map(|log| log.epoch_us)),
        maybe_int(log.map(|log| i64::from(log.partitions))),
        Value::Int(i64::from(control.fold)),
        maybe_int(control.claim),
        maybe_text(control.claimed_by.as_deref()),
        count(control.next_seq),
        Value::Int(control.log_time_us),
        sources_value(&control.sources),
        maybe_int(checkpoint.open_now_from),
        maybe_int(checkpoint.open_later_from),
        maybe_int(checkpoint.outbox_from),
        maybe_int(control.newest_fresh_ms.map(u64::cast_signed)),
    ];
    let key = key(control.partition);
    put(&TABLE, key.partition, key.clustering, timestamp_us, columns)
}

/// Reads a checkpoint back.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not one [`write()`] made.
pub fn read(partition: u32, row: Row) -> Result<Checkpoint, StoreError> {
    let mut columns = Columns::new(&TABLE, row.columns);
    let next_offset = columns.int()?;
    let last_event_id = columns.maybe_uuid()?.map(EventId::from_bytes);
    let log_id = columns.maybe_uuid()?.map(LogId::from_bytes);
    let (epoch_us, partitions) = (columns.maybe_int()?, columns.maybe_int()?);
    let partitions = partitions.and_then(|partitions| u32::try_from(partitions).ok());
    let log = match (log_id, epoch_us, partitions) {
        (Some(log_id), Some(epoch_us), Some(partitions)) => Some(LogInfo { log_id, epoch_us, partitions }),
        _ => None,
    };
    let mut control = Control {
        partition,
        log,
        next_offset,
        last_event_id,
        fold: columns.small()?,
        claim: columns.maybe_int()?,
        claimed_by: columns.maybe_text()?.map(Into::into),
        next_seq: columns.count()?,
        log_time_us: columns.int()?,
        sources: {
            let bytes = columns.maybe_blob()?;
            read_sources(bytes).ok_or_else(|| columns.corrupt("the outbox sources are cut"))?
        },
        newest_fresh_ms: None,
    };
    let (open_now_from, open_later_from) = (columns.maybe_int()?, columns.maybe_int()?);
    let outbox_from = columns.maybe_int()?;
    control.newest_fresh_ms = columns.maybe_count()?;
    Ok(Checkpoint { control, open_now_from, open_later_from, outbox_from })
}
