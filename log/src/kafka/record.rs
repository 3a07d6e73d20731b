//! Records as Kafka messages and back: headers as text, time in whole milliseconds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};
use tidewheel_schemas::{Headers, NewRecord, Record, RecordHeaders};

/// The text of the record that stands for an offset at which none lies.
const HOLE: &str = "there is no record at this offset, only the mark of another program's transaction";

/// The headers of a record on its way; a foreign one has none.
pub(super) fn to_headers(record: &NewRecord) -> Option<OwnedHeaders> {
    let RecordHeaders::Known(headers) = &record.headers else { return None };
    let pairs = headers.to_pairs();
    let empty = OwnedHeaders::new_with_capacity(pairs.len());
    Some(
        pairs.iter().fold(empty, |headers, (name, value)| {
            headers.insert(Header { key: name, value: Some(&value[..]) })
        }),
    )
}

/// The record's time for Kafka, in milliseconds since 1970: never later than the record says, so that looking for a
/// time finds nothing too late. `None` (Kafka takes the client's clock) for records before 1970-01-01T00:00:00.001.
pub(super) fn to_timestamp_ms(record: &NewRecord) -> Option<i64> {
    let RecordHeaders::Known(headers) = &record.headers else { return None };
    Some(headers.recorded_at_us.div_euclid(1_000)).filter(|ms| *ms > 0)
}

/// A message as a record. Whatever another program wrote becomes a foreign record.
pub(super) fn from_message(message: &BorrowedMessage<'_>) -> Record {
    let bytes = |part: Option<&[u8]>| part.map(Bytes::copy_from_slice).unwrap_or_default();
    Record {
        offset: message.offset(),
        key: bytes(message.key()),
        headers: headers_of(message),
        value: bytes(message.payload()),
    }
}

/// Headers as they are: names and values.
pub(super) type Pairs = Vec<(String, Bytes)>;

/// A message's headers as they are, for who keeps what is not understood.
pub(super) fn pairs_of(message: &BorrowedMessage<'_>) -> Pairs {
    let Some(headers) = message.headers() else { return Vec::new() };
    let pair = |(name, value): (&str, Option<&[u8]>)| {
        (name.to_owned(), Bytes::copy_from_slice(value.unwrap_or_default()))
    };
    // See `headers_of`: names that are not UTF-8 cannot be had.
    let read = catch_unwind(AssertUnwindSafe(|| {
        headers.iter().map(|header| pair((header.key, header.value))).collect()
    }));
    read.unwrap_or_default()
}

fn headers_of(message: &BorrowedMessage<'_>) -> RecordHeaders {
    let Some(headers) = message.headers() else {
        return known(std::iter::empty());
    };
    // The client library panics at a header name that is not UTF-8, which any program may write.
    let read = catch_unwind(AssertUnwindSafe(|| {
        known(headers.iter().map(|header| (header.key, header.value.unwrap_or_default())))
    }));
    read.unwrap_or_else(|_| RecordHeaders::Foreign("a header's name is not UTF-8".to_owned()))
}

fn known<'a>(pairs: impl Iterator<Item = (&'a str, &'a [u8])>) -> RecordHeaders {
    match Headers::from_pairs(pairs) {
        Ok(headers) => RecordHeaders::Known(headers),
        Err(error) => RecordHeaders::Foreign(error.to_string()),
    }
}

/// What stands for an offset without a record, so that offsets have no holes.
pub(super) fn hole(offset: i64) -> Record {
    let headers = RecordHeaders::Foreign(HOLE.to_owned());
    Record { offset, key: Bytes::new(), headers, value: Bytes::new() }
}

#[cfg(test)]
mod tests {
    use tidewheel_schemas::{Author, Entity, EventId, EventType, RunId};

    use super::*;

    fn record_at(recorded_at_us: i64) -> NewRecord {
        let entity = Entity::Run(RunId::fresh(1, 2, [3; 8]));
        NewRecord {
            key: entity.routing_key(),
            headers: RecordHeaders::Known(Headers {
                event_type: EventType::RunSignaled,
                entity,
                event_id: EventId::random([7; 16]),
                recorded_at_us,
                schema_id: 1,
                author: Author::Ingest { principal: "somebody".into() },
            }),
            value: Bytes::new(),
        }
    }

    #[test]
    fn a_message_is_never_later_than_its_record() {
        let cases =
            [(1_700_000_000_123_999, Some(1_700_000_000_123)), (1_000, Some(1)), (999, None), (-5, None)];
        for (recorded_at_us, expected) in cases {
            assert_eq!(to_timestamp_ms(&record_at(recorded_at_us)), expected);
        }
    }

    #[test]
    fn headers_go_out_as_the_pairs_they_are() {
        let record = record_at(5);
        let headers = to_headers(&record).unwrap();
        let read = known(headers.iter().map(|header| (header.key, header.value.unwrap_or_default())));
        assert_eq!(read, record.headers);
        let foreign = NewRecord { headers: RecordHeaders::Foreign(String::new()), ..record };
        assert!(to_headers(&foreign).is_none());
        assert_eq!(to_timestamp_ms(&foreign), None);
    }
}
