//! The events of `{prefix}.config.changes`: namespaces, access tokens and the views of each datacenter. Control records
//! are shared with workflows.

use serde::{Deserialize, Serialize};

use super::{
    EventType, FoldRaised, GenerationActivated, GenerationDropped, LogCreated, ReplayCancelled,
    ReplayFinished, ReplayPaused, ReplayProgressed, ReplayRateChanged, ReplayResumed, ReplayStarted,
    ViewsMended,
};
use crate::name::Name;
use crate::token::TokenHash;

macro_rules! config_events {
    ($($(#[$doc:meta])* $variant:ident),+ $(,)?) => {
        /// What happened to the configuration. Variants are appended in the order of the Avro union, never reordered.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum ConfigEvent {
            $($(#[$doc])* $variant($variant)),+
        }

        impl ConfigEvent {
            /// The types of these events, in the order of the Avro union.
            pub const TYPES: &'static [EventType] = &[$(EventType::$variant),+];

            /// The type of this event.
            pub const fn event_type(&self) -> EventType {
                match self { $(Self::$variant(_) => EventType::$variant),+ }
            }
        }

        $(impl From<$variant> for ConfigEvent {
            fn from(event: $variant) -> Self { Self::$variant(event) }
        })+
    };
}

config_events! {
    /// First record of every partition.
    LogCreated,
    /// An operator raises the fold version.
    FoldRaised,
    /// A namespace begins to exist.
    NamespaceCreated,
    /// An access token begins to be valid.
    TokenCreated,
    /// A token gets a second secret.
    TokenRotated,
    /// A token is valid no more.
    TokenRevoked,
    /// The views of a datacenter begin to be written again.
    ReplayStarted,
    /// A replay rests.
    ReplayPaused,
    /// A paused replay goes on.
    ReplayResumed,
    /// A replay becomes faster or slower.
    ReplayRateChanged,
    /// A replay ends before its time.
    ReplayCancelled,
    /// How far a backfill is.
    ReplayProgressed,
    /// A replay did all it was started for.
    ReplayFinished,
    /// Reads move to another generation of the views.
    GenerationActivated,
    /// A generation of the views goes.
    GenerationDropped,
    /// Rows of a generation are about to be mended in place.
    ViewsMended,
}

/// A namespace begins to exist; its name is the entity's id. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceCreated {
    /// The datacenter its runs live in unless a start says otherwise.
    pub home: Name,
}

/// An access token begins to be valid; its id is the entity's, who created it is the author. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCreated {
    /// What people call it.
    pub name: Name,
    /// Hash of its secret.
    pub hash: TokenHash,
    /// What it may do. A role that a reader does not know grants nothing.
    pub roles: Vec<Name>,
    /// Where it may do it; `None` for every namespace.
    pub namespaces: Option<Vec<Name>>,
}

/// A token gets a new secret; the one before stays valid beside it for a while. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRotated {
    /// Hash of the new secret.
    pub hash: TokenHash,
    /// Until when the secret before is valid too, microseconds since 1970.
    pub previous_until_us: i64,
    /// The token's version this was decided on; refused if it is another by now.
    pub expected_version: Option<i64>,
}

/// A token is valid no more, for ever. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRevoked {
    /// Why, for people.
    pub reason: String,
}
