//! The compact form of a record's headers inside a frame. Frozen: tags and orders are appended, never reused.
//!
//! Headers that this build cannot read (a newer event type, entity kind or author) come back as
//! `RecordHeaders::Foreign` with the reason; the record keeps its place.

use tidewheel_schemas::{
    Author, Entity, EventId, EventType, Headers, LogId, Name, OutboxName, RecordHeaders, RunId, TokenId,
};

use super::bytes::{Input, LastText, Malformed, put_bytes, put_signed, put_varint};

const FOREIGN: u8 = 0;
const KNOWN: u8 = 1;

const ENTITY_PARTITION: u8 = 1;
const ENTITY_RUN: u8 = 2;
const ENTITY_NAMESPACE: u8 = 3;
const ENTITY_TOKEN: u8 = 4;
const ENTITY_VIEWS: u8 = 5;

const AUTHOR_INGEST: u8 = 1;
const AUTHOR_ENGINE: u8 = 2;
const AUTHOR_ENGINE_IDLE: u8 = 3;
const AUTHOR_OUTBOX_FIRST: u8 = 4;
const AUTHOR_OUTBOX_NEXT: u8 = 5;
const AUTHOR_CANDIDATE: u8 = 6;

/// Appends the headers with their length in front.
pub(crate) fn put_headers(into: &mut Vec<u8>, headers: &RecordHeaders) {
    let start = into.len();
    into.extend_from_slice(&[0; 4]);
    match headers {
        RecordHeaders::Foreign(reason) => {
            into.push(FOREIGN);
            into.extend_from_slice(reason.as_bytes());
        }
        RecordHeaders::Known(headers) => {
            into.push(KNOWN);
            put_known(into, headers);
        }
    }
    let length = u32::try_from(into.len() - start - 4).unwrap_or(u32::MAX);
    into[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn put_known(into: &mut Vec<u8>, headers: &Headers) {
    into.extend_from_slice(&headers.recorded_at_us.to_le_bytes());
    put_bytes(into, headers.event_type.as_str().as_bytes());
    into.extend_from_slice(headers.event_id.as_bytes());
    into.extend_from_slice(&headers.schema_id.to_le_bytes());
    match &headers.entity {
        Entity::Partition(number) => {
            into.push(ENTITY_PARTITION);
            put_varint(into, u64::from(*number));
        }
        Entity::Run(run_id) => {
            into.push(ENTITY_RUN);
            into.extend_from_slice(run_id.as_bytes());
        }
        Entity::Namespace(name) => {
            into.push(ENTITY_NAMESPACE);
            put_bytes(into, name.as_bytes());
        }
        Entity::Token(token_id) => {
            into.push(ENTITY_TOKEN);
            into.extend_from_slice(token_id.as_bytes());
        }
        Entity::Views(datacenter) => {
            into.push(ENTITY_VIEWS);
            put_bytes(into, datacenter.as_bytes());
        }
    }
    match &headers.author {
        Author::Ingest { principal } => {
            into.push(AUTHOR_INGEST);
            put_bytes(into, principal.as_bytes());
        }
        Author::Engine { claim, seq, seen, idle } => {
            into.push(if *idle { AUTHOR_ENGINE_IDLE } else { AUTHOR_ENGINE });
            put_signed(into, *claim);
            put_varint(into, *seq);
            put_varint(into, *seen);
        }
        Author::Outbox { source, partition, name, predecessor } => {
            into.push(if predecessor.is_some() { AUTHOR_OUTBOX_NEXT } else { AUTHOR_OUTBOX_FIRST });
            into.extend_from_slice(source.as_bytes());
            put_varint(into, u64::from(*partition));
            for name in std::iter::once(name).chain(predecessor) {
                put_signed(into, name.offset);
                put_varint(into, u64::from(name.index));
            }
        }
        Author::Candidate { process } => {
            into.push(AUTHOR_CANDIDATE);
            put_bytes(into, process.as_bytes());
        }
    }
}

/// Reads headers off the front of `input`. Fails only if their length does not fit.
pub(crate) fn take_headers(input: &mut Input<'_>, texts: &mut LastText) -> Result<RecordHeaders, Malformed> {
    let mut headers = Input::new(take_slice(input)?);
    Ok(match headers.byte("headers") {
        Ok(FOREIGN) => RecordHeaders::Foreign(String::from_utf8_lossy(headers.rest()).into_owned()),
        Ok(KNOWN) => match take_known(&mut headers, texts) {
            Ok(known) => RecordHeaders::Known(known),
            Err(Unreadable(reason)) => RecordHeaders::Foreign(reason),
        },
        Ok(tag) => RecordHeaders::Foreign(format!("headers of form {tag}, which this build does not know")),
        Err(Malformed(_)) => RecordHeaders::Foreign("empty headers".to_owned()),
    })
}

/// The time in the headers at the front of `input`, without reading the rest; none if they are foreign.
pub(crate) fn peek_recorded_at_us(input: &mut Input<'_>) -> Result<Option<i64>, Malformed> {
    let mut headers = Input::new(take_slice(input)?);
    match headers.byte("headers") {
        Ok(KNOWN) => headers.i64("recorded_at").map(Some),
        Ok(_) | Err(_) => Ok(None),
    }
}

fn take_slice<'bytes>(input: &mut Input<'bytes>) -> Result<&'bytes [u8], Malformed> {
    let length = input.u32("length of the headers")?;
    input.take(usize::try_from(length).map_err(|_| Malformed("length of the headers"))?, "headers")
}

struct Unreadable(String);

impl From<Malformed> for Unreadable {
    fn from(Malformed(what): Malformed) -> Self {
        Self(format!("malformed headers: {what}"))
    }
}

/// The name that is an entity's id.
fn take_name_of(input: &mut Input<'_>) -> Result<Name, Unreadable> {
    Name::new(input.text("entity")?).map_err(|error| Unreadable(error.to_string()))
}

fn take_known(input: &mut Input<'_>, texts: &mut LastText) -> Result<Headers, Unreadable> {
    let recorded_at_us = input.i64("recorded_at")?;
    let event_type = input.text("event type")?;
    let event_type = EventType::from_text(event_type)
        .ok_or_else(|| Unreadable(format!("unknown event type `{event_type}`")))?;
    let event_id = EventId::from_bytes(input.array("event id")?);
    let schema_id = input.u32("schema id")?;
    let entity = match input.byte("entity")? {
        ENTITY_PARTITION => Entity::Partition(input.varint_u32("entity")?),
        ENTITY_RUN => Entity::Run(RunId::from_bytes(input.array("entity")?)),
        ENTITY_NAMESPACE => Entity::Namespace(take_name_of(input)?),
        ENTITY_TOKEN => Entity::Token(TokenId::from_bytes(input.array("entity")?)),
        ENTITY_VIEWS => Entity::Views(take_name_of(input)?),
        kind => return Err(Unreadable(format!("unknown entity kind {kind}"))),
    };
    let author = match input.byte("author")? {
        AUTHOR_INGEST => Author::Ingest { principal: texts.shared(input.text("principal")?) },
        tag @ (AUTHOR_ENGINE | AUTHOR_ENGINE_IDLE) => Author::Engine {
            claim: input.signed("claim")?,
            seq: input.varint("seq")?,
            seen: input.varint("seen")?,
            idle: tag == AUTHOR_ENGINE_IDLE,
        },
        tag @ (AUTHOR_OUTBOX_FIRST | AUTHOR_OUTBOX_NEXT) => Author::Outbox {
            source: LogId::from_bytes(input.array("outbox source")?),
            partition: input.varint_u32("outbox partition")?,
            name: take_name(input)?,
            predecessor: if tag == AUTHOR_OUTBOX_NEXT { Some(take_name(input)?) } else { None },
        },
        AUTHOR_CANDIDATE => Author::Candidate { process: texts.shared(input.text("process")?) },
        tag => return Err(Unreadable(format!("unknown author {tag}"))),
    };
    Ok(Headers { event_type, entity, event_id, recorded_at_us, schema_id, author })
}

fn take_name(input: &mut Input<'_>) -> Result<OutboxName, Malformed> {
    Ok(OutboxName { offset: input.signed("outbox offset")?, index: input.varint_u32("outbox index")? })
}
