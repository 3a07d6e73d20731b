//! The hand-written codec against two other implementations of Avro: apache-avro and serde_avro_fast.

use apache_avro::Schema;
use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use tidewheel_schemas::testing::*;
use tidewheel_schemas::{
    EventId, Headers, NewRecord, RecordHeaders, codec, decode, decode_config, encode, encode_config, registry,
};

const FRAME_BYTES: usize = 5;

thread_local! {
    static CONFIG: Schema =
        Schema::parse_str(registry::schema_text(codec::CONFIG_SCHEMA_ID).unwrap()).unwrap();
    static SCHEMA: Schema = Schema::parse_str(text()).unwrap();
    static FAST: serde_avro_fast::Schema = text().parse().unwrap();
}

fn text() -> &'static str {
    registry::schema_text(codec::SCHEMA_ID).unwrap()
}

fn known(record: &NewRecord) -> Headers {
    match &record.headers {
        RecordHeaders::Known(headers) => headers.clone(),
        RecordHeaders::Foreign(reason) => panic!("encode gave foreign headers: {reason}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn apache_avro_writes_the_same_bytes((envelope, event) in any_envelope_and_event()) {
        let mirror = WorkflowEvent::try_from((&envelope, &event)).unwrap();
        let theirs = SCHEMA.with(|schema| {
            let writer = GenericDatumWriter::builder(schema).human_readable(false).build().unwrap();
            writer.write_ser_to_vec(&mirror).unwrap()
        });
        let ours = encode(&envelope, &event).unwrap();
        prop_assert!(ours.value[FRAME_BYTES..] == theirs, "{:?} {:?}", envelope, event);
    }

    #[test]
    fn apache_avro_reads_the_same_event((envelope, event) in any_envelope_and_event()) {
        let record = encode(&envelope, &event).unwrap();
        let theirs = SCHEMA.with(|schema| read_with_apache_avro::<WorkflowEvent>(schema, &record.value[FRAME_BYTES..])).unwrap();
        prop_assert_eq!(theirs.into_event(), Ok((envelope, event)));
    }

    #[test]
    fn apache_avro_writes_and_reads_the_same_changes_of_the_configuration(
        (envelope, event) in any_config_envelope_and_event(),
    ) {
        let record = encode_config(&envelope, &event).unwrap();
        let mirror = ConfigChange::try_from((&envelope, &event)).unwrap();
        let written = CONFIG.with(|schema| {
            let writer = GenericDatumWriter::builder(schema).human_readable(false).build().unwrap();
            writer.write_ser_to_vec(&mirror).unwrap()
        });
        prop_assert!(record.value[FRAME_BYTES..] == written, "{:?} {:?}", envelope, event);
        let read = CONFIG
            .with(|schema| read_with_apache_avro::<ConfigChange>(schema, &record.value[FRAME_BYTES..]))
            .unwrap();
        prop_assert_eq!(read.into_event(), Ok((envelope.clone(), event.clone())));
        prop_assert_eq!(decode_config(&known(&record), &record.value), Ok((envelope, event)));
    }

    #[test]
    fn what_decodes_from_mutated_bytes_reads_the_same_with_apache_avro(
        (envelope, event) in any_envelope_and_event(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let record = encode(&envelope, &event).unwrap();
        let mut value = record.value.to_vec();
        for (at, byte) in changes {
            let at = FRAME_BYTES + at.index(value.len() - FRAME_BYTES);
            value[at] = byte;
        }
        let value = Bytes::from(value);
        if let Ok(ours) = decode(&known(&record), &value) {
            let theirs = SCHEMA.with(|schema| read_with_apache_avro::<WorkflowEvent>(schema, &value[FRAME_BYTES..])).unwrap();
            prop_assert_eq!(theirs.into_event(), Ok(ours));
        }
    }

    #[test]
    fn serde_avro_fast_reads_the_same_values((envelope, event) in any_envelope_and_event()) {
        let record = encode(&envelope, &event).unwrap();
        let Plain(theirs) = FAST
            .with(|schema| serde_avro_fast::from_datum_slice(&record.value[FRAME_BYTES..], schema))
            .unwrap();
        let mirror = WorkflowEvent::try_from((&envelope, &event)).unwrap();
        prop_assert_eq!(theirs, untagged(serde_json::to_value(mirror).unwrap()));
    }
}

/// What serde_avro_fast reads, with no Rust type of ours to guide it: bytes become lists of numbers.
struct Plain(Value);

impl<'de> serde::Deserialize<'de> for Plain {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Self)
    }
}

struct PlainVisitor;

impl<'de> serde::de::Visitor<'de> for PlainVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any Avro value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i32<E>(self, value: i32) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
        value.deserialize_any(self)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = serde_json::Map::new();
        while let Some((key, Plain(value))) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

/// The event as JSON in the form of [`Plain`]: no names of union branches, ids as bytes.
fn untagged(mut json: Value) -> Value {
    for union in ["author", "body"] {
        let branches = json[union].as_object().unwrap();
        assert_eq!(branches.len(), 1);
        json[union] = branches.values().next().unwrap().clone();
    }
    for id in ["/event_id", "/cause", "/author/source", "/body/log_id", "/body/target"] {
        if let Some(value) = json.pointer_mut(id)
            && let Some(text) = value.as_str()
        {
            *value = text.parse::<EventId>().unwrap().as_bytes()[..].into();
        }
    }
    json
}
