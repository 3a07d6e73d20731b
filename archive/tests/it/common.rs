//! Logs with records of every kind, and archives of them.

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use tidewheel_archive::{Archive, ArchiveError, ExportOptions, Exported, export};
use tidewheel_log::suite::foreign_record;
use tidewheel_log::{EventLog, MemoryLog, SharedLog, SystemClock};
use tidewheel_schemas::event::{LogCreated, RunSignaled};
use tidewheel_schemas::{
    Author, Entity, Envelope, EventId, LogId, Name, NewRecord, Payload, Record, RunId, Topic, TopicPartition,
    encode,
};
use tokio::sync::mpsc;

pub fn place(partition: u32) -> TopicPartition {
    TopicPartition::new(Topic::new("tidewheel.local.workflow.events"), partition)
}

fn envelope(entity: Entity, author: Author, number: i64) -> Envelope {
    let namespace = matches!(entity, Entity::Run(_)).then(|| Name::new("default").unwrap());
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Envelope {
        event_id: EventId::random(id),
        entity,
        namespace,
        recorded_at_us: 1_700_000_000_000_000 + number * 1_000_000,
        cause: None,
        traceparent: None,
        author,
    }
}

/// What begins the log `log_id`.
pub fn created(partition: u32, log_id: LogId) -> NewRecord {
    let author = Author::Candidate { process: "test".into() };
    let event = LogCreated { log_id, epoch_us: 1_700_000_000_000_000, partitions: 2, fold: 1 };
    encode(&envelope(Entity::Partition(partition), author, 0), &event.into()).unwrap()
}

/// The `number`-th record of the first log.
pub fn record(number: i64) -> NewRecord {
    record_of(1, number)
}

/// The `number`-th record of a log; every seventh is a stranger's.
fn record_of(log: u8, number: i64) -> NewRecord {
    if number % 7 == 3 {
        return foreign_record(&format!("foreign {number}"));
    }
    let author = Author::Ingest { principal: "somebody".into() };
    let event = RunSignaled {
        name: Name::new("paid").unwrap(),
        payload: Payload::json(Bytes::from(format!(
            "{{\"number\":{number},\"pad\":\"{}\"}}",
            "x".repeat(90)
        ))),
    };
    let run_id = RunId::fresh(1, number.unsigned_abs(), [log; 8]);
    encode(&envelope(Entity::Run(run_id), author, number), &event.into()).unwrap()
}

/// A log of two partitions with so many records each.
pub async fn log_of(records: [i64; 2], id: u8) -> SharedLog {
    let log: SharedLog = Arc::new(MemoryLog::new());
    log.create_topic(&place(0).topic, 2).await.unwrap();
    for (partition, records) in (0..).zip(records) {
        if records > 0 {
            let log_id = LogId::random([id + u8::try_from(partition).unwrap(); 16]);
            log.append(&place(partition), vec![created(partition, log_id)]).await.unwrap();
            let rest: Vec<NewRecord> = (1..records).map(|number| record_of(id, number)).collect();
            log.append(&place(partition), rest).await.unwrap();
        }
    }
    log
}

pub fn in_memory() -> (Arc<InMemory>, Archive) {
    let store = Arc::new(InMemory::new());
    (Arc::clone(&store), Archive::on(store, "memory://"))
}

/// Ranges of 50 records at most.
pub fn options() -> ExportOptions {
    let clock = SystemClock::shared();
    ExportOptions { range_records: 50, ..ExportOptions::new(vec![place(0), place(1)], clock) }
}

pub async fn sealed(log: &SharedLog, archive: &Archive) -> Result<Vec<Exported>, ArchiveError> {
    let (progress, mut heard) = mpsc::channel(16);
    let listening = tokio::spawn(async move { while heard.recv().await.is_some() {} });
    let outcome = export(log, archive, &options(), &progress).await;
    drop(progress);
    listening.await.unwrap();
    outcome
}

pub async fn all(log: &dyn EventLog, of: &TopicPartition) -> Vec<Record> {
    let mut next = log.bounds(of).await.unwrap().start;
    let mut found = Vec::new();
    loop {
        let records = log.read(of, next, 13).await.unwrap();
        let Some(last) = records.last() else { return found };
        next = last.offset + 1;
        found.extend(records);
    }
}
