//! What a workflow's code and its machine share: open awaits, outcomes, buffered signals, emitted events.
//!
//! Changed by the code through its context and by the machine; the code is polled elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::ThreadId;

use tidewheel_schemas::event::{SignalAwaited, SignalReceived, TimerStarted};
use tidewheel_schemas::{Event, Failure, Location, Name, Payload};

use super::step::{StepOptions, StepTask};
use super::{RunInfo, WorkflowError};

/// Most awaits open in one run at one time, so that a cancel's record, which names them all, can be appended.
const AWAITS_OPEN_MAX: usize = 10_000;
/// Most events one poll may emit: code that decides without end must not fill the memory.
const EVENTS_PER_POLL_MAX: usize = 50_000;
/// Most payload bytes one poll may emit.
const BYTES_PER_POLL_MAX: usize = 64 * 1024 * 1024;

/// A journal as code and machine hold it. Never locked across a poll.
pub type Shared = Arc<Mutex<Journal>>;

pub fn lock(shared: &Shared) -> MutexGuard<'_, Journal> {
    // User code never runs under the lock, so a poisoned journal is still whole.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an await yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Unit,
    Output(Payload),
    Signals(Vec<Payload>),
}

/// How an await ended.
pub type Outcome = Result<Value, WorkflowError>;

/// What the code asks for at a location.
pub enum Command {
    Step { name: Name, options: StepOptions, task: StepTask },
    Sleep { duration_us: u64 },
    SleepUntil { due_us: i64 },
    Signals { name: Name, max: usize, timeout_us: Option<u64> },
}

/// Where an open step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// To be launched once this many emitted events are accepted.
    Held { after: u64 },
    /// Handed to the shell.
    Launched,
    /// Waits for its retry timer; the record that set it is the `after`-th emitted event.
    Backoff { after: u64 },
}

/// An await the code waits for, or has dropped while its effect goes on.
pub enum Kind {
    Step { name: Name, options: StepOptions, task: StepTask, attempt: u32, phase: Phase },
    Sleep,
    Signals { name: Name, max: usize, timed: bool },
}

/// What was open when the code returned, without its user code.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    Step(Name),
    Sleep,
    Signals(Name),
}

pub struct Open {
    pub kind: Kind,
    /// False once the code has dropped the future.
    pub wanted: bool,
    pub waker: Option<Waker>,
}

/// An event the code or the machine decided on, not yet matched with history or proposed.
pub struct Emitted {
    pub seen: u64,
    pub recorded_at_us: i64,
    pub event: Event,
}

pub struct Journal {
    pub info: Arc<RunInfo>,
    /// The thread that polls the code right now; anybody else is outside the workflow function.
    pub poller: Option<ThreadId>,
    /// `recorded_at` of the last revealed or emitted record, never going backwards.
    pub now_us: i64,
    /// Externals revealed so far.
    pub seen: u64,
    /// The coordinate the next context call gets.
    pub next: u32,
    pub open: BTreeMap<u32, Open>,
    /// What was open when the code ended: results for these are late, not wrong.
    pub left: BTreeMap<u32, Left>,
    outcomes: BTreeMap<u32, Outcome>,
    signals: BTreeMap<Name, VecDeque<(u64, Payload)>>,
    pub cancel_reason: Option<Arc<str>>,
    pub state: Option<Payload>,
    pub tags: Arc<BTreeMap<String, String>>,
    pub emitted: VecDeque<Emitted>,
    /// How many events were emitted in all, those already taken or matched included.
    pub emitted_total: u64,
    events_left: usize,
    bytes_left: usize,
}

impl Journal {
    pub fn new(info: RunInfo, now_us: i64, tags: BTreeMap<String, String>) -> Self {
        Self {
            info: Arc::new(info),
            poller: None,
            now_us,
            seen: 0,
            next: 1,
            open: BTreeMap::new(),
            left: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            signals: BTreeMap::new(),
            cancel_reason: None,
            state: None,
            tags: Arc::new(tags),
            emitted: VecDeque::new(),
            emitted_total: 0,
            events_left: EVENTS_PER_POLL_MAX,
            bytes_left: BYTES_PER_POLL_MAX,
        }
    }

    /// Time only moves forward, so that `now` never surprises the code when clocks of two machines differ.
    pub fn advance(&mut self, recorded_at_us: i64) {
        self.now_us = self.now_us.max(recorded_at_us);
    }

    pub fn begin_poll(&mut self) {
        self.poller = Some(std::thread::current().id());
        self.events_left = EVENTS_PER_POLL_MAX;
        self.bytes_left = BYTES_PER_POLL_MAX;
    }

    /// Whether the caller is the workflow function itself, being polled.
    pub fn is_inside(&self) -> bool {
        self.poller == Some(std::thread::current().id())
    }

    /// Takes the next location, or says why there is none.
    pub fn locate(&mut self) -> Result<u32, Failure> {
        if !self.is_inside() {
            return Err(outside());
        }
        let coordinate = self.next;
        self.next = coordinate.checked_add(1).ok_or_else(|| {
            Failure::new("too_many_commands", format!("a run has at most {} commands", u32::MAX - 1))
        })?;
        Ok(coordinate)
    }

    /// Whether one more event with this many payload bytes may be emitted in this poll.
    pub fn budget(&mut self, bytes: usize) -> Result<(), Failure> {
        let events_left = self.events_left.checked_sub(1);
        let bytes_left = self.bytes_left.checked_sub(bytes);
        let (Some(events_left), Some(bytes_left)) = (events_left, bytes_left) else {
            return Err(Failure::new(
                "too_many_commands",
                format!(
                    "without waiting for anything, a workflow may decide at most {EVENTS_PER_POLL_MAX} things \
                     with {BYTES_PER_POLL_MAX} bytes of payload"
                ),
            ));
        };
        (self.events_left, self.bytes_left) = (events_left, bytes_left);
        Ok(())
    }

    pub fn emit(&mut self, event: Event) {
        let emitted = Emitted { seen: self.seen, recorded_at_us: self.now_us, event };
        self.emitted.push_back(emitted);
        self.emitted_total += 1;
    }

    /// Whether one more await may begin here and now.
    pub fn admit(&mut self) -> Result<(), Failure> {
        if !self.is_inside() {
            return Err(outside());
        }
        if self.open.len() >= AWAITS_OPEN_MAX {
            let message = format!("a run waits for at most {AWAITS_OPEN_MAX} things at one time");
            return Err(Failure::new("too_many_awaits", message));
        }
        self.budget(0)
    }

    /// First poll of an admitted await: the command takes effect. Signals that wait are taken at once.
    pub fn register(&mut self, coordinate: u32, command: Command, waker: &Waker) -> Option<Outcome> {
        let location = Location::top(coordinate);
        let kind = match command {
            Command::Step { name, options, task } => {
                let phase = Phase::Held { after: self.emitted_total };
                Kind::Step { name, options, task, attempt: 1, phase }
            }
            Command::Sleep { duration_us } => {
                let due_us = later(self.now_us, duration_us);
                self.emit(TimerStarted { location, due_us }.into());
                Kind::Sleep
            }
            Command::SleepUntil { due_us } => {
                self.emit(TimerStarted { location, due_us }.into());
                Kind::Sleep
            }
            Command::Signals { name, max, timeout_us } => {
                if let Some(payloads) = self.take_signals(coordinate, &name, max) {
                    return Some(Ok(Value::Signals(payloads)));
                }
                let due_us = timeout_us.map(|timeout_us| later(self.now_us, timeout_us));
                self.emit(SignalAwaited { location, name: name.clone(), due_us }.into());
                Kind::Signals { name, max, timed: due_us.is_some() }
            }
        };
        self.open.insert(coordinate, Open { kind, wanted: true, waker: Some(waker.clone()) });
        None
    }

    /// Takes up to `max` of the oldest signals of this name, if there is any, and says so in an event.
    fn take_signals(&mut self, coordinate: u32, name: &Name, max: usize) -> Option<Vec<Payload>> {
        let waiting = self.signals.get_mut(name)?;
        let count = max.max(1).min(waiting.len());
        let (ordinals, payloads): (Vec<_>, Vec<_>) = waiting.drain(..count).unzip();
        if waiting.is_empty() {
            self.signals.remove(name);
        }
        let signals =
            ordinals.into_iter().map(|ordinal| i64::try_from(ordinal).unwrap_or(i64::MAX)).collect();
        self.emit(SignalReceived { location: Location::top(coordinate), name: name.clone(), signals }.into());
        Some(payloads)
    }

    /// A signal arrives: the earliest await for it takes it, otherwise it waits.
    pub fn arrive(&mut self, ordinal: u64, name: &Name, payload: Payload) -> Option<Open> {
        self.signals.entry(name.clone()).or_default().push_back((ordinal, payload));
        let (coordinate, max) = self.open.iter().find_map(|(coordinate, open)| match &open.kind {
            Kind::Signals { name: awaited, max, .. } if open.wanted && awaited == name => {
                Some((*coordinate, *max))
            }
            Kind::Signals { .. } | Kind::Step { .. } | Kind::Sleep => None,
        })?;
        let payloads = self.take_signals(coordinate, name, max)?;
        self.resolve(coordinate, Ok(Value::Signals(payloads)))
    }

    /// Ends an open await. What comes back holds user code: wake and drop it without the lock.
    pub fn resolve(&mut self, coordinate: u32, outcome: Outcome) -> Option<Open> {
        let open = self.open.remove(&coordinate)?;
        if open.wanted {
            self.outcomes.insert(coordinate, outcome);
        }
        Some(open)
    }

    /// The outcome of an await, once. While there is none the old waker comes back, to be dropped without the lock.
    pub fn outcome(&mut self, coordinate: u32, waker: &Waker) -> Result<Outcome, Option<Waker>> {
        if let Some(outcome) = self.outcomes.remove(&coordinate) {
            return Ok(outcome);
        }
        match self.open.get_mut(&coordinate) {
            Some(open) if open.waker.as_ref().is_some_and(|old| old.will_wake(waker)) => Err(None),
            Some(open) => Err(open.waker.replace(waker.clone())),
            None => Err(None),
        }
    }

    /// The code dropped a future. Its effect goes on, but it takes no more signals.
    pub fn unwanted(&mut self, coordinate: u32) -> Option<Open> {
        if !self.is_inside() {
            return None;
        }
        self.outcomes.remove(&coordinate);
        let open = self.open.get_mut(&coordinate)?;
        open.wanted = false;
        match open.kind {
            // Nothing will ever end it, and the fold keeps nothing for it.
            Kind::Signals { timed: false, .. } => self.open.remove(&coordinate),
            Kind::Signals { timed: true, .. } | Kind::Step { .. } | Kind::Sleep => None,
        }
    }

    /// Whether the code waits for something that can still come.
    pub fn is_waiting(&self) -> bool {
        self.open.values().any(|open| open.wanted)
    }

    /// Forgets everything open; the steps in flight are returned.
    pub fn close(&mut self) -> (Vec<u32>, BTreeMap<u32, Open>) {
        self.outcomes.clear();
        let open = std::mem::take(&mut self.open);
        self.left.extend(open.iter().map(|(coordinate, open)| {
            let left = match &open.kind {
                Kind::Step { name, .. } => Left::Step(name.clone()),
                Kind::Sleep => Left::Sleep,
                Kind::Signals { name, .. } => Left::Signals(name.clone()),
            };
            (*coordinate, left)
        }));
        (in_flight(&open), open)
    }
}

/// The steps among `open` that the shell runs right now.
pub fn in_flight(open: &BTreeMap<u32, Open>) -> Vec<u32> {
    let launched = |open: &Open| matches!(open.kind, Kind::Step { phase: Phase::Launched, .. });
    open.iter().filter(|(_, open)| launched(open)).map(|(coordinate, _)| *coordinate).collect()
}

fn outside() -> Failure {
    Failure::new(
        "context_outside_workflow",
        "the context belongs to the workflow function; steps, threads and tasks must not use it",
    )
}

fn later(now_us: i64, duration_us: u64) -> i64 {
    now_us.saturating_add_unsigned(duration_us)
}
