//! `runs`: one partition per run; its header in the static row, its parts in clustering rows (see `run_parts`).
//!
//! The state a workflow published may be large and is a clustering row of its own, written when it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidewheel_engine::run::Divergence;
use tidewheel_engine::run::digest::PartsDigest;
use tidewheel_engine::{RunHeader, RunStatus};
use tidewheel_schemas::{Failure, RunId};
use tidewheel_store::{
    Column, ColumnType, Key, ROW_BYTES_MAX, Row, RowKey, Rows, StoreError, TableSchema, Value, Write,
};

use crate::columns::{Columns, count, maybe_int, maybe_text, shown, text};
use crate::views::{partition_value, put};

/// The table.
pub static TABLE: TableSchema = TableSchema {
    name: "runs",
    number: 1,
    partition_key: &[Column::new("run_id", ColumnType::Uuid)],
    clustering_key: &[Column::new("kind", ColumnType::Int), Column::new("part", ColumnType::Blob)],
    static_columns: &[
        Column::new("log_partition", ColumnType::Int),
        Column::new("applied_offset", ColumnType::Int),
        Column::new("namespace", ColumnType::Text),
        Column::new("workflow", ColumnType::Text),
        Column::new("run_key", ColumnType::Text),
        Column::new("tags", ColumnType::Text),
        Column::new("status", ColumnType::Text),
        Column::new("created_at_us", ColumnType::Int),
        Column::new("finished_at_us", ColumnType::Int),
        Column::new("started_offset", ColumnType::Int),
        Column::new("finished_offset", ColumnType::Int),
        Column::new("version", ColumnType::Int),
        Column::new("externals", ColumnType::Int),
        Column::new("idle_seen", ColumnType::Int),
        Column::new("next_due_us", ColumnType::Int),
        Column::new("has_state", ColumnType::Bool),
        Column::new("failure_code", ColumnType::Text),
        Column::new("failure_message", ColumnType::Text),
        Column::new("reason", ColumnType::Text),
        Column::new("divergence_location", ColumnType::Text),
        Column::new("divergence_expected", ColumnType::Text),
        Column::new("divergence_found", ColumnType::Text),
        Column::new("parked_at", ColumnType::Int),
        Column::new("part_count", ColumnType::Int),
        Column::new("part_hash", ColumnType::Int),
    ],
    columns: &[
        Column::new("offset", ColumnType::Int),
        Column::new("ordinal", ColumnType::Int),
        Column::new("event_id", ColumnType::Uuid),
        Column::new("name", ColumnType::Text),
        Column::new("location", ColumnType::Text),
        Column::new("due_us", ColumnType::Int),
        Column::new("timer", ColumnType::Text),
        Column::new("attempt", ColumnType::Int),
        Column::new("log_time_us", ColumnType::Int),
        Column::new("rejection", ColumnType::Text),
        Column::new("content_type", ColumnType::Text),
        Column::new("payload", ColumnType::Blob),
    ],
    bucket_bits: None,
    rows: Rows::Current,
};

/// A header as stored: all but the published state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHeader {
    /// The header; `state` is `None` whatever the run published.
    pub header: RunHeader,
    /// Whether the run published state.
    pub has_state: bool,
    /// The log partition its records lie in.
    pub partition: u32,
}

/// The partition key of a run.
pub fn partition_key(run_id: RunId) -> Key {
    vec![Value::Uuid(*run_id.as_bytes())]
}

/// The key of a run's header.
pub fn header_key(run_id: RunId) -> RowKey {
    RowKey { partition: partition_key(run_id), clustering: None }
}

/// Tags as one text: a JSON object, null when there are none.
pub(crate) fn tags_value(tags: &BTreeMap<String, String>) -> Value {
    if tags.is_empty() {
        return Value::Null;
    }
    // A map of texts always has a JSON form.
    serde_json::to_string(tags).map_or(Value::Null, |json| Value::Text(json.into()))
}

pub(crate) fn read_tags(columns: &mut Columns) -> Result<BTreeMap<String, String>, StoreError> {
    match columns.maybe_text()? {
        None => Ok(BTreeMap::new()),
        Some(json) => serde_json::from_str(&json).map_err(|error| columns.corrupt(format!("tags: {error}"))),
    }
}

/// Whether the header's row is far below what the store takes, told without making it.
pub(crate) fn surely_fits(header: &RunHeader) -> bool {
    /// The other columns, and the marks around tags.
    const REST_BYTES_MAX: usize = 4 * 1024;
    /// A byte of a tag takes at most this many in JSON.
    const ESCAPED: usize = 6;
    let key = header.key.as_ref().map_or(0, |key| key.len());
    let tags: usize =
        header.tags.iter().map(|(tag, value)| ESCAPED * (tag.len() + value.len()) + ESCAPED).sum();
    let failure = header.failure.as_ref().map_or(0, |failure| failure.code.len() + failure.message.len());
    let reason = header.reason.as_ref().map_or(0, |reason| reason.len());
    let divergence = header.divergence.as_ref().map_or(0, |divergence| {
        // A coordinate of a location is shown in at most twelve characters, its point with it.
        divergence.location.0.len() * 12 + divergence.expected.len() + divergence.found.len()
    });
    key + tags + failure + reason + divergence + REST_BYTES_MAX <= ROW_BYTES_MAX
}

/// The header's row.
pub fn header_write(header: &RunHeader, partition: u32, timestamp_us: i64) -> Write {
    let divergence = header.divergence.as_deref();
    let columns = vec![
        partition_value(partition),
        Value::Int(header.applied_offset),
        text(&header.namespace),
        text(&header.workflow),
        maybe_text(header.key.as_deref()),
        tags_value(&header.tags),
        text(header.status.as_str()),
        Value::Int(header.created_at_us),
        maybe_int(header.finished_at_us),
        Value::Int(header.started_offset),
        maybe_int(header.finished_offset),
        count(header.version),
        count(header.externals),
        header.idle_seen.map_or(Value::Null, count),
        maybe_int(header.next_due_us),
        Value::Bool(header.state.is_some()),
        maybe_text(header.failure.as_ref().map(|failure| failure.code.as_str())),
        maybe_text(header.failure.as_ref().map(|failure| failure.message.as_str())),
        maybe_text(header.reason.as_deref()),
        divergence.map_or(Value::Null, |divergence| shown(&divergence.location)),
        maybe_text(divergence.map(|divergence| divergence.expected.as_str())),
        maybe_text(divergence.map(|divergence| divergence.found.as_str())),
        maybe_int(header.parked_at),
        count(header.parts.count),
        count(header.parts.hash),
    ];
    put(&TABLE, partition_key(header.run_id), None, timestamp_us, columns)
}

/// Reads a header's row back.
///
/// # Errors
/// [`StoreError::Corrupt`] when the row is not one [`header_write`] made.
pub fn read_header(run_id: RunId, row: Row) -> Result<StoredHeader, StoreError> {
    let mut columns = Columns::new(&TABLE, row.columns);
    let partition = columns.small()?;
    let applied_offset = columns.int()?;
    let namespace = columns.name()?;
    let workflow = columns.name()?;
    let key = columns.maybe_text()?.map(Into::into);
    let tags = Arc::new(read_tags(&mut columns)?);
    let status = columns.text()?;
    let status = RunStatus::from_text(&status)
        .ok_or_else(|| columns.corrupt(format!("`{status}` is not the status of a run")))?;
    let created_at_us = columns.int()?;
    let finished_at_us = columns.maybe_int()?;
    let started_offset = columns.int()?;
    let finished_offset = columns.maybe_int()?;
    let version = columns.count()?;
    let externals = columns.count()?;
    let idle_seen = columns.maybe_count()?;
    let next_due_us = columns.maybe_int()?;
    let has_state = columns.boolean()?;
    let failure = columns.maybe_text()?.zip(columns.maybe_text()?);
    let reason = columns.maybe_text()?.map(Into::into);
    let location = columns.maybe_text()?;
    let differing = columns.maybe_text()?.zip(columns.maybe_text()?);
    let divergence = match location.zip(differing) {
        Some((location, (expected, found))) => {
            Some(Arc::new(Divergence { location: columns.parsed(&location)?, expected, found }))
        }
        None => None,
    };
    let parked_at = columns.maybe_int()?;
    let parts = PartsDigest { count: columns.count()?, hash: columns.count()? };
    let header = RunHeader {
        run_id,
        namespace,
        workflow,
        key,
        tags,
        status,
        created_at_us,
        finished_at_us,
        started_offset,
        finished_offset,
        version,
        externals,
        idle_seen,
        next_due_us,
        state: None,
        failure: failure.map(|(code, message)| Failure { code, message }),
        reason,
        divergence,
        parked_at,
        applied_offset,
        parts,
    };
    Ok(StoredHeader { header, has_state, partition })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidewheel_schemas::Name;

    use super::*;

    proptest! {
        #[test]
        fn a_header_that_surely_fits_is_one_the_store_takes(
            texts in prop::collection::vec("[\u{1}a\"]{0,9}", 8),
            times in prop::collection::vec(1..60_000_usize, 8),
        ) {
            let text = |index: usize| texts[index].repeat(times[index]);
            let header = RunHeader {
                run_id: RunId::from_bytes([1; 16]),
                namespace: Name::new("default").unwrap(),
                workflow: Name::new("order").unwrap(),
                key: Some(text(0).into()),
                tags: Arc::new(BTreeMap::from([(text(1), text(2))])),
                status: RunStatus::Parked,
                created_at_us: i64::MAX,
                finished_at_us: Some(i64::MIN),
                started_offset: i64::MAX,
                finished_offset: None,
                version: u64::MAX,
                externals: 1,
                idle_seen: None,
                next_due_us: None,
                state: None,
                failure: Some(Failure { code: text(3), message: text(4) }),
                reason: Some(text(5).into()),
                divergence: Some(Arc::new(Divergence {
                    location: tidewheel_schemas::Location(vec![u32::MAX; 300].into()),
                    expected: text(6),
                    found: text(7),
                })),
                parked_at: None,
                applied_offset: 1,
                parts: PartsDigest { count: 0, hash: 0 },
            };
            let fits = header_write(&header, 1, 1).check().is_ok();
            prop_assert!(fits || !surely_fits(&header));
        }
    }
}
