//! Positions: a place in the log, shown to users as an opaque token. What lies there is not known here.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::LogId;
use crate::topic::TopicFamily;

/// A place in the log.
///
/// Its text is an opaque token of 48 characters out of `[a-zA-Z0-9_-]` that carries a checksum. Two positions are
/// ordered only within one partition of one log (by offset); otherwise `partial_cmp` is `None`. Tokens
/// themselves are not ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The partition's log.
    pub log_id: LogId,
    /// The topic's family.
    pub family: TopicFamily,
    /// Label of the datacenter whose topic it is; 0 where the family has none.
    pub datacenter: u16,
    /// The partition.
    pub partition: u32,
    /// The offset of a record, from 0.
    pub offset: i64,
}

const VERSION: u8 = 1;
const TOKEN_BYTES: usize = 36;
const CHECKSUM_AT: usize = 32;

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePositionError {
    /// Not base64url of the right length.
    #[error("`{0}` is not a position: expected the 48 characters of a token as an earlier answer gave it")]
    Malformed(String),
    /// The checksum does not fit the rest.
    #[error(
        "position `{0}` is mistyped or cut: its checksum does not match; copy the token again as a whole"
    )]
    Checksum(String),
    /// Of a version, or about a topic family, that this build does not know.
    #[error("position `{0}` was made by a newer version of Tidewheel; ask a node of that version")]
    Unknown(String),
}

impl Position {
    fn to_bytes(self) -> [u8; TOKEN_BYTES] {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[0] = VERSION;
        bytes[1] = self.family as u8;
        bytes[2..4].copy_from_slice(&self.datacenter.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.partition.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_be_bytes());
        bytes[16..CHECKSUM_AT].copy_from_slice(self.log_id.as_bytes());
        let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let place =
            |position: &Self| (position.log_id, position.family, position.datacenter, position.partition);
        (place(self) == place(other)).then(|| self.offset.cmp(&other.offset))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TOKEN_BYTES / 3 * 4];
        let written = URL_SAFE_NO_PAD.encode_slice(self.to_bytes(), &mut text).map_err(|_| fmt::Error)?;
        formatter.write_str(std::str::from_utf8(&text[..written]).map_err(|_| fmt::Error)?)
    }
}

fn array<const LENGTH: usize>(bytes: &[u8; TOKEN_BYTES], from: usize) -> [u8; LENGTH] {
    std::array::from_fn(|index| bytes[from + index])
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(80).collect::<String>();
        let malformed = || ParsePositionError::Malformed(shown());
        if text.len() != TOKEN_BYTES / 3 * 4 {
            return Err(malformed());
        }
        let mut bytes = [0; TOKEN_BYTES];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(TOKEN_BYTES) => {}
            Ok(_) | Err(_) => return Err(malformed()),
        }
        if crc32fast::hash(&bytes[..CHECKSUM_AT]) != u32::from_be_bytes(array(&bytes, CHECKSUM_AT)) {
            return Err(ParsePositionError::Checksum(shown()));
        }
        if bytes[0] != VERSION {
            return Err(ParsePositionError::Unknown(shown()));
        }
        let family =
            TopicFamily::from_number(bytes[1]).ok_or_else(|| ParsePositionError::Unknown(shown()))?;
        let offset = i64::from_be_bytes(array(&bytes, 8));
        if offset < 0 {
            return Err(malformed());
        }
        Ok(Self {
            log_id: LogId::from_bytes(array(&bytes, 16)),
            family,
            datacenter: u16::from_be_bytes(array(&bytes, 2)),
            partition: u32::from_be_bytes(array(&bytes, 4)),
            offset,
        })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_position;

    #[test]
    fn a_token_never_changes_its_text() {
        let position = Position {
            log_id: LogId::from_bytes([7; 16]),
            family: TopicFamily::WorkflowEvents,
            datacenter: 3,
            partition: 11,
            offset: 1_234_567,
        };
        assert_eq!(position.to_string(), "AQEAAwAAAAsAAAAAABLWhwcHBwcHBwcHBwcHBwcHBwcfqi1W");
    }

    #[test]
    fn a_token_of_a_later_version_is_named_as_such() {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[0] = 2;
        let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_be_bytes());
        let text = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(text.parse::<Position>(), Err(ParsePositionError::Unknown(text)));
    }

    proptest! {
        #[test]
        fn a_token_reads_back_as_the_position_it_was_made_of(position in any_position()) {
            let text = position.to_string();
            prop_assert_eq!(text.parse::<Position>(), Ok(position));
            let json = serde_json::to_string(&position).unwrap();
            prop_assert_eq!(&json, &format!("\"{text}\""));
            prop_assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
        }

        #[test]
        fn one_mistyped_character_is_refused(position in any_position(), at in 0_usize..48, other in "[a-zA-Z0-9_-]") {
            let mut text = position.to_string();
            text.replace_range(at..=at, &other);
            if text != position.to_string() {
                prop_assert_eq!(text.parse::<Position>(), Err(ParsePositionError::Checksum(text)));
            }
        }

        #[test]
        fn any_other_text_is_an_error(text in ".{0,60}") {
            prop_assert!(text.parse::<Position>().is_err());
        }

        #[test]
        fn positions_of_one_partition_are_ordered_by_offset(position in any_position(), offset in 0..i64::MAX) {
            let other = Position { offset, ..position };
            prop_assert_eq!(position.partial_cmp(&other), Some(position.offset.cmp(&offset)));
        }

        #[test]
        fn positions_of_different_partitions_are_not_ordered(position in any_position()) {
            let other = Position { partition: position.partition ^ 1, ..position };
            prop_assert_eq!(position.partial_cmp(&other), None);
        }
    }
}
