//! What processes share: the durable log, the store, time, and the notes that invariants are checked against.
//! Nothing else is shared between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use tidewheel_engine::Transition;
use tidewheel_engine::config::views::ViewsState;
use tidewheel_log::{Appended, Bounds, EventLog, LogError, MemoryLog, SharedLog};
use tidewheel_projector::Generations;
use tidewheel_runtime::config;
use tidewheel_schemas::{Name, NewRecord, Record, Topic, TopicPartition};
use tidewheel_store::{Generation, MemoryStore, SharedStore};
use tokio::time::Instant;

use crate::clock::BEGINNING_US;
use crate::fault::{Fault, FaultCounts};
use crate::ledger::Ledger;
use crate::random::Random;
use crate::trace::Trace;

/// Accesses to log and store after which a world is frozen: what has not come to rest by then never does.
const OPERATIONS_MAX: u64 = 400_000;

/// What an invariant says that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    /// What was seen instead.
    pub what: String,
}

/// Everything processes share.
pub struct World {
    /// The topic.
    pub topic: Topic,
    /// Its partitions.
    pub partitions: u32,
    /// The topic of the configuration.
    pub config_topic: Topic,
    /// The datacenter.
    pub datacenter: Name,
    /// Whether the store writes a chunk as one batch, as the embedded one does; then processes follow one another.
    pub atomic: bool,
    /// What happened, as a hash.
    pub trace: Trace,
    /// Which faults happened.
    pub faults: FaultCounts,
    /// What was promised and done outside.
    pub ledger: Ledger,
    /// When it began.
    pub began: Instant,
    /// Chance of everything that is nobody's in particular.
    pub random: Random,
    /// The generations of running processes, for readers.
    pub generations: Mutex<BTreeMap<usize, Generations>>,
    log: Mutex<MemoryLog>,
    store: Mutex<Arc<MemoryStore>>,
    calm: AtomicBool,
    calm_us: AtomicI64,
    operations: AtomicU64,
    violations: Mutex<Vec<Violation>>,
    live: Mutex<Vec<(usize, Transition)>>,
}

impl World {
    /// An empty world.
    pub fn new(random: Random, datacenter: Name, partitions: u32, atomic: bool, print: bool) -> Arc<Self> {
        Arc::new(Self {
            topic: Topic::new("events"),
            partitions,
            config_topic: Topic::new("changes"),
            datacenter,
            atomic,
            trace: Trace::new(print),
            faults: FaultCounts::new(),
            ledger: Ledger::default(),
            began: Instant::now(),
            random,
            generations: Mutex::default(),
            log: Mutex::default(),
            store: Mutex::default(),
            calm: AtomicBool::new(false),
            calm_us: AtomicI64::new(i64::MAX),
            operations: AtomicU64::new(0),
            violations: Mutex::default(),
            live: Mutex::default(),
        })
    }

    /// A partition's name.
    pub fn place(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), partition)
    }

    /// The durable log, without any fault.
    pub fn log(&self) -> MemoryLog {
        self.log.lock().clone()
    }

    /// The durable log, as invariants read it.
    pub fn shared_log(&self) -> SharedLog {
        Arc::new(self.log())
    }

    /// The rows, without any fault.
    pub fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.store.lock())
    }

    /// The rows, as invariants read them.
    pub fn shared_store(&self) -> SharedStore {
        self.store()
    }

    /// Another store, empty: the views are dropped.
    pub fn drop_views(&self) {
        *self.store.lock() = Arc::default();
    }

    /// Another log in place of the one that was.
    pub fn replace_log(&self, log: MemoryLog) {
        *self.log.lock() = log;
    }

    /// Makes records durable now. Never waits.
    pub async fn land(
        &self,
        who: usize,
        place: &TopicPartition,
        records: Vec<NewRecord>,
    ) -> Result<Appended, LogError> {
        let count = records.len();
        let landed = self.log().append(place, records).await;
        if let Ok(appended) = &landed {
            let what = if place.topic == self.config_topic { "configured" } else { "landed" };
            self.trace.note(who, what, &[i64::from(place.partition), appended.first(), count as i64]);
        }
        landed
    }

    /// The place of the configuration.
    pub fn config_place(&self) -> TopicPartition {
        TopicPartition::new(self.config_topic.clone(), 0)
    }

    /// The generations of the views and their replays, as the configuration's log says now.
    pub async fn views_state(&self) -> ViewsState {
        match config::read(&self.shared_log(), &self.config_topic).await {
            Ok(snapshot) => ViewsState::clone(&snapshot.views(&self.datacenter)),
            Err(_) => ViewsState::initial(self.datacenter.clone()),
        }
    }

    /// The generation that the configuration says is read.
    pub async fn active(&self) -> Generation {
        Generation(self.views_state().await.active)
    }

    /// The readable range of a partition.
    pub async fn bounds(&self, partition: u32) -> Bounds {
        self.log().bounds(&self.place(partition)).await.unwrap_or(Bounds { start: 0, end: 0 })
    }

    /// Every record of a partition.
    pub async fn records(&self, partition: u32) -> Vec<Record> {
        self.log().read(&self.place(partition), 0, usize::MAX).await.unwrap_or_default()
    }

    /// Faults stop, for good.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        let elapsed_us = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.calm_us.store(BEGINNING_US.saturating_add(elapsed_us), Ordering::Relaxed);
        self.trace.note(0, "calm", &[]);
    }

    /// When faults stopped, microseconds since 1970.
    pub fn calm_us(&self) -> i64 {
        self.calm_us.load(Ordering::Relaxed)
    }

    /// Whether faults have stopped.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Whether a fault of this kind happens here and now; it is counted.
    pub fn strikes(&self, random: &Random, fault: Fault, per_mille: u64) -> bool {
        let strikes = random.chance(per_mille) && !self.is_calm();
        if strikes {
            self.faults.add(fault);
        }
        strikes
    }

    /// Counts an access; false once there were too many for a world that is to come to rest.
    pub fn count_operation(&self) -> bool {
        self.operations.fetch_add(1, Ordering::Relaxed) < OPERATIONS_MAX
    }

    /// How many accesses there were.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// An invariant did not hold.
    pub fn violate(&self, invariant: &'static str, what: impl FnOnce() -> String) {
        let mut violations = self.violations.lock();
        if violations.len() < 20 {
            let what = what();
            self.trace.say(|| format!("VIOLATION {invariant}: {what}"));
            violations.push(Violation { invariant, what });
        }
    }

    /// What did not hold.
    pub fn violations(&self) -> Vec<Violation> {
        self.violations.lock().clone()
    }

    /// Notes what a live process made of records.
    pub fn note_live(&self, who: usize, transitions: &[Transition]) {
        self.live.lock().extend(transitions.iter().map(|transition| (who, transition.clone())));
    }

    /// What live processes made of records.
    pub fn take_live(&self) -> Vec<(usize, Transition)> {
        std::mem::take(&mut *self.live.lock())
    }
}
