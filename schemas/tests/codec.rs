//! The codec's promises: round trips, agreement with apache-avro and serde_avro_fast, and totality on any bytes.

use bytes::Bytes;
use proptest::prelude::*;
use tidewheel_schemas::testing::*;
use tidewheel_schemas::{DecodeError, Headers, NewRecord, RecordHeaders, decode, encode};

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
    fn any_bytes_give_an_event_or_an_error(headers in any_headers(), avro: Vec<u8>) {
        let value = Bytes::from([&[0, 0, 0, 0, 1], &avro[..]].concat());
        let _ = decode(&Headers { schema_id: 1, ..headers.clone() }, &value);
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
