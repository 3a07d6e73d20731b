//! One process: the real owners, the real projector and their views behind a port of its own. It ends like a node does,
//! with the first of its roles that ends.

mod views;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use tidewheel_engine::FoldError;
use tidewheel_log::SharedLog;
use tidewheel_projector::{Projector, ProjectorOptions, Views};
use tidewheel_runtime::{
    Clock, Duties, Duty, DutySender, OwnerError, OwnerOptions, Owners, SharedClock, create_log,
};
use tidewheel_sdk::{RunId, Workflows};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::views::LocalViews;
use crate::clock::SimClock;
use crate::fault::Fault;
use crate::port::{Life, LogPort, Port, StorePort};
use crate::program;
use crate::world::{GENERATION, World};

const OBSERVED_EVERY: Duration = Duration::from_millis(250);

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Abruptly.
    Crashed,
    /// As asked.
    Stopped,
    /// The log is ahead of it.
    TooOld,
    /// The log is not the one the views were built from.
    Mismatch(String),
    /// A role failed in another way.
    Failed(String),
    /// A role did what no role may do.
    Defect(String),
}

/// A process that was started.
pub struct Process {
    /// Its number in the trace.
    pub who: usize,
    /// Its way to the world.
    pub port: Arc<Port>,
    /// Its clock.
    pub clock: Arc<SimClock>,
    /// Asks it to stop.
    pub stop: CancellationToken,
    /// Says what it does for which partition: everything, until told otherwise.
    pub duties: DutySender,
    life: JoinHandle<End>,
}

/// How processes of a world are set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How long a chunk stays open.
    pub linger: Duration,
    /// Most records of a chunk.
    pub records_max: usize,
    /// Most runs of a partition with a machine.
    pub active_max: usize,
    /// Most steps at once.
    pub steps_max: usize,
}

/// Ends the tasks it holds when the process ends, however it ends.
#[derive(Default)]
struct Tasks(Vec<tokio::task::AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

impl Process {
    /// Starts process number `who`, with a clock that is wrong by `skew_us`.
    pub fn start(world: &Arc<World>, who: usize, setup: &Setup, skew_us: i64) -> Self {
        world.trace.note(who, "start", &[skew_us]);
        let port = Port::new(world, who);
        let clock = SimClock::new(world.began, skew_us, world.random.fork());
        let stop = CancellationToken::new();
        let (duties, told) = Duties::channel();
        duties.replace(every_duty(world.partitions));
        let running =
            run(Arc::clone(&port), Arc::clone(&clock) as SharedClock, setup.clone(), told, stop.clone());
        let (world, dying) = (Arc::clone(world), Arc::clone(&port));
        let life = tokio::spawn(async move {
            let end = tokio::select! {
                biased;
                () = dying.died() => End::Crashed,
                end = running => end,
            };
            world.projectors.lock().remove(&who);
            world.trace.note(who, "ended", &[]);
            world.trace.note_text(&format!("process {who} ended: {end:?}"));
            dying.kill();
            end
        });
        Self { who, port, clock, stop, duties, life }
    }

    /// Has it do everything for every partition.
    pub fn does_everything(&self) {
        self.duties.replace(every_duty(self.port.world.partitions));
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.life.is_finished()
    }

    /// Whether it stands still.
    pub fn is_paused(&self) -> bool {
        self.port.life() == Life::Paused
    }

    /// Waits until it has ended.
    pub async fn end(self) -> End {
        match self.life.await {
            Ok(end) => end,
            Err(error) => End::Defect(format!("the process ended abruptly: {}", abrupt(error))),
        }
    }
}

fn every_duty(partitions: u32) -> BTreeMap<u32, Duty> {
    (0..partitions).map(|partition| (partition, Duty::ALL)).collect()
}

/// Why a task ended without a result; not its id, which is another one in every run.
fn abrupt(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned()),
        Err(_) => "it was aborted".to_owned(),
    }
}

fn owner_end(ended: Result<Result<(), OwnerError>, tokio::task::JoinError>) -> Option<End> {
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(OwnerError::Fold(FoldError::Newer { .. }))) => Some(End::TooOld),
        Ok(Err(OwnerError::Fold(error))) => Some(End::Defect(error.to_string())),
        Ok(Err(error @ OwnerError::CheckpointMismatch { .. })) => Some(End::Mismatch(error.to_string())),
        Ok(Err(error)) => Some(End::Failed(error.to_string())),
        Err(error) => Some(End::Defect(format!("an owner ended abruptly: {}", abrupt(error)))),
    }
}

async fn run(
    port: Arc<Port>,
    clock: SharedClock,
    setup: Setup,
    duties: Duties,
    stop: CancellationToken,
) -> End {
    match boot(&port, &clock, &setup, duties, &stop).await {
        Ok((projector, owners, tasks)) => {
            let end = serve(&port, &projector, owners, &stop).await;
            if end == End::Stopped {
                projector.close().await;
            }
            drop(tasks);
            end
        }
        Err(end) => end,
    }
}

async fn boot(
    port: &Arc<Port>,
    clock: &SharedClock,
    setup: &Setup,
    duties: Duties,
    stop: &CancellationToken,
) -> Result<(Projector, Owners, Tasks), End> {
    let world = &port.world;
    let log: SharedLog = Arc::new(LogPort(Arc::clone(port)));
    let process: Arc<str> = format!("process-{}", port.who).into();
    let clock_now: &dyn Clock = &**clock;
    create_log(&log, &world.topic, world.partitions, &process, clock_now)
        .await
        .map_err(|error| End::Failed(error.to_string()))?;
    let views = Views::new(Arc::new(StorePort(Arc::clone(port))), GENERATION);
    let parked = Arc::clone(world);
    let options = ProjectorOptions {
        linger: setup.linger,
        records_max: setup.records_max,
        atomic: world.atomic,
        on_parked: Some(Arc::new(move |run_id: RunId, offset: i64, why: &str| {
            parked.violate("nothing_is_parked", || format!("run {run_id} at offset {offset}: {why}"));
        })),
        ..ProjectorOptions::default()
    };
    let opened = Projector::open(views, world.partitions, options).await;
    let (projector, worker) = opened.map_err(|error| End::Failed(error.to_string()))?;
    let mut tasks = Tasks::default();
    tasks.0.push(tokio::spawn(worker).abort_handle());
    tasks.0.push(tokio::spawn(observe(projector.clone(), world.partitions)).abort_handle());
    let mut workflows = Workflows::new();
    program::register(&mut workflows, port);
    let owners = Owners::start(&OwnerOptions {
        log,
        topic: world.topic.clone(),
        partitions: world.partitions,
        process,
        workflows: Arc::new(workflows),
        views: Arc::new(LocalViews { projector: projector.clone(), port: Arc::clone(port) }),
        steps_max: setup.steps_max,
        active_max: setup.active_max,
        clock: SharedClock::clone(clock),
        duties,
        shutdown: stop.clone(),
    });
    tasks.0.extend(owners.tasks.iter().map(JoinHandle::abort_handle));
    world.projectors.lock().insert(port.who, projector.clone());
    Ok((projector, owners, tasks))
}

/// Looks how far others have written the views that this process does not write.
async fn observe(projector: Projector, partitions: u32) {
    loop {
        tokio::time::sleep(OBSERVED_EVERY).await;
        for partition in 0..partitions {
            // A store that is away is looked at again.
            let _ = projector.observe(partition).await;
        }
    }
}

async fn serve(port: &Port, projector: &Projector, owners: Owners, stop: &CancellationToken) -> End {
    let mut left = owners.tasks;
    while !left.is_empty() {
        let count = left.len();
        let (ended, _, others) = tokio::select! {
            biased;
            ended = select_all(left) => ended,
            error = projector.failed() => return End::Failed(error.to_string()),
        };
        if let Some(end) = owner_end(ended) {
            return end;
        }
        if !stop.is_cancelled() {
            return End::Defect(format!("one of {count} owners ended without being asked to"));
        }
        left = others;
    }
    if !port.world.is_calm() {
        port.world.faults.add(Fault::Stop);
    }
    End::Stopped
}
