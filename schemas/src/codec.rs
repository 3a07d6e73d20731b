//! Events to records and back: Confluent framing, then Avro. Headers travel beside the value, see [`crate::header`].
//!
//! The newest schema is written and read by hand (`binary`, `body`), records of older ones by apache-avro
//! (`older`); docs/adr/0003-event-codec.md says why.

mod binary;
mod body;
pub(crate) mod older;

use bytes::Bytes;

use self::binary::{Input, Wire, write_long, write_natural, write_natural_int, write_slice};
pub use self::binary::{Malformed, Unencodable};
use crate::author::{Author, OutboxName};
use crate::entity::Entity;
use crate::event::{ConfigEvent, Envelope, Event, EventType};
use crate::header::Headers;
use crate::id::EventId;
use crate::limit::{PRINCIPAL_BYTES_MAX, RECORD_BYTES_MAX};
use crate::name::Name;
use crate::record::{NewRecord, RecordHeaders};
use crate::registry;

/// The newest schema id that [`encode`] writes. An older one is written for the types that it has; the bytes after the
/// framing are the same.
pub const SCHEMA_ID: u32 = registry::WORKFLOW_EVENT_V2;
/// The schema id that [`encode_config`] writes.
pub const CONFIG_SCHEMA_ID: u32 = registry::CONFIG_CHANGE_V1;

const MAGIC: u8 = 0;
const FRAME_BYTES: usize = 5;

/// An event that cannot become a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Key and value together are over [`RECORD_BYTES_MAX`].
    #[error("a {event_type} record of {bytes} bytes is over the limit of {RECORD_BYTES_MAX}; send less data")]
    TooLarge {
        /// What kind of event.
        event_type: EventType,
        /// Size of key and value.
        bytes: usize,
    },
    /// The author's principal or process name is over [`PRINCIPAL_BYTES_MAX`].
    #[error(
        "the author's name has {bytes} bytes, over the limit of {PRINCIPAL_BYTES_MAX}; use a shorter one"
    )]
    AuthorTooLong {
        /// Size of the name.
        bytes: usize,
    },
    /// Control records are about partitions, all others about runs.
    #[error("a {event_type} record cannot be about {entity}")]
    WrongEntity {
        /// What kind of event.
        event_type: EventType,
        /// What it was to be about.
        entity: Entity,
    },
    /// A field's value has no place in the schema.
    #[error("a {event_type} record cannot be encoded: {source}")]
    Unencodable {
        /// What kind of event.
        event_type: EventType,
        /// Why not.
        source: Unencodable,
    },
}

/// A record whose value is not the event that its headers announce. The fold rejects it at its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The value does not begin with Confluent framing.
    #[error("the value is not framed: expected byte 0 and a schema id of 4 bytes before the Avro data")]
    Framing,
    /// The value is over [`RECORD_BYTES_MAX`].
    #[error("the value has {bytes} bytes, over the limit of {RECORD_BYTES_MAX}")]
    TooLarge {
        /// Size of the value.
        bytes: usize,
    },
    /// No released schema has this id.
    #[error("schema id {schema_id} is not known; it may be of a newer version of Tidewheel")]
    UnknownSchema {
        /// The id in the framing.
        schema_id: u32,
    },
    /// The value says something else than the headers.
    #[error("the value's {field} is not the one in the headers")]
    Disagrees {
        /// What differs.
        field: &'static str,
    },
    /// Control records are about partitions, all others about runs.
    #[error("a {event_type} record cannot be about {entity}")]
    WrongEntity {
        /// What kind of event.
        event_type: EventType,
        /// What it claims to be about.
        entity: Entity,
    },
    /// The bytes are not Avro data of the schema.
    #[error("the value is not Avro data of its schema: {0}")]
    Malformed(#[from] Malformed),
    /// The bytes are not Avro data of an older schema.
    #[error("the value is not a workflow event of schema {schema_id}: {reason}")]
    MalformedOlder {
        /// The id in the framing.
        schema_id: u32,
        /// What is wrong.
        reason: String,
    },
}

/// Encodes an event as a record with key and headers.
///
/// # Errors
/// When the record would be over the limit, or a field has no place in the schema; see [`EncodeError`].
pub fn encode(envelope: &Envelope, event: &Event) -> Result<NewRecord, EncodeError> {
    let schema_id = registry::written_with(event.event_type());
    put(envelope, event.event_type(), schema_id, event.size_hint(), |out| event.write(out))
}

/// Encodes an event of the configuration as a record with key and headers.
///
/// # Errors
/// As [`encode`].
pub fn encode_config(envelope: &Envelope, event: &ConfigEvent) -> Result<NewRecord, EncodeError> {
    put(envelope, event.event_type(), CONFIG_SCHEMA_ID, 256, |out| event.write(out))
}

fn put(
    envelope: &Envelope,
    event_type: EventType,
    schema_id: u32,
    size_hint: usize,
    write_event: impl FnOnce(&mut Vec<u8>) -> Result<(), Unencodable>,
) -> Result<NewRecord, EncodeError> {
    if !event_type.is_about(&envelope.entity) {
        return Err(EncodeError::WrongEntity { event_type, entity: envelope.entity.clone() });
    }
    let author_bytes = match &envelope.author {
        Author::Ingest { principal: name } | Author::Candidate { process: name } => name.len(),
        Author::Engine { .. } | Author::Outbox { .. } => 0,
    };
    if author_bytes > PRINCIPAL_BYTES_MAX {
        return Err(EncodeError::AuthorTooLong { bytes: author_bytes });
    }
    let mut value = Vec::with_capacity(192 + author_bytes + size_hint);
    value.push(MAGIC);
    value.extend_from_slice(&schema_id.to_be_bytes());
    let written = write_envelope(envelope, &mut value).and_then(|()| write_event(&mut value));
    written.map_err(|source| EncodeError::Unencodable { event_type, source })?;
    let key = envelope.entity.routing_key();
    let bytes = key.len() + value.len();
    if bytes > RECORD_BYTES_MAX {
        return Err(EncodeError::TooLarge { event_type, bytes });
    }
    let headers = Headers {
        event_type,
        entity: envelope.entity.clone(),
        event_id: envelope.event_id,
        recorded_at_us: envelope.recorded_at_us,
        schema_id,
        author: envelope.author.clone(),
    };
    Ok(NewRecord { key, headers: RecordHeaders::Known(headers), value: value.into() })
}

/// Decodes a record's value and checks that it says what the headers say. Total: any bytes give an event or an
/// error, and memory in use is bounded by the value's size.
///
/// Payloads over 1 KiB share `value`'s memory instead of copying it.
///
/// # Errors
/// When the value is not the event that the headers announce; see [`DecodeError`].
pub fn decode(headers: &Headers, value: &Bytes) -> Result<(Envelope, Event), DecodeError> {
    open(headers, value)?.decode()
}

/// As [`decode`], for a record of the configuration.
///
/// # Errors
/// When the value is not the event that the headers announce; see [`DecodeError`].
pub fn decode_config(headers: &Headers, value: &Bytes) -> Result<(Envelope, ConfigEvent), DecodeError> {
    let schema_id = agreed_schema_id(headers, value)?;
    if schema_id != CONFIG_SCHEMA_ID {
        return Err(DecodeError::UnknownSchema { schema_id });
    }
    let mut head = Head::read(headers, Input::new(value, FRAME_BYTES), ConfigEvent::TYPES)?;
    let envelope = head.envelope()?;
    let event = ConfigEvent::read(headers.event_type, &mut head.rest)?;
    head.end()?;
    Ok((envelope, event))
}

/// Reads the envelope alone and checks that it says what the headers say. Allocates nothing for the newest schema.
///
/// # Errors
/// As [`decode`], except for what is wrong with the event itself.
pub fn open<'a>(headers: &'a Headers, value: &'a Bytes) -> Result<Opened<'a>, DecodeError> {
    let schema_id = agreed_schema_id(headers, value)?;
    if schema_id == SCHEMA_ID || schema_id == registry::WORKFLOW_EVENT_V1 {
        // The newer schema has more branches and differs in nothing else.
        let is_newest = schema_id == SCHEMA_ID;
        let branches = if is_newest { EventType::WORKFLOW.len() } else { registry::WORKFLOW_TYPES_V1 };
        let union = EventType::WORKFLOW.get(..branches).unwrap_or_default();
        let head = Head::read(headers, Input::new(value, FRAME_BYTES), union)?;
        Ok(Opened(Inner::Envelope(head)))
    } else if schema_id == CONFIG_SCHEMA_ID {
        Err(DecodeError::UnknownSchema { schema_id })
    } else {
        let whole = older::decode(schema_id, headers, value.get(FRAME_BYTES..).unwrap_or_default())?;
        Ok(Opened(Inner::Whole(Box::new(whole))))
    }
}

/// A value of which the envelope was read, and agrees with the headers.
pub struct Opened<'a>(Inner<'a>);

enum Inner<'a> {
    /// The event is still to be read.
    Envelope(Head<'a>),
    /// Of an older schema.
    Whole(Box<(Envelope, Event)>),
}

/// An envelope that agrees with its headers, and what follows it.
struct Head<'a> {
    headers: &'a Headers,
    namespace: Option<&'a str>,
    cause: Option<EventId>,
    traceparent: Option<&'a str>,
    /// Where the author stands in the value.
    author: std::ops::Range<usize>,
    rest: Input<'a>,
}

/// The schema id in the framing, which the headers repeat; the type must fit what the record is about.
fn agreed_schema_id(headers: &Headers, value: &Bytes) -> Result<u32, DecodeError> {
    let schema_id = schema_id(value)?;
    if schema_id != headers.schema_id {
        return Err(DecodeError::Disagrees { field: "schema id" });
    }
    let (event_type, entity) = (headers.event_type, &headers.entity);
    if event_type.is_about(entity) {
        Ok(schema_id)
    } else {
        Err(DecodeError::WrongEntity { event_type, entity: entity.clone() })
    }
}

/// The schema id in the framing of `value`.
///
/// # Errors
/// When `value` is too large or not framed.
pub fn schema_id(value: &Bytes) -> Result<u32, DecodeError> {
    if value.len() > RECORD_BYTES_MAX {
        return Err(DecodeError::TooLarge { bytes: value.len() });
    }
    match value.first_chunk::<FRAME_BYTES>() {
        Some([MAGIC, id @ ..]) => Ok(u32::from_be_bytes(*id)),
        Some(_) | None => Err(DecodeError::Framing),
    }
}

fn write_envelope(envelope: &Envelope, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    envelope.event_id.write(out)?;
    write_slice(envelope.entity.kind().as_bytes(), out);
    match &envelope.entity {
        Entity::Partition(number) => write_slice(number.to_string().as_bytes(), out),
        Entity::Run(run_id) => write_slice(&run_id.to_text(), out),
        Entity::Namespace(name) | Entity::Views(name) => name.write(out)?,
        Entity::Token(token_id) => write_slice(token_id.to_string().as_bytes(), out),
    }
    envelope.namespace.write(out)?;
    envelope.recorded_at_us.write(out)?;
    envelope.cause.write(out)?;
    envelope.traceparent.write(out)?;
    write_author(&envelope.author, out)
}

impl<'a> Opened<'a> {
    /// The namespace as written. Whether it is a valid name is checked by [`Self::decode`].
    pub fn namespace(&self) -> Option<&str> {
        match &self.0 {
            Inner::Envelope(head) => head.namespace,
            Inner::Whole(whole) => whole.0.namespace.as_deref(),
        }
    }

    /// The value as another author would have written it, everything else byte for byte: for whoever moves records to
    /// another log. None if it is of an older schema, whose layout is not known here, or would be over the limit.
    pub fn with_author(&self, author: &Author) -> Option<Bytes> {
        let Inner::Envelope(head) = &self.0 else { return None };
        let value = head.rest.value();
        let mut moved = Vec::with_capacity(value.len() + 16);
        moved.extend_from_slice(value.get(..head.author.start)?);
        write_author(author, &mut moved).ok()?;
        moved.extend_from_slice(value.get(head.author.end..)?);
        (moved.len() <= RECORD_BYTES_MAX).then(|| moved.into())
    }

    /// Reads the event too.
    ///
    /// # Errors
    /// When the event is not the one that the headers announce; see [`DecodeError`].
    pub fn decode(self) -> Result<(Envelope, Event), DecodeError> {
        let mut head = match self.0 {
            Inner::Envelope(head) => head,
            Inner::Whole(whole) => return Ok(*whole),
        };
        let envelope = head.envelope()?;
        let event = Event::read(head.headers.event_type, &mut head.rest)?;
        head.end()?;
        Ok((envelope, event))
    }
}

impl<'a> Head<'a> {
    fn envelope(&self) -> Result<Envelope, DecodeError> {
        let headers = self.headers;
        let invalid = |_| self.rest.malformed("a name breaks the rule of names");
        Ok(Envelope {
            event_id: headers.event_id,
            entity: headers.entity.clone(),
            namespace: self.namespace.map(Name::new).transpose().map_err(invalid)?,
            recorded_at_us: headers.recorded_at_us,
            cause: self.cause,
            traceparent: self.traceparent.map(str::to_owned),
            author: headers.author.clone(),
        })
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_at_end() {
            Ok(())
        } else {
            Err(self.rest.malformed("there is more after the event").into())
        }
    }

    fn read(headers: &'a Headers, mut input: Input<'a>, union: &[EventType]) -> Result<Self, DecodeError> {
        let agrees = |same: bool, field| if same { Ok(()) } else { Err(DecodeError::Disagrees { field }) };
        let event_id: EventId = Wire::read(&mut input)?;
        agrees(event_id == headers.event_id, "event id")?;
        agrees(input.text()? == headers.entity.kind(), "entity kind")?;
        let id = input.slice()?;
        let same_entity = match &headers.entity {
            Entity::Partition(number) => id == number.to_string().as_bytes(),
            Entity::Run(run_id) => id == run_id.to_text(),
            Entity::Namespace(name) | Entity::Views(name) => id == name.as_bytes(),
            Entity::Token(token_id) => id == token_id.to_string().as_bytes(),
        };
        agrees(same_entity, "entity id")?;
        let namespace = input.maybe_text()?;
        agrees(input.long()? == headers.recorded_at_us, "time of recording")?;
        let cause = Wire::read(&mut input)?;
        let traceparent = input.maybe_text()?;
        let author = input.at();
        agrees(read_author_as(&headers.author, &mut input)?, "author")?;
        let author = author..input.at();
        let branch = input.long()?;
        let event_type = body::event_type_at(branch, union)
            .ok_or_else(|| input.malformed("there is no such event type"))?;
        agrees(event_type == headers.event_type, "event type")?;
        Ok(Self { headers, namespace, cause, traceparent, author, rest: input })
    }
}

fn write_author(author: &Author, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    match author {
        Author::Ingest { principal } => {
            write_long(0, out);
            principal.write(out)
        }
        Author::Engine { claim, seq, seen, idle } => {
            write_long(1, out);
            write_long(*claim, out);
            write_natural(*seq, out)?;
            write_natural(*seen, out)?;
            out.push(u8::from(*idle));
            Ok(())
        }
        Author::Outbox { source, partition, name, predecessor } => {
            write_long(2, out);
            source.write(out)?;
            write_natural_int(*partition, out)?;
            name.write(out)?;
            predecessor.write(out)
        }
        Author::Candidate { process } => {
            write_long(3, out);
            process.write(out)
        }
    }
}

/// Reads the author and says whether it is `expected`, so that the common case allocates nothing.
fn read_author_as(expected: &Author, input: &mut Input<'_>) -> Result<bool, Malformed> {
    let branch = input.long()?;
    Ok(match (branch, expected) {
        (0, Author::Ingest { principal: name }) | (3, Author::Candidate { process: name }) => {
            input.text()? == &**name
        }
        (1, Author::Engine { claim, seq, seen, idle }) => {
            (input.long()?, input.natural::<u64>()?, input.natural::<u64>()?, input.boolean()?)
                == (*claim, *seq, *seen, *idle)
        }
        (2, Author::Outbox { source, partition, name, predecessor }) => {
            input.fixed::<16>()? == *source.as_bytes()
                && input.natural_int()? == *partition
                && OutboxName::read(input)? == *name
                && Option::<OutboxName>::read(input)? == *predecessor
        }
        (0..=3, _) => false,
        _ => return Err(input.malformed("there is no such author")),
    })
}

impl Wire for OutboxName {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        write_long(self.offset, out);
        write_natural_int(self.index, out)
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok(Self { offset: input.long()?, index: input.natural_int()? })
    }
}
