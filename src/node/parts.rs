//! The parts of a node around one log and one store: owners, projector, face, and the watch over them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::FutureExt as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tidewheel_api::{Auth, Namespaces, Waiting};
use tidewheel_engine::fold;
use tidewheel_engine::workflow::Workflows;
use tidewheel_ingest::fold::{Members, Raising, Stored};
use tidewheel_ingest::state::VERDICT_TIMEOUT;
use tidewheel_ingest::{Administration, Forwarder, Ingest, LogProducer, Settings};
use tidewheel_log::{SharedClock, SharedLog, SystemClock};
use tidewheel_projector::query::status::{Part, PartOf, Process};
use tidewheel_projector::query::{LogEnd, QueryOptions, Reading};
use tidewheel_projector::{Generations, ProjectorError, ProjectorOptions};
use tidewheel_replay::http::{Examine, Replaying};
use tidewheel_replay::keeper::Materials;
use tidewheel_replay::{Keeper, RebuildOptions, Standings, Verified};
use tidewheel_runtime::{
    ConfigOptions, Configuration, CreateError, Duties, Duty, LocalViews, OwnerOptions, OwnerStatus, Owners,
};
use tidewheel_schemas::{Topic, TopicFamily, TopicPartition};
use tidewheel_store::StoreError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::configuration::{Followed, say_how_to_begin};
use super::datacenters::Created;
use super::watch::Watch;
use super::{NodeError, duties, role};
use crate::config::{Config, Role};
use crate::wire::{self, Wiring};

/// How long a starting process rests while log or store are away, at first and at most.
const REST: Duration = Duration::from_millis(200);
const REST_MAX: Duration = Duration::from_secs(5);
/// How many records a partition of a generation may be behind its log when reads are told to move there: what a moment
/// brings, not what is still to be filled.
const ACTIVATION_LAG_MAX: u64 = 10_000;
/// Runs with open work that an owner takes over at a time.
const OPEN_WORK_PAGE: usize = 256;

/// What a node begins with.
pub(super) struct Begin {
    pub(super) config: Config,
    pub(super) workflows: Workflows,
    pub(super) forwarder: Forwarder,
    pub(super) created: Created,
    pub(super) recorder: Option<PrometheusHandle>,
    pub(super) stop_serving: CancellationToken,
}

/// The parts at work.
pub(super) struct Parts {
    wiring: Arc<Wiring>,
    generations: Generations,
    stop_owners: CancellationToken,
    watch: Watch,
    keeper: JoinHandle<()>,
    stop_keeper: CancellationToken,
    background: Vec<JoinHandle<()>>,
}

/// What was opened before anything runs.
struct Opened {
    wiring: Arc<Wiring>,
    topic: Topic,
    process: Arc<str>,
    clock: SharedClock,
    configuration: Configuration,
    config_topic: Topic,
    stop_owners: CancellationToken,
    generations: Generations,
    materials: Materials,
}

/// A start that failed; trying again may help while log or store are away.
struct Failed {
    error: NodeError,
    is_transient: bool,
}

impl From<NodeError> for Failed {
    fn from(error: NodeError) -> Self {
        Self { error, is_transient: false }
    }
}

fn creating(error: CreateError) -> Failed {
    let is_transient = matches!(&error, CreateError::Log(error) if error.is_transient());
    Failed { error: role("creating the log", error), is_transient }
}

fn projecting(error: ProjectorError) -> Failed {
    let is_transient = matches!(error, ProjectorError::Store(StoreError::Unavailable(_)));
    Failed { error: role("the projector", error), is_transient }
}

impl Begin {
    /// Begins on the log and the store of this machine.
    pub(super) async fn embedded(self) -> Result<(Parts, Router), NodeError> {
        let opening = self.config.clone();
        let wiring = tokio::task::spawn_blocking(move || wire::open(&opening))
            .await
            .map_err(|error| role("opening the log", error))??;
        let opened = self.opened(wiring).await.map_err(|failed| failed.error)?;
        let duties = Duties::same(Duty::ALL, self.config.partitions);
        Ok(self.parts(opened, duties, Vec::new()))
    }

    /// Begins as a process of a cluster, as soon as its log and its store are there.
    pub(super) async fn joined(self) -> Result<(Parts, Router), NodeError> {
        let mut rest = REST;
        let opened = loop {
            match self.join().await {
                Ok(opened) => break opened,
                Err(Failed { error, is_transient: true }) => {
                    tracing::warn!(%error, rest_ms = rest.as_millis() as u64, "cannot start yet, trying again");
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(REST_MAX);
                }
                Err(Failed { error, is_transient: false }) => return Err(error),
            }
        };
        let (sender, duties) = Duties::channel();
        let memberships = wire::Memberships::join(&self.config, &opened.topic)?;
        let background = vec![tokio::spawn(duties::follow(memberships, sender))];
        Ok(self.parts(opened, duties, background))
    }

    async fn join(&self) -> Result<Opened, Failed> {
        let wiring = wire::join(&self.config).await.map_err(|error| {
            let is_transient = error.is_transient();
            Failed { error: error.into(), is_transient }
        })?;
        self.opened(wiring).await
    }

    async fn opened(&self, wiring: Wiring) -> Result<Opened, Failed> {
        let config = &self.config;
        let topic = TopicFamily::WorkflowEvents.topic(&config.prefix, &config.datacenter);
        let clock = SystemClock::shared();
        let process = process_name(config);
        tidewheel_runtime::create_log(&wiring.log, &topic, config.partitions, &process, &*clock)
            .await
            .map_err(creating)?;
        let stop_owners = CancellationToken::new();
        // An attempt that fails leaves nothing behind that goes on.
        let stop_unless_opened = stop_owners.clone().drop_guard();
        let config_topic = TopicFamily::ConfigChanges.topic(&config.prefix, &config.datacenter);
        let configuration = Configuration::start(ConfigOptions {
            log: Arc::clone(&wiring.log),
            topic: config_topic.clone(),
            process: Arc::clone(&process),
            clock: SharedClock::clone(&clock),
            shutdown: stop_owners.clone(),
        });
        // It says which generation of the views is the one to go on with.
        tokio::select! {
            () = configuration.complete() => {}
            stopped = configuration.stopped() => return Err(role("the configuration", stopped).into()),
        }
        let materials = Materials {
            log: Arc::clone(&wiring.log),
            store: Arc::clone(&wiring.store),
            topic: topic.clone(),
            partitions: config.partitions,
            datacenter: config.datacenter.clone(),
            options: ProjectorOptions { atomic: wiring.is_atomic, ..ProjectorOptions::default() },
            is_cluster: config.is_cluster(),
            has_threads: true,
        };
        let active = configuration.snapshot().views(&config.datacenter).active;
        // In a cluster the groups say who writes which partition.
        let opening = materials.projector(active, !config.is_cluster(), None);
        let projector = opening.await.map_err(projecting)?;
        // Before this process joins a group: it would be given partitions that it can only let go of.
        for control in (0..config.partitions).filter_map(|partition| projector.control(partition)) {
            fold::check(&control).map_err(|error| role("the node", error))?;
        }
        stop_unless_opened.disarm();
        let generations = Generations::new(projector);
        let wiring = Arc::new(wiring);
        Ok(Opened {
            wiring,
            topic,
            process,
            clock,
            configuration,
            config_topic,
            stop_owners,
            generations,
            materials,
        })
    }

    fn parts(self, opened: Opened, duties: Duties, mut background: Vec<JoinHandle<()>>) -> (Parts, Router) {
        let Self { config, workflows, forwarder, created, recorder, stop_serving } = self;
        let Opened {
            wiring,
            topic,
            process,
            clock,
            configuration,
            config_topic,
            stop_owners,
            generations,
            materials,
        } = opened;
        let waiting = Waiting::new(config.partitions);
        let published = waiting.clone();
        let stop_archiving = stop_serving.clone();
        let names = workflows.names().cloned().collect();
        if config.requires_tokens() {
            background.push(tokio::spawn(say_how_to_begin(configuration.clone())));
        }
        let owners = Owners::start(&OwnerOptions {
            log: Arc::clone(&wiring.log),
            topic: topic.clone(),
            partitions: config.partitions,
            process: Arc::clone(&process),
            workflows: Arc::new(workflows),
            views: Arc::new(LocalViews {
                generations: generations.clone(),
                publish: Arc::new(move |transitions| published.publish(transitions)),
                open_work_page: OPEN_WORK_PAGE,
            }),
            steps_max: config.steps_max,
            active_max: config.runs_active_max / usize::try_from(config.partitions).unwrap_or(1).max(1),
            clock: SharedClock::clone(&clock),
            duties: duties.clone(),
            shutdown: stop_owners.clone(),
        });
        let producer = Arc::new(LogProducer::with_clock(
            Arc::clone(&wiring.log),
            &topic,
            config.partitions,
            SharedClock::clone(&clock),
        ));
        // Nobody else sets it.
        let _ = created.set(configuration.snapshots());
        let namespaces =
            Namespaces::new(config.namespaces.iter().cloned()).with_created(configuration.snapshots());
        let now = SharedClock::clone(&clock);
        let auth =
            Auth::new(config.requires_tokens(), configuration.snapshots(), Arc::new(move || now.now_us()));
        let (keeper_clock, keeper_process) = (SharedClock::clone(&clock), Arc::clone(&process));
        let administration = Administration::new(
            Arc::new(Followed { configuration: configuration.clone(), clock: SharedClock::clone(&clock) }),
            namespaces.clone(),
            config.datacenter.clone(),
            config.datacenters.keys().cloned(),
            VERDICT_TIMEOUT,
        );
        let ingest = Ingest::new(
            Arc::clone(&producer) as Arc<dyn tidewheel_ingest::Producer>,
            waiting.clone(),
            Settings {
                namespaces: namespaces.clone(),
                workflows: Some(names),
                forwarder: forwarder.clone(),
                topics: vec![
                    (TopicFamily::WorkflowEvents, topic.clone()),
                    (TopicFamily::ConfigChanges, config_topic.clone()),
                ],
                in_force: in_force(owners.status.clone()),
                verdict_timeout: VERDICT_TIMEOUT,
                metrics: recorder,
                stopping: stop_serving.clone(),
            },
        );
        let reads = Reading::new(
            generations.clone(),
            waiting,
            QueryOptions {
                namespaces,
                datacenter: config.label(),
                log_end: log_end(Arc::clone(&wiring.log), topic.clone()),
                process: Process {
                    name: process,
                    datacenter: config.datacenter.clone(),
                    roles: config.roles.iter().map(|role| role.as_str()).collect(),
                    max_lag: config.max_lag,
                    part: part_of(owners.status.clone(), duties.clone()),
                },
                stopping: stop_serving.clone(),
            },
        );
        let mut router = if config.roles.contains(&Role::Ingest) {
            let raising = Raising {
                stored: stored(generations.clone()),
                ingest: ingest.clone(),
                members: members(&config, &topic),
                in_force: in_force(owners.status.clone()),
            };
            tidewheel_ingest::http::router(ingest)
                .merge(tidewheel_ingest::http::fold_router(raising))
                .merge(tidewheel_ingest::http::administration(administration.clone()))
        } else {
            tidewheel_ingest::http::node_router(ingest)
        };
        if config.roles.contains(&Role::Ingest) || config.roles.contains(&Role::Projector) {
            router = router.merge(tidewheel_projector::query::router(reads));
        } else {
            router = router.merge(tidewheel_projector::query::status_router(reads));
        }
        let (standings, backfilled) = (Standings::default(), Standings::default());
        if config.roles.contains(&Role::Ingest) || config.roles.contains(&Role::Projector) {
            let replaying = Replaying {
                administration,
                log: Arc::clone(&wiring.log),
                topic: topic.clone(),
                partitions: config.partitions,
                generations: generations.clone(),
                standings: Standings::clone(&standings),
                parts: Standings::clone(&backfilled),
                verified: Verified::default(),
                lag_max: ACTIVATION_LAG_MAX,
            };
            let examine = Examine::new(replaying.clone(), config.label(), stop_serving);
            router = router
                .merge(tidewheel_replay::http::router(replaying))
                .merge(tidewheel_replay::http::examine_router(examine));
        }
        router = router.merge(super::archive::router(super::archive::Archiving {
            joined: wiring.archive.clone(),
            store: Arc::clone(&wiring.store),
            topic: topic.clone(),
            partitions: config.partitions,
            config_topic,
            datacenter: config.datacenter.clone(),
            configuration: configuration.snapshots(),
            clock,
            stopping: stop_archiving,
        }));
        let router = tidewheel_ingest::http::forwarding(router, forwarder);
        let watch = Watch::start(
            &config,
            Arc::clone(&wiring.log),
            &topic,
            generations.clone(),
            producer,
            owners,
            configuration.clone(),
        );
        let stop_keeper = CancellationToken::new();
        let keeper = Keeper {
            materials,
            generations: generations.clone(),
            duties,
            configuration,
            clock: keeper_clock,
            process: keeper_process,
            standings,
            parts: backfilled,
            lag_max: ACTIVATION_LAG_MAX,
            rebuild: RebuildOptions::default(),
        };
        let keeper = tokio::spawn(keeper.keep(stop_keeper.clone()));
        let parts = Parts { wiring, generations, stop_owners, watch, keeper, stop_keeper, background };
        (parts, tidewheel_ingest::http::finish_guarded(router, auth))
    }
}

impl Parts {
    /// Resolves once requests are taken.
    pub(super) async fn ready(&self) -> Result<(), NodeError> {
        self.watch.ready().await
    }

    /// Resolves with the reason when a part stops.
    pub(super) async fn failed(&self) -> NodeError {
        self.watch.failed().await
    }

    /// Finishes the steps that end soon, writes the views and lets go of log and store.
    pub(super) async fn stop(self) -> Result<(), NodeError> {
        self.stop_owners.cancel();
        let owned = self.watch.stop().await;
        // Only now: whoever leaves the groups earlier has its partitions taken while it still works on them.
        for task in &self.background {
            task.abort();
        }
        self.stop_keeper.cancel();
        // It ends what it began and does not panic.
        let _ = self.keeper.await;
        self.generations.active().close().await;
        let wiring = self.wiring;
        let closed = tokio::task::spawn_blocking(move || wiring.close()).await;
        owned?;
        closed.map_err(|error| role("closing the log", error))
    }
}

/// The name of this process in claims, for people.
fn process_name(config: &Config) -> Arc<str> {
    let id = std::process::id();
    match &config.node {
        Some(node) => format!("{node}-{id}").into(),
        None => format!("tidewheel-{id}").into(),
    }
}

/// Tells the status what this process does for a partition.
fn part_of(owners: Vec<watch::Receiver<OwnerStatus>>, duties: Duties) -> PartOf {
    Arc::new(move |partition| {
        let owner = usize::try_from(partition).ok().and_then(|partition| owners.get(partition));
        let Some(owner) = owner.map(|owner| owner.borrow().clone()) else { return Part::default() };
        Part {
            leading: owner.leading,
            projecting: duties.of(partition).projects,
            claim: owner.claim,
            claimed_by: owner.claimed_by,
            log_id: owner.log.map(|log| log.log_id),
        }
    })
}

/// Tells which processes there are besides this one, which is all there is on the log of its machine.
fn members(config: &Config, topic: &Topic) -> Members {
    let (config, topic) = (Arc::new(config.clone()), topic.clone());
    Arc::new(move || {
        let (config, topic) = (Arc::clone(&config), topic.clone());
        async move {
            if !config.is_cluster() {
                return Ok(Vec::new());
            }
            wire::members(&config, &topic).await.map_err(|error| error.to_string())
        }
        .boxed()
    })
}

/// Tells the fold version in force for a partition, as this process has read it.
fn in_force(owners: Vec<watch::Receiver<OwnerStatus>>) -> Arc<dyn Fn(u32) -> u32 + Send + Sync> {
    Arc::new(move |partition| {
        let owner = usize::try_from(partition).ok().and_then(|partition| owners.get(partition));
        owner.map_or(0, |owner| owner.borrow().fold)
    })
}

/// Reads a run from the generation that is read.
fn stored(generations: Generations) -> Stored {
    Arc::new(move |run_id| {
        let projector = generations.active();
        async move { projector.views().load_run(run_id).await.map_err(|error| error.to_string()) }.boxed()
    })
}

/// Tells the reading routes where a partition's log ends.
fn log_end(log: SharedLog, topic: Topic) -> LogEnd {
    Arc::new(move |partition| {
        let (log, place) = (Arc::clone(&log), TopicPartition::new(topic.clone(), partition));
        async move { log.bounds(&place).await.ok().map(|bounds| bounds.end) }.boxed()
    })
}
