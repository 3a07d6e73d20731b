//! Waits for signals: one, one or a timeout, many.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tidewheel_engine::workflow::{self as engine, Await};
use tidewheel_schemas::{Failure, Payload};

use crate::context::{micros, valid_name};
use crate::data;
use crate::error::{WorkflowError, WorkflowResult};

/// A wait for one signal. A payload that does not read as `T` fails it with `invalid_signal`; the signal is taken
/// all the same.
#[must_use = "nothing is taken until it is awaited"]
pub struct Signal<T>(SignalOrTimeout<T>);

impl<T> Signal<T> {
    pub(crate) fn new(context: &engine::Context, name: &str) -> Self {
        let raw = valid_name(name).map(|name| context.signal(name, None));
        Self(SignalOrTimeout { raw, value: PhantomData })
    }

    /// Waits no longer than this: then there is no signal, `None`.
    pub fn timeout(mut self, timeout: Duration) -> SignalOrTimeout<T> {
        if let Some(timeout_us) = self.0.raw.as_mut().ok().and_then(Await::timeout_us) {
            *timeout_us = Some(micros(timeout));
        }
        self.0
    }
}

impl<T: DeserializeOwned> Future for Signal<T> {
    type Output = WorkflowResult<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| {
            // Only a wait with a timeout ends without a signal.
            outcome?
                .ok_or_else(|| WorkflowError::failed("timeout", "the wait for a signal ended without one"))
        })
    }
}

/// A wait for one signal with a timeout: `None` once that is over.
#[must_use = "nothing is taken until it is awaited"]
pub struct SignalOrTimeout<T> {
    raw: Result<Await<Option<Payload>>, Failure>,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Future for SignalOrTimeout<T> {
    type Output = WorkflowResult<Option<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        poll_raw(&mut self.raw, context).map(|outcome| {
            let value = outcome?.map(|payload| data::decode(&payload, "signal"));
            value.transpose().map_err(WorkflowError::from_failure)
        })
    }
}

/// A wait for the signals that are there, at least one; with a timeout, perhaps none.
#[must_use = "nothing is taken until it is awaited"]
pub struct Signals<T> {
    raw: Result<Await<Vec<Payload>>, Failure>,
    value: PhantomData<fn() -> T>,
}

impl<T> Signals<T> {
    pub(crate) fn new(context: &engine::Context, name: &str, max: usize) -> Self {
        let raw = valid_name(name).map(|name| context.signals(name, max, None));
        Self { raw, value: PhantomData }
    }

    /// Waits no longer than this: then there are no signals.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let Some(timeout_us) = self.raw.as_mut().ok().and_then(Await::timeout_us) {
            *timeout_us = Some(micros(timeout));
        }
        self
    }
}

impl<T: DeserializeOwned> Future for Signals<T> {
    type Output = WorkflowResult<Vec<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        poll_raw(&mut self.raw, context).map(|outcome| {
            let values =
                outcome?.iter().map(|payload| data::decode(payload, "signal")).collect::<Result<_, _>>();
            values.map_err(WorkflowError::from_failure)
        })
    }
}

fn poll_raw<T>(
    raw: &mut Result<Await<T>, Failure>,
    context: &mut std::task::Context<'_>,
) -> Poll<WorkflowResult<T>> {
    match raw {
        Ok(raw) => Pin::new(raw).poll(context).map_err(WorkflowError::from_engine),
        Err(failure) => Poll::Ready(Err(WorkflowError::from_failure(failure.clone()))),
    }
}
