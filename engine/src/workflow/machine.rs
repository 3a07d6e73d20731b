//! The machine: one run's code, driven by what happens, yielding what it decides.

use std::sync::{Arc, Mutex};

use tidewheel_schemas::event::{
    RunCancelled, RunCancelling, RunCompleted, RunFailed, SignalReceived, StepCompleted, StepFailed,
    TimerFired,
};
use tidewheel_schemas::limit::FAILURE_MESSAGE_BYTES_MAX;
use tidewheel_schemas::{Event, Failure, Location, Payload};

use super::decision::coordinate;
use super::journal::{self, Emitted, Journal, Kind, Open, Outcome, Phase, Shared, Value, lock};
use super::polling::{Code, Polled};
use super::step::{StepCall, StepFailure, StepTask};
use super::{Context, RunInfo, Workflow, WorkflowError, valid};
use crate::run::{Divergence, HistoryEntry, Origin};

/// An event to append for the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// How many of the run's externals it was decided on.
    pub seen: u64,
    /// The record's time, microseconds since 1970. Writing another one changes what [`Context::now_us`] says in a
    /// replay.
    pub recorded_at_us: i64,
    /// What happened.
    pub event: Event,
}

/// An attempt of a step to run.
#[derive(Clone)]
pub struct Launch {
    /// What to hand to the code.
    pub call: StepCall,
    /// The code.
    pub task: StepTask,
    /// Longest time the attempt may take, milliseconds; then report it as failed with the code `timeout`, retryable.
    pub timeout_ms: Option<u64>,
    /// How many of the proposals in the same output must be accepted first, with everything the machine proposed in
    /// earlier outputs.
    pub after_proposals: usize,
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { call, task: _, timeout_ms, after_proposals } = self;
        let mut shown = formatter.debug_struct("Launch");
        shown.field("call", call).field("timeout_ms", timeout_ms).field("after_proposals", after_proposals);
        shown.finish_non_exhaustive()
    }
}

/// What a machine wants done, in order.
#[derive(Debug, Default)]
pub struct Output {
    /// Events to append, all of them, in this order.
    pub proposals: Vec<Proposal>,
    /// Steps to run once their proposals are accepted.
    pub launches: Vec<Launch>,
    /// Steps in flight whose result is of no more use.
    pub aborts: Vec<Location>,
}

/// One run's code with everything it has seen.
///
/// Build it with [`Self::new`], then [`Self::replay`] the whole history, even if that is the start alone. Any method
/// may return a [`Divergence`]: code and history differ, or the code is broken. The machine is then dead: append what
/// [`Self::take_output`] still has, then the divergence, and forget it.
pub struct Machine {
    pub(super) journal: Shared,
    code: Code,
    diverged: Option<Divergence>,
    finished: bool,
    aborts: Vec<u32>,
}

impl Machine {
    /// The machine of the run that `start`, its `RunStarted`, began. No code runs yet.
    pub fn new(workflow: &dyn Workflow, info: RunInfo, start: &HistoryEntry) -> Self {
        let started = if let Event::RunStarted(started) = &*start.event { Some(started) } else { None };
        let tags = started.map(|started| started.tags.clone()).unwrap_or_default();
        let journal: Shared = Arc::new(Mutex::new(Journal::new(info, start.recorded_at_us, tags)));
        let input = started.map_or_else(Payload::null, |started| started.input.clone());
        let code = Code::new(|| workflow.start(Context::new(Arc::clone(&journal)), input));
        let diverged = started.is_none().then(|| Divergence {
            location: Location::top(1),
            expected: "a history that begins with the run's start".to_owned(),
            found: super::describe::event(&start.event),
        });
        Self { journal, code, diverged, finished: false, aborts: Vec::new() }
    }

    /// Drives the code through the run's whole history, the start included, in offset order; externals the history
    /// has no answer to yet are revealed at the end. Decisions that are missing at the history's end become
    /// proposals, open steps become launches.
    ///
    /// # Errors
    /// The first place where code and history differ. Nothing is proposed then.
    pub fn replay(&mut self, history: &[HistoryEntry]) -> Result<(), Divergence> {
        self.alive()?;
        let replayed = self.replay_all(history);
        if let Err(divergence) = &replayed {
            lock(&self.journal).emitted.clear();
            self.give_up(divergence.clone());
        }
        replayed
    }

    /// Shows the code a new external record; they must come in the order of their ordinals. False if it was
    /// revealed before.
    ///
    /// # Errors
    /// The code broke on it, or a record before it is missing.
    pub fn reveal_external(&mut self, entry: &HistoryEntry) -> Result<bool, Divergence> {
        self.alive()?;
        let Origin::External { ordinal } = entry.origin else { return Ok(false) };
        let seen = self.seen();
        if ordinal <= seen {
            return Ok(false);
        }
        if ordinal > seen + 1 {
            let expected = format!("external record {}", seen + 1);
            return Err(self.broken(self.divergence(None, expected, format!("external record {ordinal}"))));
        }
        self.reveal(entry).map_err(|divergence| self.broken(divergence))?;
        Ok(true)
    }

    /// An attempt of a step succeeded. False, and no effect, if it is not the attempt the code waits for. An output
    /// over the limit fails the step for good with `payload_too_large`.
    ///
    /// # Errors
    /// The code broke on it; the result itself is still among the proposals.
    pub fn step_completed(
        &mut self,
        location: &Location,
        attempt: u32,
        output: Payload,
        now_us: i64,
    ) -> Result<bool, Divergence> {
        if let Err(failure) = valid::payload(&output) {
            let failure = StepFailure { failure, retryable: false };
            return self.step_failed(location, attempt, failure, now_us, 0);
        }
        self.step_ended(location, attempt, now_us, |location, name, _| {
            let outcome = Some(Ok(Value::Output(output.clone())));
            (StepCompleted { location, name, attempt: count(attempt), output }.into(), outcome)
        })
    }

    /// An attempt of a step failed: it is tried again by its policy (`jitter` is any random number), or fails for
    /// good. False, and no effect, if it is not the attempt the code waits for.
    ///
    /// # Errors
    /// The code broke on it; the result itself is still among the proposals.
    pub fn step_failed(
        &mut self,
        location: &Location,
        attempt: u32,
        failure: StepFailure,
        now_us: i64,
        jitter: u32,
    ) -> Result<bool, Divergence> {
        let StepFailure { failure, retryable } = failure;
        let failure = valid::failure(failure);
        self.step_ended(location, attempt, now_us, |location, name, retry| {
            let backoff_us = if retryable { retry.backoff_us(attempt, jitter) } else { None };
            let retry_at_us = backoff_us.map(|backoff_us| now_us.saturating_add_unsigned(backoff_us));
            let outcome =
                if retry_at_us.is_some() { None } else { Some(Err(WorkflowError::Failed(failure.clone()))) };
            (StepFailed { location, name, attempt: count(attempt), failure, retry_at_us }.into(), outcome)
        })
    }

    fn step_ended(
        &mut self,
        location: &Location,
        attempt: u32,
        now_us: i64,
        end: impl FnOnce(Location, tidewheel_schemas::Name, super::RetryPolicy) -> (Event, Option<Outcome>),
    ) -> Result<bool, Divergence> {
        self.alive()?;
        let Some(place) = coordinate(location) else { return Ok(false) };
        let mut guard = lock(&self.journal);
        let journal = &mut *guard;
        let after = journal.emitted_total + 1;
        let Some(Open { kind: Kind::Step { name, options, attempt: current, phase, .. }, .. }) =
            journal.open.get_mut(&place)
        else {
            return Ok(false);
        };
        if *current != attempt || *phase != Phase::Launched {
            return Ok(false);
        }
        let (event, outcome) = end(location.clone(), name.clone(), options.retry);
        if outcome.is_none() {
            *current = attempt.saturating_add(1);
            *phase = Phase::Backoff { after };
        }
        journal.advance(now_us);
        journal.emit(event);
        let ended = outcome.and_then(|outcome| journal.resolve(place, outcome));
        drop(guard);
        self.go_on(ended)
    }

    /// A timer is due: a sleep or a wait for signals ends, or a step is tried again (a launch, no event). False, and
    /// no effect, if nothing at this location waits for a timer.
    ///
    /// # Errors
    /// The code broke on it; the timer's event is still among the proposals.
    pub fn timer_due(&mut self, location: &Location, now_us: i64) -> Result<bool, Divergence> {
        self.alive()?;
        let Some(place) = coordinate(location) else { return Ok(false) };
        let mut guard = lock(&self.journal);
        let journal = &mut *guard;
        let Some(open) = journal.open.get_mut(&place) else { return Ok(false) };
        let location = location.clone();
        let (event, value) = match &mut open.kind {
            Kind::Step { phase, .. } => {
                let Phase::Backoff { after } = *phase else { return Ok(false) };
                *phase = Phase::Held { after };
                return Ok(true);
            }
            Kind::Sleep => (TimerFired { location }.into(), Value::Unit),
            Kind::Signals { timed: false, .. } => return Ok(false),
            Kind::Signals { name, timed: true, .. } => {
                let event = SignalReceived { location, name: name.clone(), signals: Vec::new() };
                (event.into(), Value::Signals(Vec::new()))
            }
        };
        journal.advance(now_us);
        journal.emit(event);
        let ended = journal.resolve(place, Ok(value));
        drop(guard);
        self.go_on(ended)
    }

    /// What is to be done since the last call.
    pub fn take_output(&mut self) -> Output {
        let mut guard = lock(&self.journal);
        let journal = &mut *guard;
        let taken = journal.emitted_total - journal.emitted.len() as u64;
        let mut launches = Vec::new();
        for (place, open) in &mut journal.open {
            if let Kind::Step { name, options, task, attempt, phase } = &mut open.kind
                && let Phase::Held { after } = *phase
            {
                *phase = Phase::Launched;
                let call = StepCall {
                    run_id: journal.info.run_id,
                    location: Location::top(*place),
                    name: name.clone(),
                    attempt: *attempt,
                };
                let after_proposals = usize::try_from(after.saturating_sub(taken)).unwrap_or(usize::MAX);
                let timeout_ms = options.timeout_ms;
                launches.push(Launch { call, task: Arc::clone(task), timeout_ms, after_proposals });
            }
        }
        let propose = |Emitted { seen, recorded_at_us, event }| Proposal { seen, recorded_at_us, event };
        let proposals = journal.emitted.drain(..).map(propose).collect();
        drop(guard);
        let aborts = std::mem::take(&mut self.aborts).into_iter().map(Location::top).collect();
        Output { proposals, launches, aborts }
    }

    /// Whether the run waits for externals and timers only, a retry's timer included: no step runs or is to run.
    pub fn is_idle(&self) -> bool {
        let journal = lock(&self.journal);
        !journal.open.values().any(|open| match &open.kind {
            Kind::Step { phase, .. } => match phase {
                Phase::Held { .. } | Phase::Launched => true,
                Phase::Backoff { .. } => false,
            },
            Kind::Sleep | Kind::Signals { .. } => false,
        })
    }

    /// Whether the code returned or the run was terminated: nothing more will come of it.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// How many externals were revealed.
    pub fn seen(&self) -> u64 {
        lock(&self.journal).seen
    }

    /// The steps handed out as launches that have not ended.
    pub fn open_steps(&self) -> Vec<Location> {
        journal::in_flight(&lock(&self.journal).open).into_iter().map(Location::top).collect()
    }

    /// Every location that waits for a result, a timer or a signal, effects the code has dropped included.
    pub fn open_locations(&self) -> Vec<Location> {
        lock(&self.journal).open.keys().copied().map(Location::top).collect()
    }

    pub(super) fn reveal(&mut self, entry: &HistoryEntry) -> Result<(), Divergence> {
        let mut guard = lock(&self.journal);
        let journal = &mut *guard;
        journal.seen += 1;
        let seen = journal.seen;
        if matches!(&*entry.event, Event::RunUnparked(_)) {
            // Decided anew in place of what was lost, the end of the code as well: after this record.
            for emitted in &mut journal.emitted {
                emitted.seen = seen;
            }
        }
        if self.finished {
            return Ok(());
        }
        journal.advance(entry.recorded_at_us);
        let mut ended = Vec::new();
        if let Event::RunSignaled(signal) = &*entry.event {
            ended.extend(journal.arrive(seen, &signal.name, signal.payload.clone()));
        } else if let Event::RunCancelRequested(request) = &*entry.event {
            if journal.cancel_reason.is_none() {
                journal.cancel_reason = Some(request.reason.as_str().into());
                self.aborts.extend(journal::in_flight(&journal.open));
                let places: Vec<_> = journal.open.keys().copied().collect();
                let locations = places.iter().copied().map(Location::top).collect();
                journal.emit(RunCancelling { locations }.into());
                let cancelled = |place| journal.resolve(place, Err(WorkflowError::Cancelled));
                ended.extend(places.into_iter().filter_map(cancelled));
            }
        } else if matches!(&*entry.event, Event::RunTerminated(_)) {
            drop(guard);
            self.finish();
            return Ok(());
        }
        drop(guard);
        self.wake(ended);
        self.poll()
    }

    pub(super) fn wake(&self, ended: impl IntoIterator<Item = Open>) {
        for waker in ended.into_iter().filter_map(|open| open.waker) {
            waker.wake();
        }
    }

    fn go_on(&mut self, ended: Option<Open>) -> Result<bool, Divergence> {
        if ended.is_some() {
            self.wake(ended);
            self.poll().map_err(|divergence| self.broken(divergence))?;
        }
        Ok(true)
    }

    /// Lets the code go on. If it breaks, what it decided on the way is taken back, so that mended code is not held
    /// to it.
    pub(super) fn poll(&mut self) -> Result<(), Divergence> {
        if self.finished {
            return Ok(());
        }
        let decided = lock(&self.journal).emitted.len();
        match self.code.poll(&self.journal) {
            Polled::Waiting => Ok(()),
            Polled::Returned(result) => {
                let mut journal = lock(&self.journal);
                let reason = journal.cancel_reason.clone();
                journal.emit(ending(result, reason.as_deref()));
                drop(journal);
                self.finish();
                Ok(())
            }
            Polled::Broken { expected, found } => {
                lock(&self.journal).emitted.truncate(decided);
                Err(self.divergence(None, expected.to_owned(), found))
            }
        }
    }

    fn finish(&mut self) {
        self.finished = true;
        self.stop();
    }

    fn stop(&mut self) {
        self.code.stop();
        let (in_flight, closed) = lock(&self.journal).close();
        // User code hangs on these; it must not be dropped under the lock.
        drop(closed);
        self.aborts.extend(in_flight);
    }

    pub(super) fn divergence(
        &self,
        location: Option<&Location>,
        expected: String,
        found: String,
    ) -> Divergence {
        let location = location.cloned().unwrap_or_else(|| Location::top(lock(&self.journal).next));
        Divergence { location, expected, found }
    }

    fn alive(&self) -> Result<(), Divergence> {
        self.diverged.clone().map_or(Ok(()), Err)
    }

    fn broken(&mut self, divergence: Divergence) -> Divergence {
        self.give_up(divergence.clone());
        divergence
    }

    fn give_up(&mut self, divergence: Divergence) {
        self.stop();
        self.diverged = Some(divergence);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Step closures may hold the context, which holds the journal, which holds the closures.
        self.stop();
    }
}

fn ending(result: Result<Payload, WorkflowError>, cancel_reason: Option<&str>) -> Event {
    let result = result.and_then(|output| match valid::payload(&output) {
        Ok(()) => Ok(output),
        Err(failure) => Err(WorkflowError::Failed(failure)),
    });
    match (result, cancel_reason) {
        (Ok(output), _) => RunCompleted { output }.into(),
        (Err(WorkflowError::Failed(failure)), _) => RunFailed { failure: valid::failure(failure) }.into(),
        (Err(WorkflowError::Cancelled), Some(reason)) => {
            // Whoever wrote the request may have filled a whole record with it.
            let mut reason = reason.to_owned();
            valid::cut(&mut reason, FAILURE_MESSAGE_BYTES_MAX);
            RunCancelled { reason }.into()
        }
        (Err(WorkflowError::Cancelled), None) => {
            let message = "the workflow returned `Cancelled`, but nobody asked the run to cancel";
            RunFailed { failure: Failure::new("cancelled", message) }.into()
        }
    }
}

fn count(attempt: u32) -> i32 {
    i32::try_from(attempt).unwrap_or(i32::MAX)
}
