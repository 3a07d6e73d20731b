//! Frames read back as they were written, for ever.

use bytes::Bytes;
use proptest::prelude::*;
use tidewheel_schemas::{
    Author, Entity, EventId, EventType, Headers, LogId, Name, NewRecord, OutboxName, RecordHeaders, RunId,
    TokenId,
};

use super::*;

fn any_name() -> impl Strategy<Value = OutboxName> {
    (any::<i64>(), any::<u32>()).prop_map(|(offset, index)| OutboxName { offset, index })
}

fn any_author() -> impl Strategy<Value = Author> {
    prop_oneof![
        ".{0,40}".prop_map(|principal| Author::Ingest { principal: principal.into() }),
        (any::<i64>(), any::<u64>(), any::<u64>(), any::<bool>())
            .prop_map(|(claim, seq, seen, idle)| Author::Engine { claim, seq, seen, idle }),
        (any::<[u8; 16]>(), any::<u32>(), any_name(), proptest::option::of(any_name())).prop_map(
            |(source, partition, name, predecessor)| Author::Outbox {
                source: LogId::from_bytes(source),
                partition,
                name,
                predecessor
            }
        ),
        ".{0,40}".prop_map(|process| Author::Candidate { process: process.into() }),
    ]
}

fn any_entity() -> impl Strategy<Value = Entity> {
    prop_oneof![
        any::<u32>().prop_map(Entity::Partition),
        any::<[u8; 16]>().prop_map(|id| Entity::Run(RunId::from_bytes(id))),
        any::<[u8; 16]>().prop_map(|id| Entity::Token(TokenId::from_bytes(id))),
        "[a-z]{1,8}".prop_map(|name| Entity::Views(Name::new(&name).expect("a name"))),
        "[a-zA-Z0-9._-]{1,128}"
            .prop_filter_map("a name", |name| Name::new(&name).ok())
            .prop_map(Entity::Namespace),
    ]
}

fn any_headers() -> impl Strategy<Value = RecordHeaders> {
    let known = (
        proptest::sample::select(EventType::ALL),
        any_entity(),
        any::<[u8; 16]>(),
        any::<i64>(),
        any::<u32>(),
        any_author(),
    );
    prop_oneof![
        5 => known.prop_map(|(event_type, entity, event_id, recorded_at_us, schema_id, author)| {
            let event_id = EventId::from_bytes(event_id);
            RecordHeaders::Known(Headers { event_type, entity, event_id, recorded_at_us, schema_id, author })
        }),
        1 => ".{0,60}".prop_map(RecordHeaders::Foreign),
    ]
}

fn any_record() -> impl Strategy<Value = NewRecord> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    (bytes(), any_headers(), bytes()).prop_map(|(key, headers, value)| NewRecord { key, headers, value })
}

proptest! {
    #[test]
    fn a_record_reads_back(record in any_record(), topic: u32, partition: u32, offset in 0..=i64::MAX) {
        let place = Place { topic, partition, offset };
        let mut bytes = Vec::new();
        put_record(&mut bytes, place, &record);
        put_topic(&mut bytes, topic, partition, "a.topic");
        let mut input = Input::new(&bytes);
        let Some(Frame::Record(found, body)) = take_frame(&mut input).unwrap() else {
            panic!("a record was written")
        };
        prop_assert_eq!(found, place);
        let time_us = match &record.headers {
            RecordHeaders::Known(headers) => Some(headers.recorded_at_us),
            RecordHeaders::Foreign(_) => None,
        };
        prop_assert_eq!(body.recorded_at_us(), Ok(time_us));
        let (headers, key, value) = body.parts(&mut LastText::default()).unwrap();
        prop_assert_eq!((&headers, key, value), (&record.headers, &*record.key, &*record.value));
        let Some(Frame::Topic { number, partitions, name }) = take_frame(&mut input).unwrap() else {
            panic!("a topic was written")
        };
        prop_assert_eq!((number, partitions, name), (topic, partition, "a.topic"));
        prop_assert!(take_frame(&mut input).unwrap().is_none());
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes: Vec<u8>) {
        let mut input = Input::new(&bytes);
        while let Ok(Some(frame)) = take_frame(&mut input) {
            if let Frame::Record(_, body) = frame {
                let _ = body.parts(&mut LastText::default());
            }
        }
    }
}

fn headers(author: Author, entity: Entity) -> RecordHeaders {
    RecordHeaders::Known(Headers {
        event_type: EventType::RunStarted,
        entity,
        event_id: EventId::from_bytes([0xee; 16]),
        recorded_at_us: 1_700_000_000_000_000,
        schema_id: 7,
        author,
    })
}

fn frozen(headers: RecordHeaders) -> String {
    let record = NewRecord { key: Bytes::from_static(b"k"), headers, value: Bytes::from_static(b"vv") };
    let mut bytes = Vec::new();
    put_record(&mut bytes, Place { topic: 1, partition: 2, offset: 300 }, &record);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_a_frame_never_change() {
    let run = || Entity::Run(RunId::from_bytes([0xaa; 16]));
    let name = OutboxName { offset: 9, index: 1 };
    let source = LogId::from_bytes([0xbb; 16]);
    let before = "00401e18240a06000b72756e2d73746172746564eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee07000000";
    let run_bytes = format!("02{}", "aa".repeat(16));
    let source_bytes = "bb".repeat(16);
    let cases = [
        (headers(Author::Ingest { principal: "p".into() }, run()), format!("{run_bytes}010170")),
        (
            headers(Author::Engine { claim: 5, seq: 200, seen: 3, idle: false }, run()),
            format!("{run_bytes}020ac80103"),
        ),
        (
            headers(Author::Engine { claim: -1, seq: 0, seen: 0, idle: true }, Entity::Partition(4)),
            "010403010000".to_owned(),
        ),
        (
            headers(Author::Outbox { source, partition: 2, name, predecessor: None }, run()),
            format!("{run_bytes}04{source_bytes}021201"),
        ),
        (
            headers(Author::Outbox { source, partition: 2, name, predecessor: Some(name) }, run()),
            format!("{run_bytes}05{source_bytes}0212011201"),
        ),
        (
            headers(Author::Candidate { process: "n1".into() }, Entity::Partition(4)),
            "010406026e31".to_owned(),
        ),
    ];
    for (headers, tail) in cases {
        let headers_length = 1 + before.len() / 2 + tail.len() / 2;
        let length = 1 + 4 + 4 + headers_length + 4;
        let expected = format!(
            "{}000000010102ac02{}00000001{before}{tail}016b7676",
            format_args!("{length:02x}"),
            format_args!("{headers_length:02x}"),
        );
        assert_eq!(frozen(headers), expected);
    }
    assert_eq!(frozen(RecordHeaders::Foreign("no".into())), "10000000010102ac0203000000006e6f016b7676");
    let mut topic = Vec::new();
    put_topic(&mut topic, 1, 4, "t");
    assert_eq!(topic, [4, 0, 0, 0, 2, 1, 4, b't']);
}

#[test]
fn headers_of_a_newer_build_are_foreign_with_the_reason() {
    let record = NewRecord {
        key: Bytes::new(),
        headers: headers(Author::Ingest { principal: "p".into() }, Entity::Partition(1)),
        value: Bytes::from_static(b"v"),
    };
    let mut bytes = Vec::new();
    put_record(&mut bytes, Place { topic: 0, partition: 0, offset: 0 }, &record);
    let at = bytes.windows(11).position(|part| part == b"run-started").unwrap();
    bytes[at..at + 11].copy_from_slice(b"run-starred");
    let Some(Frame::Record(_, body)) = take_frame(&mut Input::new(&bytes)).unwrap() else {
        panic!("a record was written")
    };
    let (headers, _, value) = body.parts(&mut LastText::default()).unwrap();
    assert_eq!(headers, RecordHeaders::Foreign("unknown event type `run-starred`".into()));
    assert_eq!(value, b"v");
}
