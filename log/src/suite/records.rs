//! Records and topics for the suite.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidewheel_schemas::{
    Author, Entity, EventId, EventType, Headers, NewRecord, Record, RecordHeaders, RunId, Topic,
};

use crate::Tail;

/// A topic name nobody used before in this or another run of the suite.
pub fn fresh_topic() -> Topic {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Topic::new(&format!("suite.{}.{number}", uuid::Uuid::new_v4().simple()))
}

/// A record whose value is `value`, written at that many microseconds since 1970.
pub fn record_at(value: &str, recorded_at_us: i64) -> NewRecord {
    let entity = Entity::Run(RunId::fresh(1, 2, [3; 8]));
    NewRecord {
        key: entity.routing_key(),
        headers: RecordHeaders::Known(Headers {
            event_type: EventType::RunSignaled,
            entity,
            event_id: EventId::random([7; 16]),
            recorded_at_us,
            schema_id: 1,
            author: Author::Ingest { principal: "suite".into() },
        }),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

/// A record whose value is `value`.
pub fn record(value: &str) -> NewRecord {
    record_at(value, 1)
}

/// A record that some other program wrote.
pub fn foreign_record(value: &str) -> NewRecord {
    NewRecord { headers: RecordHeaders::Foreign("no headers of ours".to_owned()), ..record(value) }
}

/// The values of records as texts.
pub fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
}

/// The next `count` records of a tail.
///
/// # Panics
/// When it ends, or is silent for longer than `patience`.
pub async fn take(tail: &mut dyn Tail, count: usize, patience: Duration) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        let next = tokio::time::timeout(patience, tail.next(count - records.len()));
        records.extend(next.await.expect("a tail hangs though records are there").expect("records"));
    }
    records
}
