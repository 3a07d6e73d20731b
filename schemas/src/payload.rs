//! Bytes with a content type, and failures: what runs, steps and signals carry.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::limit::FAILURE_MESSAGE_BYTES_MAX;

/// How a payload's bytes are to be read. A media type, at most 128 bytes; JSON unless said otherwise.
pub const CONTENT_TYPE_JSON: &str = "application/json";

/// User data: opaque bytes with a content type. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Media type of `data`.
    pub content_type: ContentType,
    /// The bytes as the user gave them.
    pub data: Bytes,
}

impl Payload {
    /// A payload of JSON text.
    pub fn json(data: impl Into<Bytes>) -> Self {
        Self { content_type: ContentType::json(), data: data.into() }
    }

    /// The JSON `null`: what an absent input or output is.
    pub fn null() -> Self {
        Self::json(Bytes::from_static(b"null"))
    }
}

/// A media type; the usual one costs no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType(std::borrow::Cow<'static, str>);

impl ContentType {
    /// `application/json`.
    pub const fn json() -> Self {
        Self(std::borrow::Cow::Borrowed(CONTENT_TYPE_JSON))
    }

    /// Any media type.
    pub fn new(text: &str) -> Self {
        if text == CONTENT_TYPE_JSON { Self::json() } else { Self(text.to_owned().into()) }
    }

    /// The media type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for ContentType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ContentType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ContentType;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a media type")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ContentType, E> {
                Ok(ContentType::new(text))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Why a step or run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word a program can branch on, for example `timeout`, `payment-declined`.
    pub code: String,
    /// What happened, for people.
    pub message: String,
}

impl Failure {
    /// A failure whose message is cut to the limit on a character boundary.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > FAILURE_MESSAGE_BYTES_MAX {
            let mut end = FAILURE_MESSAGE_BYTES_MAX;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
        }
        Self { code: code.into(), message }
    }
}
