//! Checks on what user code hands over, so that no proposal can fail to append.

use std::collections::BTreeMap;

use tidewheel_schemas::limit::{
    FAILURE_MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX,
};
use tidewheel_schemas::{Failure, Payload};

/// Longest failure code kept, and longest content type accepted. Bytes.
const WORD_BYTES_MAX: usize = 128;

/// Whether a payload can be appended.
pub fn payload(payload: &Payload) -> Result<(), Failure> {
    if payload.data.len() > PAYLOAD_BYTES_MAX {
        let length = payload.data.len();
        return Err(Failure::new(
            "payload_too_large",
            format!("the payload has {length} bytes, the limit is {PAYLOAD_BYTES_MAX}"),
        ));
    }
    if payload.content_type.as_str().len() > WORD_BYTES_MAX {
        return Err(Failure::new(
            "content_type_too_long",
            format!("the payload's content type is longer than {WORD_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

/// Whether tags can be appended.
pub fn tags(tags: &BTreeMap<String, String>) -> Result<(), Failure> {
    let fits = tags.len() <= TAGS_MAX
        && tags.iter().all(|(key, value)| {
            (1..=TAG_KEY_BYTES_MAX).contains(&key.len()) && value.len() <= TAG_VALUE_BYTES_MAX
        });
    if fits {
        return Ok(());
    }
    Err(Failure::new(
        "tags_too_large",
        format!(
            "a run has at most {TAGS_MAX} tags, with keys of 1 to {TAG_KEY_BYTES_MAX} bytes and values of at most \
             {TAG_VALUE_BYTES_MAX} bytes"
        ),
    ))
}

/// A failure cut to what can be appended.
pub fn failure(mut failure: Failure) -> Failure {
    cut(&mut failure.code, WORD_BYTES_MAX);
    cut(&mut failure.message, FAILURE_MESSAGE_BYTES_MAX);
    failure
}

/// Cuts a text to at most `bytes_max` bytes, on a character boundary.
pub fn cut(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_cut_on_a_character_boundary() {
        let cut = failure(Failure { code: "ä".repeat(100), message: "€".repeat(10_000) });
        assert_eq!(cut.code.len(), 128);
        assert_eq!(cut.message.len(), FAILURE_MESSAGE_BYTES_MAX / 3 * 3);
    }

    #[test]
    fn payloads_up_to_the_limit_pass_and_one_byte_more_does_not() {
        assert_eq!(payload(&Payload::json(vec![b'1'; PAYLOAD_BYTES_MAX])), Ok(()));
        let code = payload(&Payload::json(vec![b'1'; PAYLOAD_BYTES_MAX + 1])).map_err(|failure| failure.code);
        assert_eq!(code, Err("payload_too_large".to_owned()));
    }

    #[test]
    fn tags_over_a_limit_are_refused() {
        let many =
            |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect::<BTreeMap<_, _>>();
        assert_eq!(tags(&many(TAGS_MAX)), Ok(()));
        assert!(tags(&many(TAGS_MAX + 1)).is_err());
        assert!(tags(&[(String::new(), String::new())].into()).is_err());
        assert!(tags(&[("k".repeat(65), String::new())].into()).is_err());
        assert!(tags(&[("k".to_owned(), "v".repeat(257))].into()).is_err());
    }
}
