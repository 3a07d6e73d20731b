//! One task per partition: reads on, claims, drives the rules, carries out what they ask for.

mod load;
mod resume;
mod status;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use tidewheel_engine::FoldError;
use tidewheel_engine::partition::{Partition, StepResult};
use tidewheel_engine::workflow::Workflows;
use tidewheel_log::{Appended, LogError, SharedClock, SharedLog, Tail};
use tidewheel_schemas::{EventId, Record, Topic, TopicPartition};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::status::OwnerStatus;
use self::takeover::Takeover;
use crate::appends::Appends;
use crate::checkpoint::CheckpointMismatch;
use crate::deliver::{Delivered, Deliverer, Delivery, Sources};
use crate::duty::{Duties, Duty};
use crate::steps::Steps;
use crate::views::{Views, ViewsError};

/// Most records folded before effects are carried out.
const RECORDS_MAX: usize = 2_048;
/// Most step results waiting for their owner.
const RESULTS_MAX: usize = 4_096;
/// Most runs loaded before the owner looks at its records again.
const TURNS_MAX: usize = 256;
/// How long a stopping owner waits for steps in flight.
const DRAIN: Duration = Duration::from_secs(5);
/// How long an owner rests after log or store were away, at first and at most.
const REST: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(5);

/// What an owner needs.
#[derive(Clone)]
pub struct OwnerOptions {
    /// The log.
    pub log: SharedLog,
    /// The topic its partition belongs to.
    pub topic: Topic,
    /// Number of partitions.
    pub partitions: u32,
    /// Name of this process in claims, for people.
    pub process: Arc<str>,
    /// The workflows this process can run.
    pub workflows: Arc<Workflows>,
    /// The views.
    pub views: Arc<dyn Views>,
    /// Most steps running at once, all partitions together.
    pub steps_max: usize,
    /// Most runs of one partition that have their workflow's machine in memory; the others wait their turn.
    pub active_max: usize,
    /// Where it takes time and randomness from.
    pub clock: SharedClock,
    /// What this process does for each partition beside following it.
    pub duties: Duties,
    /// Cancelled when the process is to stop.
    pub shutdown: CancellationToken,
}

/// Why an owner stopped.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OwnerError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A view failed.
    #[error(transparent)]
    Views(#[from] ViewsError),
    /// The partition must stop.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The log does not hold what the checkpoint says it folded.
    #[error(transparent)]
    CheckpointMismatch(#[from] CheckpointMismatch),
}

impl OwnerError {
    /// Whether it passes by itself: log or store are away for now.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Log(error) => error.is_transient(),
            Self::Views(error) => error.transient,
            Self::Fold(_) | Self::CheckpointMismatch(_) => false,
        }
    }
}

/// The owners of a process, one task per partition.
pub struct Owners {
    /// Status of each partition, in order.
    pub status: Vec<watch::Receiver<OwnerStatus>>,
    /// The tasks; each ends with the reason it stopped, or `Ok` after a shutdown.
    pub tasks: Vec<JoinHandle<Result<(), OwnerError>>>,
}

impl Owners {
    /// Starts an owner for every partition.
    pub fn start(options: &OwnerOptions) -> Self {
        let sources = Arc::new(Sources::default());
        let slots = Arc::new(Semaphore::new(options.steps_max.clamp(1, Semaphore::MAX_PERMITS)));
        let (mut status, mut tasks) = (Vec::new(), Vec::new());
        for partition in 0..options.partitions {
            let owner = Owner::new(options.clone(), partition, Arc::clone(&sources), Arc::clone(&slots));
            status.push(owner.status.subscribe());
            tasks.push(tokio::spawn(owner.run()));
        }
        Self { status, tasks }
    }
}

/// The owner of one partition.
pub struct Owner {
    options: OwnerOptions,
    place: TopicPartition,
    sources: Arc<Sources>,
    slots: Arc<Semaphore>,
    status: watch::Sender<OwnerStatus>,
}

/// An owner at work.
struct Reign {
    options: OwnerOptions,
    place: TopicPartition,
    sources: Arc<Sources>,
    status: watch::Sender<OwnerStatus>,
    partition: Partition,
    duty: Duty,
    steps: Steps,
    appends: Appends,
    deliverer: Deliverer,
    delivery: Option<Delivery>,
    takeover: Takeover,
    /// Offset to reach before claiming.
    caught_up_at: i64,
    /// When to claim, while not leading.
    claim_at: Instant,
    /// Why it ends, once it does: what is in flight may end, nothing new begins.
    ending: Option<End>,
}

impl Owner {
    fn new(options: OwnerOptions, partition: u32, sources: Arc<Sources>, slots: Arc<Semaphore>) -> Self {
        let place = TopicPartition::new(options.topic.clone(), partition);
        let status = watch::Sender::new(OwnerStatus::of(partition));
        Self { options, place, sources, slots, status }
    }

    /// Follows the partition until the process stops, and does what its duty is meanwhile. While log or store are away
    /// it waits for them.
    async fn run(self) -> Result<(), OwnerError> {
        let shutdown = self.options.shutdown.clone();
        let mut rest = REST;
        loop {
            let began = Instant::now();
            match self.reign().await {
                Ok(End::Stopped) => return Ok(()),
                Ok(End::Relieved) => rest = REST,
                Err(error) if error.is_transient() => {
                    self.status.send_modify(|status| status.leading = false);
                    if shutdown.is_cancelled() {
                        return Ok(());
                    }
                    if began.elapsed() > REST_MAX {
                        rest = REST;
                    }
                    tracing::warn!(partition = %self.place, %error, rest_ms = rest.as_millis() as u64, "trying again");
                    // A shutdown ends the rest; the next reign then ends at once.
                    let _ = tokio::time::timeout(rest, shutdown.cancelled()).await;
                    rest = (rest * 2).min(REST_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// From the checkpoint on, until the duty changes or the process stops.
    async fn reign(&self) -> Result<End, OwnerError> {
        let Self { options, place, sources, slots, status } = self;
        let duty = options.duties.of(place.partition);
        let fold = resume::fold(options, place).await?;
        options.views.begin(place.partition, duty.projects).await?;
        let caught_up_at = options.log.bounds(place).await?.end;
        sources.publish(fold.control());
        let mut tail = options.log.tail(place, fold.control().next_offset).await?;
        let (results_in, mut results) = mpsc::channel(RESULTS_MAX);
        let mut partition =
            Partition::new(fold, Arc::clone(&options.process), Arc::clone(&options.workflows));
        partition.limit_active(options.active_max);
        let mut reign = Reign {
            partition,
            duty,
            steps: Steps::new(results_in, Arc::clone(slots), SharedClock::clone(&options.clock)),
            appends: Appends::new(Arc::clone(&options.log), place.clone()),
            deliverer: Deliverer::new(
                Arc::clone(&options.log),
                SharedClock::clone(&options.clock),
                options.topic.clone(),
                Arc::clone(sources),
            ),
            delivery: None,
            takeover: Takeover::default(),
            caught_up_at,
            claim_at: Instant::now(),
            ending: None,
            options: options.clone(),
            place: place.clone(),
            sources: Arc::clone(sources),
            status: status.clone(),
        };
        reign.drive(tail.as_mut(), &mut results).await
    }
}

/// How a reign ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The process stops.
    Stopped,
    /// The duty is another one now.
    Relieved,
}

enum Input {
    Records(Result<Vec<Record>, LogError>),
    Results,
    Appended(Result<Appended, LogError>),
    Delivered(Result<Delivered, LogError>),
    Tick,
    Ending(End),
}

impl Reign {
    async fn drive(
        &mut self,
        tail: &mut dyn Tail,
        results: &mut mpsc::Receiver<StepResult>,
    ) -> Result<End, OwnerError> {
        let shutdown = self.options.shutdown.clone();
        let (duties, duty) = (self.options.duties.clone(), self.duty);
        let number = self.place.partition;
        let mut finished = Vec::with_capacity(RECORDS_MAX);
        let mut deadline: Option<Instant> = None;
        self.publish_status();
        loop {
            self.claim();
            let wake = self.wake_at(deadline);
            let input = tokio::select! {
                biased;
                () = shutdown.cancelled(), if self.ending.is_none() => Input::Ending(End::Stopped),
                () = duties.differ(number, duty), if self.ending.is_none() => Input::Ending(End::Relieved),
                records = tail.next(RECORDS_MAX) => Input::Records(records),
                _ = results.recv_many(&mut finished, RECORDS_MAX) => Input::Results,
                appended = self.appends.next(), if !self.appends.is_empty() => Input::Appended(appended),
                delivered = poll_delivery(&mut self.delivery), if self.delivery.is_some() => {
                    Input::Delivered(delivered)
                }
                () = tokio::time::sleep_until(wake) => Input::Tick,
            };
            let was_results = matches!(input, Input::Results);
            let was_tick = matches!(input, Input::Tick);
            match input {
                Input::Records(records) => self.fold(records?).await?,
                Input::Results => self.settle(&mut finished),
                Input::Appended(Ok(_)) => {}
                Input::Appended(Err(error)) => self.append_failed(error)?,
                Input::Delivered(outcome) => self.delivered(outcome),
                Input::Tick => self.tick().await?,
                Input::Ending(end) => {
                    self.ending = Some(end);
                    if self.deliverer.is_asking() {
                        self.delivery = None;
                    }
                    deadline = Some(Instant::now() + DRAIN);
                }
            }
            // Under load the log always has records; results and timers must not wait for it to pause.
            if !was_results && !results.is_empty() {
                self.take_results(results, &mut finished);
            }
            if !was_tick && Instant::now() >= wake {
                self.tick().await?;
            }
            self.carry_out();
            if let Some(end) = self.ending {
                let quiet = self.steps.in_flight() == 0 && self.appends.is_empty() && self.delivery.is_none();
                if quiet || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(end);
                }
            }
        }
    }

    fn settle(&mut self, finished: &mut Vec<StepResult>) {
        let now_us = self.options.clock.now_us();
        for result in finished.drain(..) {
            self.steps.finished(&result);
            self.partition.step_finished(result, now_us);
        }
    }

    fn take_results(&mut self, results: &mut mpsc::Receiver<StepResult>, finished: &mut Vec<StepResult>) {
        while finished.len() < RECORDS_MAX
            && let Ok(result) = results.try_recv()
        {
            finished.push(result);
        }
        self.settle(finished);
    }

    async fn fold(&mut self, records: Vec<Record>) -> Result<(), OwnerError> {
        self.load(self.partition.wanted(&records)).await?;
        let was_leader = self.partition.is_leader();
        let transitions = self.partition.records(&records, self.options.clock.now_us())?;
        self.sources.publish(self.partition.control());
        if self.partition.is_leader() && !was_leader {
            tracing::info!(partition = %self.place, claim = self.partition.control().claim, "leading");
            self.deliverer.reset();
            self.takeover.begin();
        }
        self.options.views.publish(&transitions);
        self.options.views.project(self.place.partition, transitions, self.partition.control()).await?;
        let applied = self.options.views.applied_offset(self.place.partition);
        self.partition.evict(applied, takeover::horizon_us(self.options.clock.now_us()));
        self.publish_status();
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), OwnerError> {
        let now_us = self.options.clock.now_us();
        if self.partition.is_leader() {
            for work in self.takeover.next(&self.options, self.place.partition, now_us).await? {
                if work.due_us > now_us {
                    self.partition.expect(work.run_id, work.due_us);
                } else {
                    self.partition.defer(work.run_id);
                }
            }
            let turns = self.partition.take_turns(TURNS_MAX);
            self.load(turns).await?;
            let due = self.partition.due_elsewhere(now_us);
            self.load(due).await?;
            self.partition.tick(now_us);
        }
        let applied = self.options.views.applied_offset(self.place.partition);
        self.partition.evict(applied, takeover::horizon_us(now_us));
        self.publish_status();
        Ok(())
    }

    /// When to tick next, at least once a second.
    fn wake_at(&self, deadline: Option<Instant>) -> Instant {
        let now = Instant::now();
        let mut wake = now + Duration::from_secs(1);
        if self.partition.is_leader() {
            if self.takeover.is_due(self.options.clock.now_us()) || self.partition.has_turns() {
                wake = now;
            }
            if let Some(due_us) = self.partition.wake_at_us() {
                let wait_us = u64::try_from(due_us.saturating_sub(self.options.clock.now_us())).unwrap_or(0);
                wake = wake.min(now + Duration::from_micros(wait_us));
            }
            if let Some(until) = self.deliverer.paused_until() {
                wake = wake.min(until.max(now));
            }
        } else {
            wake = wake.min(self.claim_at.max(now + Duration::from_millis(10)));
        }
        deadline.map_or(wake, |deadline| wake.min(deadline))
    }

    fn claim(&mut self) {
        let caught_up = self.partition.control().next_offset >= self.caught_up_at;
        let waits = !caught_up || Instant::now() < self.claim_at;
        if !self.duty.leads || self.ending.is_some() || self.partition.is_leader() || waits {
            return;
        }
        let event_id = EventId::random(self.options.clock.random_16());
        if let Some(record) = self.partition.claim(event_id, self.options.clock.now_us()) {
            self.appends.push(vec![record]);
            self.claim_later();
        }
    }

    /// The next try to claim, with jitter so that two candidates do not chase each other.
    fn claim_later(&mut self) {
        let jitter_ms = u64::from(self.options.clock.random_u32() % 1_000);
        self.claim_at = Instant::now() + Duration::from_millis(500 + jitter_ms);
    }

    fn append_failed(&mut self, error: LogError) -> Result<(), OwnerError> {
        if matches!(error, LogError::Failed(_) | LogError::Closed) {
            return Err(error.into());
        }
        tracing::warn!(partition = %self.place, %error, "an append failed; giving up the claim and deciding afresh");
        self.partition.depose();
        Ok(())
    }

    fn delivered(&mut self, outcome: Result<Delivered, LogError>) {
        self.delivery = None;
        match outcome {
            Ok(Delivered::Lanes(lanes)) => self.deliverer.answered(lanes),
            Ok(Delivered::Through(through)) => self.partition.delivered(through, self.options.clock.now_us()),
            Err(error) => {
                tracing::warn!(partition = %self.place, %error, "outbox delivery failed, asking the destinations again");
                self.deliverer.failed();
            }
        }
    }

    fn carry_out(&mut self) {
        let effects = self.partition.take_effects();
        if effects.deposed {
            tracing::warn!(partition = %self.place, "no longer leading");
            self.steps.abort_all();
            self.appends.abandon();
            self.delivery = None;
            self.deliverer.reset();
            self.claim_later();
        }
        if !effects.appends.is_empty() {
            self.appends.push(effects.appends);
        }
        for (run_id, location) in effects.aborts {
            self.steps.abort(run_id, location);
        }
        if self.ending.is_none() {
            self.steps.launch(effects.launches);
            if self.partition.is_leader() && self.delivery.is_none() {
                self.delivery = self.deliverer.next(&self.partition);
            }
        }
    }

    fn publish_status(&self) {
        let control = self.partition.control();
        let status = OwnerStatus {
            partition: self.place.partition,
            leading: self.partition.is_leader(),
            claim: control.claim,
            claimed_by: control.claimed_by.clone(),
            fold: control.fold,
            next_offset: control.next_offset,
            log: control.log,
            resident_runs: self.partition.fold().runs().len(),
            steps_in_flight: self.steps.in_flight(),
            caught_up: control.next_offset >= self.caught_up_at,
        };
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        });
    }
}

async fn poll_delivery(delivery: &mut Option<Delivery>) -> Result<Delivered, LogError> {
    match delivery {
        Some(delivery) => delivery.await,
        None => std::future::pending().await,
    }
}
