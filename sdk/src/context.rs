//! The typed context a workflow function gets. Steps and signals have their own files.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidewheel_engine::workflow as engine;
use tidewheel_engine::workflow::{RunInfo, StepCall};
use tidewheel_schemas::{Failure, Name, RunId};

use crate::data;
use crate::error::{StepResult, WorkflowError, WorkflowResult};
use crate::signal::{Signal, Signals};
use crate::step::Step;

/// A workflow's only way to the world. Cloning shares the run.
///
/// Belongs to the workflow function: used from a step or another task, its calls fail with
/// `context_outside_workflow`.
#[derive(Clone, Debug)]
pub struct Context(engine::Context);

impl Context {
    pub(crate) fn new(raw: engine::Context) -> Self {
        Self(raw)
    }

    /// Runs `task` and records its result, a JSON value of at most 512 KiB. It runs at least once: an attempt that
    /// was under way in a crash is repeated. Attempts that fail are retried without end, after 100 ms, doubling to
    /// at most 60 s, unless the [`Step`] says otherwise.
    pub fn step<T, F, Fut>(&self, name: &str, task: F) -> Step<T>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = StepResult<T>> + Send + 'static,
    {
        self.step_with(name, move |_| task())
    }

    /// Like [`Self::step`], for a task that wants to know its attempt or an idempotency key.
    pub fn step_with<T, F, Fut>(&self, name: &str, task: F) -> Step<T>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Fn(StepCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = StepResult<T>> + Send + 'static,
    {
        Step::new(&self.0, name, task)
    }

    /// Waits, across restarts.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep(self.0.sleep_us(micros(duration)))
    }

    /// Waits until a point in time, across restarts.
    pub fn sleep_until(&self, time: Timestamp) -> Sleep {
        Sleep(self.0.sleep_until_us(time.as_microsecond()))
    }

    /// Takes the oldest signal of this name, waiting for one if need be.
    pub fn signal<T: DeserializeOwned>(&self, name: &str) -> Signal<T> {
        Signal::new(&self.0, name)
    }

    /// Takes the oldest signals of this name, at most `max`, waiting until there is one.
    pub fn signals<T: DeserializeOwned>(&self, name: &str, max: usize) -> Signals<T> {
        Signals::new(&self.0, name, max)
    }

    /// Publishes the run's state, whole, for everybody who looks at the run.
    ///
    /// # Errors
    /// `invalid_state` if it is no JSON, `payload_too_large` over 512 KiB.
    pub fn set_state<T: Serialize + ?Sized>(&self, state: &T) -> WorkflowResult<()> {
        let set = data::encode(state, "state").and_then(|payload| self.0.set_state(payload));
        set.map_err(WorkflowError::from_failure)
    }

    /// The state this workflow published last.
    ///
    /// # Errors
    /// `invalid_state` if it is not what `T` reads.
    pub fn state<T: DeserializeOwned>(&self) -> WorkflowResult<Option<T>> {
        let state = self.0.state().map(|payload| data::decode(&payload, "state"));
        state.transpose().map_err(WorkflowError::from_failure)
    }

    /// Replaces the run's tags, whole: the words to find it by.
    ///
    /// # Errors
    /// `tags_too_large` over 16 tags, keys of 64 or values of 256 bytes.
    pub fn set_tags<K: Into<String>, V: Into<String>>(
        &self,
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> WorkflowResult<()> {
        let tags = tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.0.set_tags(tags).map_err(WorkflowError::from_failure)
    }

    /// The run's tags.
    pub fn tags(&self) -> Arc<BTreeMap<String, String>> {
        self.0.tags()
    }

    /// Sends a signal to another run of the same namespace, exactly once, without waiting for its arrival.
    ///
    /// # Errors
    /// `invalid_name`, `invalid_signal` if the value is no JSON, `payload_too_large` over 512 KiB.
    pub fn signal_run<T: Serialize + ?Sized>(
        &self,
        target: RunId,
        name: &str,
        value: &T,
    ) -> WorkflowResult<()> {
        let sent = valid_name(name).and_then(|name| {
            let payload = data::encode(value, "signal")?;
            self.0.signal_run(target, name, payload)
        });
        sent.map_err(WorkflowError::from_failure)
    }

    /// The time of the last thing that happened in this run: the same in every replay, unlike a clock's.
    pub fn now(&self) -> Timestamp {
        let now_us = self.0.now_us();
        let limit = if now_us < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_microsecond(now_us).unwrap_or(limit)
    }

    /// The run's id.
    pub fn run_id(&self) -> RunId {
        self.0.run_info().run_id
    }

    /// Namespace, workflow and key of the run.
    pub fn info(&self) -> Arc<RunInfo> {
        self.0.run_info()
    }

    /// Why the run was asked to cancel, once it was.
    pub fn cancel_reason(&self) -> Option<Arc<str>> {
        self.0.cancel_reason()
    }
}

/// A durable sleep under way.
#[must_use = "nothing happens until it is awaited"]
pub struct Sleep(engine::Await<()>);

impl Future for Sleep {
    type Output = WorkflowResult<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(WorkflowError::from_engine)
    }
}

pub(crate) fn valid_name(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(|error| Failure::new("invalid_name", error.to_string()))
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
