//! A log written as a node would, by hand, and its views, right or with planted differences.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidewheel_engine::Fold;
use tidewheel_log::{EventLog as _, MemoryLog};
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_projector::views::TABLES;
use tidewheel_replay::Views;
use tidewheel_schemas::event::{
    FoldRaised, LogCreated, PartitionClaimed, RunSignaled, RunStarted, SignalAwaited,
};
use tidewheel_schemas::event::{OutboxTrimmed, RunCompleted, RunStateChanged, RunTerminated, SignalSent};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Location, LogId, Name, Payload, RunId, Topic, TopicPartition,
    codec,
};
use tidewheel_store::{
    ColumnType, Generation, MemoryStore, Row, Scan, SharedStore, StateStore, TableSchema, Value, Write,
    WriteSet,
};

pub const PARTITIONS: u32 = 2;
pub const GENERATION: Generation = Generation(1);
pub const TIME_US: i64 = 1_760_000_000_000_000;

pub fn topic() -> Topic {
    Topic::new("tidewheel.local.workflow.events")
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn event_id(number: u32) -> EventId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    EventId::random(bytes)
}

/// Writes records as a node would, by hand.
pub struct History {
    pub log: MemoryLog,
    pub next: u32,
    seq: [u64; PARTITIONS as usize],
    /// The next value appended is cut: nobody can read it.
    is_cut: bool,
}

impl History {
    pub async fn new() -> Self {
        let log = MemoryLog::new();
        log.create_topic(&topic(), PARTITIONS).await.unwrap();
        let mut history = Self { log, next: 0, seq: [0; PARTITIONS as usize], is_cut: false };
        let candidate = || Author::Candidate { process: "p".into() };
        for partition in 0..PARTITIONS {
            let log_id = LogId::random([u8::try_from(partition).unwrap(); 16]);
            let created = LogCreated { log_id, epoch_us: TIME_US, partitions: 2, fold: 1 };
            history.append(partition, Entity::Partition(partition), candidate(), created.into()).await;
            let claimed = PartitionClaimed { replaces: None };
            history.append(partition, Entity::Partition(partition), candidate(), claimed.into()).await;
        }
        history
    }

    async fn append(&mut self, partition: u32, entity: Entity, author: Author, event: Event) {
        self.next += 1;
        let namespace = entity.run_id().map(|_| name("default"));
        let envelope = Envelope {
            event_id: event_id(self.next),
            entity,
            namespace,
            recorded_at_us: TIME_US + i64::from(self.next),
            cause: None,
            traceparent: None,
            author,
        };
        let mut record = codec::encode(&envelope, &event).unwrap();
        if self.is_cut {
            record.value.truncate(6);
        }
        self.log.append(&TopicPartition::new(topic(), partition), vec![record]).await.unwrap();
    }

    pub async fn ingest(&mut self, run_id: RunId, event: impl Into<Event>) {
        let partition = partition_for(run_id.to_string().as_bytes(), PARTITIONS);
        let author = Author::Ingest { principal: "anonymous".into() };
        self.append(partition, Entity::Run(run_id), author, event.into()).await;
    }

    /// From here on the partition folds by a version that no build knows.
    pub async fn go_past_this_build(&mut self, partition: u32) {
        let author = Author::Ingest { principal: "anonymous".into() };
        self.append(partition, Entity::Partition(partition), author, FoldRaised { fold: i32::MAX }.into())
            .await;
    }

    pub async fn engine(&mut self, run_id: RunId, seen: u64, event: impl Into<Event>) {
        let partition = partition_for(run_id.to_string().as_bytes(), PARTITIONS);
        let seq = &mut self.seq[usize::try_from(partition).unwrap()];
        // The claim lies after `LogCreated`.
        let author = Author::Engine { claim: 1, seq: *seq, seen, idle: false };
        *seq += 1;
        self.append(partition, Entity::Run(run_id), author, event.into()).await;
    }

    /// Runs that leave rows in every table a record of today can put rows in.
    pub async fn runs(&mut self) {
        for number in 0..8 {
            let run_id = RunId::keyed("default", 0, "order", &number.to_string());
            let tags = BTreeMap::from([("shop".to_owned(), "berlin".to_owned())]);
            let input = Payload::json("1");
            let started = RunStarted { workflow: name("order"), key: Some(number.to_string()), input, tags };
            self.ingest(run_id, started).await;
            let state = RunStateChanged { location: Location::top(1), state: Payload::json("{}") };
            self.engine(run_id, 0, state).await;
            let target = RunId::keyed("default", 0, "order", "0");
            let (go, payload) = (name("go"), Payload::json("2"));
            let sent = SignalSent { location: Location::top(2), target, name: go.clone(), payload };
            self.engine(run_id, 0, sent).await;
            let due_us = Some(TIME_US + 60_000_000);
            self.engine(run_id, 0, SignalAwaited { location: Location::top(3), name: go.clone(), due_us })
                .await;
            self.ingest(run_id, RunSignaled { name: name("other"), payload: Payload::null() }).await;
            if number % 2 == 1 {
                self.ingest(run_id, RunTerminated { reason: "enough".to_owned() }).await;
                self.ingest(run_id, RunSignaled { name: go, payload: Payload::null() }).await;
            }
        }
    }

    /// Delivers what was sent, ends a run, starts one twice, signals one that does not exist, and leaves one parked at a
    /// record that nobody can read.
    pub async fn more(&mut self) {
        for partition in 0..PARTITIONS {
            let trimmed = OutboxTrimmed { offset: 6, index: 0 };
            let seq = &mut self.seq[usize::try_from(partition).unwrap()];
            let author = Author::Engine { claim: 1, seq: *seq, seen: 0, idle: false };
            *seq += 1;
            self.append(partition, Entity::Partition(partition), author, trimmed.into()).await;
        }
        let run = |key: &str| RunId::keyed("default", 0, "order", key);
        self.engine(run("2"), 1, RunCompleted { output: Payload::json("3") }).await;
        for key in ["1", "2"] {
            let input = Payload::json("1");
            let started = RunStarted {
                workflow: name("order"),
                key: Some(key.to_owned()),
                input,
                tags: BTreeMap::new(),
            };
            self.ingest(run(key), started).await;
        }
        self.ingest(run("9999"), RunSignaled { name: name("go"), payload: Payload::null() }).await;
        let completed = RunCompleted { output: Payload::json("4") };
        self.is_cut = true;
        self.engine(run("4"), 1, completed).await;
        self.is_cut = false;
    }

    /// Writes the views of the log to `store` as a projector does, in chunks of several records.
    pub async fn write_views(&self, store: &dyn StateStore) {
        store.create_tables(GENERATION, TABLES).await.unwrap();
        for writes in self.chunks(7, true).await {
            store.write(GENERATION, &writes).await.unwrap();
        }
    }

    /// What a projector writes for the log, chunk by chunk, the partitions in turns.
    pub async fn chunks(&self, chunk_records: usize, atomic: bool) -> Vec<WriteSet> {
        let mut all: Vec<Vec<WriteSet>> = Vec::new();
        for partition in 0..PARTITIONS {
            let from = TopicPartition::new(topic(), partition);
            let (mut fold, mut live) = (Fold::new(partition), Live::default());
            let mut sets = Vec::new();
            for records in self.log.read(&from, 0, usize::MAX).await.unwrap().chunks(chunk_records) {
                let mut chunk = Chunk::new(fold.control().clone());
                for record in records {
                    let transition = fold.apply(record).unwrap();
                    chunk.add(&[transition], fold.control(), &live);
                }
                sets.push(chunk.finish(&mut live, atomic).writes);
            }
            all.push(sets);
        }
        let longest = all.iter().map(Vec::len).max().unwrap_or(0);
        (0..longest)
            .flat_map(|place| all.iter().filter_map(move |sets| sets.get(place).cloned()).collect::<Vec<_>>())
            .collect()
    }

    /// The views of the log.
    pub async fn views(&self) -> (Views, Arc<MemoryStore>) {
        let store = Arc::new(MemoryStore::new());
        self.write_views(&*store).await;
        (self.views_in(Arc::clone(&store) as SharedStore), store)
    }

    pub fn views_in(&self, store: SharedStore) -> Views {
        let log = Arc::new(self.log.clone());
        Views { log, topic: topic(), partitions: PARTITIONS, store, generation: GENERATION }
    }
}

pub async fn rows(store: &dyn StateStore, table: &'static TableSchema) -> Vec<Row> {
    let scan = Scan { partition: None, from: None, to: None, after: None, reverse: false, limit: 100_000 };
    store.scan(GENERATION, table, &scan).await.unwrap().rows
}

/// A copy of `store` in which the first row of `table` is replaced by what `change` makes of it.
pub async fn planted(
    store: &MemoryStore,
    table: &'static TableSchema,
    change: impl Fn(Row) -> Vec<Row>,
) -> Arc<MemoryStore> {
    let copy = MemoryStore::new();
    plant(&copy, store, table, change).await;
    Arc::new(copy)
}

/// Copies `store` to `copy`, and replaces the first row of `table` by what `change` makes of it.
pub async fn plant(
    copy: &dyn StateStore,
    store: &dyn StateStore,
    table: &'static TableSchema,
    change: impl Fn(Row) -> Vec<Row>,
) {
    copy.create_tables(GENERATION, TABLES).await.unwrap();
    for each in TABLES {
        for (place, row) in rows(store, each).await.into_iter().enumerate() {
            let changed = if place == 0 && each.name == table.name { change(row) } else { vec![row] };
            let inserts = changed.into_iter().map(|row| Write {
                table: each,
                key: row.key,
                timestamp_us: row.timestamp_us,
                columns: Some(row.columns),
            });
            let writes = WriteSet { inserts: inserts.collect(), ..WriteSet::default() };
            copy.write(GENERATION, &writes).await.unwrap();
        }
    }
}

pub fn other(value: &Value, kind: ColumnType) -> Value {
    match (value, kind) {
        (Value::Int(number), _) => Value::Int(number + 1_000),
        (Value::Text(text), _) => Value::Text(format!("{text}x").into()),
        (Value::Bool(value), _) => Value::Bool(!value),
        (Value::Blob(_), _) => Value::Blob("other".into()),
        (Value::Uuid(bytes), _) => Value::Uuid(bytes.map(|byte| !byte)),
        (Value::List(items), ColumnType::List(fields)) => {
            let mut items: Vec<_> = items.iter().map(|item| item.values(fields).unwrap()).collect();
            let (value, field) = (items.last_mut().unwrap().last_mut().unwrap(), fields.last().unwrap());
            *value = other(value, field.kind);
            Value::list(items)
        }
        (Value::List(_), _) | (Value::Null, ColumnType::List(_)) => Value::list([]),
        (Value::Null, ColumnType::Int) => Value::Int(1),
        (Value::Null, ColumnType::Text) => Value::Text("x".into()),
        (Value::Null, ColumnType::Bool) => Value::Bool(true),
        (Value::Null, ColumnType::Blob) => Value::Blob("x".into()),
        (Value::Null, ColumnType::Uuid) => Value::Uuid([1; 16]),
    }
}

/// Every row of every table, mends taken off their timestamps.
pub async fn everything(store: &dyn StateStore) -> Vec<(&'static str, Row)> {
    let mut all = Vec::new();
    for table in TABLES {
        for row in rows(store, table).await {
            let timestamp_us = row.timestamp_us - (row.timestamp_us - TIME_US).rem_euclid(8);
            all.push((table.name, Row { timestamp_us, ..row }));
        }
    }
    all
}
