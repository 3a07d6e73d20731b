//! Owners around a log and views in memory; processes that begin, stop and end abruptly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidewheel_engine::workflow::{
    Context, RetryPolicy, StepFailure, StepOptions, StepTask, Workflow, WorkflowFuture, Workflows,
};
use tidewheel_engine::{Fold, Run, RunStatus, Verdict};
use tidewheel_log::EventLog;
use tidewheel_runtime::{
    Clock as _, Duties, Duty, OwnerError, OwnerOptions, OwnerStatus, Owners, SystemClock, create_log,
};
use tidewheel_schemas::event::{RunSignaled, RunStarted};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Failure, Name, Payload, RunId, Topic, TopicPartition, codec,
};
use tokio_util::sync::CancellationToken;

use super::log::FaultyLog;
use super::views::MemoryViews;

pub const PARTITIONS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(30);

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

/// Two steps, the first of which fails once; returns the input.
struct Steps(Arc<AtomicUsize>);

impl Workflow for Steps {
    fn start(&self, context: Context, input: Payload) -> WorkflowFuture {
        let ran = Arc::clone(&self.0);
        let retry = RetryPolicy { backoff_initial_ms: 1, ..RetryPolicy::default() };
        let options = StepOptions { retry, timeout_ms: None };
        let task: StepTask = Arc::new(move |call| {
            ran.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                if call.name.as_str() == "first" && call.attempt == 1 {
                    return Err(StepFailure { failure: Failure::new("flaky", "once"), retryable: true });
                }
                Ok(Payload::null())
            })
        });
        Box::pin(async move {
            context.step(name("first"), options.clone(), Arc::clone(&task)).await?;
            context.step(name("second"), options, task).await?;
            Ok(input)
        })
    }
}

/// Waits for as many signals as its input says.
struct Wait;

impl Workflow for Wait {
    fn start(&self, context: Context, input: Payload) -> WorkflowFuture {
        let count: usize = text(&input).parse().expect("a number");
        Box::pin(async move {
            let mut said = String::new();
            for _ in 0..count {
                let payload = context.signal(name("go"), None).await?.expect("no timeout");
                said.push_str(text(&payload).split(' ').next().unwrap_or_default());
            }
            Ok(Payload::json(said))
        })
    }
}

/// Sleeps as many microseconds as its input says.
struct Nap;

impl Workflow for Nap {
    fn start(&self, context: Context, input: Payload) -> WorkflowFuture {
        let duration_us = text(&input).parse().expect("a number");
        Box::pin(async move {
            context.sleep_us(duration_us).await?;
            Ok(Payload::null())
        })
    }
}

/// Tells another run: `target count bytes`. Each time it waits for the signal `next` first, unless there is a `!`.
struct Tell;

impl Workflow for Tell {
    fn start(&self, context: Context, input: Payload) -> WorkflowFuture {
        let words: Vec<_> = text(&input).split(' ').map(str::to_owned).collect();
        Box::pin(async move {
            let [target, count, bytes, eager @ ..] = &words[..] else {
                panic!("target, count and bytes");
            };
            let target: RunId = target.parse().expect("a run id");
            let padding = "x".repeat(bytes.parse().expect("a number"));
            for number in 0..count.parse::<usize>().expect("a number") {
                if eager.is_empty() {
                    context.signal(name("next"), None).await?;
                }
                let payload = Payload::json(format!("{number}, {padding}"));
                context
                    .signal_run(target, name("go"), payload)
                    .map_err(tidewheel_engine::workflow::WorkflowError::Failed)?;
            }
            Ok(Payload::null())
        })
    }
}

fn text(payload: &Payload) -> &str {
    std::str::from_utf8(&payload.data).expect("text")
}

type Process = (Owners, CancellationToken);

/// A log with views, and at most one process of its own.
pub struct World {
    pub log: FaultyLog,
    pub views: MemoryViews,
    pub steps_run: Arc<AtomicUsize>,
    topic: Topic,
    process: Option<Process>,
    ids: u128,
}

impl World {
    pub async fn new() -> Self {
        let (log, topic) = (FaultyLog::new(PARTITIONS), Topic::new("events"));
        let shared: tidewheel_log::SharedLog = Arc::new(log.clone());
        create_log(&shared, &topic, PARTITIONS, &"test".into(), &SystemClock).await.expect("a log");
        let views = MemoryViews::new(log.clone(), topic.clone(), PARTITIONS);
        Self { log, views, steps_run: Arc::default(), topic, process: None, ids: 0 }
    }

    /// Begins a process.
    pub fn begin(&mut self) {
        self.process = Some(self.process(self.views.clone(), Duties::same(Duty::ALL, PARTITIONS)));
    }

    /// Another process beside the world's own.
    pub fn process(&self, views: MemoryViews, duties: Duties) -> Process {
        let mut workflows = Workflows::new();
        workflows.insert(name("steps"), Arc::new(Steps(Arc::clone(&self.steps_run))));
        workflows.insert(name("wait"), Arc::new(Wait));
        workflows.insert(name("nap"), Arc::new(Nap));
        workflows.insert(name("tell"), Arc::new(Tell));
        let shutdown = CancellationToken::new();
        let owners = Owners::start(&OwnerOptions {
            log: Arc::new(self.log.clone()),
            topic: self.topic.clone(),
            partitions: PARTITIONS,
            process: "test".into(),
            workflows: Arc::new(workflows),
            views: Arc::new(views),
            steps_max: 64,
            active_max: 8,
            clock: SystemClock::shared(),
            duties,
            shutdown: shutdown.clone(),
        });
        (owners, shutdown)
    }

    /// Ends the process abruptly.
    pub async fn kill(&mut self) {
        let (owners, _) = self.process.take().expect("a process");
        for task in owners.tasks {
            task.abort();
            let _ = task.await;
        }
    }

    /// Stops the process in order.
    pub async fn stop(&mut self) {
        let (owners, shutdown) = self.process.take().expect("a process");
        shutdown.cancel();
        for task in owners.tasks {
            task.await.expect("no panic").expect("no failure");
        }
    }

    /// Waits until an owner ends by itself, and returns why.
    pub async fn failure(&mut self) -> OwnerError {
        let (owners, shutdown) = self.process.take().expect("a process");
        let ended = tokio::time::timeout(PATIENCE, futures::future::select_all(owners.tasks)).await;
        let (ended, _, others) = ended.expect("an owner ends");
        shutdown.cancel();
        others.iter().for_each(tokio::task::JoinHandle::abort);
        ended.expect("no panic").expect_err("nobody asked it to end")
    }

    pub fn status(&self, partition: u32) -> OwnerStatus {
        let (owners, _) = self.process.as_ref().expect("a process");
        owners.status[partition as usize].borrow().clone()
    }

    /// A run id of this workflow that lies in this partition.
    pub fn run_in(&self, partition: u32, workflow: &str, number: u32) -> RunId {
        (0..)
            .map(|salt: u32| RunId::keyed("default", 1, workflow, &format!("{number}-{salt}")))
            .find(|run_id| partition_of(*run_id) == partition)
            .expect("one of them")
    }

    pub async fn append(&mut self, run_id: RunId, namespace: &str, event: Event) {
        self.ids += 1;
        let envelope = Envelope {
            event_id: EventId::random(self.ids.to_be_bytes()),
            entity: Entity::Run(run_id),
            namespace: Some(name(namespace)),
            recorded_at_us: SystemClock.now_us(),
            cause: None,
            traceparent: None,
            author: Author::Ingest { principal: "anonymous".into() },
        };
        let record = codec::encode(&envelope, &event).expect("a small event");
        let place = TopicPartition::new(self.topic.clone(), partition_of(run_id));
        self.log.append(&place, vec![record]).await.expect("an append by a producer");
    }

    pub async fn start(&mut self, run_id: RunId, workflow: &str, input: String) {
        let input = Payload::json(input);
        let event = RunStarted { workflow: name(workflow), key: None, input, tags: BTreeMap::new() };
        self.append(run_id, "default", event.into()).await;
    }

    pub async fn signal(&mut self, run_id: RunId, signal: &str, payload: &str) {
        let payload = Payload::json(payload.to_owned());
        self.append(run_id, "default", RunSignaled { name: name(signal), payload }.into()).await;
    }

    /// Waits until `done`, and says what was waited for if it never comes.
    pub async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !done(self) {
            assert!(tokio::time::Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the run has ended, and returns what its workflow did.
    pub async fn completed(&self, run_id: RunId) -> String {
        let ended = |world: &Self| world.views.run(run_id).is_some_and(|run| run.header.status.is_finished());
        self.until("the run ends", ended).await;
        let run = self.views.run(run_id).expect("it has ended");
        assert_eq!(run.header.status, RunStatus::Completed, "{:?}", run.header.failure);
        match run.history.last().map(|entry| &*entry.event) {
            Some(Event::RunCompleted(completed)) => text(&completed.output).to_owned(),
            other => panic!("a completed run ends with {other:?}"),
        }
    }

    pub async fn until_version(&self, run_id: RunId, version: u64) -> Run {
        let reached = |world: &Self| world.views.run(run_id).is_some_and(|run| run.header.version >= version);
        self.until("the run gets there", reached).await;
        self.views.run(run_id).expect("it got there")
    }

    /// Refolds the log from zero and checks that nothing engine-made or sent was refused.
    pub async fn check(&self) {
        for partition in 0..PARTITIONS {
            let place = TopicPartition::new(self.topic.clone(), partition);
            let end = self.log.bounds(&place).await.expect("bounds").end;
            let records = self.log.read(&place, 0, usize::try_from(end).expect("a length")).await;
            let mut fold = Fold::new(partition);
            for record in records.expect("records") {
                let transition = fold.apply(&record).expect("folding is total");
                let Some(headers) = &transition.headers else { panic!("a foreign record") };
                let refused = matches!(transition.verdict, Verdict::Rejected(_));
                assert!(!refused || headers.author.is_external(), "{transition:?}");
            }
        }
    }
}

pub fn partition_of(run_id: RunId) -> u32 {
    partition_for(&Entity::Run(run_id).routing_key(), PARTITIONS)
}
