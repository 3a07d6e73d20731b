//! Limits on what comes from outside (DESIGN §10), and checks that name what is over one. Bytes unless the name
//! says otherwise; the checks are the edges' to call, not the codec's.

use std::collections::BTreeMap;

use crate::payload::Payload;

/// Largest input, signal payload, step output or result.
pub const PAYLOAD_BYTES_MAX: usize = 512 * 1024;
/// Largest encoded record; checked before deciding, so that no proposal can fail to append.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Most tags on one run.
pub const TAGS_MAX: usize = 16;
/// Longest tag key.
pub const TAG_KEY_BYTES_MAX: usize = 64;
/// Longest tag value.
pub const TAG_VALUE_BYTES_MAX: usize = 256;
/// Largest page of a list, in items.
pub const PAGE_ITEMS_MAX: usize = 1_000;
/// Most signals waiting unread in one run.
pub const SIGNALS_WAITING_MAX: usize = 10_000;
/// Longest run key and idempotency key.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest failure message kept; longer ones are cut.
pub const FAILURE_MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Longest name of a principal or process.
pub const PRINCIPAL_BYTES_MAX: usize = 256;
/// Longest media type of a payload.
pub const CONTENT_TYPE_BYTES_MAX: usize = 128;

/// Something that is over its limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A payload's data.
    #[error(
        "the payload has {bytes} bytes, over the limit of {PAYLOAD_BYTES_MAX}; send less, or a reference"
    )]
    Payload {
        /// Its size.
        bytes: usize,
    },
    /// A payload's media type.
    #[error("the content type has {bytes} bytes; it needs 1 to {CONTENT_TYPE_BYTES_MAX}")]
    ContentType {
        /// Its size.
        bytes: usize,
    },
    /// The number of tags.
    #[error("there are {count} tags, over the limit of {TAGS_MAX}")]
    Tags {
        /// How many there are.
        count: usize,
    },
    /// One tag's key.
    #[error("the tag key `{key}` has {bytes} bytes; it needs 1 to {TAG_KEY_BYTES_MAX}")]
    TagKey {
        /// The key, cut to 80 characters.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// One tag's value.
    #[error("the value of the tag `{key}` has {bytes} bytes, over the limit of {TAG_VALUE_BYTES_MAX}")]
    TagValue {
        /// The tag's key.
        key: String,
        /// The value's size.
        bytes: usize,
    },
    /// A run key or idempotency key.
    #[error("the key has {bytes} bytes; it needs 1 to {KEY_BYTES_MAX}")]
    Key {
        /// Its size.
        bytes: usize,
    },
}

/// Checks a run's tags.
///
/// # Errors
/// When there are too many, a key is empty or too long, or a value is too long.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), LimitError> {
    if tags.len() > TAGS_MAX {
        return Err(LimitError::Tags { count: tags.len() });
    }
    for (key, value) in tags {
        if !(1..=TAG_KEY_BYTES_MAX).contains(&key.len()) {
            return Err(LimitError::TagKey { key: key.chars().take(80).collect(), bytes: key.len() });
        }
        if value.len() > TAG_VALUE_BYTES_MAX {
            return Err(LimitError::TagValue { key: key.clone(), bytes: value.len() });
        }
    }
    Ok(())
}

/// Checks a payload's size and media type.
///
/// # Errors
/// When the data or the media type is too long, or the media type is empty.
pub fn check_payload(payload: &Payload) -> Result<(), LimitError> {
    if payload.data.len() > PAYLOAD_BYTES_MAX {
        return Err(LimitError::Payload { bytes: payload.data.len() });
    }
    match payload.content_type.as_str().len() {
        1..=CONTENT_TYPE_BYTES_MAX => Ok(()),
        bytes => Err(LimitError::ContentType { bytes }),
    }
}

/// Checks a run key or idempotency key.
///
/// # Errors
/// When it is empty or too long.
pub const fn check_key(key: &str) -> Result<(), LimitError> {
    match key.len() {
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(LimitError::Key { bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::ContentType;

    fn tags(count: usize, key_bytes: usize, value_bytes: usize) -> BTreeMap<String, String> {
        (0..count).map(|number| (format!("{number:0>key_bytes$}"), "v".repeat(value_bytes))).collect()
    }

    #[test]
    fn tags_at_the_limit_pass_and_one_above_is_named() {
        assert_eq!(check_tags(&tags(16, 64, 256)), Ok(()));
        assert_eq!(check_tags(&tags(17, 2, 1)), Err(LimitError::Tags { count: 17 }));
        assert!(matches!(check_tags(&tags(1, 65, 1)), Err(LimitError::TagKey { bytes: 65, .. })));
        assert!(matches!(check_tags(&tags(1, 1, 257)), Err(LimitError::TagValue { bytes: 257, .. })));
        let nameless = BTreeMap::from([(String::new(), String::new())]);
        assert!(matches!(check_tags(&nameless), Err(LimitError::TagKey { bytes: 0, .. })));
    }

    #[test]
    fn payloads_and_keys_at_the_limit_pass_and_one_above_is_named() {
        assert_eq!(check_payload(&Payload::json(vec![b'1'; PAYLOAD_BYTES_MAX])), Ok(()));
        let bytes = PAYLOAD_BYTES_MAX + 1;
        assert_eq!(check_payload(&Payload::json(vec![b'1'; bytes])), Err(LimitError::Payload { bytes }));
        let content_type = ContentType::new(&"x".repeat(129));
        let untyped = Payload { content_type, ..Payload::null() };
        assert_eq!(check_payload(&untyped), Err(LimitError::ContentType { bytes: 129 }));
        assert_eq!(check_key(&"k".repeat(512)), Ok(()));
        assert_eq!(check_key(&"k".repeat(513)), Err(LimitError::Key { bytes: 513 }));
        assert_eq!(check_key(""), Err(LimitError::Key { bytes: 0 }));
    }
}
