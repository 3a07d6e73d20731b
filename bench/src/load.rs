//! The load: clients that repeat an operation, in a closed loop (each asks again when it was answered) or an open one
//! (a fixed rate, whatever the server does). What an operation is, is a workload's business.

mod measured;
mod schedule;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::LocalSet;

pub use self::measured::{Failed, Measured, OpenLoop};
use self::schedule::Schedule;
use crate::histogram::Latencies;
use crate::http::{Answer, HttpError};
use crate::process::Usage;

/// Rest of a client whose operation failed, so that a server that refuses is not asked in a hot loop.
const FAILED_PAUSE: Duration = Duration::from_millis(10);
/// How much of a wrong answer is shown.
const SHOWN_BYTES: usize = 300;

/// How to load.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Clients, each with one operation at a time.
    pub clients: usize,
    /// Load before the measurement begins.
    pub warm_up: Duration,
    /// Length of the measurement.
    pub duration: Duration,
    /// Operations per second of an open loop; a closed loop if absent.
    pub rate: Option<f64>,
    /// The server's process: what it and its children use is measured with it.
    pub processes: Vec<u32>,
}

/// What a client does again and again.
#[expect(async_fn_in_trait, reason = "clients run on one thread, so nothing needs to be Send")]
pub trait Operation {
    /// What must happen before an operation and is not part of its latency.
    ///
    /// # Errors
    /// When the server did not do what it was asked: counted like a failed operation.
    async fn prepare(&mut self) -> Result<(), Wrong> {
        Ok(())
    }

    /// The operation. Says how many units it was worth: 1, or the runs of a batch.
    ///
    /// # Errors
    /// When there was no answer, or not the right one.
    async fn perform(&mut self) -> Result<u64, Wrong>;
}

/// An operation that did not do what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// No answer.
    #[error(transparent)]
    NoAnswer(#[from] HttpError),
    /// An answer with the wrong status.
    #[error("status {status}: {body}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// A success that does not say what it must.
    #[error("the answer does not say what it must: {0}")]
    Body(String),
}

impl Wrong {
    /// What errors are counted under: the status, or what else was wrong.
    pub fn kind(&self) -> String {
        match self {
            Self::NoAnswer(HttpError::Timeout { .. }) => "timeout".to_owned(),
            Self::NoAnswer(_) => "connection".to_owned(),
            Self::Status { status, .. } => status.to_string(),
            Self::Body(_) => "wrong answer".to_owned(),
        }
    }

    /// An answer that is not what it must be.
    pub fn answer(answer: &Answer<'_>) -> Self {
        let shown = answer.body.get(..SHOWN_BYTES).unwrap_or(answer.body);
        let body = String::from_utf8_lossy(shown).into_owned();
        if answer.is_success() { Self::Body(body) } else { Self::Status { status: answer.status, body } }
    }
}

/// A load that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A plan that makes no sense.
    #[error("{0}")]
    Plan(String),
    /// The generator has no thread or no event loop.
    #[error("the load generator cannot start: {0}")]
    Start(#[source] std::io::Error),
    /// The generator ended early.
    #[error("the load generator ended before it was done; this is a defect")]
    Ended,
}

impl Plan {
    fn check(&self) -> Result<(), LoadError> {
        let wrong = |what: &str| Err(LoadError::Plan(what.to_owned()));
        if self.clients == 0 {
            return wrong("a load needs at least one client");
        }
        if self.duration.is_zero() {
            return wrong("a measurement needs a duration");
        }
        match self.rate {
            Some(rate) if !rate.is_finite() || rate <= 0.0 => wrong("a rate is a number above 0"),
            _ => Ok(()),
        }
    }
}

/// Applies the load on a thread of its own and measures it. `client` makes the client with the given number, from 0.
/// When the returned future is dropped, the load ends.
///
/// # Errors
/// When the load cannot be made. Failed operations are part of what was measured.
pub async fn measure<O, F>(plan: Plan, client: F) -> Result<Measured, LoadError>
where
    O: Operation + 'static,
    F: FnMut(usize) -> O + Send + 'static,
{
    plan.check()?;
    let (mut done, measured) = oneshot::channel();
    // One thread: the generator shares few cores with the server, and its clients share nothing but counters.
    std::thread::Builder::new()
        .name("load-generator".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let outcome = runtime.map_err(LoadError::Start).and_then(|runtime| {
                LocalSet::new().block_on(&runtime, async {
                    tokio::select! {
                        measured = load(plan, client) => measured,
                        () = done.closed() => Err(LoadError::Ended),
                    }
                })
            });
            // Nobody waits any more if this fails.
            let _ = done.send(outcome);
        })
        .map_err(LoadError::Start)?;
    measured.await.map_err(|_| LoadError::Ended)?
}

/// What the clients have seen so far.
#[derive(Debug)]
struct Tally {
    begin: Instant,
    end: Instant,
    latencies: Latencies,
    /// Ended within the measurement.
    operations: u64,
    units: u64,
    failed: BTreeMap<String, Failed>,
}

impl Tally {
    fn record(&mut self, begun: Instant, outcome: Result<u64, Wrong>) {
        let now = Instant::now();
        match outcome {
            Ok(units) => {
                // An operation that began within the measurement counts in the latencies even if it ends after it:
                // the slow ones would be left out else.
                if begun >= self.begin && begun < self.end {
                    self.latencies.record(now.duration_since(begun));
                }
                if now >= self.begin && now < self.end {
                    self.operations += 1;
                    self.units += units;
                }
            }
            Err(wrong) => self.failed.entry(wrong.kind()).or_default().add(&wrong),
        }
    }
}

async fn load<O, F>(plan: Plan, mut client: F) -> Result<Measured, LoadError>
where
    O: Operation + 'static,
    F: FnMut(usize) -> O,
{
    let begin = Instant::now() + plan.warm_up;
    let end = begin + plan.duration;
    let tally = Rc::new(RefCell::new(Tally {
        begin,
        end,
        latencies: Latencies::new(),
        operations: 0,
        units: 0,
        failed: BTreeMap::new(),
    }));
    let (schedule, pacing) = match plan.rate {
        Some(rate) => {
            let (schedule, pacer) = Schedule::new(rate, Instant::now(), begin, end);
            (Some(Rc::new(schedule)), Some(tokio::task::spawn_blocking(move || pacer.run())))
        }
        None => (None, None),
    };
    let mut clients = Vec::with_capacity(plan.clients);
    for number in 0..plan.clients {
        let operation = client(number);
        let (tally, schedule) = (Rc::clone(&tally), schedule.clone());
        clients.push(tokio::task::spawn_local(async move {
            match schedule {
                Some(schedule) => open(operation, &tally, &schedule).await,
                None => closed(operation, &tally, end).await,
            }
        }));
    }
    tokio::time::sleep_until(begin.into()).await;
    let before = sample(&plan.processes).await;
    tokio::time::sleep_until(end.into()).await;
    let after = sample(&plan.processes).await;
    for client in clients {
        client.await.map_err(|_| LoadError::Ended)?;
    }
    let open_loop = match pacing {
        Some(pacing) => Some(pacing.await.map_err(|_| LoadError::Ended)?),
        None => None,
    };
    let tally = Rc::try_unwrap(tally).map_err(|_| LoadError::Ended)?.into_inner();
    Ok(Measured::new(
        &plan,
        tally.latencies,
        (tally.operations, tally.units),
        tally.failed,
        open_loop,
        [before, after],
    ))
}

async fn closed<O: Operation>(mut operation: O, tally: &RefCell<Tally>, end: Instant) {
    while Instant::now() < end {
        if let Err(wrong) = operation.prepare().await {
            tally.borrow_mut().record(end, Err(wrong));
            tokio::time::sleep(FAILED_PAUSE).await;
            continue;
        }
        let begun = Instant::now();
        let outcome = operation.perform().await;
        let failed = outcome.is_err();
        tally.borrow_mut().record(begun, outcome);
        if failed {
            tokio::time::sleep(FAILED_PAUSE).await;
        }
    }
}

async fn open<O: Operation>(mut operation: O, tally: &RefCell<Tally>, schedule: &Schedule) {
    loop {
        if let Err(wrong) = operation.prepare().await {
            tally.borrow_mut().record(Instant::now(), Err(wrong));
            tokio::time::sleep(FAILED_PAUSE).await;
            if schedule.is_over() {
                return;
            }
            continue;
        }
        let Some(intended) = schedule.next().await else { return };
        let outcome = operation.perform().await;
        tally.borrow_mut().record(intended, outcome);
    }
}

/// What the generator and the server have used so far, and when that was.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    generator: Option<Usage>,
    server: Option<Usage>,
}

async fn sample(processes: &[u32]) -> Sample {
    let processes = processes.to_vec();
    // Not on the thread of the clients: reading /proc takes long enough to be seen in their latencies.
    let taken = tokio::task::spawn_blocking(move || {
        let server = processes.iter().map(|id| Usage::of_tree(*id));
        let server = server.reduce(|sum, usage| Some(sum?.plus(usage?))).flatten();
        Sample { at: Instant::now(), generator: Usage::of_self(), server }
    });
    taken.await.unwrap_or_else(|_| Sample { at: Instant::now(), generator: None, server: None })
}

#[cfg(test)]
mod tests;
