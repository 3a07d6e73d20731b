//! Partitions whose owners come and go, write too late, leave gaps, deliver twice and are written to by strangers.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tidewheel_engine::outbox::OutboxEntry;
use tidewheel_engine::{Fold, RunStatus};
use tidewheel_log::suite::foreign_record;
use tidewheel_log::{MemoryLog, SharedLog};
use tidewheel_schemas::event::{
    FoldRaised, LogCreated, OutboxTrimmed, PartitionClaimed, ReplayStarted, RunCompleted, RunDiverged,
    RunResumed, RunSignaled, RunStarted, RunTerminated, RunUnparked, SignalReceived, SignalSent,
    StepCompleted, TimerFired, TimerStarted,
};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, ConfigEvent, Entity, Envelope, Event, EventId, Location, LogId, Name, NewRecord, OutboxName,
    Payload, Record, RecordHeaders, RunId, Topic, TopicPartition, encode, encode_config,
};

pub const START_US: i64 = 1_700_000_000_000_000;
/// Runs for each partition, on average.
const RUNS: usize = 5;

pub fn runs(partition: u32) -> TopicPartition {
    TopicPartition::new(Topic::new("tidewheel.local.workflow.events"), partition)
}

pub fn changes() -> TopicPartition {
    TopicPartition::new(Topic::new("tidewheel.config.changes"), 0)
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// What happens next, to or from a run.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    /// It is started, perhaps again.
    Start,
    /// It is signalled.
    Signal,
    /// It is signalled again by an event that it may know.
    SignalAgain,
    /// It is ended from outside.
    Terminate,
    /// A step of it ends.
    Step,
    /// Its oldest timer fires; it sets one if it has none.
    Timer,
    /// It takes its oldest signal.
    Receive,
    /// It signals another run.
    Send,
    /// It ends.
    Complete,
    /// It is parked by its code, or resumed.
    Diverge,
    /// Its owner writes something that nobody can read.
    Unreadable,
    /// It goes on without what nobody can read; now and then somebody names another record.
    Unpark,
    /// The oldest message on its way from its partition arrives.
    Deliver,
    /// A message that has arrived arrives again.
    DeliverAgain,
    /// A message arrives before the one before it.
    DeliverEarly,
    /// Its partition forgets what was delivered.
    Forget,
    /// Its partition gets another owner.
    Claim,
    /// Somebody claims its partition too late.
    ClaimLate,
    /// An owner that is none any more writes.
    Zombie,
    /// A record of the owner comes after one that was lost.
    Gap,
    /// Somebody writes what is no record.
    Foreign,
    /// Its record is written into another partition.
    Misplaced,
    /// Somebody writes what only the owner may.
    WrongAuthor,
    /// A control record that changes nothing.
    Void,
}

pub type Step = (Action, usize, usize, i64);

pub fn any_steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    use Action as A;
    let action = prop_oneof![
        6 => Just(A::Start),
        6 => Just(A::Signal),
        2 => Just(A::SignalAgain),
        1 => Just(A::Terminate),
        5 => Just(A::Step),
        3 => Just(A::Timer),
        3 => Just(A::Receive),
        8 => Just(A::Send),
        1 => Just(A::Complete),
        1 => Just(A::Diverge),
        2 => Just(A::Unreadable),
        3 => Just(A::Unpark),
        8 => Just(A::Deliver),
        2 => Just(A::DeliverAgain),
        1 => Just(A::DeliverEarly),
        2 => Just(A::Forget),
        1 => Just(A::Claim),
        1 => Just(A::ClaimLate),
        1 => Just(A::Zombie),
        1 => Just(A::Gap),
        1 => Just(A::Foreign),
        1 => Just(A::Misplaced),
        1 => Just(A::WrongAuthor),
        1 => Just(A::Void),
    ];
    prop::collection::vec((action, 0_usize..64, 0_usize..64, 0_i64..2_000_000), 0..most)
}

pub struct World {
    pub partitions: u32,
    pub records: Vec<Vec<NewRecord>>,
    pub folds: Vec<Fold>,
    pub run_ids: Vec<RunId>,
    pub now_us: i64,
    numbers: u64,
}

pub fn log_id(partition: u32) -> LogId {
    LogId::random([40 + u8::try_from(partition).unwrap(); 16])
}

pub fn partition_of(run_id: RunId, partitions: u32) -> u32 {
    partition_for(&Entity::Run(run_id).routing_key(), partitions)
}

impl World {
    pub fn new(partitions: u32) -> Self {
        let runs = RUNS * partitions as usize;
        let mut world = Self {
            partitions,
            records: vec![Vec::new(); partitions as usize],
            folds: (0..partitions).map(Fold::new).collect(),
            run_ids: (0..runs).map(|run| RunId::keyed("default", 1, "talk", &run.to_string())).collect(),
            now_us: START_US,
            numbers: 0,
        };
        for partition in 0..partitions {
            let created = LogCreated {
                log_id: log_id(partition),
                epoch_us: START_US,
                partitions: i32::try_from(partitions).unwrap(),
                fold: 2,
            };
            world.candidate(partition, created.into());
            world.candidate(partition, PartitionClaimed { replaces: None }.into());
        }
        world
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn event_id(&mut self) -> EventId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.number().to_be_bytes());
        EventId::random(id)
    }

    fn append(&mut self, partition: u32, record: NewRecord) {
        let index = partition as usize;
        let offset = i64::try_from(self.records[index].len()).unwrap();
        let NewRecord { key, headers, value } = record.clone();
        self.folds[index].apply(&Record { offset, key, headers, value }).unwrap();
        self.records[index].push(record);
    }

    fn encoded(&self, event_id: EventId, entity: Entity, author: Author, event: &Event) -> NewRecord {
        let namespace = matches!(entity, Entity::Run(_)).then(|| name("default"));
        let recorded_at_us = self.now_us;
        let (cause, traceparent) = (None, None);
        let envelope = Envelope { event_id, entity, namespace, recorded_at_us, cause, traceparent, author };
        encode(&envelope, event).unwrap()
    }

    fn put(&mut self, partition: u32, entity: Entity, author: Author, event: Event) {
        let event_id = self.event_id();
        let record = self.encoded(event_id, entity, author, &event);
        self.append(partition, record);
    }

    fn candidate(&mut self, partition: u32, event: Event) {
        self.put(
            partition,
            Entity::Partition(partition),
            Author::Candidate { process: "test".into() },
            event,
        );
    }

    fn engine(&self, partition: u32, run: RunId) -> Author {
        let fold = &self.folds[partition as usize];
        let seen = fold.run(run).map_or(0, |run| run.header.externals);
        let (claim, seq) = (fold.control().claim.unwrap(), fold.control().next_seq);
        Author::Engine { claim, seq, seen, idle: seq.is_multiple_of(3) }
    }

    pub fn owner_says(&mut self, run_id: RunId, event: Event) {
        let partition = partition_of(run_id, self.partitions);
        let author = self.engine(partition, run_id);
        self.put(partition, Entity::Run(run_id), author, event);
    }

    pub fn outside_says(&mut self, run_id: RunId, event: Event) -> EventId {
        let event_id = self.event_id();
        self.outside_repeats(event_id, run_id, &event);
        event_id
    }

    pub fn outside_repeats(&mut self, event_id: EventId, run_id: RunId, event: &Event) {
        let author = Author::Ingest { principal: "somebody".into() };
        let record = self.encoded(event_id, Entity::Run(run_id), author, event);
        self.append(partition_of(run_id, self.partitions), record);
    }

    fn payload(&mut self) -> Payload {
        Payload::json(Bytes::from(self.number().to_string()))
    }

    fn location(&mut self) -> Location {
        Location::top(u32::try_from(self.number()).unwrap())
    }

    pub fn start(&mut self, run_id: RunId) {
        let started = RunStarted {
            workflow: name("talk"),
            key: Some(run_id.to_string()),
            input: self.payload(),
            tags: Default::default(),
        };
        self.outside_says(run_id, started.into());
    }

    /// A message of an entry, as the owner of its partition would send it.
    fn message(&self, partition: u32, entry: &OutboxEntry, predecessor: Option<OutboxName>) -> NewRecord {
        let (source, name) = (log_id(partition), entry.name);
        let event = RunSignaled { name: entry.signal.clone(), payload: entry.payload.clone() };
        self.encoded(
            EventId::outbox(source, name.offset, name.index),
            Entity::Run(entry.target),
            Author::Outbox { source, partition, name, predecessor },
            &event.into(),
        )
    }

    fn last_accepted(&self, partition: u32, entry: &OutboxEntry) -> (u32, Option<OutboxName>) {
        let destination = partition_of(entry.target, self.partitions);
        let sources = &self.folds[destination as usize].control().sources;
        (destination, sources.get(&(log_id(partition), partition)).copied())
    }

    pub fn act(&mut self, (action, run, other, later_us): Step) {
        self.now_us += 1 + later_us;
        let run_id = self.run_ids[run % self.run_ids.len()];
        let partition = partition_of(run_id, self.partitions);
        let outbox: Vec<OutboxEntry> = self.folds[partition as usize].outbox().values().cloned().collect();
        let state = self.folds[partition as usize].run(run_id).cloned();
        match action {
            Action::Start => self.start(run_id),
            Action::Signal => {
                let payload = self.payload();
                self.outside_says(run_id, RunSignaled { name: name("go"), payload }.into());
            }
            Action::SignalAgain => {
                let known = state.and_then(|run| run.remembered.iter().next().map(|(id, _)| *id));
                let event_id = known.unwrap_or_else(|| self.event_id());
                let again = RunSignaled { name: name("go"), payload: Payload::null() };
                self.outside_repeats(event_id, run_id, &again.into());
            }
            Action::Terminate => {
                self.outside_says(run_id, RunTerminated { reason: "enough".to_owned() }.into());
            }
            Action::Step => {
                let (location, output) = (self.location(), self.payload());
                self.owner_says(
                    run_id,
                    StepCompleted { location, name: name("step"), attempt: 1, output }.into(),
                );
            }
            Action::Timer => {
                let first = state.and_then(|run| run.timers.keys().next().cloned());
                let event = match first {
                    Some(location) => TimerFired { location }.into(),
                    None => TimerStarted { location: self.location(), due_us: self.now_us + 9 }.into(),
                };
                self.owner_says(run_id, event);
            }
            Action::Receive => {
                let first = state.and_then(|run| run.unread.values().next().cloned());
                let (name, signals) = match first {
                    Some(signal) => (signal.name, vec![i64::try_from(signal.ordinal).unwrap()]),
                    None => (name("go"), Vec::new()),
                };
                let location = self.location();
                self.owner_says(run_id, SignalReceived { location, name, signals }.into());
            }
            Action::Send => {
                let target = self.run_ids[other % self.run_ids.len()];
                let (location, payload) = (self.location(), self.payload());
                self.owner_says(run_id, SignalSent { location, target, name: name("hello"), payload }.into());
            }
            Action::Complete => {
                let output = self.payload();
                self.owner_says(run_id, RunCompleted { output }.into());
            }
            Action::Diverge => {
                if state.is_some_and(|run| run.header.status == RunStatus::Parked) {
                    self.outside_says(run_id, RunResumed {}.into());
                } else {
                    let (location, text) = (self.location(), "else".to_owned());
                    let event = RunDiverged { location, expected: text.clone(), found: text };
                    self.owner_says(run_id, event.into());
                }
            }
            Action::Unreadable => {
                let author = self.engine(partition, run_id);
                let event = RunCompleted { output: Payload::null() };
                let event_id = self.event_id();
                let mut record = self.encoded(event_id, Entity::Run(run_id), author, &event.into());
                record.value = record.value.slice(..record.value.len() - 1);
                self.append(partition, record);
            }
            Action::Unpark => {
                let parked_at = state.and_then(|run| run.header.parked_at).filter(|_| other % 4 > 0);
                let offset = parked_at.unwrap_or(i64::try_from(other).unwrap());
                self.outside_says(run_id, RunUnparked { offset, reason: "cut off".to_owned() }.into());
            }
            Action::Deliver => {
                let next = outbox.iter().find(|entry| {
                    let (_, last) = self.last_accepted(partition, entry);
                    last.is_none_or(|last| last < entry.name)
                });
                let Some(entry) = next else { return };
                let (destination, last) = self.last_accepted(partition, entry);
                let record = self.message(partition, entry, last);
                self.append(destination, record);
            }
            Action::DeliverAgain => {
                let Some(entry) = outbox.first() else { return };
                let (destination, last) = self.last_accepted(partition, entry);
                if last.is_some_and(|last| entry.name <= last) {
                    let record = self.message(partition, entry, None);
                    self.append(destination, record);
                }
            }
            Action::DeliverEarly => {
                let Some(entry) = outbox.last() else { return };
                let (destination, last) = self.last_accepted(partition, entry);
                if last.is_none_or(|last| last < entry.name) {
                    let lost = OutboxName { offset: entry.name.offset - 1, index: 0 };
                    if last != Some(lost) {
                        let record = self.message(partition, entry, Some(lost));
                        self.append(destination, record);
                    }
                }
            }
            Action::Forget => {
                let delivered = outbox.iter().take_while(|entry| {
                    let (_, last) = self.last_accepted(partition, entry);
                    last.is_some_and(|last| entry.name <= last)
                });
                let Some(OutboxName { offset, index }) = delivered.last().map(|entry| entry.name) else {
                    return;
                };
                let author = self.engine(partition, run_id);
                let trimmed = OutboxTrimmed { offset, index: i32::try_from(index).unwrap() };
                self.put(partition, Entity::Partition(partition), author, trimmed.into());
            }
            Action::Claim => {
                let replaces = self.folds[partition as usize].control().claim;
                self.candidate(partition, PartitionClaimed { replaces }.into());
            }
            Action::ClaimLate => self.candidate(partition, PartitionClaimed { replaces: None }.into()),
            Action::Zombie | Action::Gap => {
                let mut author = self.engine(partition, run_id);
                if let Author::Engine { claim, seq, .. } = &mut author {
                    match action {
                        Action::Zombie => *claim -= 1,
                        _ => *seq += 1,
                    }
                }
                let event = RunCompleted { output: self.payload() };
                self.put(partition, Entity::Run(run_id), author, event.into());
            }
            Action::Foreign => self.append(partition, foreign_record("a stranger's")),
            Action::Misplaced => {
                let author = Author::Ingest { principal: "somebody".into() };
                let elsewhere = (partition + 1) % self.partitions;
                let payload = self.payload();
                self.put(
                    elsewhere,
                    Entity::Run(run_id),
                    author,
                    RunSignaled { name: name("go"), payload }.into(),
                );
            }
            Action::WrongAuthor => {
                let output = self.payload();
                self.outside_says(run_id, RunCompleted { output }.into());
            }
            Action::Void => {
                let author = Author::Ingest { principal: "somebody".into() };
                self.put(partition, Entity::Partition(partition), author, FoldRaised { fold: 1 }.into());
            }
        }
    }

    /// A log that holds all this, and a configuration in which a rebuild of the views had begun.
    pub async fn log(&self) -> SharedLog {
        let log: SharedLog = Arc::new(MemoryLog::new());
        log.create_topic(&runs(0).topic, self.partitions).await.unwrap();
        log.create_topic(&changes().topic, 1).await.unwrap();
        for (partition, records) in (0..).zip(&self.records) {
            log.append(&runs(partition), records.clone()).await.unwrap();
        }
        let created = LogCreated { log_id: log_id(99), epoch_us: START_US, partitions: 1, fold: 1 };
        let started = |replay, generation| ReplayStarted {
            replay,
            kind: "rebuild".to_owned(),
            generation,
            scope: Default::default(),
            ends: self.records.iter().map(|records| i64::try_from(records.len()).unwrap()).collect(),
            records_per_second: None,
            activates: false,
        };
        let candidate = || Author::Candidate { process: "test".into() };
        let ingest = || Author::Ingest { principal: "somebody".into() };
        let views = |datacenter| Entity::Views(name(datacenter));
        let records = [
            (Entity::Partition(0), candidate(), ConfigEvent::from(created)),
            (views("local"), ingest(), started(1, 2).into()),
            (views("elsewhere"), ingest(), started(1, 2).into()),
        ];
        let encoded = (1..).zip(records).map(|(number, (entity, author, event))| {
            let envelope = Envelope {
                event_id: EventId::random([number; 16]),
                entity,
                namespace: None,
                recorded_at_us: START_US,
                cause: None,
                traceparent: None,
                author,
            };
            encode_config(&envelope, &event).unwrap()
        });
        log.append(&changes(), encoded.collect()).await.unwrap();
        log
    }
}

/// The headers of a record about a run.
pub fn of_run(record: &Record) -> Option<(RunId, &Author)> {
    match &record.headers {
        RecordHeaders::Known(headers) => Some((headers.entity.run_id()?, &headers.author)),
        RecordHeaders::Foreign(_) => None,
    }
}
