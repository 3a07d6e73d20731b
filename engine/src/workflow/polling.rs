//! One poll of a workflow function: panics caught, wake-ups of its own answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tidewheel_schemas::Payload;

use super::journal::{Shared, lock};
use super::valid::cut;
use super::{WorkflowError, WorkflowFuture};

/// How often in a row code may ask to be polled again before it counts as stuck.
const SELF_WAKES_MAX: usize = 10_000;
/// Longest panic message kept.
const PANIC_BYTES_MAX: usize = 4 * 1024;

/// What a poll came to.
pub enum Polled {
    /// It waits for something the context gave it.
    Waiting,
    /// It returned.
    Returned(Result<Payload, WorkflowError>),
    /// It cannot go on: what was expected of it, and what it did.
    Broken { expected: &'static str, found: String },
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A workflow's code under way.
pub struct Code {
    future: Option<WorkflowFuture>,
    woken: Arc<Woken>,
    waker: Waker,
}

impl Code {
    /// Begins the code; a panic while beginning is told at the first poll.
    pub fn new(start: impl FnOnce() -> WorkflowFuture) -> Self {
        let future = catch_unwind(AssertUnwindSafe(start)).unwrap_or_else(|panic| {
            let message = message(panic.as_ref());
            Box::pin(async move { std::panic::resume_unwind(Box::new(message)) })
        });
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        Self { future: Some(future), woken, waker }
    }

    /// Polls until the code waits for something new, returns or breaks.
    pub fn poll(&mut self, journal: &Shared) -> Polled {
        lock(journal).begin_poll();
        let polled = self.poll_until_pending(journal);
        if !matches!(polled, Polled::Waiting) {
            self.stop();
        }
        lock(journal).poller = None;
        polled
    }

    fn poll_until_pending(&mut self, journal: &Shared) -> Polled {
        let Some(future) = &mut self.future else { return Polled::Waiting };
        let mut context = Context::from_waker(&self.waker);
        for _ in 0..SELF_WAKES_MAX {
            self.woken.0.store(false, Ordering::Relaxed);
            match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
                Err(panic) => {
                    let found = format!("panic: {}", message(panic.as_ref()));
                    return Polled::Broken { expected: "no panic", found };
                }
                Ok(Poll::Ready(result)) => return Polled::Returned(result),
                Ok(Poll::Pending) if self.woken.0.load(Ordering::Relaxed) => {}
                Ok(Poll::Pending) if lock(journal).is_waiting() => return Polled::Waiting,
                Ok(Poll::Pending) => break,
            }
        }
        let found = "an await the engine cannot drive; use the context's step, sleep or signal".to_owned();
        Polled::Broken { expected: "an await on the context", found }
    }

    /// Drops the code, wherever it stands.
    pub fn stop(&mut self) {
        if let Some(future) = self.future.take() {
            // A panic while unwinding user values ends nothing but those values.
            let _dropped = catch_unwind(AssertUnwindSafe(move || drop(future)));
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(|text| &**text));
    let mut message = text.unwrap_or("a value that is no text").to_owned();
    cut(&mut message, PANIC_BYTES_MAX);
    message
}
