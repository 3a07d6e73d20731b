//! Records of any released schema through apache-avro: the writer's schema read into today's structs.
//!
//! Never on the path of the newest schema, but the measure that the hand-written codec is tested against.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use serde::{Deserialize, Serialize};

use super::DecodeError;
use crate::author::{Author, OutboxName};
use crate::entity::Entity;
#[cfg(any(test, feature = "test-util"))]
use crate::event::ConfigEvent;
use crate::event::{Envelope, Event};
use crate::header::Headers;
use crate::id::{EventId, LogId};
use crate::name::Name;
use crate::registry;

macro_rules! top {
    ($(#[$doc:meta])* $name:ident, $event:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            event_id: EventId,
            entity_kind: String,
            entity_id: String,
            #[serde(default)]
            namespace: Option<Name>,
            recorded_at: i64,
            #[serde(default)]
            cause: Option<EventId>,
            #[serde(default)]
            traceparent: Option<String>,
            author: AuthorRecord,
            body: $event,
        }

        impl $name {
            /// The same event in today's types.
            ///
            /// # Errors
            /// When a number is out of range or the entity is unknown; the text says which.
            pub fn into_event(self) -> Result<(Envelope, $event), String> {
                let entity: Entity = format!("{}/{}", self.entity_kind, self.entity_id)
                    .parse()
                    .map_err(|error: crate::entity::ParseEntityError| error.to_string())?;
                let envelope = Envelope {
                    event_id: self.event_id,
                    entity,
                    namespace: self.namespace,
                    recorded_at_us: self.recorded_at,
                    cause: self.cause,
                    traceparent: self.traceparent,
                    author: self.author.try_into()?,
                };
                Ok((envelope, self.body))
            }
        }

        impl TryFrom<(&Envelope, &$event)> for $name {
            type Error = std::num::TryFromIntError;

            fn try_from((envelope, event): (&Envelope, &$event)) -> Result<Self, Self::Error> {
                Ok(Self {
                    event_id: envelope.event_id,
                    entity_kind: envelope.entity.kind().to_owned(),
                    entity_id: entity_id(&envelope.entity),
                    namespace: envelope.namespace.clone(),
                    recorded_at: envelope.recorded_at_us,
                    cause: envelope.cause,
                    traceparent: envelope.traceparent.clone(),
                    author: (&envelope.author).try_into()?,
                    body: event.clone(),
                })
            }
        }
    };
}

top!(
    /// The top of the schema of workflow events. Fields that a later schema adds get `#[serde(default)]`.
    WorkflowEvent,
    Event
);
// Read by hand alone so far; this is what that is tested against.
#[cfg(any(test, feature = "test-util"))]
top!(
    /// The top of the schema of configuration changes.
    ConfigChange,
    ConfigEvent
);

fn entity_id(entity: &Entity) -> String {
    match entity {
        Entity::Partition(number) => number.to_string(),
        Entity::Run(run_id) => run_id.to_string(),
        Entity::Namespace(name) | Entity::Views(name) => name.to_string(),
        Entity::Token(token_id) => token_id.to_string(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum AuthorRecord {
    Ingest(IngestRecord),
    Engine(EngineRecord),
    Outbox(OutboxRecord),
    Candidate(CandidateRecord),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Ingest")]
struct IngestRecord {
    principal: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Engine")]
struct EngineRecord {
    claim: i64,
    seq: i64,
    seen: i64,
    idle: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Outbox")]
struct OutboxRecord {
    source: LogId,
    partition: i32,
    name: OutboxNameRecord,
    #[serde(default)]
    predecessor: Option<OutboxNameRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "OutboxName")]
struct OutboxNameRecord {
    offset: i64,
    index: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Candidate")]
struct CandidateRecord {
    process: String,
}

/// Decodes `avro`, written by the released schema `schema_id`, and checks it against the headers.
pub(super) fn decode(
    schema_id: u32,
    headers: &Headers,
    avro: &[u8],
) -> Result<(Envelope, Event), DecodeError> {
    let schema = registry::schema(schema_id).ok_or(DecodeError::UnknownSchema { schema_id })?;
    let record: WorkflowEvent =
        read(schema, avro).map_err(|reason| DecodeError::MalformedOlder { schema_id, reason })?;
    check(record, headers).map_err(|error| match error {
        Conversion::Disagrees(field) => DecodeError::Disagrees { field },
        Conversion::Malformed(reason) => DecodeError::MalformedOlder { schema_id, reason },
    })
}

/// Reads one datum of `schema` into today's struct.
///
/// # Errors
/// When `avro` is not exactly one datum of `schema`; the text says why.
pub fn read<T: serde::de::DeserializeOwned>(schema: &Schema, avro: &[u8]) -> Result<T, String> {
    // The library's own bound for one text or list is 512 MiB.
    apache_avro::util::max_allocation_bytes(16 * crate::limit::RECORD_BYTES_MAX);
    let reader = GenericDatumReader::builder(schema)
        .human_readable(false)
        .build()
        .map_err(|error| error.to_string())?;
    let mut rest = avro;
    let record = reader.read_deser(&mut rest).map_err(|error| error.to_string())?;
    if rest.is_empty() { Ok(record) } else { Err("there is more after the event".to_owned()) }
}

enum Conversion {
    Disagrees(&'static str),
    Malformed(String),
}

fn check(record: WorkflowEvent, headers: &Headers) -> Result<(Envelope, Event), Conversion> {
    let (envelope, event) = record.into_event().map_err(Conversion::Malformed)?;
    let pairs = [
        (envelope.event_id == headers.event_id, "event id"),
        (envelope.entity == headers.entity, "entity"),
        (envelope.recorded_at_us == headers.recorded_at_us, "time of recording"),
        (envelope.author == headers.author, "author"),
        (event.event_type() == headers.event_type, "event type"),
    ];
    match pairs.iter().find(|(same, _)| !same) {
        Some((_, field)) => Err(Conversion::Disagrees(field)),
        None => Ok((envelope, event)),
    }
}

impl TryFrom<&Author> for AuthorRecord {
    type Error = std::num::TryFromIntError;

    fn try_from(author: &Author) -> Result<Self, Self::Error> {
        Ok(match author {
            Author::Ingest { principal } => Self::Ingest(IngestRecord { principal: principal.to_string() }),
            Author::Engine { claim, seq, seen, idle } => Self::Engine(EngineRecord {
                claim: *claim,
                seq: i64::try_from(*seq)?,
                seen: i64::try_from(*seen)?,
                idle: *idle,
            }),
            Author::Outbox { source, partition, name, predecessor } => Self::Outbox(OutboxRecord {
                source: *source,
                partition: i32::try_from(*partition)?,
                name: name.try_into()?,
                predecessor: predecessor.as_ref().map(TryInto::try_into).transpose()?,
            }),
            Author::Candidate { process } => {
                Self::Candidate(CandidateRecord { process: process.to_string() })
            }
        })
    }
}

impl TryFrom<&OutboxName> for OutboxNameRecord {
    type Error = std::num::TryFromIntError;

    fn try_from(name: &OutboxName) -> Result<Self, Self::Error> {
        Ok(Self { offset: name.offset, index: i32::try_from(name.index)? })
    }
}

fn natural<To: TryFrom<From>, From: Copy + std::fmt::Display>(number: From) -> Result<To, String> {
    To::try_from(number).map_err(|_| format!("the number {number} is out of range"))
}

impl TryFrom<AuthorRecord> for Author {
    type Error = String;

    fn try_from(record: AuthorRecord) -> Result<Self, String> {
        Ok(match record {
            AuthorRecord::Ingest(author) => Self::Ingest { principal: author.principal.into() },
            AuthorRecord::Engine(author) => Self::Engine {
                claim: author.claim,
                seq: natural(author.seq)?,
                seen: natural(author.seen)?,
                idle: author.idle,
            },
            AuthorRecord::Outbox(author) => Self::Outbox {
                source: author.source,
                partition: natural(author.partition)?,
                name: author.name.try_into()?,
                predecessor: author.predecessor.map(TryInto::try_into).transpose()?,
            },
            AuthorRecord::Candidate(author) => Self::Candidate { process: author.process.into() },
        })
    }
}

impl TryFrom<OutboxNameRecord> for OutboxName {
    type Error = String;

    fn try_from(record: OutboxNameRecord) -> Result<Self, String> {
        Ok(Self { offset: record.offset, index: natural(record.index)? })
    }
}
