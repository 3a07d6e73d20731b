//! Durations in parameters: `500ms`, `30s`, `2m`. Not absolute times.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Longest duration a request may ask to wait.
pub const DURATION_MAX: Duration = Duration::from_secs(5 * 60);

/// A duration as given in a parameter, at most [`DURATION_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationParameter(pub Duration);

/// A text that is no duration, or too long a one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// Not a whole number with a unit.
    #[error("`{0}` is not a duration: expected a whole number and ms, s or m, such as 500ms, 30s or 2m")]
    Malformed(String),
    /// Over the limit.
    #[error("`{0}` is over the limit of 5m; ask again when the time is up")]
    TooLong(String),
}

impl FromStr for DurationParameter {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, ParseDurationError> {
        let shown = || text.chars().take(40).collect::<String>();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            _ => return Err(ParseDurationError::Malformed(shown())),
        };
        if number.is_empty() {
            return Err(ParseDurationError::Malformed(shown()));
        }
        let milliseconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
        match milliseconds.map(Duration::from_millis) {
            Some(duration) if duration <= DURATION_MAX => Ok(Self(duration)),
            _ => Err(ParseDurationError::TooLong(shown())),
        }
    }
}

impl<'de> Deserialize<'de> for DurationParameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_units_are_read() {
        for (text, milliseconds) in
            [("500ms", 500), ("30s", 30_000), ("2m", 120_000), ("0s", 0), ("5m", 300_000)]
        {
            assert_eq!(text.parse(), Ok(DurationParameter(Duration::from_millis(milliseconds))), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "s", "30", "-1s", "1.5s", "1h", "30 s", "30S", "٣s"] {
            assert_eq!(
                text.parse::<DurationParameter>(),
                Err(ParseDurationError::Malformed(text.to_owned()))
            );
        }
        for text in ["6m", "300001ms", "99999999999999999999999s", "18446744073709551615m"] {
            assert_eq!(text.parse::<DurationParameter>(), Err(ParseDurationError::TooLong(text.to_owned())));
        }
    }
}
