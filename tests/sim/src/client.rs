//! Producers: they start runs, signal and command them, retry what they never heard of, repeat what they heard of, and
//! now and then write what they should not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidewheel_log::Clock;
use tidewheel_schemas::event::{
    LogCreated, RunCancelRequested, RunCompleted, RunResumed, RunSignaled, RunStarted, RunTerminated,
};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, LogId, Name, NewRecord, Payload, RecordHeaders, RunId, codec,
};

use crate::clock::SimClock;
use crate::fault::Fault;
use crate::ledger::Acknowledged;
use crate::program::{Planned, SIGNALS, WORKFLOW};
use crate::random::Random;
use crate::world::World;

/// Their number in the trace.
const WHO: usize = 1_000;
/// How often a producer tries again.
const TRIES_MAX: u32 = 6;

/// The producers of a world.
pub struct Client {
    world: Arc<World>,
    clock: Arc<SimClock>,
    random: Random,
    /// Records that may be sent again, whatever became of them.
    sent: Mutex<Vec<(u32, EventId, NewRecord)>>,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|error| unreachable!("planned names are valid: {error}"))
}

impl Client {
    /// Producers with a clock of their own.
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        let skew_us = i64::try_from(world.random.below(4_000_000)).unwrap_or(0) - 2_000_000;
        let clock = SimClock::new(world.began, skew_us, world.random.fork());
        let random = world.random.fork();
        Arc::new(Self { world: Arc::clone(world), clock, random, sent: Mutex::default() })
    }

    fn encode(
        &self,
        run_id: RunId,
        event_id: EventId,
        namespace: &str,
        event: &Event,
    ) -> Option<(u32, NewRecord)> {
        let envelope = Envelope {
            event_id,
            entity: Entity::Run(run_id),
            namespace: Some(name(namespace)),
            recorded_at_us: self.clock.now_us(),
            cause: None,
            traceparent: None,
            author: Author::Ingest { principal: "anonymous".into() },
        };
        let record = codec::encode(&envelope, event).ok()?;
        Some((partition_for(&record.key, self.world.partitions), record))
    }

    /// Sends an event as a producer does that retries until it is sure; it is not waited for.
    fn send(self: &Arc<Self>, run_id: RunId, event: &Event) {
        let event_id = EventId::random(self.random.bytes_16());
        let Some((partition, record)) = self.encode(run_id, event_id, "default", event) else { return };
        self.sent.lock().push((partition, event_id, record.clone()));
        tokio::spawn(Arc::clone(self).submit(partition, event_id, record));
    }

    async fn submit(self: Arc<Self>, partition: u32, event_id: EventId, record: NewRecord) {
        let world = &self.world;
        for tries in 0..TRIES_MAX {
            if tries > 0 {
                world.faults.add(Fault::Retry);
            }
            let late = world.strikes(&self.random, Fault::Reordered, 200);
            let most_us = if late { 3_000_000 } else { 5_000 };
            tokio::time::sleep(Duration::from_micros(self.random.below(most_us))).await;
            if !world.strikes(&self.random, Fault::AppendLost, 60) {
                let Ok(appended) = world.land(WHO, &world.place(partition), vec![record.clone()]).await
                else {
                    return;
                };
                if !world.strikes(&self.random, Fault::AckLost, 80) {
                    world.ledger.acknowledge(Acknowledged { event_id, partition, offset: appended.first() });
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(self.random.between(10, 3_000))).await;
        }
    }

    /// Asks for a run.
    pub fn start(self: &Arc<Self>, planned: &Planned) {
        let Ok(input) = serde_json::to_vec(&planned.program) else { return };
        let event = RunStarted {
            workflow: name(WORKFLOW),
            key: planned.key.clone(),
            input: Payload::json(input),
            tags: BTreeMap::new(),
        };
        self.send(planned.run_id, &event.into());
    }

    /// Signals a run.
    pub fn signal(self: &Arc<Self>, run_id: RunId, signal: usize) {
        let bytes = if self.random.chance(30) { 20_000 } else { self.random.below(30) as usize };
        let payload = Payload::json(format!("\"{}\"", "p".repeat(bytes)));
        self.send(run_id, &RunSignaled { name: name(SIGNALS[signal]), payload }.into());
    }

    /// Does something to one of the runs.
    pub fn act(self: &Arc<Self>, runs: &[Planned]) {
        let Some(run) = self.random.pick(runs) else { return };
        match self.random.below(100) {
            0..8 => self.start(run),
            8..70 => self.signal(run.run_id, self.random.below(2) as usize),
            70..75 => self.send(run.run_id, &RunCancelRequested { reason: "planned".to_owned() }.into()),
            75..77 => self.send(run.run_id, &RunTerminated { reason: "planned".to_owned() }.into()),
            77..80 => self.send(run.run_id, &RunResumed {}.into()),
            80..83 => {
                let nobody = RunId::fresh(1, 0, self.random.next().to_be_bytes());
                self.signal(nobody, 0);
            }
            83..92 => self.repeat(),
            92..94 => self.foreign(),
            94..96 => self.garbage(run.run_id),
            _ => self.forge(run.run_id),
        }
    }

    fn repeat(self: &Arc<Self>) {
        let chosen = self.random.pick(&self.sent.lock()).cloned();
        if let Some((partition, event_id, record)) = chosen {
            self.world.faults.add(Fault::Duplicate);
            tokio::spawn(Arc::clone(self).submit(partition, event_id, record));
        }
    }

    fn raw(self: &Arc<Self>, partition: u32, record: NewRecord) {
        let client = Arc::clone(self);
        tokio::spawn(async move {
            let _ = client.world.land(WHO, &client.world.place(partition), vec![record]).await;
        });
    }

    fn foreign(self: &Arc<Self>) {
        self.world.faults.add(Fault::Foreign);
        let record = NewRecord {
            key: Bytes::from_static(b"somebody else's"),
            headers: RecordHeaders::Foreign("planned: no headers of ours".to_owned()),
            value: Bytes::from_static(b"{\"not\": \"avro\"}"),
        };
        self.raw(self.random.below(u64::from(self.world.partitions)) as u32, record);
    }

    fn garbage(self: &Arc<Self>, run_id: RunId) {
        let event_id = EventId::random(self.random.bytes_16());
        let event = RunSignaled { name: name(SIGNALS[0]), payload: Payload::null() }.into();
        if let Some((partition, mut record)) = self.encode(run_id, event_id, "default", &event) {
            self.world.faults.add(Fault::Garbage);
            self.world.ledger.note_hostile(event_id);
            record.value = Bytes::from_static(b"\0\0\0\0\x01garbage");
            self.raw(partition, record);
        }
    }

    fn forge(self: &Arc<Self>, run_id: RunId) {
        let event_id = EventId::random(self.random.bytes_16());
        let signal: Event = RunSignaled { name: name(SIGNALS[0]), payload: Payload::null() }.into();
        let forged = match self.random.below(4) {
            0 => self.encode(run_id, event_id, "other", &signal),
            1 => self.misplaced(run_id, event_id, signal),
            2 => {
                let event = RunCompleted { output: Payload::null() }.into();
                self.encode(run_id, event_id, "default", &event)
            }
            _ => self.second_log(event_id),
        };
        if let Some((partition, record)) = forged {
            self.world.faults.add(Fault::Forged);
            self.world.ledger.note_hostile(event_id);
            self.raw(partition, record);
        }
    }

    /// The start of a run, or a signal, where no owner of the run looks.
    fn misplaced(&self, run_id: RunId, event_id: EventId, signal: Event) -> Option<(u32, NewRecord)> {
        let begins = event_id.as_bytes()[15].is_multiple_of(2);
        let start =
            RunStarted { workflow: name(WORKFLOW), key: None, input: Payload::null(), tags: BTreeMap::new() };
        let event = if begins { start.into() } else { signal };
        let (partition, record) = self.encode(run_id, event_id, "default", &event)?;
        Some(((partition + 1) % self.world.partitions, record))
    }

    fn second_log(&self, event_id: EventId) -> Option<(u32, NewRecord)> {
        let partition = self.random.below(u64::from(self.world.partitions)) as u32;
        let envelope = Envelope {
            event_id,
            entity: Entity::Partition(partition),
            namespace: None,
            recorded_at_us: self.clock.now_us(),
            cause: None,
            traceparent: None,
            author: Author::Candidate { process: "somebody".into() },
        };
        let event = LogCreated {
            log_id: LogId::random(self.random.bytes_16()),
            epoch_us: self.clock.now_us(),
            partitions: i32::try_from(self.world.partitions).unwrap_or(1),
            fold: 1,
        };
        Some((partition, codec::encode(&envelope, &event.into()).ok()?))
    }
}
