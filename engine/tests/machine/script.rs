//! Workflow programs as data: an interpreter that is a `Workflow`, and generators of random programs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::{Either, join, select};
use proptest::prelude::*;
use tidewheel_engine::workflow::{
    Context, RetryPolicy, StepOptions, StepTask, Workflow, WorkflowError, WorkflowFuture,
};
use tidewheel_schemas::{Name, Payload, RunId};

#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Step { name: u8 },
    Sleep { seconds: u8 },
    Signal { name: u8, timed: bool },
    Signals { name: u8, max: u8, timed: bool },
    State,
    Tags { value: u8 },
    Send { name: u8 },
    Now,
    Join(Box<Op>, Box<Op>),
    Select(Box<Op>, Box<Op>),
}

impl Op {
    /// How many locations it takes.
    pub fn width(&self) -> u32 {
        match self {
            Op::Now => 0,
            Op::Join(left, right) | Op::Select(left, right) => left.width() + right.width(),
            _ => 1,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    pub ops: Vec<Op>,
    /// What runs once the run is asked to cancel.
    pub compensation: Vec<Op>,
    /// Whether a failed step ends the run.
    pub fails: bool,
    /// Whether a cancelled run says so, or returns a result all the same.
    pub admits_cancel: bool,
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn noop() -> StepTask {
    Arc::new(|_| Box::pin(async { Ok(Payload::null()) }))
}

fn text(payload: &Payload) -> String {
    String::from_utf8_lossy(&payload.data).into_owned()
}

type OpFuture = Pin<Box<dyn Future<Output = Result<String, WorkflowError>> + Send>>;

/// Makes the context's calls at once, so that locations follow the program's text, and awaits later.
fn begin(context: &Context, op: &Op, trace: &str) -> OpFuture {
    let timeout = |timed: bool| timed.then_some(30_000_000);
    match op.clone() {
        Op::Step { name: step } => {
            let retry = RetryPolicy { attempts_max: Some(3), ..RetryPolicy::default() };
            let options = StepOptions { retry, timeout_ms: None };
            let waits = context.step(name(&format!("step{step}")), options, noop());
            Box::pin(async move { Ok(text(&waits.await?)) })
        }
        Op::Sleep { seconds } => {
            let waits = context.sleep_us(u64::from(seconds) * 1_000_000);
            Box::pin(async move { waits.await.map(|()| "slept".to_owned()) })
        }
        Op::Signal { name: signal, timed } => {
            let waits = context.signal(name(&format!("signal{signal}")), timeout(timed));
            Box::pin(async move { Ok(waits.await?.map_or("timeout".to_owned(), |payload| text(&payload))) })
        }
        Op::Signals { name: signal, max, timed } => {
            let waits = context.signals(name(&format!("signal{signal}")), usize::from(max), timeout(timed));
            Box::pin(async move { Ok(waits.await?.iter().map(text).collect::<Vec<_>>().join("+")) })
        }
        Op::State => {
            let done = context.set_state(Payload::json(trace.to_owned()));
            Box::pin(async move { done.map(|()| "state".to_owned()).map_err(WorkflowError::Failed) })
        }
        Op::Tags { value } => {
            let done = context.set_tags([("tag".to_owned(), value.to_string())].into());
            Box::pin(async move { done.map(|()| "tags".to_owned()).map_err(WorkflowError::Failed) })
        }
        Op::Send { name: signal } => {
            let target = RunId::fresh(1, 1, [1; 8]);
            let done =
                context.signal_run(target, name(&format!("signal{signal}")), Payload::json(trace.to_owned()));
            Box::pin(async move { done.map(|()| "sent".to_owned()).map_err(WorkflowError::Failed) })
        }
        Op::Now => {
            let now = context.now_us().to_string();
            Box::pin(async move { Ok(now) })
        }
        Op::Join(left, right) => {
            let (left, right) = (begin(context, &left, trace), begin(context, &right, trace));
            Box::pin(async move {
                let (left, right) = join(left, right).await;
                Ok(format!("({}&{})", left?, right?))
            })
        }
        Op::Select(left, right) => {
            let (left, right) = (begin(context, &left, trace), begin(context, &right, trace));
            Box::pin(async move {
                match select(left, right).await {
                    Either::Left((left, _)) => Ok(format!("<{}", left?)),
                    Either::Right((right, _)) => Ok(format!(">{}", right?)),
                }
            })
        }
    }
}

async fn run(context: Context, script: Script) -> Result<Payload, WorkflowError> {
    let mut trace = String::new();
    let mut ended = Ok(());
    for op in &script.ops {
        match begin(&context, op, &trace).await {
            Ok(step) => trace = format!("{trace} {step}@{}", context.now_us()),
            Err(WorkflowError::Cancelled) => {
                ended = Err(WorkflowError::Cancelled);
                break;
            }
            Err(WorkflowError::Failed(failure)) => {
                trace = format!("{trace} !{}", failure.code);
                if script.fails {
                    ended = Err(WorkflowError::Failed(failure));
                    break;
                }
            }
        }
    }
    if ended == Err(WorkflowError::Cancelled) {
        for op in &script.compensation {
            let step = begin(&context, op, &trace).await.unwrap_or_else(|error| error.to_string());
            trace = format!("{trace} undo:{step}");
        }
        if !script.admits_cancel {
            ended = Ok(());
        }
    }
    // The trace is what two executions of one history are compared by, however they end.
    context.set_state(Payload::json(trace.clone())).map_err(WorkflowError::Failed)?;
    ended.map(|()| Payload::json(trace))
}

impl Workflow for Script {
    fn start(&self, context: Context, _input: Payload) -> WorkflowFuture {
        Box::pin(run(context, self.clone()))
    }
}

fn waits() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..4u8).prop_map(|name| Op::Step { name }),
        2 => (0..90u8).prop_map(|seconds| Op::Sleep { seconds }),
        2 => (0..2u8, any::<bool>()).prop_map(|(name, timed)| Op::Signal { name, timed }),
        1 => (0..2u8, 0..4u8, any::<bool>()).prop_map(|(name, max, timed)| Op::Signals { name, max, timed }),
    ]
}

pub fn ops() -> impl Strategy<Value = Op> {
    let combined = waits().prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Op::Join(left.into(), right.into())),
            (inner.clone(), inner).prop_map(|(left, right)| Op::Select(left.into(), right.into())),
        ]
    });
    prop_oneof![
        6 => combined,
        1 => Just(Op::State),
        1 => (0..9u8).prop_map(|value| Op::Tags { value }),
        1 => (0..2u8).prop_map(|name| Op::Send { name }),
        1 => Just(Op::Now),
    ]
}

pub fn scripts() -> impl Strategy<Value = Script> {
    let ops_some = proptest::collection::vec(ops(), 0..7);
    let compensation = proptest::collection::vec(ops(), 0..3);
    (ops_some, compensation, any::<bool>(), any::<bool>()).prop_map(
        |(ops, compensation, fails, admits_cancel)| Script { ops, compensation, fails, admits_cancel },
    )
}
