//! Reading and building the values of rows, typed. Which columns there are is said in `views`.

use bytes::Bytes;
use compact_str::CompactString;
use tidewheel_schemas::{Name, Payload, payload::ContentType};
use tidewheel_store::{StoreError, TableSchema, Value};

/// The values of a row, taken one after the other in the order of the declaration.
pub(crate) struct Columns {
    table: &'static TableSchema,
    values: std::vec::IntoIter<Value>,
}

impl Columns {
    pub(crate) fn new(table: &'static TableSchema, values: Vec<Value>) -> Self {
        Self { table, values: values.into_iter() }
    }

    pub(crate) fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt { table: self.table.name, what: what.into() }
    }

    fn next(&mut self) -> Value {
        // Columns appended later read as null.
        self.values.next().unwrap_or(Value::Null)
    }

    fn present<T>(&self, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or_else(|| self.corrupt("a column that must have a value has none"))
    }

    pub(crate) fn maybe_int(&mut self) -> Result<Option<i64>, StoreError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Int(number) => Ok(Some(number)),
            other => Err(self.corrupt(format!("a number was expected, found {other:?}"))),
        }
    }

    pub(crate) fn int(&mut self) -> Result<i64, StoreError> {
        let value = self.maybe_int()?;
        self.present(value)
    }

    /// A count or ordinal, which rows keep as a signed number of the same bits.
    pub(crate) fn count(&mut self) -> Result<u64, StoreError> {
        self.int().map(i64::cast_unsigned)
    }

    pub(crate) fn maybe_count(&mut self) -> Result<Option<u64>, StoreError> {
        self.maybe_int().map(|value| value.map(i64::cast_unsigned))
    }

    pub(crate) fn small<T: TryFrom<i64>>(&mut self) -> Result<T, StoreError> {
        let value = self.int()?;
        T::try_from(value).map_err(|_| self.corrupt(format!("the number {value} is out of range")))
    }

    pub(crate) fn maybe_bool(&mut self) -> Result<Option<bool>, StoreError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Bool(value) => Ok(Some(value)),
            other => Err(self.corrupt(format!("a boolean was expected, found {other:?}"))),
        }
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, StoreError> {
        let value = self.maybe_bool()?;
        self.present(value)
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text.into())),
            other => Err(self.corrupt(format!("a text was expected, found {other:?}"))),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        let value = self.maybe_text()?;
        self.present(value)
    }

    pub(crate) fn maybe_blob(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Blob(bytes) => Ok(Some(bytes)),
            other => Err(self.corrupt(format!("bytes were expected, found {other:?}"))),
        }
    }

    pub(crate) fn maybe_uuid(&mut self) -> Result<Option<[u8; 16]>, StoreError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Uuid(bytes) => Ok(Some(bytes)),
            other => Err(self.corrupt(format!("a UUID was expected, found {other:?}"))),
        }
    }

    pub(crate) fn uuid(&mut self) -> Result<[u8; 16], StoreError> {
        let value = self.maybe_uuid()?;
        self.present(value)
    }

    pub(crate) fn maybe_name(&mut self) -> Result<Option<Name>, StoreError> {
        self.maybe_text()?
            .map(|text| Name::new(&text).map_err(|error| self.corrupt(error.to_string())))
            .transpose()
    }

    pub(crate) fn name(&mut self) -> Result<Name, StoreError> {
        let value = self.maybe_name()?;
        self.present(value)
    }

    pub(crate) fn parsed<T: std::str::FromStr>(&self, text: &str) -> Result<T, StoreError>
    where
        T::Err: std::fmt::Display,
    {
        text.parse().map_err(|error: T::Err| self.corrupt(error.to_string()))
    }

    /// Two columns: the content type, null for JSON, and the bytes.
    pub(crate) fn maybe_payload(&mut self) -> Result<Option<Payload>, StoreError> {
        let content_type = self.maybe_text()?;
        Ok(self.maybe_blob()?.map(|data| Payload {
            content_type: content_type.map_or(ContentType::json(), |text| ContentType::new(&text)),
            data,
        }))
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// The text something is shown as.
pub(crate) fn shown_text(shown: &impl std::fmt::Display) -> CompactString {
    use std::fmt::Write as _;
    let mut text = CompactString::default();
    // Writing to a string cannot fail.
    let _ = write!(text, "{shown}");
    text
}

/// As [`shown_text`], as a value.
pub(crate) fn shown(shown: &impl std::fmt::Display) -> Value {
    Value::Text(shown_text(shown))
}

pub(crate) fn maybe_text(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

pub(crate) fn maybe_int(value: Option<i64>) -> Value {
    value.map_or(Value::Null, Value::Int)
}

/// A count or ordinal: a signed number of the same bits.
pub(crate) fn count(value: u64) -> Value {
    Value::Int(value.cast_signed())
}

/// The content type of a payload as rows keep it: none for JSON.
pub(crate) fn content_type(payload: &Payload) -> Option<&str> {
    let is_json = payload.content_type == ContentType::json();
    (!is_json).then(|| payload.content_type.as_str())
}

/// The content type, null for JSON, and the bytes.
pub(crate) fn payload(value: Option<&Payload>) -> [Value; 2] {
    match value {
        Some(payload) => [maybe_text(content_type(payload)), Value::Blob(payload.data.clone())],
        None => [Value::Null, Value::Null],
    }
}
