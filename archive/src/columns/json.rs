//! An event as JSON text: its fields as in its schema; bytes that are JSON stand as that, others as base64.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Writes bytes as what they hold.
struct Inlining;

impl Formatter for Inlining {
    fn write_byte_array<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        if serde_json::from_slice::<IgnoredAny>(value).is_ok() {
            writer.write_all(value)
        } else {
            write!(writer, "\"{}\"", STANDARD.encode(value))
        }
    }
}

/// The fields of an event, which is an enum of one variant for each type; none if it has no form in JSON.
pub(super) fn inner(event: &impl Serialize) -> Option<String> {
    let mut text = Vec::new();
    event.serialize(&mut Serializer::with_formatter(&mut text, Inlining)).ok()?;
    let text = String::from_utf8(text).ok()?;
    // `{"RunCompleted":{...}}`: the type has a column of its own.
    Some(text.strip_suffix('}')?.split_once(':')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidewheel_schemas::event::{RunCompleted, RunResumed, StepCompleted};
    use tidewheel_schemas::payload::ContentType;
    use tidewheel_schemas::{Event, Location, Name, Payload};

    use super::inner;

    fn completed(output: Payload) -> serde_json::Value {
        serde_json::from_str(&inner(&Event::from(RunCompleted { output })).unwrap()).unwrap()
    }

    #[test]
    fn what_is_json_stands_as_json_and_other_bytes_as_base64() {
        let json = completed(Payload::json(Bytes::from_static(b" {\"a\": [1, \"}:\"]} ")));
        assert_eq!(json["output"]["data"], serde_json::json!({"a": [1, "}:"]}));
        let content_type = ContentType::new("image/png");
        let other = completed(Payload { content_type, data: Bytes::from_static(&[0, 159, 146, 150]) });
        assert_eq!(other["output"], serde_json::json!({"content_type": "image/png", "data": "AJ+Slg=="}));
    }

    #[test]
    fn an_event_is_its_fields_and_nothing_around_them() {
        assert_eq!(inner(&Event::from(RunResumed {})).unwrap(), "{}");
        let (location, name) = (Location::top(3), Name::new("charge").unwrap());
        let event = StepCompleted { location, name, attempt: 2, output: Payload::null() };
        let text = inner(&Event::from(event)).unwrap();
        let output = r#"{"content_type":"application/json","data":null}"#;
        assert_eq!(text, format!(r#"{{"location":"3","name":"charge","attempt":2,"output":{output}}}"#));
    }
}
