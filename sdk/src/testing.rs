//! Workflows under test, without a server: an in-memory log and a clock that jumps to the next timer.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidewheel_engine::run::{Divergence, HistoryEntry, Origin};
use tidewheel_engine::workflow::{self as engine, Launch, Machine, RunInfo, StepFailure, Workflow};
use tidewheel_schemas::event::{RunCancelRequested, RunSignaled, RunStarted};
use tidewheel_schemas::{Event, EventId, Failure, Location, Name, Payload, RunId};

use crate::context::micros;
use crate::data;
use crate::error::{WorkflowError, WorkflowResult};

/// Most records one run may leave in a test, so that a step that never succeeds ends it.
const RECORDS_MAX: usize = 10_000;
/// When runs begin: 2026-01-01T00:00:00Z, microseconds since 1970.
const START_US: i64 = 1_767_225_600_000_000;

/// Runs a workflow that needs no signals to its end.
///
/// # Errors
/// What the workflow returned, or what [`Scenario::run`] says.
pub fn run<O: DeserializeOwned>(workflow: Arc<dyn Workflow>, input: &impl Serialize) -> WorkflowResult<O> {
    Scenario::new(workflow).run(input).output()
}

/// What happens to one run.
#[must_use = "nothing happens until it is run"]
pub struct Scenario {
    workflow: Arc<dyn Workflow>,
    externals: Vec<(i64, Event)>,
    invalid: Option<Failure>,
}

/// How a run went.
#[derive(Debug)]
pub struct Run {
    /// The workflow's result, or why there is none.
    pub result: WorkflowResult<Payload>,
    /// Every record of the run, in order.
    pub history: Vec<HistoryEntry>,
}

impl Run {
    /// The workflow's typed result.
    ///
    /// # Errors
    /// What the workflow returned, or `invalid_output` if it returned something else than `O`.
    pub fn output<O: DeserializeOwned>(&self) -> WorkflowResult<O> {
        let payload = self.result.clone()?;
        data::decode(&payload, "output").map_err(WorkflowError::from_failure)
    }

    /// The state the workflow published last.
    ///
    /// # Errors
    /// `invalid_state` if it is not what `T` reads.
    pub fn state<T: DeserializeOwned>(&self) -> WorkflowResult<Option<T>> {
        let state = self.history.iter().rev().find_map(|entry| {
            if let Event::RunStateChanged(changed) = &*entry.event { Some(&changed.state) } else { None }
        });
        state.map(|state| data::decode(state, "state")).transpose().map_err(WorkflowError::from_failure)
    }
}

impl Scenario {
    /// A run of this workflow to which nothing happens from outside.
    pub fn new(workflow: Arc<dyn Workflow>) -> Self {
        Self { workflow, externals: Vec::new(), invalid: None }
    }

    /// A signal, sent when the run first waits for anything.
    pub fn signal<T: Serialize + ?Sized>(self, name: &str, value: &T) -> Self {
        self.signal_after(Duration::ZERO, name, value)
    }

    /// A signal, sent this long after the start.
    pub fn signal_after<T: Serialize + ?Sized>(mut self, after: Duration, name: &str, value: &T) -> Self {
        let signal = crate::context::valid_name(name)
            .and_then(|name| data::encode(value, "signal").map(|payload| RunSignaled { name, payload }));
        match signal {
            Ok(signal) => self.happens(after, signal.into()),
            Err(failure) => {
                self.invalid = Some(failure);
                self
            }
        }
    }

    /// A request to cancel, sent this long after the start.
    pub fn cancel_after(self, after: Duration, reason: &str) -> Self {
        self.happens(after, RunCancelRequested { reason: reason.to_owned() }.into())
    }

    fn happens(mut self, after: Duration, event: Event) -> Self {
        self.externals.push((START_US.saturating_add_unsigned(micros(after)), event));
        self
    }

    /// Runs to the end. Steps run one by one on this thread, without their timeouts; timers fire at once, in order.
    /// The history is then replayed from nothing, so that code that is not deterministic fails its tests.
    ///
    /// The result is an error with one of these codes if the run does not end by itself: `diverged`, `waits_for_ever`,
    /// `too_many_records`.
    pub fn run(mut self, input: &impl Serialize) -> Run {
        let input = match (self.invalid.take(), data::encode(input, "input")) {
            (None, Ok(input)) => input,
            (Some(failure), _) | (None, Err(failure)) => {
                return Run { result: Err(WorkflowError::from_failure(failure)), history: Vec::new() };
            }
        };
        self.externals.sort_by_key(|(at_us, _)| *at_us);
        match Node::new(&*self.workflow, self.externals.into(), input) {
            Ok(mut node) => {
                let result = node.drive();
                Run { result, history: node.log }
            }
            Err(failure) => Run { result: Err(WorkflowError::from_failure(failure)), history: Vec::new() },
        }
    }
}

struct Node<'a> {
    workflow: &'a dyn Workflow,
    info: RunInfo,
    log: Vec<HistoryEntry>,
    machine: Machine,
    launches: VecDeque<Launch>,
    externals: VecDeque<(i64, Event)>,
    timers: BTreeMap<Location, i64>,
    ordinal: u64,
    now_us: i64,
}

impl<'a> Node<'a> {
    fn new(
        workflow: &'a dyn Workflow,
        externals: VecDeque<(i64, Event)>,
        input: Payload,
    ) -> Result<Self, Failure> {
        let name = |text| Name::new(text).map_err(|error| Failure::new("invalid_name", error.to_string()));
        let info = RunInfo {
            run_id: RunId::keyed("testing", 0, "testing", "run"),
            namespace: name("testing")?,
            workflow: name("testing")?,
            key: None,
        };
        let started = RunStarted { workflow: info.workflow.clone(), key: None, input, tags: BTreeMap::new() };
        let start = entry(0, START_US, Origin::External { ordinal: 0 }, started.into());
        let machine = Machine::new(workflow, info.clone(), &start);
        Ok(Self {
            workflow,
            info,
            log: vec![start],
            machine,
            launches: VecDeque::new(),
            externals,
            timers: BTreeMap::new(),
            ordinal: 0,
            now_us: START_US,
        })
    }

    fn drive(&mut self) -> WorkflowResult<Payload> {
        self.machine.replay(&self.log).map_err(diverged)?;
        self.collect();
        while !self.machine.is_finished() {
            if self.log.len() > RECORDS_MAX {
                let message = format!("the run has more than {RECORDS_MAX} records and goes on");
                return Err(WorkflowError::failed("too_many_records", message));
            }
            self.advance()?;
            self.collect();
        }
        let mut again = Machine::new(self.workflow, self.info.clone(), &self.log[0]);
        again.replay(&self.log).map_err(diverged)?;
        if !again.is_finished() || !again.take_output().proposals.is_empty() {
            return Err(WorkflowError::failed(
                "diverged",
                "a replay of the history does not end where the run did",
            ));
        }
        self.result()
    }

    /// The next thing happens: a step, else whatever comes first from outside or by a timer.
    fn advance(&mut self) -> WorkflowResult<()> {
        if let Some(launch) = self.launches.pop_front() {
            let (location, attempt) = (launch.call.location.clone(), launch.call.attempt);
            let ended = match attempt_step(launch) {
                Ok(output) => self.machine.step_completed(&location, attempt, output, self.now_us),
                Err(failure) => self.machine.step_failed(&location, attempt, failure, self.now_us, 0),
            };
            return ended.map(drop).map_err(diverged);
        }
        let timer = self.timers.iter().map(|(location, due_us)| (*due_us, location.clone())).min();
        let external_us = self.externals.front().map(|(at_us, _)| *at_us);
        match (external_us, timer) {
            (Some(at_us), timer) if timer.as_ref().is_none_or(|(due_us, _)| at_us <= *due_us) => {
                self.now_us = self.now_us.max(at_us);
                let Some((_, event)) = self.externals.pop_front() else { return Ok(()) };
                self.ordinal += 1;
                let origin = Origin::External { ordinal: self.ordinal };
                let external = entry(self.log.len(), self.now_us, origin, event);
                self.log.push(external.clone());
                self.machine.reveal_external(&external).map(drop).map_err(diverged)
            }
            (_, Some((due_us, location))) => {
                self.now_us = self.now_us.max(due_us);
                self.timers.remove(&location);
                self.machine.timer_due(&location, self.now_us).map(drop).map_err(diverged)
            }
            (_, None) => {
                let waits: Vec<_> = self.machine.open_locations().iter().map(ToString::to_string).collect();
                let message = format!("the run waits at {} for signals that never come", waits.join(", "));
                Err(WorkflowError::failed("waits_for_ever", message))
            }
        }
    }

    fn collect(&mut self) {
        let output = self.machine.take_output();
        for proposal in output.proposals {
            self.note_timers(&proposal.event);
            let origin = Origin::Engine { seen: proposal.seen, idle: false };
            self.log.push(entry(self.log.len(), proposal.recorded_at_us, origin, proposal.event));
        }
        self.launches.retain(|launch| !output.aborts.contains(&launch.call.location));
        self.launches.extend(output.launches);
    }

    fn note_timers(&mut self, event: &Event) {
        if let Event::TimerStarted(started) = event {
            self.timers.insert(started.location.clone(), started.due_us);
        } else if let Event::SignalAwaited(awaited) = event {
            self.timers.extend(awaited.due_us.map(|due_us| (awaited.location.clone(), due_us)));
        } else if let Event::StepFailed(failed) = event {
            self.timers.extend(failed.retry_at_us.map(|due_us| (failed.location.clone(), due_us)));
        } else if let Event::SignalReceived(received) = event {
            self.timers.remove(&received.location);
        } else if let Event::RunCancelling(cancelling) = event {
            self.timers.retain(|location, _| !cancelling.locations.contains(location));
        }
    }

    fn result(&self) -> WorkflowResult<Payload> {
        let last = self.log.iter().rev().find_map(|entry| match &*entry.event {
            Event::RunCompleted(completed) => Some(Ok(completed.output.clone())),
            Event::RunFailed(failed) => Some(Err(WorkflowError::from_failure(failed.failure.clone()))),
            Event::RunCancelled(_) => Some(Err(WorkflowError::from_engine(engine::WorkflowError::Cancelled))),
            _ => None,
        });
        last.unwrap_or_else(|| Err(WorkflowError::failed("diverged", "the run ended without a result")))
    }
}

fn attempt_step(launch: Launch) -> Result<Payload, StepFailure> {
    let attempt = || futures::executor::block_on((launch.task)(launch.call));
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| {
        let failure = Failure::new("step_panicked", "the step panicked");
        Err(StepFailure { failure, retryable: true })
    })
}

fn entry(offset: usize, recorded_at_us: i64, origin: Origin, event: Event) -> HistoryEntry {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&(offset as u64).to_be_bytes());
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    HistoryEntry { offset, event_id: EventId::random(id), recorded_at_us, origin, event: Arc::new(event) }
}

fn diverged(divergence: Divergence) -> WorkflowError {
    let Divergence { location, expected, found } = divergence;
    WorkflowError::failed("diverged", format!("at {location}: expected {expected}, found {found}"))
}
