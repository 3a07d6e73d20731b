//! Steps in flight: user code on tokio, with timeout, panic and abort, answering into a bounded queue.
//!
//! Steps launched together are begun by one task, since most are over before they first wait and a task of its own
//! costs more than such a step. One that waits gets its own task, and when beginning takes long the rest does, so
//! that code which computes or blocks holds up few others and never the owner.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{AbortHandle, AbortRegistration, Abortable};
use tidewheel_engine::partition::{StepLaunch, StepResult};
use tidewheel_engine::workflow::{StepCall, StepFailure};
use tidewheel_log::SharedClock;
use tidewheel_schemas::{Failure, Location, Payload, RunId};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// How long one task begins steps before it leaves the others to another one.
const BEGINNING: Duration = Duration::from_micros(200);

/// The steps one owner has launched.
pub(crate) struct Steps {
    running: BTreeMap<(RunId, Location), (u32, AbortHandle)>,
    shell: Shell,
}

/// What running a step needs.
#[derive(Clone)]
struct Shell {
    results: mpsc::Sender<StepResult>,
    /// Bounds how much user code runs at once in this process; the others wait their turn.
    slots: Arc<Semaphore>,
    clock: SharedClock,
}

/// A step to be begun, until it is aborted.
type Launched = (StepLaunch, AbortRegistration);

type Running = Pin<Box<dyn Future<Output = Option<StepResult>> + Send>>;

impl Steps {
    pub(crate) fn new(results: mpsc::Sender<StepResult>, slots: Arc<Semaphore>, clock: SharedClock) -> Self {
        Self { running: BTreeMap::new(), shell: Shell { results, slots, clock } }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn launch(&mut self, steps: Vec<StepLaunch>) {
        if steps.is_empty() {
            return;
        }
        let launched = steps.into_iter().map(|step| {
            let (handle, registration) = AbortHandle::new_pair();
            let StepCall { location, attempt, .. } = &step.launch.call;
            if let Some((_, older)) = self.running.insert((step.run_id, location.clone()), (*attempt, handle)) {
                let run_id = step.run_id;
                tracing::warn!(%run_id, %location, attempt, "a step was launched while an older attempt was still in flight");
                older.abort();
            }
            (step, registration)
        });
        tokio::spawn(begin(self.shell.clone(), launched.collect()));
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
        for (_, (_, handle)) in std::mem::take(&mut self.running) {
            handle.abort();
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.abort_all();
    }
}

/// Begins steps one after the other and answers for those that are over at once.
fn begin(shell: Shell, steps: Vec<Launched>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    // Boxed, because it spawns itself.
    Box::pin(async move {
        let began = Instant::now();
        let mut finished = Vec::with_capacity(steps.len());
        let mut steps = steps.into_iter();
        while let Some(step) = steps.next() {
            let mut running: Running = Box::pin(run(shell.clone(), step));
            match futures::poll!(running.as_mut()) {
                std::task::Poll::Ready(result) => finished.extend(result),
                std::task::Poll::Pending => drop(tokio::spawn(answer(shell.clone(), running))),
            }
            if steps.len() > 0 && began.elapsed() >= BEGINNING {
                tokio::spawn(begin(shell.clone(), steps.collect()));
                break;
            }
        }
        for result in finished {
            // An error means that the owner is gone: the next one decides from the log.
            let _ = shell.results.send(result).await;
        }
    })
}

async fn answer(shell: Shell, running: Running) {
    if let Some(result) = running.await {
        // As above.
        let _ = shell.results.send(result).await;
    }
}

/// One attempt of a step; none if it was aborted.
async fn run(shell: Shell, (step, registration): Launched) -> Option<StepResult> {
    let StepLaunch { run_id, launch } = step;
    let (location, attempt, timeout_ms) =
        (launch.call.location.clone(), launch.call.attempt, launch.timeout_ms);
    let name = launch.call.name.clone();
    let slots = Arc::clone(&shell.slots);
    let code = async move {
        let _slot = slots.acquire().await.ok()?;
        // Building the future runs user code too, so a panic there counts as well.
        let run = AssertUnwindSafe(async { (launch.task)(launch.call).await }).catch_unwind();
        Some(match timeout_ms {
            Some(timeout_ms) => tokio::time::timeout(Duration::from_millis(timeout_ms), run).await.ok(),
            None => Some(run.await),
        })
    };
    let result = match Abortable::new(code, registration).await.ok().flatten()? {
        Some(Ok(result)) => result,
        Some(Err(panic)) => failed("step_panicked", panic_text(panic.as_ref())),
        None => {
            let limit_ms = timeout_ms.unwrap_or_default();
            failed("timeout", format!("step `{name}` took longer than its timeout of {limit_ms} ms"))
        }
    };
    Some(StepResult { run_id, location, attempt, result, jitter: shell.clock.random_u32() })
}

fn failed(code: &str, message: String) -> Result<Payload, StepFailure> {
    Err(StepFailure { failure: Failure::new(code, message), retryable: true })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a step panicked without a message".to_owned())
}
