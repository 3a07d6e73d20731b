//! A record as a row: which columns there are, and what stands in them.

use bytes::Bytes;
use tidewheel_schemas::{Author, Envelope, Record, RecordHeaders, decode, decode_config};

use super::json;
use crate::manifest::Manifest;

/// The columns, in order. What is not every record's is optional.
const SCHEMA: &str = "
message tidewheel_record {
    REQUIRED BYTE_ARRAY topic (STRING);
    REQUIRED INT32 partition;
    REQUIRED INT64 offset;
    REQUIRED BYTE_ARRAY log_id (STRING);
    OPTIONAL INT64 recorded_at (TIMESTAMP(MICROS,true));
    OPTIONAL BYTE_ARRAY event_type (STRING);
    OPTIONAL BYTE_ARRAY event_id (STRING);
    OPTIONAL BYTE_ARRAY entity_kind (STRING);
    OPTIONAL BYTE_ARRAY entity_id (STRING);
    REQUIRED BYTE_ARRAY key;
    OPTIONAL BYTE_ARRAY namespace (STRING);
    OPTIONAL INT32 schema_id;
    OPTIONAL BYTE_ARRAY author_kind (STRING);
    OPTIONAL BYTE_ARRAY author_name (STRING);
    OPTIONAL INT64 claim;
    OPTIONAL INT64 sequence;
    OPTIONAL INT64 seen;
    OPTIONAL BYTE_ARRAY source_log_id (STRING);
    OPTIONAL INT32 source_partition;
    OPTIONAL INT64 source_offset;
    OPTIONAL BYTE_ARRAY cause (STRING);
    OPTIONAL BYTE_ARRAY traceparent (STRING);
    OPTIONAL BYTE_ARRAY value (STRING);
    OPTIONAL BYTE_ARRAY foreign (STRING);
";

/// The column of `raw`, last.
const RAW: &str = "    REQUIRED BYTE_ARRAY value_bytes;\n";

/// The columns as Parquet writes them down.
pub(super) fn schema(raw: bool) -> String {
    format!("{SCHEMA}{}}}", if raw { RAW } else { "" })
}

/// What stands in a column.
pub(super) enum Cell {
    Nothing,
    Int(i32),
    Long(i64),
    Bytes(Bytes),
}

fn text(text: impl ToString) -> Cell {
    Cell::Bytes(text.to_string().into())
}

fn maybe(found: Option<impl ToString>) -> Cell {
    found.map_or(Cell::Nothing, text)
}

fn int(number: u32) -> Cell {
    // Numbers of partitions and schemas are far below.
    Cell::Int(i32::try_from(number).unwrap_or(i32::MAX))
}

fn long(number: u64) -> Cell {
    Cell::Long(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The envelope and the event as JSON, if they can be read.
fn opened(record: &Record) -> Option<(Envelope, String)> {
    let RecordHeaders::Known(headers) = &record.headers else { return None };
    match decode(headers, &record.value) {
        Ok((envelope, event)) => Some((envelope, json::inner(&event)?)),
        Err(_) => {
            let (envelope, event) = decode_config(headers, &record.value).ok()?;
            Some((envelope, json::inner(&event)?))
        }
    }
}

/// A record of `range`, column by column.
pub(super) fn row(range: &Manifest, record: &Record, raw: bool) -> Vec<Cell> {
    let mut row =
        vec![text(&range.topic), int(range.partition), Cell::Long(record.offset), text(range.log_id)];
    let opened = opened(record);
    let (envelope, value) = opened.map_or((None, None), |(envelope, value)| (Some(envelope), Some(value)));
    let key = Cell::Bytes(record.key.clone());
    let namespace = maybe(envelope.as_ref().and_then(|envelope| envelope.namespace.as_ref()));
    match &record.headers {
        RecordHeaders::Known(headers) => {
            let entity = headers.entity.to_string();
            row.extend([
                Cell::Long(headers.recorded_at_us),
                text(headers.event_type),
                text(headers.event_id),
                text(headers.entity.kind()),
                text(entity.split_once('/').map_or("", |(_, id)| id)),
                key,
                namespace,
                int(headers.schema_id),
            ]);
            row.extend(author(&headers.author));
        }
        RecordHeaders::Foreign(_) => {
            row.extend([Cell::Nothing, Cell::Nothing, Cell::Nothing, Cell::Nothing, Cell::Nothing, key]);
            row.extend(std::iter::repeat_with(|| Cell::Nothing).take(2 + 8));
        }
    }
    row.push(maybe(envelope.as_ref().and_then(|envelope| envelope.cause)));
    row.push(maybe(envelope.and_then(|envelope| envelope.traceparent)));
    row.push(maybe(value));
    row.push(match &record.headers {
        RecordHeaders::Known(_) => Cell::Nothing,
        RecordHeaders::Foreign(reason) => text(reason),
    });
    if raw {
        row.push(Cell::Bytes(record.value.clone()));
    }
    row
}

/// Kind and name, claim, sequence and what was seen, and where the sender's record lies.
fn author(author: &Author) -> [Cell; 8] {
    const fn nothing<const COUNT: usize>() -> [Cell; COUNT] {
        [const { Cell::Nothing }; COUNT]
    }
    let [a, b, c] = nothing();
    let [d, e, f] = nothing();
    match author {
        Author::Ingest { principal } => [text("ingest"), text(principal), a, b, c, d, e, f],
        Author::Candidate { process } => [text("candidate"), text(process), a, b, c, d, e, f],
        Author::Engine { claim, seq, seen, .. } => {
            [text("engine"), a, Cell::Long(*claim), long(*seq), long(*seen), d, e, f]
        }
        Author::Outbox { source, partition, name, .. } => {
            [text("outbox"), a, b, c, d, text(source), int(*partition), Cell::Long(name.offset)]
        }
    }
}
