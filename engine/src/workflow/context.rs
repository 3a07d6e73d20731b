//! The context: what a workflow function may do, on raw payloads. The `sdk` wraps it in types.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tidewheel_schemas::event::{RunStateChanged, RunTagged, SignalSent};
use tidewheel_schemas::{Failure, Location, Name, Payload, RunId};

use super::journal::{Command, Shared, Value, lock};
use super::step::{StepOptions, StepTask};
use super::{RunInfo, WorkflowError, valid};

/// A workflow's only way to the world. Cloning shares the run.
///
/// Every call takes the next location when it is *made*; an await takes effect when it is first polled. Used from
/// anywhere but the workflow function itself (a step, another task), calls fail with `context_outside_workflow`.
#[derive(Clone)]
pub struct Context {
    journal: Shared,
}

impl Context {
    pub(super) fn new(journal: Shared) -> Self {
        Self { journal }
    }

    /// Runs user code and records its result. Failed attempts are retried by `options`; the await fails with the
    /// last one's failure.
    pub fn step(&self, name: Name, options: StepOptions, task: StepTask) -> Await<Payload> {
        self.wait(Command::Step { name, options, task }, |value| match value {
            Value::Output(payload) => Some(payload),
            Value::Unit | Value::Signals(_) => None,
        })
    }

    /// Waits for `duration_us` microseconds from [`Self::now_us`], across restarts.
    pub fn sleep_us(&self, duration_us: u64) -> Await<()> {
        self.wait(Command::Sleep { duration_us }, unit)
    }

    /// Waits until `due_us`, microseconds since 1970, across restarts.
    pub fn sleep_until_us(&self, due_us: i64) -> Await<()> {
        self.wait(Command::SleepUntil { due_us }, unit)
    }

    /// Takes the oldest signal of this name, waiting for one if need be; `None` once `timeout_us` microseconds are
    /// over, never without a timeout.
    pub fn signal(&self, name: Name, timeout_us: Option<u64>) -> Await<Option<Payload>> {
        self.wait(Command::Signals { name, max: 1, timeout_us }, |value| match value {
            Value::Signals(payloads) => Some(payloads.into_iter().next()),
            Value::Unit | Value::Output(_) => None,
        })
    }

    /// Takes the oldest signals of this name, at most `max` (0 means 1), waiting for one if need be; empty once
    /// `timeout_us` microseconds are over, never without a timeout.
    pub fn signals(&self, name: Name, max: usize, timeout_us: Option<u64>) -> Await<Vec<Payload>> {
        self.wait(Command::Signals { name, max, timeout_us }, |value| match value {
            Value::Signals(payloads) => Some(payloads),
            Value::Unit | Value::Output(_) => None,
        })
    }

    fn wait<T>(&self, command: Command, convert: fn(Value) -> Option<T>) -> Await<T> {
        let stage = match lock(&self.journal).locate() {
            Ok(coordinate) => Stage::New(coordinate, command),
            Err(failure) => Stage::Refused(failure),
        };
        Await { journal: Arc::clone(&self.journal), stage, convert }
    }

    /// Publishes the run's state, whole.
    ///
    /// # Errors
    /// `payload_too_large`, `too_many_commands`, `context_outside_workflow`.
    pub fn set_state(&self, state: Payload) -> Result<(), Failure> {
        let mut journal = lock(&self.journal);
        let location = Location::top(journal.locate()?);
        valid::payload(&state)?;
        journal.budget(state.data.len())?;
        journal.state = Some(state.clone());
        journal.emit(RunStateChanged { location, state }.into());
        Ok(())
    }

    /// The state this workflow published last.
    pub fn state(&self) -> Option<Payload> {
        lock(&self.journal).state.clone()
    }

    /// Replaces the run's tags, whole.
    ///
    /// # Errors
    /// `tags_too_large`, `too_many_commands`, `context_outside_workflow`.
    pub fn set_tags(&self, tags: BTreeMap<String, String>) -> Result<(), Failure> {
        let mut journal = lock(&self.journal);
        let location = Location::top(journal.locate()?);
        valid::tags(&tags)?;
        journal.budget(0)?;
        journal.tags = Arc::new(tags.clone());
        journal.emit(RunTagged { location, tags }.into());
        Ok(())
    }

    /// The run's tags as this workflow knows them.
    pub fn tags(&self) -> Arc<BTreeMap<String, String>> {
        Arc::clone(&lock(&self.journal).tags)
    }

    /// Sends a signal to another run of the same namespace. Does not wait for its arrival; what cannot be delivered
    /// shows up among the rejections.
    ///
    /// # Errors
    /// `payload_too_large`, `too_many_commands`, `context_outside_workflow`.
    pub fn signal_run(&self, target: RunId, name: Name, payload: Payload) -> Result<(), Failure> {
        let mut journal = lock(&self.journal);
        let location = Location::top(journal.locate()?);
        valid::payload(&payload)?;
        journal.budget(payload.data.len())?;
        journal.emit(SignalSent { location, target, name, payload }.into());
        Ok(())
    }

    /// The time of the last thing that happened in this run, microseconds since 1970: the same in every replay.
    pub fn now_us(&self) -> i64 {
        lock(&self.journal).now_us
    }

    /// What is fixed about this run.
    pub fn run_info(&self) -> Arc<RunInfo> {
        Arc::clone(&lock(&self.journal).info)
    }

    /// Why the run was asked to cancel, once it was.
    pub fn cancel_reason(&self) -> Option<Arc<str>> {
        lock(&self.journal).cancel_reason.clone()
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Context").field(&self.run_info().run_id).finish()
    }
}

fn unit(value: Value) -> Option<()> {
    match value {
        Value::Unit => Some(()),
        Value::Output(_) | Value::Signals(_) => None,
    }
}

enum Stage {
    New(u32, Command),
    Open(u32),
    Refused(Failure),
    Done,
}

/// Something a workflow waits for. Combine these with `join`, or with `select` that polls in a fixed order.
///
/// Dropped before it ends, a step still runs and a sleep still fires, both to no effect; a dropped wait for signals
/// takes none.
#[must_use = "nothing happens until it is awaited"]
pub struct Await<T> {
    journal: Shared,
    stage: Stage,
    convert: fn(Value) -> Option<T>,
}

impl<T> Await<T> {
    /// The options of a step that was not polled yet.
    pub fn step_options(&mut self) -> Option<&mut StepOptions> {
        match &mut self.stage {
            Stage::New(_, Command::Step { options, .. }) => Some(options),
            Stage::New(_, Command::Sleep { .. } | Command::SleepUntil { .. } | Command::Signals { .. })
            | Stage::Open(_)
            | Stage::Refused(_)
            | Stage::Done => None,
        }
    }

    /// The timeout of a wait for signals that was not polled yet, microseconds.
    pub fn timeout_us(&mut self) -> Option<&mut Option<u64>> {
        match &mut self.stage {
            Stage::New(_, Command::Signals { timeout_us, .. }) => Some(timeout_us),
            Stage::New(_, Command::Sleep { .. } | Command::SleepUntil { .. } | Command::Step { .. })
            | Stage::Open(_)
            | Stage::Refused(_)
            | Stage::Done => None,
        }
    }
}

impl<T> Future for Await<T> {
    type Output = Result<T, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outcome = match std::mem::replace(&mut this.stage, Stage::Done) {
            Stage::Refused(failure) => Err(WorkflowError::Failed(failure)),
            Stage::New(coordinate, command) => {
                let mut journal = lock(&this.journal);
                match journal.admit() {
                    Ok(()) => match journal.register(coordinate, command, context.waker()) {
                        Some(outcome) => outcome,
                        None => {
                            this.stage = Stage::Open(coordinate);
                            return Poll::Pending;
                        }
                    },
                    Err(failure) => {
                        // The command holds user code, which must not be dropped under the lock.
                        drop(journal);
                        drop(command);
                        Err(WorkflowError::Failed(failure))
                    }
                }
            }
            Stage::Open(coordinate) => {
                let outcome = lock(&this.journal).outcome(coordinate, context.waker());
                match outcome {
                    Ok(outcome) => outcome,
                    Err(_replaced) => {
                        this.stage = Stage::Open(coordinate);
                        return Poll::Pending;
                    }
                }
            }
            Stage::Done => return Poll::Pending,
        };
        Poll::Ready(outcome.and_then(|value| {
            // The machine answers each kind of await with its own kind of value.
            (this.convert)(value).ok_or_else(|| {
                WorkflowError::Failed(Failure::new(
                    "internal",
                    "an await was answered with a value of another kind",
                ))
            })
        }))
    }
}

impl<T> Drop for Await<T> {
    fn drop(&mut self) {
        if let Stage::Open(coordinate) = self.stage {
            let dropped = lock(&self.journal).unwanted(coordinate);
            drop(dropped);
        }
    }
}
