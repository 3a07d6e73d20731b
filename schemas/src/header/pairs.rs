//! Headers as the pairs of a Kafka record: text, for tools and people to read. Names are for ever.

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;

use super::Headers;
use crate::author::{Author, OutboxName};
use crate::event::EventType;
use crate::id::LogId;

/// The event's type, for example `run-started`.
pub const TYPE: &str = "type";
/// What the event is about, for example `run/018f3a6e-7c1d-8001-8a2b-3c4d5e6f7081`.
pub const ENTITY: &str = "entity";
/// The event's id, a UUID.
pub const EVENT_ID: &str = "event-id";
/// When it was written, microseconds since 1970.
pub const RECORDED_AT: &str = "recorded-at";
/// The schema id of the value.
pub const SCHEMA_ID: &str = "schema-id";
/// `ingest:<principal>`, `engine`, `outbox` or `candidate:<process>`.
pub const AUTHOR: &str = "author";
/// Of an engine's record: offset of its claim.
pub const CLAIM: &str = "claim";
/// Of an engine's record: its number under the claim.
pub const SEQ: &str = "seq";
/// Of an engine's record: how many external records it was decided on.
pub const SEEN: &str = "seen";
/// Of an engine's record: `true` or `false`.
pub const IDLE: &str = "idle";
/// Of a delivered outbox entry: `<log id>/<partition>/<offset>.<index>`.
pub const OUTBOX: &str = "outbox";
/// Of a delivered outbox entry that is not the first on its way: `<offset>.<index>`.
pub const OUTBOX_PREDECESSOR: &str = "outbox-predecessor";

const NAMES: [&str; 12] = [
    TYPE,
    ENTITY,
    EVENT_ID,
    RECORDED_AT,
    SCHEMA_ID,
    AUTHOR,
    CLAIM,
    SEQ,
    SEEN,
    IDLE,
    OUTBOX,
    OUTBOX_PREDECESSOR,
];

/// Pairs that are not the headers of a Tidewheel record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A header that every such record has is absent.
    #[error("header `{0}` is missing")]
    Missing(&'static str),
    /// A header stands there twice.
    #[error("header `{0}` stands there more than once")]
    Duplicate(&'static str),
    /// A header that belongs to another kind of author.
    #[error("header `{0}` does not belong to a record of this author")]
    Misplaced(&'static str),
    /// A header whose text cannot be read.
    #[error("header `{name}` cannot be read: `{text}`")]
    Invalid {
        /// Which header.
        name: &'static str,
        /// Its text, cut to 80 characters.
        text: String,
    },
}

impl Headers {
    /// The headers as name and text, in a fixed order.
    pub fn to_pairs(&self) -> Vec<(&'static str, Bytes)> {
        let text = |value: &dyn Display| Bytes::from(value.to_string());
        let mut pairs = Vec::with_capacity(10);
        pairs.push((TYPE, Bytes::from_static(self.event_type.as_str().as_bytes())));
        pairs.push((ENTITY, text(&self.entity)));
        pairs.push((EVENT_ID, text(&self.event_id)));
        pairs.push((RECORDED_AT, text(&self.recorded_at_us)));
        pairs.push((SCHEMA_ID, text(&self.schema_id)));
        match &self.author {
            Author::Ingest { principal } => pairs.push((AUTHOR, text(&format_args!("ingest:{principal}")))),
            Author::Engine { claim, seq, seen, idle } => {
                pairs.push((AUTHOR, Bytes::from_static(b"engine")));
                pairs.push((CLAIM, text(claim)));
                pairs.push((SEQ, text(seq)));
                pairs.push((SEEN, text(seen)));
                pairs.push((IDLE, Bytes::from_static(if *idle { b"true" } else { b"false" })));
            }
            Author::Outbox { source, partition, name, predecessor } => {
                pairs.push((AUTHOR, Bytes::from_static(b"outbox")));
                let OutboxName { offset, index } = name;
                pairs.push((OUTBOX, text(&format_args!("{source}/{partition}/{offset}.{index}"))));
                if let Some(OutboxName { offset, index }) = predecessor {
                    pairs.push((OUTBOX_PREDECESSOR, text(&format_args!("{offset}.{index}"))));
                }
            }
            Author::Candidate { process } => pairs.push((AUTHOR, text(&format_args!("candidate:{process}")))),
        }
        pairs
    }

    /// Reads headers from pairs in any order. Headers with other names are ignored.
    ///
    /// # Errors
    /// When a header is missing, doubled, unreadable or of another kind of author.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, HeaderError> {
        let mut found = Found([None; NAMES.len()]);
        for (name, bytes) in pairs {
            let Some(index) = NAMES.iter().position(|known| *known == name) else { continue };
            let text = std::str::from_utf8(bytes).map_err(|_| HeaderError::Invalid {
                name: NAMES[index],
                text: String::from_utf8_lossy(bytes).chars().take(80).collect(),
            })?;
            if found.0[index].replace(text).is_some() {
                return Err(HeaderError::Duplicate(NAMES[index]));
            }
        }
        let event_type = found.required(TYPE)?;
        let headers = Self {
            event_type: EventType::from_text(event_type).ok_or_else(|| invalid(TYPE, event_type))?,
            entity: found.parsed(ENTITY)?,
            event_id: found.parsed(EVENT_ID)?,
            recorded_at_us: found.number(RECORDED_AT)?,
            schema_id: found.number(SCHEMA_ID)?,
            author: found.author()?,
        };
        match NAMES.iter().zip(found.0).find(|(_, unused)| unused.is_some()) {
            Some((name, _)) => Err(HeaderError::Misplaced(name)),
            None => Ok(headers),
        }
    }
}

/// The known headers of a record by their place in [`NAMES`]; reading one takes it out.
struct Found<'a>([Option<&'a str>; NAMES.len()]);

impl<'a> Found<'a> {
    fn optional(&mut self, name: &'static str) -> Option<&'a str> {
        let index = NAMES.iter().position(|known| *known == name)?;
        self.0[index].take()
    }

    fn required(&mut self, name: &'static str) -> Result<&'a str, HeaderError> {
        self.optional(name).ok_or(HeaderError::Missing(name))
    }

    fn parsed<T: FromStr>(&mut self, name: &'static str) -> Result<T, HeaderError> {
        let text = self.required(name)?;
        text.parse().map_err(|_| invalid(name, text))
    }

    fn number<T: FromStr>(&mut self, name: &'static str) -> Result<T, HeaderError> {
        let text = self.required(name)?;
        number(text).ok_or_else(|| invalid(name, text))
    }

    fn author(&mut self) -> Result<Author, HeaderError> {
        let text = self.required(AUTHOR)?;
        match text.split_once(':') {
            Some(("ingest", principal)) => Ok(Author::Ingest { principal: principal.into() }),
            Some(("candidate", process)) => Ok(Author::Candidate { process: process.into() }),
            None if text == "engine" => Ok(Author::Engine {
                claim: self.number(CLAIM)?,
                seq: self.number(SEQ)?,
                seen: self.number(SEEN)?,
                idle: self.parsed(IDLE)?,
            }),
            None if text == "outbox" => {
                let text = self.required(OUTBOX)?;
                let (source, partition, name) = outbox(text).ok_or_else(|| invalid(OUTBOX, text))?;
                let predecessor = self
                    .optional(OUTBOX_PREDECESSOR)
                    .map(|text| outbox_name(text).ok_or_else(|| invalid(OUTBOX_PREDECESSOR, text)))
                    .transpose()?;
                Ok(Author::Outbox { source, partition, name, predecessor })
            }
            Some(_) | None => Err(invalid(AUTHOR, text)),
        }
    }
}

fn invalid(name: &'static str, text: &str) -> HeaderError {
    HeaderError::Invalid { name, text: text.chars().take(80).collect() }
}

/// Numbers are read in the one form they are written in.
fn number<T: FromStr>(text: &str) -> Option<T> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

fn outbox(text: &str) -> Option<(LogId, u32, OutboxName)> {
    let (source, rest) = text.split_once('/')?;
    let (partition, name) = rest.split_once('/')?;
    Some((source.parse().ok()?, number(partition)?, outbox_name(name)?))
}

fn outbox_name(text: &str) -> Option<OutboxName> {
    let (offset, index) = text.split_once('.')?;
    Some(OutboxName { offset: number(offset)?, index: number(index)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_headers;

    fn read(pairs: &[(&'static str, Bytes)]) -> Result<Headers, HeaderError> {
        Headers::from_pairs(pairs.iter().map(|(name, bytes)| (*name, &bytes[..])))
    }

    proptest! {
        #[test]
        fn pairs_read_back_as_the_headers_they_were_made_of(headers in any_headers()) {
            prop_assert_eq!(read(&headers.to_pairs()), Ok(headers));
        }

        #[test]
        fn order_and_unknown_headers_do_not_matter(headers in any_headers(), at in 0_usize..6) {
            let mut pairs = headers.to_pairs();
            pairs.reverse();
            pairs.insert(at, ("somebody-elses", Bytes::from_static(&[0xff, 0xfe])));
            prop_assert_eq!(read(&pairs), Ok(headers));
        }

        #[test]
        fn a_doubled_header_is_named(headers in any_headers(), at in 0_usize..6) {
            let mut pairs = headers.to_pairs();
            pairs.push(pairs[at].clone());
            prop_assert_eq!(read(&pairs), Err(HeaderError::Duplicate(pairs[at].0)));
        }

        #[test]
        fn a_missing_header_is_named(headers in any_headers(), at in 0_usize..10) {
            let mut pairs = headers.to_pairs();
            let (name, _) = pairs.remove(at % pairs.len());
            let result = read(&pairs);
            if name == OUTBOX_PREDECESSOR {
                prop_assert!(result.is_ok());
            } else {
                prop_assert_eq!(result, Err(HeaderError::Missing(name)));
            }
        }

        #[test]
        fn garbage_in_a_header_is_an_error_that_names_it(
            headers in any_headers(), at in 0_usize..10, garbage: Vec<u8>,
        ) {
            let mut pairs = headers.to_pairs();
            let at = at % pairs.len();
            let name = pairs[at].0;
            pairs[at].1 = [b"\x01", &garbage[..]].concat().into();
            match read(&pairs) {
                Err(HeaderError::Invalid { name: named, .. }) => prop_assert_eq!(named, name),
                other => prop_assert!(false, "{name}: {other:?}"),
            }
        }

        #[test]
        fn any_pairs_give_headers_or_an_error(
            values in prop::collection::vec((prop::sample::select(&NAMES[..]), any::<Vec<u8>>()), 0..14),
        ) {
            let _ = Headers::from_pairs(values.iter().map(|(name, bytes)| (*name, &bytes[..])));
        }
    }

    #[test]
    fn an_engines_header_on_a_request_from_outside_is_refused() {
        let pairs = [
            (TYPE, "run-resumed"),
            (ENTITY, "run/018f3a6e-7c1d-8001-8a2b-3c4d5e6f7081"),
            (EVENT_ID, "018f3a6e-7c1d-8001-8a2b-3c4d5e6f7082"),
            (RECORDED_AT, "1700000000000000"),
            (SCHEMA_ID, "1"),
            (AUTHOR, "ingest:anonymous"),
            (CLAIM, "7"),
        ];
        let result = Headers::from_pairs(pairs.iter().map(|(name, text)| (*name, text.as_bytes())));
        assert_eq!(result, Err(HeaderError::Misplaced(CLAIM)));
    }
}
