//! Roles: the words of what a token may do. Which route asks for which is said in `access`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token may do, in its namespaces. The texts are persisted: appended, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Starts and signals runs, and reads what became of them.
    Producer,
    /// Signals, cancels, terminates and resumes runs, and reads everything.
    Operator,
    /// Reads everything.
    Reader,
    /// Does jobs over the runner channel.
    Runner,
    /// Everything; also tokens and namespaces.
    Admin,
}

/// A text that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role: there are producer, operator, reader, runner and admin")]
pub struct NoRole(String);

impl Role {
    /// Every role.
    pub const ALL: &'static [Self] =
        &[Self::Producer, Self::Operator, Self::Reader, Self::Runner, Self::Admin];

    /// The persisted text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Operator => "operator",
            Self::Reader => "reader",
            Self::Runner => "runner",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NoRole;

    fn from_str(text: &str) -> Result<Self, NoRole> {
        let role = Self::ALL.iter().copied().find(|role| role.as_str() == text);
        role.ok_or_else(|| NoRole(text.chars().take(80).collect()))
    }
}
