//! The faults a world can have, and how often each of them happened: a fault that never happens tests nothing.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Fault {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

faults! {
    /// A process ends at once.
    Crash = "crash",
    /// A process ends right after its n-th access to log or store: between any two writes.
    CrashBetweenWrites = "crash between two writes",
    /// An append that was on the way when its process ended arrives all the same.
    LandedAfterCrash = "append landed after the crash",
    /// A process stops as asked.
    Stop = "orderly stop",
    /// A process stands still; what it submits is delayed until it wakes.
    Pause = "pause",
    /// A paused process wakes up while another one leads: owner and projector go on with what they had in mind.
    Zombie = "zombie woke beside a successor",
    /// Two processes want the same partitions.
    Overlap = "two processes at once",
    /// A process is told to do something else for a partition: to lead it or not, to write its views or not.
    DutyMoved = "duty moved",
    /// A claim takes long to arrive.
    ClaimDelayed = "delayed claim",
    /// An append is durable, its answer is an error.
    AckLost = "lost ack",
    /// An append is durable, its answer comes too late to be believed: an error after half a minute.
    AckLate = "ack that never came",
    /// An append is lost, its answer is an error.
    AppendLost = "lost append",
    /// An append is refused for lack of room.
    AppendRefused = "refused append",
    /// A process cannot reach the log.
    LogUnreachable = "log unreachable",
    /// A process cannot use the store for a while.
    StoreUnavailable = "store unavailable",
    /// A process cannot use the store any more.
    StoreGone = "store gone for one process",
    /// A write of several rows fails after some of them.
    StoreWriteTorn = "store write failed half-way",
    /// Everything a process does takes long.
    Slow = "slow process",
    /// A clock jumps ahead.
    ClockAhead = "clock jump ahead",
    /// A clock jumps back.
    ClockBack = "clock jump back",
    /// A producer sends an event again because it never heard of it.
    Retry = "producer retry",
    /// A producer sends an event again although it was acknowledged, maybe much later.
    Duplicate = "duplicate external",
    /// Externals of one producer arrive in another order than they were sent in.
    Reordered = "reordered externals",
    /// A record whose headers nobody can read.
    Foreign = "foreign record",
    /// A record with headers of ours and a value nobody can read.
    Garbage = "garbage value",
    /// A record in the wrong partition, namespace or name.
    Forged = "forged record",
    /// The log ends before what the views were built from.
    LogTruncated = "log truncated under a checkpoint",
    /// The log is another one.
    LogRecreated = "log recreated",
    /// The fold version is raised beyond what any process knows.
    FoldRaised = "fold raised",
    /// A replay begins to fill another generation of the views.
    ReplayStarted = "replay started",
    /// A replay is paused, resumed, slowed or made faster.
    ReplaySteered = "replay steered",
    /// A replay is cancelled.
    ReplayCancelled = "replay cancelled",
    /// A process ends at once in the middle of filling a generation.
    ReplayKilled = "replay killed",
    /// Reads move to another generation of the views, or back.
    ReadsMoved = "reads moved",
    /// A generation that is not read is dropped.
    GenerationDropped = "generation dropped",
    /// A step fails.
    StepFailed = "step failed",
    /// A step panics.
    StepPanicked = "step panicked",
    /// A step takes longer than its timeout.
    StepTimedOut = "step timed out",
}

/// How often each fault happened.
#[derive(Debug, Default)]
pub struct FaultCounts(Vec<AtomicU64>);

impl FaultCounts {
    /// All zero.
    pub fn new() -> Self {
        Self(Fault::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }

    /// One more.
    pub fn add(&self, fault: Fault) {
        self.add_many(fault, 1);
    }

    /// Some more.
    pub fn add_many(&self, fault: Fault, count: u64) {
        if let Some(counter) = self.0.get(fault as usize) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How often it happened.
    pub fn get(&self, fault: Fault) -> u64 {
        self.0.get(fault as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}
