//! Entities: what a record is about. Routing keys are apart from entity ids from the start.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::id::{RunId, TokenId};
use crate::name::Name;

/// What a record is about. Text form `<kind>/<id>`; kinds are appended, never reused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// The partition itself: claims, fold versions, outbox trims. The number is the partition's.
    Partition(u32),
    /// One run of a workflow.
    Run(RunId),
    /// A namespace, by its name.
    Namespace(Name),
    /// An access token.
    Token(TokenId),
    /// The views of a datacenter, by its name.
    Views(Name),
}

impl Entity {
    /// What decides the partition: the record's key. A run routes by its id's text, what is configured by its text
    /// form; control records carry the partition's text form and are placed by number, not by hash.
    pub fn routing_key(&self) -> Bytes {
        match self {
            Self::Partition(_) | Self::Namespace(_) | Self::Token(_) | Self::Views(_) => {
                Bytes::from(self.to_string())
            }
            Self::Run(run_id) => Bytes::copy_from_slice(&run_id.to_text()),
        }
    }

    /// The run this is, if it is one.
    pub const fn run_id(&self) -> Option<RunId> {
        match self {
            Self::Run(run_id) => Some(*run_id),
            Self::Partition(_) | Self::Namespace(_) | Self::Token(_) | Self::Views(_) => None,
        }
    }

    /// The word for the kind: `partition`, `run`, `namespace`, `token` or `views`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Partition(_) => "partition",
            Self::Run(_) => "run",
            Self::Namespace(_) => "namespace",
            Self::Token(_) => "token",
            Self::Views(_) => "views",
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(number) => write!(formatter, "partition/{number}"),
            Self::Run(run_id) => write!(formatter, "run/{run_id}"),
            Self::Namespace(name) => write!(formatter, "namespace/{name}"),
            Self::Token(token_id) => write!(formatter, "token/{token_id}"),
            Self::Views(datacenter) => write!(formatter, "views/{datacenter}"),
        }
    }
}

/// A text that names no entity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no entity: expected run/<uuid>, partition/<number>, namespace/<name>, token/<uuid> or views/<datacenter>"
)]
pub struct ParseEntityError(String);

impl FromStr for Entity {
    type Err = ParseEntityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseEntityError(text.chars().take(80).collect());
        let (kind, id) = text.split_once('/').ok_or_else(error)?;
        match kind {
            "run" => id.parse().map(Self::Run).map_err(|_| error()),
            "partition" => id.parse().map(Self::Partition).map_err(|_| error()),
            "namespace" => Name::new(id).map(Self::Namespace).map_err(|_| error()),
            "token" => id.parse().map(Self::Token).map_err(|_| error()),
            "views" => Name::new(id).map(Self::Views).map_err(|_| error()),
            _ => Err(error()),
        }
    }
}
