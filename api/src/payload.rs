//! Payloads in answers: JSON embedded as it was given, anything else as base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tidewheel_schemas::Payload;
use tidewheel_schemas::payload::CONTENT_TYPE_JSON;
use utoipa::openapi::schema::{Schema, SchemaType};
use utoipa::openapi::{ObjectBuilder, RefOr};

/// A payload as answers show it: a JSON one as that JSON, any other (and JSON that a foreign producer got wrong)
/// as `{"content_type", "base64"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadAnswer(pub Payload);

impl Serialize for PayloadAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Payload { content_type, data } = &self.0;
        // Checked once more: embedding bytes that are not JSON would break the whole answer.
        if content_type.as_str() == CONTENT_TYPE_JSON
            && let Ok(raw) = serde_json::from_slice::<&RawValue>(data)
        {
            return raw.serialize(serializer);
        }
        let mut object = serializer.serialize_struct("Payload", 2)?;
        object.serialize_field("content_type", content_type.as_str())?;
        object.serialize_field("base64", &STANDARD.encode(data))?;
        object.end()
    }
}

impl utoipa::PartialSchema for PayloadAnswer {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some(
                "Any JSON value; a payload of another content type is {\"content_type\", \"base64\"}.",
            ))
            .into()
    }
}

impl utoipa::ToSchema for PayloadAnswer {}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidewheel_schemas::payload::ContentType;

    use super::*;

    fn shown(content_type: &str, data: &'static [u8]) -> String {
        let payload =
            Payload { content_type: ContentType::new(content_type), data: Bytes::from_static(data) };
        serde_json::to_string(&PayloadAnswer(payload)).unwrap()
    }

    #[test]
    fn json_is_embedded_as_given() {
        assert_eq!(shown("application/json", br#"{"b": 1.0,"a":[ ]}"#), r#"{"b": 1.0,"a":[ ]}"#);
    }

    #[test]
    fn other_bytes_are_base64() {
        assert_eq!(shown("text/plain", b"hi"), r#"{"content_type":"text/plain","base64":"aGk="}"#);
        assert_eq!(shown("application/json", b"{"), r#"{"content_type":"application/json","base64":"ew=="}"#);
        assert_eq!(
            shown("application/json", b"\"\xff\""),
            r#"{"content_type":"application/json","base64":"Iv8i"}"#
        );
    }
}
