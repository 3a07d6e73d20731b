//! Headers: all that Control and tools need of a record without decoding its value.

pub mod pairs;

use crate::author::Author;
use crate::entity::Entity;
use crate::event::EventType;
use crate::id::EventId;

pub use self::pairs::HeaderError;

/// The parsed headers of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// What kind of event the value holds.
    pub event_type: EventType,
    /// What the event is about.
    pub entity: Entity,
    /// The event's name for ever.
    pub event_id: EventId,
    /// When it was written, microseconds since 1970; for people, timers' bases and log time, never for ordering.
    pub recorded_at_us: i64,
    /// The value's schema, as in its Confluent framing.
    pub schema_id: u32,
    /// Who wrote it.
    pub author: Author,
}
