//! Steps in flight: user code on tokio, with timeout, panic and abort, answering into a bounded queue.
//!
//! Steps launched together are begun by a few tasks, since most are over before they first wait and a task of its own
//! costs more than such a step. One that waits gets its own task. Each worker of the runtime may take the next one to
//! be begun, so that code which blocks its thread holds up no more than that thread.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{AbortHandle, AbortRegistration, Abortable};
use parking_lot::Mutex;
use tidewheel_engine::partition::{StepLaunch, StepResult};
use tidewheel_engine::workflow::{StepCall, StepFailure};
use tidewheel_log::SharedClock;
use tidewheel_schemas::{Failure, Location, Payload, RunId};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::yield_now;
use tokio::time::Instant;

/// How long a task begins steps before it lets others run.
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

/// Steps that are still to be begun.
type Waiting = Arc<Mutex<VecDeque<Launched>>>;

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
        let waiting: VecDeque<_> = launched.collect();
        let beginners = waiting.len().min(Handle::current().metrics().num_workers());
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..beginners {
            tokio::spawn(begin(self.shell.clone(), Waiting::clone(&waiting)));
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
async fn begin(shell: Shell, waiting: Waiting) {
    let mut began = Instant::now();
    loop {
        // A statement of its own, so that the lock is not held while user code runs.
        let next = waiting.lock().pop_front();
        let Some(step) = next else { return };
        let mut running: Running = Box::pin(run(shell.clone(), step));
        match futures::poll!(running.as_mut()) {
            Poll::Ready(None) => {}
            Poll::Ready(Some(result)) => match shell.results.try_send(result) {
                // Closed means that the owner is gone: the next one decides from the log.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(result)) => drop(shell.results.send(result).await),
            },
            Poll::Pending => {
                tokio::spawn(answer(shell.clone(), running));
                // What was spawned last can be taken by no other worker while this one is kept busy.
                yield_now().await;
            }
        }
        if began.elapsed() >= BEGINNING {
            yield_now().await;
            began = Instant::now();
        }
    }
}

async fn answer(shell: Shell, running: Running) {
    if let Some(result) = running.await {
        // An error means that the owner is gone, as above.
        let _ = shell.results.send(result).await;
    }
}

/// One attempt of a step; none if it was aborted.
async fn run(shell: Shell, (step, registration): Launched) -> Option<StepResult> {
    let StepLaunch { run_id, launch } = step;
    let StepCall { location, attempt, name, .. } = launch.call.clone();
    let timeout_ms = launch.timeout_ms;
    let slots = Arc::clone(&shell.slots);
    let code = async move {
        let _slot = slots.acquire().await.ok()?;
        let run = async { (launch.task)(launch.call).await };
        Some(match timeout_ms {
            Some(timeout_ms) => tokio::time::timeout(Duration::from_millis(timeout_ms), run).await.ok(),
            None => Some(run.await),
        })
    };
    // Building a step's future, polling it and dropping it all run user code, so a panic in any of them is caught.
    let ended =
        AssertUnwindSafe(async move { Abortable::new(code, registration).await }).catch_unwind().await;
    let result = match ended {
        Ok(ended) => match ended.ok().flatten()? {
            Some(result) => result,
            None => {
                let limit_ms = timeout_ms.unwrap_or_default();
                failed("timeout", format!("step `{name}` took longer than its timeout of {limit_ms} ms"))
            }
        },
        Err(panic) => {
            let text = panic_text(panic.as_ref());
            // Dropping what a panic carries may panic again.
            std::mem::forget(panic);
            failed("step_panicked", text)
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

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use tidewheel_engine::workflow::{Launch, StepTask};
    use tidewheel_log::SystemClock;
    use tidewheel_schemas::Name;

    use super::*;

    fn step(number: u32, task: StepTask) -> StepLaunch {
        let run_id = RunId::from_bytes([7; 16]);
        let name = Name::new("step").expect("a name");
        let call = StepCall { run_id, location: Location::top(number), name, attempt: 1 };
        StepLaunch { run_id, launch: Launch { call, task, timeout_ms: None, after_proposals: 0 } }
    }

    fn steps(results_max: usize) -> (Steps, mpsc::Receiver<StepResult>) {
        let (results, answers) = mpsc::channel(results_max);
        (Steps::new(results, Arc::new(Semaphore::new(100)), Arc::new(SystemClock)), answers)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn steps_that_block_their_threads_for_each_other_run_side_by_side() {
        let (mut steps, mut answers) = steps(10);
        let barrier = Arc::new(Barrier::new(2));
        let blocking = || -> StepTask {
            let barrier = Arc::clone(&barrier);
            Arc::new(move |_| {
                barrier.wait();
                Box::pin(std::future::ready(Ok(Payload::null())))
            })
        };
        steps.launch(vec![step(1, blocking()), step(2, blocking())]);
        for _ in 0..2 {
            assert!(answers.recv().await.expect("a result").result.is_ok());
        }
    }

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "dropped");
        }
    }

    #[tokio::test]
    async fn a_step_that_panics_when_it_is_dropped_takes_no_other_with_it() {
        let (mut steps, mut answers) = steps(1);
        let task = || -> StepTask {
            Arc::new(|_| {
                Box::pin(async {
                    let _held = PanicsWhenDropped;
                    std::future::pending().await
                })
            })
        };
        let quick: StepTask = Arc::new(|_| Box::pin(std::future::ready(Ok(Payload::null()))));
        steps.launch(vec![step(1, task()), step(2, Arc::clone(&quick)), step(3, quick)]);
        for _ in 0..2 {
            assert!(answers.recv().await.expect("a result").result.is_ok());
        }
        steps.abort(RunId::from_bytes([7; 16]), Location::top(1));
        let aborted = answers.recv().await.expect("the panic is told");
        assert_eq!(aborted.result.expect_err("it failed").failure.code, "step_panicked");
    }
}
