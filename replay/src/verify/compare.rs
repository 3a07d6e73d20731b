//! Comparing one row with every version that the log gives it while it may have been read; the history, whose rows
//! may be cut in other ways, entry by entry.

pub(crate) mod history;

use std::fmt::Write as _;

use tidewheel_store::{Column, Row, RowKey, TableSchema, Value};

use super::ground::Ground;
use super::{Kind, Remedy};

/// Longest description of one value.
const VALUE_CHARACTERS_MAX: usize = 120;

/// A row as the log gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// The write timestamp.
    pub(crate) timestamp_us: i64,
    /// The columns.
    pub(crate) columns: Vec<Value>,
}

/// What the log says of one row key: how it stands at the ground, and everything it becomes after that.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// At the ground; none if there is no such row.
    pub(crate) at: Option<Version>,
    /// Later ones, up to the end.
    pub(crate) later: Vec<Option<Version>>,
    /// Every record that changed it, and whether there is a row after it.
    pub(crate) changes: Vec<(i64, bool)>,
}

impl Versions {
    /// The record at `offset` leaves this version; the deletion of what is not there is no change.
    pub(super) fn note(&mut self, offset: i64, is_later: bool, version: Option<Version>) {
        let current = self.later.last().unwrap_or(&self.at);
        if version.is_none() && current.is_none() {
            return;
        }
        self.changes.push((offset, version.is_some()));
        if is_later {
            self.later.push(version);
        } else {
            self.at = version;
        }
    }

    fn all(&self) -> impl Iterator<Item = &Option<Version>> {
        std::iter::once(&self.at).chain(&self.later)
    }

    /// The version written at `timestamp_us`.
    pub(crate) fn written_at(&self, timestamp_us: i64) -> Option<&Version> {
        self.all().flatten().find(|version| version.timestamp_us == timestamp_us)
    }

    /// The version that stands for the row: at the ground, or the first one after it.
    pub(crate) fn first(&self) -> Option<&Version> {
        self.all().flatten().next()
    }

    /// The record that put the row after it was last absent.
    fn put_at(&self) -> Option<i64> {
        let absent = self.changes.iter().rposition(|(_, is_there)| !is_there).map_or(0, |place| place + 1);
        self.changes.get(absent).map(|(offset, _)| *offset)
    }

    fn changed_after(&self, offset: i64) -> Option<i64> {
        self.changes.iter().map(|(changed, _)| *changed).find(|changed| *changed > offset)
    }

    fn deleted_at(&self) -> Option<i64> {
        self.changes.iter().rev().find(|(_, is_there)| !is_there).map(|(offset, _)| *offset)
    }
}

/// A row that is not what the log says, before it is put into words for the report.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) table: &'static TableSchema,
    pub(crate) key: RowKey,
    pub(crate) kind: Kind,
    pub(crate) what: String,
    /// The first record after which the stored row is not what the log says.
    pub(crate) offset: Option<i64>,
    pub(crate) remedy: Remedy,
    /// Where the stored row is written, if there is one.
    pub(crate) stored_us: Option<i64>,
}

/// Compares a row; `None` when it is one of its versions.
pub(super) fn row(
    table: &'static TableSchema,
    key: &RowKey,
    versions: Option<&Versions>,
    stored: Option<&Row>,
    ground: &Ground,
) -> Option<Found> {
    let none = Versions::default();
    let versions = versions.unwrap_or(&none);
    let found = |kind, what, offset, remedy| Found {
        table,
        key: key.clone(),
        kind,
        what,
        offset,
        remedy,
        stored_us: stored.map(|row| row.timestamp_us),
    };
    let Some(stored) = stored else {
        if versions.all().any(Option::is_none) {
            return None;
        }
        let what = versions.first().map(|version| format!("to be written at {}", version.timestamp_us));
        return Some(found(Kind::Missing, what.unwrap_or_default(), versions.put_at(), Remedy::InPlace));
    };
    let base_us = ground.base_us(stored.timestamp_us);
    if let Some(version) = versions.written_at(base_us) {
        if version.columns == stored.columns {
            return None;
        }
        let what = differing(table, key, version, stored);
        let offset = Some(ground.offset_of(base_us));
        return Some(found(Kind::Edited, what, offset, Remedy::InPlace));
    }
    let remedy = if base_us > ground.newest_us() { Remedy::Rebuild } else { Remedy::InPlace };
    let Some(version) = versions.first() else {
        let what = format!("written at {}", stored.timestamp_us);
        return Some(found(Kind::Extra, what, versions.deleted_at(), remedy));
    };
    let what = differing(table, key, version, stored);
    if base_us < version.timestamp_us {
        let offset = versions.changed_after(ground.offset_of(base_us));
        return Some(found(Kind::Stale, what, offset, Remedy::InPlace));
    }
    Some(found(Kind::Newer, what, Some(ground.offset_of(version.timestamp_us)), Remedy::Rebuild))
}

fn differing(table: &TableSchema, key: &RowKey, expected: &Version, stored: &Row) -> String {
    let mut what = String::new();
    if stored.timestamp_us != expected.timestamp_us {
        let _ = write!(what, "written at {}, expected at {}", stored.timestamp_us, expected.timestamp_us);
    }
    let columns = if key.clustering.is_some() { table.columns } else { table.static_columns };
    for (place, column) in columns.iter().enumerate() {
        let (expected, stored) = (expected.columns.get(place), stored.columns.get(place));
        if expected != stored {
            let separator = if what.is_empty() { "" } else { "; " };
            let (expected, stored) = (describe(expected), describe(stored));
            let _ = write!(what, "{separator}{}: expected {expected}, stored {stored}", column.name);
        }
    }
    what
}

pub(super) fn describe_key(table: &TableSchema, key: &RowKey) -> String {
    let pairs = |columns: &'static [Column], values: &[Value]| {
        let pair = |(column, value): (&Column, &Value)| format!("{}={}", column.name, describe(Some(value)));
        columns.iter().zip(values).map(pair).collect::<Vec<_>>()
    };
    let mut parts = pairs(table.partition_key, &key.partition);
    parts.extend(key.clustering.iter().flat_map(|values| pairs(table.clustering_key, values)));
    parts.join(" ")
}

pub(super) fn describe(value: Option<&Value>) -> String {
    let text = match value {
        None => "nothing".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Int(value)) => value.to_string(),
        Some(Value::Text(text)) => format!("{text:?}"),
        Some(Value::Blob(bytes)) => format!("{bytes:?}"),
        Some(Value::Uuid(bytes)) => tidewheel_schemas::EventId::from_bytes(*bytes).to_string(),
        // Histories are compared entry by entry, with the names of their fields.
        Some(Value::List(items)) => format!("a list of {}", items.len()),
    };
    if text.chars().count() <= VALUE_CHARACTERS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARACTERS_MAX).chain(['…']).collect()
}
