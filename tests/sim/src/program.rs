//! Workflows as data: a generated program over the whole vocabulary, and the one deterministic function that follows it.

mod generate;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tidewheel_schemas::RunId;
use tidewheel_sdk::{Context, Name, RetryPolicy, WorkflowError, WorkflowResult, Workflows, workflow};

pub use self::generate::{Planned, plan};
pub use self::work::Done;
use crate::port::Port;

/// The one workflow.
pub const WORKFLOW: &str = "program";
/// The signals programs wait for.
pub const SIGNALS: [&str; 2] = ["go", "news"];

/// A step: what it does to whom it is done to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    /// How many attempts fail.
    pub fails: u32,
    /// Whether they fail by a panic.
    pub panics: bool,
    /// How long an attempt takes.
    pub work_ms: u64,
    /// How long it may take.
    pub timeout_ms: Option<u64>,
    /// How often it is tried.
    pub attempts_max: u32,
    /// How long it rests after a failure.
    pub backoff_ms: u64,
    /// How large its result is.
    pub bytes: usize,
}

/// One thing a program does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Op {
    /// Runs a step.
    Step(Work),
    /// Sleeps, milliseconds.
    Sleep(u64),
    /// Takes a signal; waits for it at most this long, milliseconds.
    Signal(usize, Option<u64>),
    /// Takes up to three signals at once; waits at most this long, milliseconds.
    Signals(usize, Option<u64>),
    /// Signals another run.
    Send(RunId, usize, usize),
    /// Publishes state of this size.
    State(usize),
    /// Changes tags.
    Tag(u32),
    /// Does two things at once.
    Join(Vec<Op>, Vec<Op>),
    /// Does what comes first and goes on.
    Race(Box<Op>, Box<Op>),
    /// Fails for good.
    Fail,
}

/// What a run is to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Program {
    /// One after the other.
    pub ops: Vec<Op>,
}

impl Op {
    /// How many waits for each signal it may come to.
    fn awaits(&self, count: &mut [usize; 2]) {
        match self {
            Self::Signal(signal, _) => count[*signal] += 1,
            // It takes up to three at once.
            Self::Signals(signal, _) => count[*signal] += 3,
            Self::Join(left, right) => left.iter().chain(right).for_each(|op| op.awaits(count)),
            Self::Race(left, right) => {
                left.awaits(count);
                right.awaits(count);
            }
            Self::Step(_) | Self::Sleep(_) | Self::Send(..) | Self::State(_) | Self::Tag(_) | Self::Fail => {}
        }
    }
}

impl Program {
    /// How many signals of each name let it come to its end for certain.
    pub fn awaits(&self) -> [usize; 2] {
        let mut count = [0, 0];
        self.ops.iter().for_each(|op| op.awaits(&mut count));
        count
    }

    /// Whether it does one thing after the other.
    pub fn is_sequential(&self) -> bool {
        !self.ops.iter().any(|op| matches!(op, Op::Join(..) | Op::Race(..)))
    }
}

/// Registers the workflow for a process: its steps reach the world through the process's port.
pub fn register(workflows: &mut Workflows, port: &Arc<Port>) {
    let port = Arc::clone(port);
    let function = move |context: Context, program: Program| follow(context, program, Arc::clone(&port));
    if let Ok(name) = Name::new(WORKFLOW) {
        workflows.insert(name, workflow(function));
    }
}

async fn follow(context: Context, program: Program, port: Arc<Port>) -> WorkflowResult<Vec<String>> {
    let mut told = Vec::new();
    match all(&context, &program.ops, &port, &mut told).await {
        Ok(()) => {
            // What was read must come out the same in every replay, so it is part of the result.
            told.push(format!("{} tags", context.tags().len()));
            Ok(told)
        }
        Err(error) if error.is_cancelled() => {
            let undo = Work {
                fails: 0,
                panics: false,
                work_ms: 1,
                timeout_ms: None,
                attempts_max: 3,
                backoff_ms: 5,
                bytes: 8,
            };
            step(&context, &undo, &port).await?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

async fn all(context: &Context, ops: &[Op], port: &Arc<Port>, told: &mut Vec<String>) -> WorkflowResult<()> {
    for op in ops {
        told.push(one(context, op, port).await?);
    }
    Ok(())
}

fn one<'a>(context: &'a Context, op: &'a Op, port: &'a Arc<Port>) -> BoxFuture<'a, WorkflowResult<String>> {
    async move {
        let wait = |limit_ms: &Option<u64>| limit_ms.map(Duration::from_millis);
        Ok(match op {
            Op::Step(work) => match step(context, work, port).await {
                Ok(length) => format!("step {length}"),
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => format!("step failed: {:?}", error.code()),
            },
            Op::Sleep(ms) => {
                context.sleep(Duration::from_millis(*ms)).await?;
                "slept".to_owned()
            }
            Op::Signal(signal, limit_ms) => {
                let awaited = context.signal::<String>(SIGNALS[*signal]);
                match wait(limit_ms) {
                    Some(limit) => {
                        format!("signal {:?}", awaited.timeout(limit).await?.map(|text| text.len()))
                    }
                    None => format!("signal {}", awaited.await?.len()),
                }
            }
            Op::Signals(signal, limit_ms) => {
                let awaited = context.signals::<String>(SIGNALS[*signal], 3);
                let some = match wait(limit_ms) {
                    Some(limit) => awaited.timeout(limit).await?,
                    None => awaited.await?,
                };
                format!("{} signals", some.len())
            }
            Op::Send(target, signal, bytes) => {
                context.signal_run(*target, SIGNALS[*signal], &"x".repeat(*bytes))?;
                "sent".to_owned()
            }
            Op::State(bytes) => {
                context.set_state(&"s".repeat(*bytes))?;
                let state: Option<String> = context.state()?;
                format!("state {:?}", state.map(|text| text.len()))
            }
            Op::Tag(number) => {
                context.set_tags(BTreeMap::from([("number".to_owned(), number.to_string())]))?;
                "tagged".to_owned()
            }
            Op::Join(left, right) => {
                let (mut told_left, mut told_right) = (Vec::new(), Vec::new());
                let (left, right) = futures::join!(
                    all(context, left, port, &mut told_left),
                    all(context, right, port, &mut told_right)
                );
                left?;
                right?;
                format!("joined {told_left:?} {told_right:?}")
            }
            Op::Race(left, right) => {
                let first =
                    futures::future::select(one(context, left, port), one(context, right, port)).await;
                match first {
                    futures::future::Either::Left((told, _)) => format!("left {}", told?),
                    futures::future::Either::Right((told, _)) => format!("right {}", told?),
                }
            }
            Op::Fail => return Err(WorkflowError::failed("planned", "this program fails")),
        })
    }
    .boxed()
}

async fn step(context: &Context, work: &Work, port: &Arc<Port>) -> WorkflowResult<usize> {
    let (port, what) = (Arc::clone(port), work.clone());
    let retry = RetryPolicy {
        attempts_max: Some(work.attempts_max),
        backoff_initial_ms: work.backoff_ms,
        ..RetryPolicy::default()
    };
    let step =
        context.step_with("work", move |call| work::run(Arc::clone(&port), what.clone(), call)).retry(retry);
    let result = match work.timeout_ms {
        Some(timeout_ms) => step.timeout(Duration::from_millis(timeout_ms)).await?,
        None => step.await?,
    };
    Ok(result.text.len())
}
