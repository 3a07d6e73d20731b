//! Steps in flight: user code on tokio, with timeout, panic and abort, answering into a bounded queue.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tidewheel_engine::partition::{StepLaunch, StepResult};
use tidewheel_engine::workflow::{StepCall, StepFailure};
use tidewheel_log::SharedClock;
use tidewheel_schemas::{Failure, Location, RunId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

/// The steps one owner has launched.
pub(crate) struct Steps {
    running: BTreeMap<(RunId, Location), (u32, AbortHandle)>,
    results: mpsc::Sender<StepResult>,
    /// Bounds how much user code runs at once in this process; the others wait their turn.
    slots: Arc<Semaphore>,
    clock: SharedClock,
}

impl Steps {
    pub(crate) fn new(results: mpsc::Sender<StepResult>, slots: Arc<Semaphore>, clock: SharedClock) -> Self {
        Self { running: BTreeMap::new(), results, slots, clock }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn launch(&mut self, step: StepLaunch) {
        let StepLaunch { run_id, launch } = step;
        let results = self.results.clone();
        let (slots, clock) = (Arc::clone(&self.slots), SharedClock::clone(&self.clock));
        let (location, attempt) = (launch.call.location.clone(), launch.call.attempt);
        let key = (run_id, location.clone());
        let task = tokio::spawn(async move {
            let Ok(_slot) = slots.acquire_owned().await else { return };
            let StepCall { location, attempt, name, .. } = launch.call.clone();
            // Building the future runs user code too, so a panic there counts as well.
            let run = AssertUnwindSafe(async { (launch.task)(launch.call).await }).catch_unwind();
            let outcome = match launch.timeout_ms {
                Some(timeout_ms) => tokio::time::timeout(Duration::from_millis(timeout_ms), run).await,
                None => Ok(run.await),
            };
            let result = match outcome {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => Err(StepFailure {
                    failure: Failure::new("step_panicked", panic_text(panic.as_ref())),
                    retryable: true,
                }),
                Err(_) => Err(StepFailure {
                    failure: Failure::new(
                        "timeout",
                        format!(
                            "step `{}` took longer than its timeout of {} ms",
                            name,
                            launch.timeout_ms.unwrap_or_default()
                        ),
                    ),
                    retryable: true,
                }),
            };
            let result = StepResult { run_id, location, attempt, result, jitter: clock.random_u32() };
            // The owner is gone: the step's result is decided by the next one, from the log.
            let _ = results.send(result).await;
        });
        if let Some((_, older)) = self.running.insert(key, (attempt, task.abort_handle())) {
            tracing::warn!(%run_id, %location, attempt, "a step was launched while an older attempt was still in flight");
            older.abort();
        }
    }

    /// Forgets a step that has answered.
    pub(crate) fn finished(&mut self, result: &StepResult) {
        let key = (result.run_id, result.location.clone());
        if self.running.get(&key).is_some_and(|(attempt, _)| *attempt == result.attempt) {
            self.running.remove(&key);
        }
    }

    pub(crate) fn abort(&mut self, run_id: RunId, location: Location) {
        if let Some((_, handle)) = self.running.remove(&(run_id, location)) {
            handle.abort();
        }
    }

    pub(crate) fn abort_all(&mut self) {
        while let Some((_, (_, handle))) = self.running.pop_first() {
            handle.abort();
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.abort_all();
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a step panicked without a message".to_owned())
}
