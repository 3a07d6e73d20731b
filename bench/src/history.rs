//! Logs as a node would have written them, made without one: what the fold, the log and a rebuild are measured with.
//!
//! A mixture of 20 runs: 14 of three steps, 3 that wait for a signal, 2 that sleep, and 1 whose client sends its
//! start and its signal twice. 64 runs are under way at a time, so that a record is seldom of the run before it.

use std::collections::{BTreeMap, VecDeque};

use tidewheel_schemas::event::{
    LogCreated, PartitionClaimed, RunCompleted, RunSignaled, RunStarted, SignalAwaited, SignalReceived,
    StepCompleted, TimerFired, TimerStarted,
};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, Claim, Entity, Envelope, Event, EventId, Location, LogId, Name, NewRecord, Payload, RunId, codec,
};

/// Runs under way at a time.
const UNDER_WAY: usize = 64;
/// Time between two records, microseconds.
const BETWEEN_US: i64 = 50;
/// Offset of the record that claims the partition: the second one.
const CLAIM: Claim = 1;

/// A record that cannot be made; none of a valid configuration.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a record of the sample history cannot be made: {0}")]
pub struct HistoryError(String);

fn failed(error: impl std::fmt::Display) -> HistoryError {
    HistoryError(error.to_string())
}

/// What a run goes through next.
#[derive(Debug, Clone, Copy)]
enum Scene {
    Start {
        tagged: bool,
    },
    Step(u32),
    Await(u32),
    Signal,
    Receive(u32),
    Sleep(u32),
    Wake(u32),
    Complete,
    /// The last external record once more.
    Again,
}

const THREE_STEPS: &[Scene] =
    &[Scene::Start { tagged: false }, Scene::Step(1), Scene::Step(2), Scene::Step(3), Scene::Complete];
const SIGNALLED: &[Scene] =
    &[Scene::Start { tagged: true }, Scene::Await(1), Scene::Signal, Scene::Receive(1), Scene::Complete];
const SLEEPING: &[Scene] =
    &[Scene::Start { tagged: false }, Scene::Sleep(1), Scene::Wake(1), Scene::Step(2), Scene::Complete];
const REPEATED: &[Scene] = &[
    Scene::Start { tagged: false },
    Scene::Again,
    Scene::Await(1),
    Scene::Signal,
    Scene::Again,
    Scene::Receive(1),
    Scene::Complete,
];

/// A run under way.
struct Story {
    run_id: RunId,
    scenes: &'static [Scene],
    next: usize,
    externals: u64,
    last_external: Option<NewRecord>,
}

/// The history of one partition, made as it is asked for. The same for the same arguments.
pub struct History {
    partition: u32,
    partitions: u32,
    log_id: LogId,
    now_us: i64,
    seq: u64,
    runs: u64,
    records: u64,
    under_way: VecDeque<Story>,
    payload: Payload,
    output: Payload,
    workflow: Name,
    namespace: Name,
    names: [Name; 2],
}

impl History {
    /// The history of `partition` of `partitions`, whose runs have inputs and results of `payload_bytes`. Begins at
    /// `start_us`, microseconds since 1970.
    ///
    /// # Errors
    /// None for a valid build; names that are none.
    pub fn new(
        partition: u32,
        partitions: u32,
        payload_bytes: usize,
        start_us: i64,
    ) -> Result<Self, HistoryError> {
        let name = |text: &str| Name::new(text).map_err(failed);
        let text = |bytes: usize| Payload::json(format!("\"{}\"", "x".repeat(bytes.saturating_sub(2))));
        let mut seed = [0x42; 16];
        seed[..4].copy_from_slice(&partition.to_be_bytes());
        Ok(Self {
            partition,
            partitions: partitions.max(1),
            log_id: LogId::random(seed),
            now_us: start_us,
            seq: 0,
            runs: 0,
            records: 0,
            under_way: VecDeque::new(),
            payload: text(payload_bytes),
            output: text(32),
            workflow: name("sample-history")?,
            namespace: name("default")?,
            names: [name("charge-card")?, name("approval")?],
        })
    }

    /// Runs begun so far.
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// The next records: `count` of them, and up to 64 runs more, which end when `last` is said.
    ///
    /// # Errors
    /// When a record cannot be encoded.
    pub fn next(&mut self, count: usize, last: bool) -> Result<Vec<NewRecord>, HistoryError> {
        let mut records = Vec::with_capacity(count + 8);
        if self.records == 0 {
            records.push(self.control(LogCreated {
                log_id: self.log_id,
                epoch_us: self.now_us,
                partitions: i32::try_from(self.partitions).map_err(failed)?,
                fold: 1,
            })?);
            records.push(self.control(PartitionClaimed { replaces: None })?);
        }
        while records.len() < count || last && !self.under_way.is_empty() {
            while self.under_way.len() < UNDER_WAY && records.len() < count {
                let story = self.begin();
                self.under_way.push_back(story);
            }
            let Some(mut story) = self.under_way.pop_front() else { break };
            records.push(self.play(&mut story)?);
            if story.next < story.scenes.len() {
                self.under_way.push_back(story);
            }
        }
        self.records += records.len() as u64;
        Ok(records)
    }

    fn begin(&mut self) -> Story {
        let scenes = match self.runs % 20 {
            0..14 => THREE_STEPS,
            14..17 => SIGNALLED,
            17..19 => SLEEPING,
            _ => REPEATED,
        };
        self.runs += 1;
        let unix_ms = self.now_us.unsigned_abs() / 1_000;
        let mut salt = self.runs.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let run_id = loop {
            // An id lies where its hash says, so ids are tried until one lies here.
            let run_id = RunId::fresh(0, unix_ms, salt.to_be_bytes());
            if partition_for(&run_id.to_text(), self.partitions) == self.partition {
                break run_id;
            }
            salt = salt.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        };
        Story { run_id, scenes, next: 0, externals: 0, last_external: None }
    }

    fn play(&mut self, story: &mut Story) -> Result<NewRecord, HistoryError> {
        let scene = story.scenes[story.next];
        story.next += 1;
        let location = Location::top;
        let step = &self.names[0];
        let signal = &self.names[1];
        match scene {
            Scene::Start { tagged } => {
                let tags = if tagged {
                    BTreeMap::from([("customer".to_owned(), format!("c-{}", self.runs % 1_000))])
                } else {
                    BTreeMap::new()
                };
                let event = RunStarted {
                    workflow: self.workflow.clone(),
                    key: None,
                    input: self.payload.clone(),
                    tags,
                };
                self.external(story, event)
            }
            Scene::Signal => {
                story.externals += 1;
                let event = RunSignaled { name: signal.clone(), payload: self.payload.clone() };
                self.external(story, event)
            }
            Scene::Again => {
                story.last_external.clone().ok_or_else(|| failed("nothing was sent that could be sent again"))
            }
            Scene::Step(at) => {
                let output = self.output.clone();
                let event = StepCompleted { location: location(at), name: step.clone(), attempt: 1, output };
                self.engine(story, false, event)
            }
            Scene::Await(at) => {
                let event = SignalAwaited { location: location(at), name: signal.clone(), due_us: None };
                self.engine(story, true, event)
            }
            Scene::Receive(at) => {
                let event = SignalReceived {
                    location: location(at),
                    name: signal.clone(),
                    signals: vec![story.externals.cast_signed()],
                };
                self.engine(story, false, event)
            }
            Scene::Sleep(at) => {
                let due_us = self.now_us + 1_000_000;
                self.engine(story, true, TimerStarted { location: location(at), due_us })
            }
            Scene::Wake(at) => self.engine(story, false, TimerFired { location: location(at) }),
            Scene::Complete => {
                let output = self.payload.clone();
                self.engine(story, false, RunCompleted { output })
            }
        }
    }

    fn external(&mut self, story: &mut Story, event: impl Into<Event>) -> Result<NewRecord, HistoryError> {
        let mut id = *story.run_id.as_bytes();
        id[0] ^= 0x80 | u8::try_from(story.next).unwrap_or(0);
        let author = Author::Ingest { principal: "anonymous".into() };
        let record = self.record(Entity::Run(story.run_id), EventId::random(id), author, event.into())?;
        story.last_external = Some(record.clone());
        Ok(record)
    }

    fn engine(
        &mut self,
        story: &Story,
        idle: bool,
        event: impl Into<Event>,
    ) -> Result<NewRecord, HistoryError> {
        let author = Author::Engine { claim: CLAIM, seq: self.seq, seen: story.externals, idle };
        let event_id = EventId::engine(self.log_id, CLAIM, self.seq);
        self.seq += 1;
        self.record(Entity::Run(story.run_id), event_id, author, event.into())
    }

    fn control(&mut self, event: impl Into<Event>) -> Result<NewRecord, HistoryError> {
        let author = Author::Candidate { process: "sample-history".into() };
        let mut id = *self.log_id.as_bytes();
        self.now_us += 1;
        id[8..].copy_from_slice(&self.now_us.to_be_bytes());
        self.record(Entity::Partition(self.partition), EventId::random(id), author, event.into())
    }

    fn record(
        &mut self,
        entity: Entity,
        event_id: EventId,
        author: Author,
        event: Event,
    ) -> Result<NewRecord, HistoryError> {
        self.now_us += BETWEEN_US;
        let namespace = matches!(entity, Entity::Run(_)).then(|| self.namespace.clone());
        let envelope = Envelope {
            event_id,
            entity,
            namespace,
            recorded_at_us: self.now_us,
            cause: None,
            traceparent: None,
            author,
        };
        codec::encode(&envelope, &event).map_err(failed)
    }
}
