//! One partition's log, folded record by record: what each author appends is one call.

use std::collections::BTreeMap;

use tidewheel_engine::{Fold, Run, Transition, Verdict};
use tidewheel_schemas::event::{LogCreated, PartitionClaimed, RunSignaled, RunStarted, StepCompleted};
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Location, LogId, Name, NewRecord, OutboxName, Payload, Record,
    RunId, codec,
};

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

pub fn run_id(number: u8) -> RunId {
    RunId::keyed("default", 1, "order", &number.to_string())
}

pub fn location(coordinate: u32) -> Location {
    Location::top(coordinate)
}

pub fn signal() -> Event {
    RunSignaled { name: name("go"), payload: Payload::null() }.into()
}

pub fn step_completed(coordinate: u32) -> Event {
    let output = Payload::null();
    StepCompleted { location: location(coordinate), name: name("step"), attempt: 1, output }.into()
}

/// The source that messages of the tests come from.
pub fn source() -> LogId {
    LogId::random([9; 16])
}

pub fn outbox_name(offset: i64) -> OutboxName {
    OutboxName { offset, index: 0 }
}

pub struct World {
    pub fold: Fold,
    pub log: Vec<Record>,
    /// The claim engine records are written under.
    pub claim: i64,
    /// The sequence number of the next one.
    pub seq: u64,
    pub now_us: i64,
    ids: u128,
}

impl World {
    /// A log that was created with this many partitions and claimed.
    pub fn new(partitions: i32) -> Self {
        Self::folding(partitions, 1)
    }

    /// As [`World::new`], by this fold version.
    pub fn folding(partitions: i32, fold: i32) -> Self {
        let mut world =
            Self { fold: Fold::new(0), log: Vec::new(), claim: 1, seq: 0, now_us: 1_000_000, ids: 0 };
        let created = LogCreated { log_id: LogId::random([1; 16]), epoch_us: 7_000, partitions, fold };
        assert_eq!(world.candidate(created.into()).verdict, Verdict::Accepted);
        assert_eq!(world.candidate(PartitionClaimed { replaces: None }.into()).verdict, Verdict::Accepted);
        world
    }

    /// A log with run 1 started.
    pub fn started() -> Self {
        let mut world = Self::new(1);
        assert_eq!(world.start(1).verdict, Verdict::Accepted);
        world
    }

    pub fn id(&mut self) -> EventId {
        self.ids += 1;
        EventId::random(self.ids.to_be_bytes())
    }

    pub fn record(
        &mut self,
        event_id: EventId,
        entity: Entity,
        namespace: Option<&str>,
        author: Author,
        event: &Event,
    ) -> NewRecord {
        let envelope = Envelope {
            event_id,
            entity,
            namespace: namespace.map(name),
            recorded_at_us: self.now_us,
            cause: None,
            traceparent: None,
            author,
        };
        codec::encode(&envelope, event).expect("a small event encodes")
    }

    pub fn append(&mut self, record: NewRecord) -> Transition {
        let offset = i64::try_from(self.log.len()).expect("a short log");
        let NewRecord { key, headers, value } = record;
        let record = Record { offset, key, headers, value };
        self.log.push(record.clone());
        self.fold.apply(&record).expect("this build knows the fold version")
    }

    pub fn candidate(&mut self, event: Event) -> Transition {
        let author = Author::Candidate { process: "test".into() };
        let event_id = self.id();
        let record = self.record(event_id, Entity::Partition(0), None, author, &event);
        self.append(record)
    }

    /// A record from outside with an event id of its own.
    pub fn external(&mut self, run_id: RunId, event: Event) -> Transition {
        let event_id = self.id();
        self.external_as(event_id, run_id, "default", event)
    }

    pub fn external_as(
        &mut self,
        event_id: EventId,
        run_id: RunId,
        namespace: &str,
        event: Event,
    ) -> Transition {
        let author = Author::Ingest { principal: "anonymous".into() };
        let record = self.record(event_id, Entity::Run(run_id), Some(namespace), author, &event);
        self.append(record)
    }

    pub fn start(&mut self, number: u8) -> Transition {
        let event = RunStarted {
            workflow: name("order"),
            key: Some(number.to_string()),
            input: Payload::null(),
            tags: BTreeMap::new(),
        };
        self.external(run_id(number), event.into())
    }

    /// A record of the owner about run 1, next in its sequence.
    pub fn engine(&mut self, event: Event) -> Transition {
        let record = self.engine_record(self.claim, self.seq, event);
        self.seq += 1;
        self.append(record)
    }

    pub fn engine_record(&mut self, claim: i64, seq: u64, event: Event) -> NewRecord {
        let event_id = self.id();
        let author = Author::Engine { claim, seq, seen: 0, idle: false };
        self.record(event_id, Entity::Run(run_id(1)), Some("default"), author, &event)
    }

    /// A signal that another partition sends to run 1.
    pub fn message(&mut self, offset: i64, predecessor: Option<i64>) -> Transition {
        let author = Author::Outbox {
            source: source(),
            partition: 3,
            name: outbox_name(offset),
            predecessor: predecessor.map(outbox_name),
        };
        let event_id = EventId::outbox(source(), offset, 0);
        let record = self.record(event_id, Entity::Run(run_id(1)), Some("default"), author, &signal());
        self.append(record)
    }

    pub fn run(&self) -> &Run {
        self.fold.run(run_id(1)).expect("run 1")
    }
}
