//! One frozen record: its bytes and what they mean. Files under `schemas/fixtures`, never changed once written.

use std::path::Path;
use std::{fs, io};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{config_to_json, to_json};
use crate::{
    ConfigEvent, Envelope, Event, HeaderError, Headers, NewRecord, RecordHeaders, encode, encode_config,
};

/// A record as text, and the event it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fixture {
    /// The record's key.
    pub key: String,
    /// The record's headers, in order.
    pub headers: Vec<(String, String)>,
    /// The record's value, framing included, in hexadecimal.
    pub value: String,
    /// What the value means; see [`to_json`].
    pub event: Value,
}

impl Fixture {
    /// Encodes an event as a fixture.
    ///
    /// # Panics
    /// When the event cannot be encoded.
    pub fn of(envelope: &Envelope, event: &Event) -> Self {
        Self::new(&encode(envelope, event).expect("the event can be encoded"), to_json(envelope, event))
    }

    /// Encodes an event of the configuration as a fixture.
    ///
    /// # Panics
    /// When the event cannot be encoded.
    pub fn of_config(envelope: &Envelope, event: &ConfigEvent) -> Self {
        let record = encode_config(envelope, event).expect("the event can be encoded");
        Self::new(&record, config_to_json(envelope, event))
    }

    fn new(record: &NewRecord, event: Value) -> Self {
        let RecordHeaders::Known(headers) = &record.headers else { panic!("encode gives known headers") };
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("keys and headers are text");
        Self {
            key: text(&record.key),
            headers: headers
                .to_pairs()
                .iter()
                .map(|(name, bytes)| ((*name).to_owned(), text(bytes)))
                .collect(),
            value: record.value.iter().map(|byte| format!("{byte:02x}")).collect(),
            event,
        }
    }

    /// The parsed headers.
    ///
    /// # Errors
    /// When they are not headers of a record.
    pub fn headers(&self) -> Result<Headers, HeaderError> {
        Headers::from_pairs(self.headers.iter().map(|(name, text)| (name.as_str(), text.as_bytes())))
    }

    /// The value's bytes.
    ///
    /// # Panics
    /// When the text is not hexadecimal.
    pub fn value(&self) -> Bytes {
        let digit = |digit: &u8| char::from(*digit).to_digit(16).expect("hexadecimal") as u8;
        let (pairs, rest) = self.value.as_bytes().as_chunks::<2>();
        assert!(rest.is_empty(), "an odd number of digits");
        pairs.iter().map(|[high, low]| digit(high) << 4 | digit(low)).collect()
    }

    /// Every fixture in a folder with its file's name, in the order of names.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read.
    pub fn read_all(folder: &Path) -> io::Result<Vec<(String, Self)>> {
        let mut fixtures = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                fixtures.push((name, serde_json::from_slice(&fs::read(&path)?)?));
            }
        }
        fixtures.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(fixtures)
    }
}
