//! A record with what must be known to fold it away from its partition, as one JSON object: what a server tells of a run,
//! and a line of a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidewheel_engine::Fold;
use tidewheel_engine::{Control, LogInfo};
use tidewheel_schemas::{Claim, Headers, LogId, Name, OutboxName, Record, RecordHeaders, RunId, codec};
use utoipa::ToSchema;

use crate::inspect::{LookError, Past, READ_RECORDS};
use crate::verify::Stop;
use crate::verify::owner::{self, Owner};

/// Bytes of values after which a page ends.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A record of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recorded {
    /// Its offset.
    pub offset: i64,
    /// Its partition as it stood before the record.
    pub control: RecordedControl,
    /// Its key, in base64.
    pub key: String,
    /// Its headers: names, and values in base64.
    pub headers: Vec<(String, String)>,
    /// Its value, in base64.
    pub value: String,
}

/// What decides, before any run is looked at, whether a record counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordedControl {
    /// The partition.
    pub partition: u32,
    /// Its log.
    #[schema(value_type = String, format = Uuid)]
    pub log_id: LogId,
    /// Base of write timestamps, microseconds since 1970.
    pub epoch_us: i64,
    /// Partitions of the topic.
    pub partitions: u32,
    /// The fold version in force.
    pub fold: u32,
    /// The claim in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<String>,
    /// The sequence number that the next record of the engine must carry.
    pub next_seq: u64,
    /// Log time, microseconds since 1970.
    pub log_time_us: i64,
    /// The last message accepted from each source: its log, partition, offset and index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub sources: Vec<(LogId, u32, i64, u32)>,
}

/// A recorded record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// Not base64.
    #[error("the {what} of the record at offset {offset} is not base64: {error}")]
    Base64 {
        /// Which part.
        what: &'static str,
        /// Whose.
        offset: i64,
        /// Why.
        error: String,
    },
    /// Headers that no record has.
    #[error("the headers of the record at offset {offset} cannot be read: {error}")]
    Headers {
        /// Whose.
        offset: i64,
        /// Why.
        error: String,
    },
}

/// Records of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records, in the order of offsets.
    pub records: Vec<Recorded>,
    /// Where the next page begins, if there is one.
    pub next_offset: Option<i64>,
}

/// The records of a run from an offset on; none if it was never started in this namespace. Records that name another
/// namespace are left out: they are somebody else's, and change nothing.
///
/// # Errors
/// When the log cannot be read or folded.
pub async fn page(
    past: &Past,
    run_id: RunId,
    namespace: &Name,
    from: i64,
    limit: usize,
    stop: &Stop,
) -> Result<Option<Page>, LookError> {
    let partition = owner::partition_of(run_id, past.partitions);
    let (place, end) = past.place(partition).await?;
    let mut fold = Fold::new(partition);
    let (mut records, mut next_offset, mut bytes, mut offset) = (Vec::new(), None, 0, 0);
    'log: while offset < end {
        stop.check().map_err(|()| LookError::Stopped)?;
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let read = past.log.read(&place, offset, READ_RECORDS.min(left)).await?;
        let Some(last) = read.last() else { break };
        offset = last.offset + 1;
        for record in &read {
            if owner::of_record(record, partition, past.partitions) != Owner::Run(run_id) {
                fold.pass_over(record)?;
                continue;
            }
            if record.offset >= from && is_of(record, namespace) {
                if records.len() >= limit || bytes >= PAGE_BYTES {
                    next_offset = Some(record.offset);
                    break 'log;
                }
                bytes += record.value.len();
                records.extend(Recorded::of(record, fold.control()));
            }
            fold.apply(record)?;
        }
    }
    let is_there = fold.run(run_id).is_some_and(|run| run.header.namespace == *namespace);
    Ok(is_there.then_some(Page { records, next_offset }))
}

/// Whether a record says that it is of this namespace.
fn is_of(record: &Record, namespace: &Name) -> bool {
    let RecordHeaders::Known(headers) = &record.headers else { return false };
    match codec::open(headers, &record.value) {
        Ok(opened) => opened.namespace() == Some(namespace.as_str()),
        // What nobody can read parks the run, and is part of its story.
        Err(_) => matches!(headers.author, tidewheel_schemas::Author::Engine { .. }),
    }
}

impl RecordedControl {
    /// As it stands; none before the first record of the log.
    pub fn of(control: &Control) -> Option<Self> {
        let log = control.log?;
        let source = |((log_id, partition), name): (&(LogId, u32), &OutboxName)| {
            (*log_id, *partition, name.offset, name.index)
        };
        Some(Self {
            partition: control.partition,
            log_id: log.log_id,
            epoch_us: log.epoch_us,
            partitions: log.partitions,
            fold: control.fold,
            claim: control.claim,
            claimed_by: control.claimed_by.as_deref().map(str::to_owned),
            next_seq: control.next_seq,
            log_time_us: control.log_time_us,
            sources: control.sources.iter().map(source).collect(),
        })
    }

    /// As the engine knows it, before the record at `offset`.
    pub fn control(&self, offset: i64) -> Control {
        let sources: BTreeMap<_, _> = self
            .sources
            .iter()
            .map(|(log_id, partition, offset, index)| {
                ((*log_id, *partition), OutboxName { offset: *offset, index: *index })
            })
            .collect();
        Control {
            log: Some(LogInfo { log_id: self.log_id, epoch_us: self.epoch_us, partitions: self.partitions }),
            fold: self.fold,
            claim: self.claim,
            claimed_by: self.claimed_by.as_deref().map(Arc::from),
            next_seq: self.next_seq,
            log_time_us: self.log_time_us,
            sources,
            next_offset: offset,
            ..Control::new(self.partition)
        }
    }
}

impl Recorded {
    /// A record whose headers are known, and Control before it; none before the first record of the log.
    pub fn of(record: &Record, control: &Control) -> Option<Self> {
        let RecordHeaders::Known(headers) = &record.headers else { return None };
        let pair = |(name, value): (&str, Bytes)| (name.to_owned(), STANDARD.encode(value));
        Some(Self {
            offset: record.offset,
            control: RecordedControl::of(control)?,
            key: STANDARD.encode(&record.key),
            headers: headers.to_pairs().into_iter().map(pair).collect(),
            value: STANDARD.encode(&record.value),
        })
    }

    /// The record.
    ///
    /// # Errors
    /// When it is not one that [`Self::of`] made.
    pub fn record(&self) -> Result<Record, RecordingError> {
        let offset = self.offset;
        let bytes = |what: &'static str, text: &str| {
            let decoded = STANDARD.decode(text).map(Bytes::from);
            decoded.map_err(|error| RecordingError::Base64 { what, offset, error: error.to_string() })
        };
        let mut pairs = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            pairs.push((name.as_str(), bytes("headers", value)?));
        }
        let headers = Headers::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_ref())))
            .map_err(|error| RecordingError::Headers { offset, error: error.to_string() })?;
        Ok(Record {
            offset,
            key: bytes("key", &self.key)?,
            headers: RecordHeaders::Known(headers),
            value: bytes("value", &self.value)?,
        })
    }
}
