//! The clustering rows of `runs`: published state, unread signals, timers and remembered event ids.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidewheel_engine::remembered::Remembered;
use tidewheel_engine::run::{Timer, TimerKind, UnreadSignal};
use tidewheel_engine::{PartChange, Rejection};
use tidewheel_schemas::{EventId, Location, Payload, RunId};
use tidewheel_store::{Key, Row, StoreError, Value, Write};

use super::runs::{TABLE, partition_key};
use crate::columns::{Columns, count, payload, shown, text};
use crate::views::{delete, put};

/// The row of the published state.
pub const KIND_STATE: i64 = 0;
const KIND_SIGNAL: i64 = 1;
const KIND_TIMER: i64 = 2;
const KIND_REMEMBERED: i64 = 3;

/// Names a part within its run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartName {
    /// An unread signal, by ordinal.
    Signal(u64),
    /// A timer, by location.
    Timer(Location),
    /// A remembered event id.
    Remembered(EventId),
}

impl PartName {
    /// The part a change is about.
    pub fn of(change: &PartChange) -> Self {
        match change {
            PartChange::Signal(ordinal, _) => Self::Signal(*ordinal),
            PartChange::Timer(location, _) => Self::Timer(location.clone()),
            PartChange::Remembered(event_id, _) => Self::Remembered(*event_id),
        }
    }

    fn clustering(&self) -> Key {
        let (kind, part) = match self {
            Self::Signal(ordinal) => (KIND_SIGNAL, Bytes::copy_from_slice(&ordinal.to_be_bytes())),
            Self::Timer(location) => {
                (KIND_TIMER, location.0.iter().flat_map(|coordinate| coordinate.to_be_bytes()).collect())
            }
            Self::Remembered(event_id) => (KIND_REMEMBERED, Bytes::copy_from_slice(event_id.as_bytes())),
        };
        vec![Value::Int(kind), Value::Blob(part)]
    }
}

/// The clustering key of the published state.
pub fn state_clustering() -> Key {
    vec![Value::Int(KIND_STATE), Value::Blob(Bytes::new())]
}

/// The columns' values, most of them null.
struct Fields {
    offset: i64,
    ordinal: Value,
    event_id: Value,
    name: Value,
    location: Value,
    due_us: Value,
    timer: Value,
    attempt: Value,
    log_time_us: Value,
    rejection: Value,
    payload: [Value; 2],
}

impl Fields {
    const fn new(offset: i64) -> Self {
        Self {
            offset,
            ordinal: Value::Null,
            event_id: Value::Null,
            name: Value::Null,
            location: Value::Null,
            due_us: Value::Null,
            timer: Value::Null,
            attempt: Value::Null,
            log_time_us: Value::Null,
            rejection: Value::Null,
            payload: [Value::Null, Value::Null],
        }
    }

    fn values(self) -> Vec<Value> {
        let [content_type, payload] = self.payload;
        vec![
            Value::Int(self.offset),
            self.ordinal,
            self.event_id,
            self.name,
            self.location,
            self.due_us,
            self.timer,
            self.attempt,
            self.log_time_us,
            self.rejection,
            content_type,
            payload,
        ]
    }
}

fn timer_text(kind: TimerKind) -> &'static str {
    match kind {
        TimerKind::Sleep => "sleep",
        TimerKind::SignalTimeout => "signal-timeout",
        TimerKind::Retry { .. } => "retry",
    }
}

/// The row of the state that the record at `offset` published.
pub fn state_write(run_id: RunId, state: &Payload, offset: i64, timestamp_us: i64) -> Write {
    let fields = Fields { payload: payload(Some(state)), ..Fields::new(offset) };
    put(&TABLE, partition_key(run_id), Some(state_clustering()), timestamp_us, fields.values())
}

/// The row of a changed part.
pub fn part_write(run_id: RunId, change: &PartChange, timestamp_us: i64) -> Write {
    let clustering = PartName::of(change).clustering();
    let fields = match change {
        PartChange::Signal(_, None) | PartChange::Timer(_, None) | PartChange::Remembered(_, None) => {
            return delete(&TABLE, partition_key(run_id), clustering, timestamp_us);
        }
        PartChange::Signal(ordinal, Some(signal)) => Fields {
            ordinal: count(*ordinal),
            event_id: Value::Uuid(*signal.event_id.as_bytes()),
            name: text(&signal.name),
            ..Fields::new(signal.offset)
        },
        PartChange::Timer(location, Some(timer)) => Fields {
            location: shown(location),
            due_us: Value::Int(timer.due_us),
            timer: text(timer_text(timer.kind)),
            attempt: match timer.kind {
                TimerKind::Retry { attempt } => Value::Int(i64::from(attempt)),
                TimerKind::Sleep | TimerKind::SignalTimeout => Value::Null,
            },
            ..Fields::new(timer.offset)
        },
        PartChange::Remembered(event_id, Some(remembered)) => Fields {
            event_id: Value::Uuid(*event_id.as_bytes()),
            log_time_us: Value::Int(remembered.log_time_us),
            rejection: match remembered.outcome {
                Ok(()) => Value::Null,
                Err(rejection) => text(rejection.code()),
            },
            ..Fields::new(remembered.offset)
        },
    };
    put(&TABLE, partition_key(run_id), Some(clustering), timestamp_us, fields.values())
}

/// The parts of a run as loaded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Signals not read yet, by ordinal.
    pub unread: BTreeMap<u64, UnreadSignal>,
    /// Timers by location.
    pub timers: BTreeMap<Location, Timer>,
    /// External event ids and their outcomes.
    pub remembered: BTreeMap<EventId, Remembered>,
    /// The published state and the offset of the record that published it.
    pub state: Option<(i64, Payload)>,
}

impl Parts {
    /// Takes one clustering row in.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the row is not one this module made.
    pub fn add(&mut self, row: Row) -> Result<(), StoreError> {
        let mut columns = Columns::new(&TABLE, row.columns);
        let Some(Value::Int(kind)) = row.key.clustering.as_ref().and_then(|key| key.first()) else {
            return Err(columns.corrupt("a part has no kind"));
        };
        let offset = columns.int()?;
        let ordinal = columns.maybe_count()?;
        let event_id = columns.maybe_uuid()?.map(EventId::from_bytes);
        let name = columns.maybe_name()?;
        let location = columns.maybe_text()?.map(|text| columns.parsed::<Location>(&text)).transpose()?;
        let due_us = columns.maybe_int()?;
        let timer = columns.maybe_text()?;
        let attempt = columns.maybe_int()?.and_then(|attempt| u32::try_from(attempt).ok());
        let log_time_us = columns.maybe_int()?;
        let rejection = columns.maybe_text()?;
        let payload = columns.maybe_payload()?;
        let lacking = || columns.corrupt("a part lacks a column of its kind");
        match *kind {
            KIND_STATE => self.state = Some((offset, payload.ok_or_else(lacking)?)),
            KIND_SIGNAL => {
                let ordinal = ordinal.ok_or_else(lacking)?;
                let (event_id, name) = event_id.zip(name).ok_or_else(lacking)?;
                self.unread.insert(ordinal, UnreadSignal { ordinal, offset, event_id, name });
            }
            KIND_TIMER => {
                let kind = match (timer.as_deref(), attempt) {
                    (Some("sleep"), _) => TimerKind::Sleep,
                    (Some("signal-timeout"), _) => TimerKind::SignalTimeout,
                    (Some("retry"), Some(attempt)) => TimerKind::Retry { attempt },
                    _ => return Err(lacking()),
                };
                let due_us = due_us.ok_or_else(lacking)?;
                self.timers.insert(location.ok_or_else(lacking)?, Timer { due_us, kind, offset });
            }
            KIND_REMEMBERED => {
                let outcome = match rejection {
                    None => Ok(()),
                    Some(code) => Err(Rejection::from_code(&code)
                        .ok_or_else(|| columns.corrupt(format!("`{code}` is not a rejection")))?),
                };
                let log_time_us = log_time_us.ok_or_else(lacking)?;
                let remembered = Remembered { offset, log_time_us, outcome };
                self.remembered.insert(event_id.ok_or_else(lacking)?, remembered);
            }
            other => return Err(columns.corrupt(format!("{other} is not a kind of part"))),
        }
        Ok(())
    }
}
