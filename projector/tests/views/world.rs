//! Logs made of random actions, folded by the real fold.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tidewheel_engine::{Control, Fold, Run, Transition};
use tidewheel_projector::Views;
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_projector::views::{TABLES, run_history};
use tidewheel_schemas::event::{
    LogCreated, OutboxTrimmed, PartitionClaimed, RunCancelRequested, RunCancelling, RunCompleted,
    RunDiverged, RunFailed, RunResumed, RunSignaled, RunStarted, RunStateChanged, RunTagged, RunTerminated,
    RunUnparked, SignalAwaited, SignalReceived, SignalSent, StepCompleted, StepFailed, TimerFired,
    TimerStarted,
};
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Failure, Location, LogId, Name, NewRecord, Payload, Record,
    RecordHeaders, RunId, codec,
};
use tidewheel_store::{Generation, Row, RowKey, Scan, SharedStore, Value};

pub const GENERATION: Generation = Generation(1);
pub const DAY_US: i64 = 86_400_000_000;
const EPOCH_US: i64 = 1_000;

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Something that is appended.
#[derive(Debug, Clone)]
pub struct Action {
    run: u8,
    kind: u8,
    location: u32,
    number: i64,
    word: u8,
    idle: bool,
    /// Repeats the event id of an earlier external record.
    repeat: bool,
    wait_us: i64,
}

pub fn actions(count: usize) -> impl Strategy<Value = Vec<Action>> {
    let action = (
        0..5_u8,
        0..26_u8,
        1..5_u32,
        0..6_i64,
        0..3_u8,
        any::<bool>(),
        prop::bool::weighted(0.1),
        0..DAY_US / 3,
    )
        .prop_map(|(run, kind, location, number, word, idle, repeat, wait_us)| Action {
            run,
            kind,
            location,
            number,
            word,
            idle,
            repeat,
            wait_us,
        });
    prop::collection::vec(action, 1..count)
}

/// One partition's log and what the fold made of it.
pub struct World {
    pub fold: Fold,
    pub transitions: Vec<Transition>,
    /// Control after each record.
    pub controls: Vec<Control>,
    pub records: Vec<Record>,
    ids: u64,
    seq: u64,
    now_us: i64,
}

pub fn run_id(number: u8) -> RunId {
    RunId::fresh(1, u64::from(number), [number; 8])
}

impl World {
    pub fn new() -> Self {
        Self::of_partition(0)
    }

    /// A log with a claim and nothing else.
    pub fn of_partition(partition: u32) -> Self {
        let mut world = Self {
            fold: Fold::new(partition),
            transitions: Vec::new(),
            controls: Vec::new(),
            records: Vec::new(),
            ids: 0,
            seq: 0,
            now_us: 20_000 * DAY_US,
        };
        let log_id = LogId::random([7; 16]);
        let created = LogCreated { log_id, epoch_us: EPOCH_US, partitions: partition as i32 + 1, fold: 2 };
        let candidate = || Author::Candidate { process: "test".into() };
        world.append(Entity::Partition(partition), None, candidate(), created.into(), false);
        world.append(
            Entity::Partition(partition),
            None,
            candidate(),
            PartitionClaimed { replaces: None }.into(),
            false,
        );
        world
    }

    pub fn of(actions: &[Action]) -> Self {
        let mut world = Self::new();
        for action in actions {
            world.act(action);
        }
        world
    }

    pub fn append(
        &mut self,
        entity: Entity,
        namespace: Option<Name>,
        author: Author,
        event: Event,
        repeat: bool,
    ) {
        if !repeat {
            self.ids += 1;
        }
        let envelope = Envelope {
            event_id: EventId::random(u128::from(self.ids.max(1)).to_be_bytes()),
            entity,
            namespace,
            recorded_at_us: self.now_us,
            cause: None,
            traceparent: None,
            author,
        };
        let record = codec::encode(&envelope, &event).unwrap();
        self.fold_in(record);
    }

    fn fold_in(&mut self, record: NewRecord) {
        let offset = self.records.len() as i64;
        let record = Record { offset, key: record.key, headers: record.headers, value: record.value };
        self.transitions.push(self.fold.apply(&record).unwrap());
        self.controls.push(self.fold.control().clone());
        self.records.push(record);
    }

    pub fn external(&mut self, run: RunId, namespace: &str, event: Event) {
        let author = Author::Ingest { principal: "anonymous".into() };
        self.append(Entity::Run(run), Some(name(namespace)), author, event, false);
    }

    pub fn engine(&mut self, run: RunId, seen: u64, idle: bool, event: Event) {
        let author = Author::Engine { claim: 1, seq: self.seq, seen, idle };
        let entity = Entity::Run(run);
        self.seq += 1;
        self.append(entity, Some(name("default")), author, event, false);
    }

    pub fn start(&mut self, run: RunId, workflow: &str, tags: &[(&str, &str)], created_at_us: i64) {
        self.now_us = created_at_us;
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let input = Payload::json("{\"a\":1}");
        self.external(run, "default", RunStarted { workflow: name(workflow), key: None, input, tags }.into());
    }

    fn act(&mut self, action: &Action) {
        self.now_us += action.wait_us;
        let run = run_id(action.run);
        let location = Location::top(action.location);
        let word = ["go", "stop", "wait"][usize::from(action.word) % 3];
        let tags = || (0..action.number).map(|tag| (format!("t{tag}"), word.to_owned())).collect();
        let payload = Payload::json(format!("{{\"{word}\":{}}}", action.number));
        let failure = Failure::new("broken", word);
        let due_us = self.now_us + action.number * 400_000_000;
        let external = |world: &mut Self, event: Event| {
            let namespace = name(if action.number == 5 { "other" } else { "default" });
            let author = Author::Ingest { principal: "anonymous".into() };
            world.append(Entity::Run(run), Some(namespace), author, event, action.repeat);
        };
        let event: Event = match action.kind {
            0..4 => {
                let started = RunStarted { workflow: name(word), key: None, input: payload, tags: tags() };
                return external(self, started.into());
            }
            4..8 => return external(self, RunSignaled { name: name(word), payload }.into()),
            8 => return external(self, RunCancelRequested { reason: word.to_owned() }.into()),
            9 => {
                // Rare, or no run would live.
                if action.number == 0 {
                    return external(self, RunTerminated { reason: word.to_owned() }.into());
                }
                return external(self, RunResumed {}.into());
            }
            10 => {
                if action.idle {
                    return self.fold_in(NewRecord {
                        key: "nonsense".into(),
                        headers: RecordHeaders::Foreign("not ours".to_owned()),
                        value: "nonsense".into(),
                    });
                }
                let index = 0;
                let trimmed = OutboxTrimmed { offset: self.records.len() as i64 / 2, index };
                let author = Author::Engine { claim: 1, seq: self.seq, seen: 0, idle: false };
                self.seq += 1;
                return self.append(Entity::Partition(0), None, author, trimmed.into(), false);
            }
            11 | 12 => StepCompleted { location, name: name(word), attempt: 1, output: payload }.into(),
            13 | 14 => StepFailed {
                location,
                name: name(word),
                attempt: 1 + action.number as i32,
                failure,
                retry_at_us: action.idle.then_some(due_us),
            }
            .into(),
            15 => TimerStarted { location, due_us }.into(),
            16 => TimerFired { location }.into(),
            17 => SignalAwaited { location, name: name(word), due_us: action.idle.then_some(due_us) }.into(),
            18 => SignalReceived {
                location,
                name: name(word),
                signals: if action.number == 0 { vec![] } else { vec![action.number] },
            }
            .into(),
            19 => RunStateChanged { location, state: payload }.into(),
            20 => RunTagged { location, tags: tags() }.into(),
            21 => SignalSent { location, target: run_id(action.word), name: name(word), payload }.into(),
            22 => RunCancelling { locations: vec![location] }.into(),
            24 if action.idle => return self.unreadable(run),
            25 => {
                let parked_at = self.fold.run(run).and_then(|run| run.header.parked_at);
                let offset = parked_at.unwrap_or(action.number);
                return external(self, RunUnparked { offset, reason: word.to_owned() }.into());
            }
            _ => match action.number {
                0 => RunCompleted { output: payload }.into(),
                1 => RunFailed { failure }.into(),
                2 => RunDiverged { location, expected: word.to_owned(), found: "other".to_owned() }.into(),
                _ => StepCompleted { location, name: name(word), attempt: 1, output: payload }.into(),
            },
        };
        let seen = self.fold.run(run).map_or(0, |run| run.header.externals);
        self.engine(run, seen, action.idle, event);
    }

    /// A record of the owner that nobody can read.
    pub fn unreadable(&mut self, run: RunId) {
        let author = Author::Engine { claim: 1, seq: self.seq, seen: 0, idle: false };
        self.seq += 1;
        self.ids += 1;
        let envelope = Envelope {
            event_id: EventId::random(u128::from(self.ids).to_be_bytes()),
            entity: Entity::Run(run),
            namespace: Some(name("default")),
            recorded_at_us: self.now_us,
            cause: None,
            traceparent: None,
            author,
        };
        let record = codec::encode(&envelope, &TimerFired { location: Location::top(1) }.into()).unwrap();
        self.fold_in(NewRecord { value: record.value.slice(..record.value.len() - 1), ..record });
    }

    pub fn control(&self) -> &Control {
        self.fold.control()
    }

    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.fold.runs().values()
    }
}

pub async fn views(store: SharedStore) -> Views {
    store.create_tables(GENERATION, TABLES).await.unwrap();
    Views::new(store, GENERATION)
}

pub async fn memory() -> Views {
    views(Arc::new(tidewheel_store::MemoryStore::new())).await
}

/// Writes a world in chunks that end at the given lengths, the last one at the end.
pub async fn project(views: &Views, world: &World, lengths: &[usize], atomic: bool) {
    let mut live = Live::default();
    let mut control = Control::new(0);
    let mut at = 0;
    let mut lengths = lengths.iter().copied();
    while at < world.transitions.len() {
        let end = at + lengths.next().unwrap_or(usize::MAX - at).max(1);
        let end = end.min(world.transitions.len());
        let mut chunk = Chunk::new(control);
        chunk.add(&world.transitions[at..end], &world.controls[end - 1], &live);
        let finished = chunk.finish(&mut live, atomic);
        control = finished.checkpoint.control.clone();
        views.store().write(GENERATION, &finished.writes).await.unwrap();
        at = end;
    }
}

/// Every row of every table.
pub async fn all_rows(views: &Views) -> Vec<(&'static str, Vec<Row>)> {
    let mut tables = Vec::new();
    for table in TABLES {
        let mut scan =
            Scan { partition: None, from: None, to: None, after: None, reverse: false, limit: 1_000 };
        let mut rows = Vec::new();
        loop {
            let page = views.store().scan(GENERATION, table, &scan).await.unwrap();
            rows.extend(page.rows);
            match page.next {
                Some(next) => scan.after = Some(next),
                None => break,
            }
        }
        tables.push((table.name, rows));
    }
    tables
}

/// As [`all_rows`], but each entry of a history by itself, however many segments hold it: what does not depend on the
/// chunks that were written.
pub async fn contents(views: &Views) -> Vec<(&'static str, Vec<Row>)> {
    let mut tables = all_rows(views).await;
    for (_, rows) in tables.iter_mut().filter(|(name, _)| *name == run_history::TABLE.name) {
        let mut entries = BTreeMap::new();
        for segment in std::mem::take(rows) {
            let (key, timestamp_us) = (segment.key.clone(), segment.timestamp_us);
            let (first, segment) = run_history::split(segment).unwrap();
            let offset = segment.iter().last().and_then(|entry| entry.first_int()).expect("an offset");
            assert_eq!(timestamp_us, EPOCH_US + 8 * offset, "a segment bears the time of its last record");
            for (number, entry) in (first..).zip(segment.iter()) {
                let clustering = Some(run_history::clustering_key(number));
                let key = RowKey { partition: key.partition.clone(), clustering };
                assert_eq!(run_history::group_start(number), run_history::group_start(first), "{key:?}");
                let fields = run_history::fields(entry).unwrap();
                let entry = Row { key: key.clone(), columns: vec![Value::list([fields])], timestamp_us: 0 };
                let before = entries.insert(key, entry.clone());
                assert!(before.is_none_or(|before| before == entry), "an entry is the same in all segments");
            }
        }
        rows.extend(entries.into_values());
    }
    tables
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
