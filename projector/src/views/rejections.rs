//! `rejections`: the records the fold refused and the signals left unread, so that a producer can learn the fate
//! of every append. By namespace and day, newest first; and by the run or event they are about.
//!
//! A record whose namespace is not known (no such run, another namespace's run, unreadable) stands under the
//! namespace ``, which no namespace is named.

use tidewheel_engine::{Rejection, Transition, Verdict};
use tidewheel_schemas::{EventId, RunId};
use tidewheel_store::{Column, ColumnType, Key, Row, Rows, StoreError, TableSchema, Value, Write};

use super::{day_of, partition_value, put};
use crate::columns::{Columns, text};

const CLUSTERING: &[Column] = &[
    Column::descending("recorded_at_us", ColumnType::Int),
    Column::new("log_partition", ColumnType::Int),
    Column::descending("offset", ColumnType::Int),
    Column::new("item", ColumnType::Int),
];
const COLUMNS: &[Column] = &[
    Column::new("namespace", ColumnType::Text),
    Column::new("code", ColumnType::Text),
    Column::new("record_offset", ColumnType::Int),
    Column::new("event_id", ColumnType::Uuid),
    Column::new("run_id", ColumnType::Uuid),
    Column::new("type", ColumnType::Text),
];

/// Rejections of a namespace.
pub static BY_DAY: TableSchema = TableSchema {
    name: "rejections",
    number: 11,
    partition_key: &[
        Column::new("listed_namespace", ColumnType::Text),
        Column::new("day", ColumnType::Int),
        Column::new("source_partition", ColumnType::Int),
    ],
    clustering_key: CLUSTERING,
    static_columns: &[],
    columns: COLUMNS,
    bucket_bits: None,
    rows: Rows::Final,
};

/// The same rows by the id of the run or event they are about.
pub static BY_SUBJECT: TableSchema = TableSchema {
    name: "rejections_by_subject",
    number: 12,
    partition_key: &[Column::new("subject", ColumnType::Uuid)],
    clustering_key: CLUSTERING,
    static_columns: &[],
    columns: COLUMNS,
    bucket_bits: None,
    rows: Rows::Final,
};

/// Records without a readable time are bucketed by offset, as days long before any real one.
const UNDATED: i64 = -(1 << 40);
const UNDATED_OFFSETS: i64 = 10_000;

/// The day a rejection is listed under.
pub const fn day(recorded_at_us: i64, offset: i64) -> i64 {
    if recorded_at_us == 0 { UNDATED + offset.div_euclid(UNDATED_OFFSETS) } else { day_of(recorded_at_us) }
}

/// One rejection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionRow {
    /// The namespace, empty where it is not known.
    pub namespace: String,
    /// The partition of the log.
    pub partition: u32,
    /// The offset of the record that brought the rejection about.
    pub offset: i64,
    /// 0 for the record itself; the ordinal of a signal that a run's end at `offset` left unread.
    pub item: u64,
    /// When that record was written, microseconds since 1970; 0 where that cannot be read.
    pub recorded_at_us: i64,
    /// Why.
    pub rejection: Rejection,
    /// The offset of the refused record.
    pub record_offset: i64,
    /// Its event id, if it could be read.
    pub event_id: Option<EventId>,
    /// The run it was for, if it was for one.
    pub run_id: Option<RunId>,
    /// Its event type, if it could be read.
    pub event_type: Option<String>,
}

impl RejectionRow {
    /// The day it is listed under.
    pub const fn day(&self) -> i64 {
        day(self.recorded_at_us, self.offset)
    }

    fn clustering(&self) -> Key {
        vec![
            Value::Int(self.recorded_at_us),
            partition_value(self.partition),
            Value::Int(self.offset),
            Value::Int(self.item.cast_signed()),
        ]
    }

    fn columns(&self) -> Vec<Value> {
        vec![
            text(&self.namespace),
            text(self.rejection.code()),
            Value::Int(self.record_offset),
            self.event_id.map_or(Value::Null, |event_id| Value::Uuid(*event_id.as_bytes())),
            self.run_id.map_or(Value::Null, |run_id| Value::Uuid(*run_id.as_bytes())),
            self.event_type.as_deref().map_or(Value::Null, text),
        ]
    }

    /// Its rows: one in its namespace, one for its run, one for its event.
    pub fn writes(&self, timestamp_us: i64) -> impl Iterator<Item = Write> {
        let day = partition_key(&self.namespace, self.day(), self.partition);
        let run = self.run_id.map(|run_id| vec![Value::Uuid(*run_id.as_bytes())]);
        let event = self.event_id.map(|event_id| vec![Value::Uuid(*event_id.as_bytes())]);
        let by_subject = run.into_iter().chain(event).map(|key| (&BY_SUBJECT, key));
        std::iter::once((&BY_DAY, day))
            .chain(by_subject)
            .map(move |(table, key)| put(table, key, Some(self.clustering()), timestamp_us, self.columns()))
    }
}

/// The partition key of a day of a namespace.
pub fn partition_key(namespace: &str, day: i64, partition: u32) -> Key {
    vec![text(namespace), Value::Int(day), partition_value(partition)]
}

/// Calls `found` with every rejection of one record.
pub fn of(transition: &Transition, mut found: impl FnMut(RejectionRow)) {
    let change = transition.run.as_deref();
    let recorded_at_us = transition.headers.as_ref().map_or(0, |headers| headers.recorded_at_us);
    if let Verdict::Rejected(rejection) = transition.verdict {
        let headers = transition.headers.as_ref();
        // A record aimed at another namespace's run must not show up in that one.
        let namespace = change
            .filter(|_| rejection != Rejection::WrongNamespace)
            .map_or("", |change| change.after.namespace.as_str());
        found(RejectionRow {
            namespace: namespace.to_owned(),
            partition: transition.partition,
            offset: transition.offset,
            item: 0,
            recorded_at_us,
            rejection,
            record_offset: transition.offset,
            event_id: headers.map(|headers| headers.event_id),
            run_id: headers.and_then(|headers| headers.entity.run_id()),
            event_type: headers.map(|headers| headers.event_type.as_str().to_owned()),
        });
    }
    let Some(change) = change else { return };
    for signal in &change.left_unread {
        found(RejectionRow {
            namespace: change.after.namespace.as_str().to_owned(),
            partition: transition.partition,
            offset: transition.offset,
            item: signal.ordinal,
            recorded_at_us,
            rejection: Rejection::SignalUnread,
            record_offset: signal.offset,
            event_id: Some(signal.event_id),
            run_id: Some(change.after.run_id),
            event_type: Some(tidewheel_schemas::EventType::RunSignaled.as_str().to_owned()),
        });
    }
}

/// Reads a rejection back, from either table.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not one this module made.
pub fn read(table: &'static TableSchema, row: Row) -> Result<RejectionRow, StoreError> {
    let mut key = Columns::new(table, row.key.clustering.unwrap_or_default());
    let (recorded_at_us, partition, offset, item) = (key.int()?, key.small()?, key.int()?, key.count()?);
    let mut columns = Columns::new(table, row.columns);
    let namespace = columns.text()?;
    let code = columns.text()?;
    let rejection = Rejection::from_code(&code)
        .ok_or_else(|| columns.corrupt(format!("`{code}` is not a rejection this build knows")))?;
    Ok(RejectionRow {
        namespace,
        partition,
        offset,
        item,
        recorded_at_us,
        rejection,
        record_offset: columns.int()?,
        event_id: columns.maybe_uuid()?.map(EventId::from_bytes),
        run_id: columns.maybe_uuid()?.map(RunId::from_bytes),
        event_type: columns.maybe_text()?,
    })
}
