//! Records: one event as it lies in the log, and one on its way there.

use bytes::Bytes;

use crate::header::Headers;

/// A record's headers as read: ours, or something a foreign producer wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordHeaders {
    /// Headers that parsed.
    Known(Headers),
    /// Headers that did not; the text says why. The fold rejects such a record at its place.
    Foreign(String),
}

/// A record that is to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The routing key's bytes.
    pub key: Bytes,
    /// What Control and tools read without decoding the value.
    pub headers: RecordHeaders,
    /// Confluent framing and Avro.
    pub value: Bytes,
}

/// A record as it lies in one partition of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition, from 0.
    pub offset: i64,
    /// The routing key's bytes.
    pub key: Bytes,
    /// What Control and tools read without decoding the value.
    pub headers: RecordHeaders,
    /// Confluent framing and Avro.
    pub value: Bytes,
}
