//! Steps: options in the manner of a builder, awaited for the result.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidewheel_engine::workflow::{
    self as engine, Await, RetryPolicy, StepCall, StepFailure, StepOptions, StepTask,
};
use tidewheel_schemas::{Failure, Payload};

use crate::context::valid_name;
use crate::data;
use crate::error::{StepResult, WorkflowError, WorkflowResult};

/// A step: set its options, then await it.
#[must_use = "a step runs only when it is awaited"]
pub struct Step<T> {
    raw: Result<Await<Payload>, Failure>,
    output: PhantomData<fn() -> T>,
}

impl<T> Step<T> {
    pub(crate) fn new<F, Fut>(context: &engine::Context, name: &str, task: F) -> Self
    where
        T: Serialize + 'static,
        F: Fn(StepCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = StepResult<T>> + Send + 'static,
    {
        let task: StepTask = Arc::new(move |call| {
            let attempt = task(call);
            Box::pin(async move {
                let output = attempt.await.map_err(crate::StepError::into_engine)?;
                data::encode(&output, "output").map_err(|failure| StepFailure { failure, retryable: false })
            })
        });
        let raw = valid_name(name).map(|name| context.step(name, StepOptions::default(), task));
        Self { raw, output: PhantomData }
    }

    /// When failed attempts are repeated.
    pub fn retry(self, retry: RetryPolicy) -> Self {
        self.with(|options| options.retry = retry)
    }

    /// Most attempts, the first included; the default has no limit.
    pub fn attempts_max(self, attempts_max: u32) -> Self {
        self.with(|options| options.retry.attempts_max = Some(attempts_max))
    }

    /// Longest time one attempt may take; then it failed with the code `timeout` and is retried.
    pub fn timeout(self, timeout: Duration) -> Self {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.with(|options| options.timeout_ms = Some(timeout_ms))
    }

    fn with(mut self, change: impl FnOnce(&mut StepOptions)) -> Self {
        if let Some(options) = self.raw.as_mut().ok().and_then(Await::step_options) {
            change(options);
        }
        self
    }
}

impl<T: DeserializeOwned> Future for Step<T> {
    type Output = WorkflowResult<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let raw = match &mut self.raw {
            Ok(raw) => raw,
            Err(failure) => return Poll::Ready(Err(WorkflowError::from_failure(failure.clone()))),
        };
        Pin::new(raw).poll(context).map(|outcome| {
            let payload = outcome.map_err(WorkflowError::from_engine)?;
            data::decode(&payload, "output").map_err(WorkflowError::from_failure)
        })
    }
}
