//! Cursors: where a page of a list ended, as an opaque token. What is in one is the list's own business.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An opaque token around bytes of the list that made it, with a checksum against typos.
///
/// It keeps nobody from building one: whoever opens it must treat the bytes as foreign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Vec<u8>);

/// Longest text of a cursor, in bytes.
pub const CURSOR_TEXT_BYTES_MAX: usize = 4096;

const CHECKSUM_BYTES: usize = 4;

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is mistyped, cut or not one of ours; pass `next_cursor` of the page before as a whole")]
pub struct ParseCursorError;

impl Cursor {
    /// Wraps bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sealed = self.0.clone();
        sealed.extend_from_slice(&crc32fast::hash(&self.0).to_be_bytes());
        formatter.write_str(&URL_SAFE_NO_PAD.encode(sealed))
    }
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        if text.len() > CURSOR_TEXT_BYTES_MAX {
            return Err(ParseCursorError);
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseCursorError)?;
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(ParseCursorError)?;
        if crc32fast::hash(content).to_be_bytes() != *checksum {
            return Err(ParseCursorError);
        }
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        Ok(Self(bytes))
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let cursor = Cursor::new(bytes);
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn a_mistyped_cursor_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..50), at in 0_usize..70, with in "[a-zA-Z0-9_-]") {
            let text = Cursor::new(bytes).to_string();
            let at = at % text.len();
            let mut mistyped = text.clone();
            mistyped.replace_range(at..=at, &with);
            prop_assume!(mistyped != text);
            prop_assert_eq!(mistyped.parse::<Cursor>(), Err(ParseCursorError));
        }

        #[test]
        fn any_other_text_is_an_error(text in ".{0,40}") {
            prop_assert!(text.parse::<Cursor>().is_err());
        }
    }
}
