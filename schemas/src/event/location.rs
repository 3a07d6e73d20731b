//! Places in a workflow, and their text. What lies there is said by the events.

use serde::{Deserialize, Serialize};

/// Where in a workflow an event belongs: dotted coordinates counted from 1, such as `3` or `2.1.4`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(pub std::sync::Arc<[u32]>);

impl Serialize for Location {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Location {
    /// A location at the workflow's top level.
    pub fn top(coordinate: u32) -> Self {
        Self([coordinate].into())
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, coordinate) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(".")?;
            }
            write!(formatter, "{coordinate}")?;
        }
        Ok(())
    }
}

/// A text that is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a location: expected dotted numbers from 1, such as 3 or 2.1.4")]
pub struct ParseLocationError(String);

impl std::str::FromStr for Location {
    type Err = ParseLocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Only the one form that is written: no sign, no leading zero.
        let coordinate = |part: &str| {
            if part.starts_with(['0', '+']) { None } else { part.parse::<u32>().ok() }
        };
        let location = if text.contains('.') {
            text.split('.').map(coordinate).collect::<Option<_>>().map(Self)
        } else {
            coordinate(text).map(Self::top)
        };
        location.ok_or_else(|| ParseLocationError(text.chars().take(80).collect()))
    }
}
