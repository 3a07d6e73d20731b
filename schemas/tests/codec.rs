//! The codec's promises: round trips, agreement with apache-avro and serde_avro_fast, and totality on any bytes.

use bytes::Bytes;
use proptest::prelude::*;
use tidewheel_schemas::event::{FoldRaised, RunCompleted, RunResumed, SignalReceived, TimerFired};
use tidewheel_schemas::testing::*;
use tidewheel_schemas::{
    Author, DecodeError, EncodeError, Entity, Envelope, Event, EventId, EventType, Headers, Location, LogId,
    Name, NewRecord, OutboxName, Payload, RecordHeaders, RunId, codec, decode, decode_config, encode,
    encode_config, limit,
};

fn known(record: &NewRecord) -> Headers {
    match &record.headers {
        RecordHeaders::Known(headers) => headers.clone(),
        RecordHeaders::Foreign(reason) => panic!("encode gave foreign headers: {reason}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_record_decodes_to_the_event_it_was_made_of((envelope, event) in any_envelope_and_event()) {
        let record = encode(&envelope, &event).unwrap();
        let headers = known(&record);
        prop_assert_eq!(&record.key, &envelope.entity.routing_key());
        prop_assert_eq!(decode(&headers, &record.value), Ok((envelope, event)));
    }

    #[test]
    fn a_change_of_the_configuration_decodes_to_what_it_was_made_of_and_as_no_workflow_event(
        (envelope, event) in any_config_envelope_and_event(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let record = encode_config(&envelope, &event).unwrap();
        let headers = known(&record);
        prop_assert_eq!(&record.key, &envelope.entity.routing_key());
        prop_assert!(decode(&headers, &record.value).is_err());
        let mut mutated = record.value.to_vec();
        for (at, byte) in changes {
            let at = at.index(mutated.len());
            mutated[at] = byte;
        }
        let _ = decode_config(&headers, &mutated.into());
        prop_assert_eq!(decode_config(&headers, &record.value), Ok((envelope, event)));
    }

    #[test]
    fn a_value_by_another_author_differs_in_nothing_else(
        (envelope, event) in any_envelope_and_event(), author in any_author(),
    ) {
        let record = encode(&envelope, &event).unwrap();
        let moved = codec::open(&known(&record), &record.value).unwrap().with_author(&author).unwrap();
        let envelope = Envelope { author, ..envelope };
        let expected = encode(&envelope, &event).unwrap();
        prop_assert_eq!(&moved, &expected.value);
        prop_assert_eq!(decode(&known(&expected), &moved), Ok((envelope, event)));
    }

    #[test]
    fn a_workflow_event_is_no_change_of_the_configuration((envelope, event) in any_envelope_and_event()) {
        let record = encode(&envelope, &event).unwrap();
        prop_assert!(decode_config(&known(&record), &record.value).is_err());
    }

    #[test]
    fn any_bytes_give_an_event_or_an_error(headers in any_headers(), avro: Vec<u8>) {
        let value = Bytes::from([&[0, 0, 0, 0, 1], &avro[..]].concat());
        let _ = decode(&Headers { schema_id: 1, ..headers.clone() }, &value);
        let config = Bytes::from([&[0, 0, 0, 0, 2], &avro[..]].concat());
        let _ = decode_config(&Headers { schema_id: 2, ..headers.clone() }, &config);
        let _ = decode(&headers, &avro.into());
    }

    #[test]
    fn a_mutated_record_is_refused_or_says_what_its_headers_say(
        (envelope, event) in any_envelope_and_event(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let record = encode(&envelope, &event).unwrap();
        let headers = known(&record);
        let mut value = record.value.to_vec();
        for (at, byte) in changes {
            let at = at.index(value.len());
            value[at] = byte;
        }
        if let Ok((decoded, event)) = decode(&headers, &value.into()) {
            prop_assert_eq!(decoded.event_id, envelope.event_id);
            prop_assert_eq!(decoded.author, envelope.author);
            prop_assert_eq!(event.event_type(), headers.event_type);
        }
    }

    #[test]
    fn a_cut_or_lengthened_record_is_refused(
        (envelope, event) in any_envelope_and_event(), at: prop::sample::Index, byte: u8,
    ) {
        let record = encode(&envelope, &event).unwrap();
        let headers = known(&record);
        let cut = record.value.slice(..at.index(record.value.len()));
        prop_assert!(decode(&headers, &cut).is_err());
        let lengthened = Bytes::from([&record.value[..], &[byte]].concat());
        prop_assert!(decode(&headers, &lengthened).is_err());
    }

    #[test]
    fn headers_of_another_event_are_refused((envelope, event) in any_envelope_and_event(), other in any_headers()) {
        let record = encode(&envelope, &event).unwrap();
        let own = known(&record);
        let foreign = [
            Headers { event_id: other.event_id, ..own.clone() },
            Headers { entity: other.entity, ..own.clone() },
            Headers { event_type: other.event_type, ..own.clone() },
            Headers { author: other.author, ..own.clone() },
            Headers { recorded_at_us: other.recorded_at_us, ..own.clone() },
            Headers { schema_id: other.schema_id, ..own.clone() },
        ];
        for headers in foreign.iter().filter(|headers| **headers != own) {
            let refused = matches!(
                decode(headers, &record.value),
                Err(DecodeError::Disagrees { .. } | DecodeError::WrongEntity { .. })
            );
            prop_assert!(refused, "{headers:?}");
        }
    }
}

fn envelope(author: Author) -> Envelope {
    Envelope {
        event_id: EventId::random([1; 16]),
        entity: Entity::Run(RunId::fresh(1, 1, [2; 8])),
        namespace: None,
        recorded_at_us: 3,
        cause: None,
        traceparent: None,
        author,
    }
}

fn ingest(principal: &str) -> Author {
    Author::Ingest { principal: principal.into() }
}

#[test]
fn a_record_over_the_limit_is_refused_with_its_size() {
    let overhead = {
        let event = RunCompleted { output: Payload::json(vec![b'1'; 900_000]) }.into();
        let record = encode(&envelope(ingest("a")), &event).unwrap();
        record.key.len() + record.value.len() - 900_000
    };
    let of_size = |bytes: usize| {
        let event = RunCompleted { output: Payload::json(vec![b'1'; bytes - overhead]) }.into();
        encode(&envelope(ingest("a")), &event)
    };
    assert!(of_size(limit::RECORD_BYTES_MAX).is_ok());
    let (event_type, bytes) = (EventType::RunCompleted, limit::RECORD_BYTES_MAX + 1);
    assert_eq!(of_size(bytes), Err(EncodeError::TooLarge { event_type, bytes }));
}

#[test]
fn what_has_no_place_in_the_schema_is_refused() {
    let resumed: Event = RunResumed {}.into();
    let engine = Author::Engine { claim: 0, seq: u64::MAX, seen: 0, idle: false };
    assert!(matches!(encode(&envelope(engine), &resumed), Err(EncodeError::Unencodable { .. })));
    let name = OutboxName { offset: 0, index: u32::MAX };
    let outbox = Author::Outbox { source: LogId::random([1; 16]), partition: 0, name, predecessor: None };
    assert!(matches!(encode(&envelope(outbox), &resumed), Err(EncodeError::Unencodable { .. })));
    for coordinates in [&[][..], &[1, 0]] {
        let event = TimerFired { location: Location(coordinates.into()) }.into();
        assert!(matches!(encode(&envelope(ingest("a")), &event), Err(EncodeError::Unencodable { .. })));
    }
    let long = ingest(&"p".repeat(257));
    assert_eq!(encode(&envelope(long), &resumed), Err(EncodeError::AuthorTooLong { bytes: 257 }));
    let control = FoldRaised { fold: 2 }.into();
    assert!(matches!(encode(&envelope(ingest("a")), &control), Err(EncodeError::WrongEntity { .. })));
}

#[test]
fn foreign_framing_and_unknown_schemas_are_told_apart() {
    let record = encode(&envelope(ingest("a")), &RunResumed {}.into()).unwrap();
    let headers = known(&record);
    for short in [&[][..], &[0, 0, 0, 1], &[1, 0, 0, 0, 1]] {
        assert_eq!(decode(&headers, &Bytes::from(short)), Err(DecodeError::Framing));
    }
    let mut value = record.value.to_vec();
    value[4] = 9;
    let newer = Headers { schema_id: 9, ..headers.clone() };
    assert_eq!(decode(&newer, &value.into()), Err(DecodeError::UnknownSchema { schema_id: 9 }));
    let large = Bytes::from(vec![0; limit::RECORD_BYTES_MAX + 1]);
    assert!(matches!(decode(&headers, &large), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn hostile_lengths_are_refused_without_reserving_room_for_them() {
    let location = Location::top(1);
    let event = SignalReceived { location, name: Name::new("go").unwrap(), signals: vec![1] }.into();
    let record = encode(&envelope(ingest("a")), &event).unwrap();
    let headers = known(&record);
    let before_list = record.value.len() - 3;
    // A list of 2^62 items, one of -2^63 items, a list block that claims more items than bytes.
    let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let claims = [&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01][..], &largest, &[0x7e]];
    for claim in claims {
        let value = Bytes::from([&record.value[..before_list], claim, &[2, 0]].concat());
        assert!(matches!(decode(&headers, &value), Err(DecodeError::Malformed(_))), "{claim:?}");
    }
}

#[test]
fn large_payloads_share_the_record_and_small_ones_do_not_keep_it_alive() {
    for (bytes, shared) in [(100, false), (200_000, true)] {
        let event = RunCompleted { output: Payload::json(vec![b'1'; bytes]) }.into();
        let record = encode(&envelope(ingest("a")), &event).unwrap();
        let (_, event) = decode(&known(&record), &record.value).unwrap();
        let Event::RunCompleted(RunCompleted { output }) = event else { panic!("another event") };
        assert_eq!(record.value.as_ptr_range().contains(&output.data.as_ptr()), shared);
    }
}
