//! The contract: what a fact in the log is, how it is named, keyed and encoded.
//!
//! Everything here is pure data and codecs. What a fact *does* is said in `engine`, where it is kept in `log`.
//! Persisted names, numbers and bytes are for ever: see `schemas/fixtures`.

#![deny(clippy::wildcard_enum_match_arm)]

pub mod author;
pub mod codec;
pub mod entity;
pub mod event;
pub mod header;
pub mod id;
pub mod limit;
pub mod mutation;
pub mod name;
pub mod partition;
pub mod payload;
pub mod position;
pub mod record;
pub mod registry;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
pub mod token;
pub mod topic;

pub use author::{Author, Claim, OutboxName};
pub use codec::{DecodeError, EncodeError, decode, decode_config, encode, encode_config};
pub use entity::Entity;
pub use event::{ConfigEvent, Envelope, Event, EventType, Location};
pub use header::{HeaderError, Headers};
pub use id::{EventId, LogId, RunId, TokenId};
pub use name::Name;
pub use payload::{Failure, Payload};
pub use position::{ParsePositionError, Position};
pub use record::{NewRecord, Record, RecordHeaders};
pub use token::TokenHash;
pub use topic::{Topic, TopicFamily, TopicPartition};
