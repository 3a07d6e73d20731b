//! One process: the real owners, projectors and keeper of generations and the real reader of the configuration, behind a
//! port of its own. It ends like a node does, with the first of its roles that ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use tidewheel_engine::FoldError;
use tidewheel_log::SharedLog;
use tidewheel_projector::{Generations, ProjectorOptions};
use tidewheel_replay::keeper::Materials;
use tidewheel_replay::{Keeper, RebuildOptions, Standings};
use tidewheel_runtime::{
    Clock, ConfigOptions, Configuration, Duties, Duty, DutySender, LocalViews, OwnerError, OwnerOptions,
    Owners, SharedClock, create_log,
};
use tidewheel_sdk::{RunId, Workflows};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::SimClock;
use crate::fault::Fault;
use crate::port::{Life, LogPort, Port, StorePort};
use crate::program;
use crate::world::World;

/// Few, so that takeovers page.
const OPEN_WORK_PAGE: usize = 3;
/// How many records a generation may be behind when it becomes the active one by itself.
const ACTIVATION_LAG_MAX: u64 = 20;

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
    /// How generations are filled.
    pub rebuild: RebuildOptions,
}

/// Ends the tasks it holds when the process ends, however it ends.
struct Tasks {
    aborted: Vec<tokio::task::AbortHandle>,
    _shutdown: DropGuard,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.aborted.iter().for_each(tokio::task::AbortHandle::abort);
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
                () = dying.died() => {
                    let is_filling = dying.standings.lock().values().any(|standing| !standing.follows());
                    if is_filling && !world.is_calm() {
                        world.faults.add(Fault::ReplayKilled);
                    }
                    End::Crashed
                }
                end = running => end,
            };
            world.generations.lock().remove(&who);
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
        Ok(Err(error @ OwnerError::CheckpointMismatch(_))) => Some(End::Mismatch(error.to_string())),
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
        Ok(Booted { generations, configuration, owners, keeper, stop_keeper, tasks }) => {
            let end = serve(&port, &generations, &configuration, owners, &stop).await;
            if end == End::Stopped {
                stop_keeper.cancel();
                // It ends what it began.
                let _ = keeper.await;
                generations.active().close().await;
            }
            drop(tasks);
            end
        }
        Err(end) => end,
    }
}

/// A process that has begun to work.
struct Booted {
    generations: Generations,
    configuration: Configuration,
    owners: Owners,
    keeper: JoinHandle<()>,
    stop_keeper: CancellationToken,
    tasks: Tasks,
}

async fn boot(
    port: &Arc<Port>,
    clock: &SharedClock,
    setup: &Setup,
    duties: Duties,
    stop: &CancellationToken,
) -> Result<Booted, End> {
    let world = &port.world;
    let log: SharedLog = Arc::new(LogPort(Arc::clone(port)));
    let process: Arc<str> = format!("process-{}", port.who).into();
    let clock_now: &dyn Clock = &**clock;
    create_log(&log, &world.topic, world.partitions, &process, clock_now)
        .await
        .map_err(|error| End::Failed(error.to_string()))?;
    let shutdown = CancellationToken::new();
    let mut tasks = Tasks { aborted: Vec::new(), _shutdown: shutdown.clone().drop_guard() };
    let configuration = Configuration::start(ConfigOptions {
        log: SharedLog::clone(&log),
        topic: world.config_topic.clone(),
        process: Arc::clone(&process),
        clock: SharedClock::clone(clock),
        shutdown,
    });
    // It says which generation of the views is the one to go on with.
    tokio::select! {
        biased;
        () = configuration.complete() => {}
        stopped = configuration.stopped() => return Err(End::Failed(stopped.to_string())),
    }
    let parked = Arc::clone(world);
    let materials = Materials {
        log: SharedLog::clone(&log),
        store: Arc::new(StorePort(Arc::clone(port))),
        topic: world.topic.clone(),
        partitions: world.partitions,
        datacenter: world.datacenter.clone(),
        options: ProjectorOptions {
            linger: setup.linger,
            records_max: setup.records_max,
            atomic: world.atomic,
            on_parked: Some(Arc::new(move |run_id: RunId, offset: i64, why: &str| {
                parked.violate("nothing_is_parked", || format!("run {run_id} at offset {offset}: {why}"));
            })),
            ..ProjectorOptions::default()
        },
        is_cluster: true,
        has_threads: false,
    };
    let active = configuration.snapshot().views(&world.datacenter).active;
    let opened = materials.projector(active, false, None).await;
    let generations = Generations::new(opened.map_err(|error| End::Failed(error.to_string()))?);
    let mut workflows = Workflows::new();
    program::register(&mut workflows, port);
    let told = Arc::clone(port);
    let owners = Owners::start(&OwnerOptions {
        log,
        topic: world.topic.clone(),
        partitions: world.partitions,
        process: Arc::clone(&process),
        workflows: Arc::new(workflows),
        views: Arc::new(LocalViews {
            generations: generations.clone(),
            publish: Arc::new(move |transitions| told.world.note_live(told.who, transitions)),
            open_work_page: OPEN_WORK_PAGE,
        }),
        steps_max: setup.steps_max,
        active_max: setup.active_max,
        clock: SharedClock::clone(clock),
        duties: duties.clone(),
        shutdown: stop.clone(),
    });
    tasks.aborted.extend(owners.tasks.iter().map(JoinHandle::abort_handle));
    let keeper = Keeper {
        materials,
        generations: generations.clone(),
        duties,
        configuration: configuration.clone(),
        clock: SharedClock::clone(clock),
        process,
        standings: Standings::clone(&port.standings),
        parts: Standings::default(),
        lag_max: ACTIVATION_LAG_MAX,
        rebuild: setup.rebuild,
    };
    let stop_keeper = CancellationToken::new();
    let keeper = tokio::spawn(keeper.keep(stop_keeper.clone()));
    tasks.aborted.push(keeper.abort_handle());
    world.generations.lock().insert(port.who, generations.clone());
    Ok(Booted { generations, configuration, owners, keeper, stop_keeper, tasks })
}

async fn serve(
    port: &Port,
    generations: &Generations,
    configuration: &Configuration,
    owners: Owners,
    stop: &CancellationToken,
) -> End {
    let mut left = owners.tasks;
    while !left.is_empty() {
        let count = left.len();
        let (ended, _, others) = tokio::select! {
            biased;
            ended = select_all(left) => ended,
            error = generations.failed() => return End::Failed(error.to_string()),
            stopped = configuration.stopped() => return End::Defect(stopped.to_string()),
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
