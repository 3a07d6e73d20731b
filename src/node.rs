//! A node: every role of one process around one log and one store. A program of yours embeds it through
//! [`Node::builder`]; `tidewheel dev` is such a program.

mod views;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tidewheel_api::{Namespaces, Waiting};
use tidewheel_engine::workflow::Workflows;
use tidewheel_ingest::server::Limits;
use tidewheel_ingest::state::VERDICT_TIMEOUT;
use tidewheel_ingest::{Ingest, LogProducer, Settings};
use tidewheel_log::{SharedClock, SharedLog, SystemClock};
use tidewheel_projector::query::{LogEnd, QueryOptions, Reads};
use tidewheel_projector::{Projector, ProjectorOptions};
use tidewheel_runtime::{OwnerOptions, Owners};
use tidewheel_schemas::{Name, Topic, TopicFamily, TopicPartition};
use tidewheel_sdk::{Context, WorkflowResult};
use tidewheel_store::Generation;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::views::LocalViews;
use self::watch::Watch;
use crate::config::{Config, ConfigError};
use crate::{telemetry, wire};

/// How long a starting node may take until it leads every partition.
const READY_TIMEOUT: Duration = Duration::from_secs(600);

/// The build of the views a node reads and writes.
pub const GENERATION: Generation = Generation(1);

/// A node that cannot start or go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NodeError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Two workflows of one name, or a name that is none.
    #[error("workflow `{name}` cannot be registered: {what}")]
    Workflow {
        /// The name as given.
        name: String,
        /// Why.
        what: String,
    },
    /// Log or store cannot be opened.
    #[error(transparent)]
    Wire(#[from] wire::WireError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {what}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        what: String,
    },
    /// A role stopped.
    #[error("{role} stopped: {what}")]
    Role {
        /// Which one.
        role: &'static str,
        /// Why.
        what: String,
    },
}

fn role(role: &'static str, error: impl std::fmt::Display) -> NodeError {
    NodeError::Role { role, what: error.to_string() }
}

/// Begins a node.
#[derive(Debug, Clone, Copy)]
pub struct Node;

impl Node {
    /// A node with the default configuration and no workflows yet.
    pub fn builder() -> NodeBuilder {
        NodeBuilder { config: Config::default(), workflows: Workflows::new(), refused: None }
    }
}

/// A node that is being put together.
pub struct NodeBuilder {
    config: Config,
    workflows: Workflows,
    refused: Option<NodeError>,
}

impl NodeBuilder {
    /// Registers a workflow: an `async fn(Context, Input) -> WorkflowResult<Output>`.
    #[must_use]
    pub fn workflow<F, Fut, I, O>(mut self, name: &str, function: F) -> Self
    where
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = WorkflowResult<O>> + Send + 'static,
        I: serde::de::DeserializeOwned + 'static,
        O: serde::Serialize + 'static,
    {
        let refused = match Name::new(name) {
            Ok(valid) => self
                .workflows
                .insert(valid, tidewheel_sdk::workflow(function))
                .map(|_| "it is registered twice".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(what) = refused {
            self.refused.get_or_insert(NodeError::Workflow { name: name.to_owned(), what });
        }
        self
    }

    /// Replaces the whole configuration.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The folder of log and store.
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.data_dir = folder.into();
        self
    }

    /// The address of the HTTP API; port 0 takes a free one.
    #[must_use]
    pub const fn listen(mut self, address: SocketAddr) -> Self {
        self.config.listen = address;
        self
    }

    /// Keeps everything in memory and nothing on disk.
    #[must_use]
    pub const fn ephemeral(mut self, ephemeral: bool) -> Self {
        self.config.ephemeral = ephemeral;
        self
    }

    /// Starts the node and waits until it takes requests.
    ///
    /// # Errors
    /// When the configuration is refused, or the log, the store or the address cannot be opened, or a role stops.
    pub async fn start(self) -> Result<RunningNode, NodeError> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        self.config.check()?;
        RunningNode::start(self.config, self.workflows).await
    }

    /// Starts the node, says so on standard output, and serves until SIGTERM or ctrl-c; what is in flight then is
    /// finished.
    ///
    /// # Errors
    /// As [`Self::start`]; also when a role stops while serving.
    pub async fn serve(self) -> Result<(), NodeError> {
        let durability = self.config.durability;
        let ephemeral = self.config.ephemeral;
        let node = self.start().await?;
        let kept = if ephemeral { "nothing is kept: --ephemeral" } else { durability.as_str() };
        println!("tidewheel is ready on http://{} (durability: {kept})", node.address());
        tokio::select! {
            () = stop_signal() => node.stop().await,
            error = node.failed() => {
                // What can still be written is written; the first error is the one that counts.
                let _ = node.stop().await;
                Err(error)
            }
        }
    }
}

/// Resolves at SIGTERM or ctrl-c.
async fn stop_signal() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be waited for; use ctrl-c");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// A node at work.
pub struct RunningNode {
    address: SocketAddr,
    wiring: Arc<wire::Wiring>,
    projector: Projector,
    stop_serving: CancellationToken,
    stop_owners: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
    watch: Watch,
}

impl RunningNode {
    async fn start(config: Config, workflows: Workflows) -> Result<Self, NodeError> {
        let recorder = telemetry::metrics_recorder().map_err(|error| role("the metrics recorder", error))?;
        // Before anything else is opened: a taken port is the commonest reason not to start.
        let listener =
            TcpListener::bind(config.listen).await.map_err(|error| listen_error(&config, &error))?;
        let address = listener.local_addr().map_err(|error| listen_error(&config, &error))?;
        let opening = config.clone();
        let wiring = tokio::task::spawn_blocking(move || wire::open(&opening))
            .await
            .map_err(|error| role("opening the log", error))??;
        let wiring = Arc::new(wiring);
        let topic = TopicFamily::WorkflowEvents.topic(&config.prefix, &config.datacenter);
        let clock = SystemClock::shared();
        let process: Arc<str> = format!("tidewheel-{}", std::process::id()).into();
        tidewheel_runtime::create_log(&wiring.log, &topic, config.partitions, &process, &*clock)
            .await
            .map_err(|error| role("creating the log", error))?;

        let views = tidewheel_projector::Views::new(Arc::clone(&wiring.store), GENERATION);
        let projector = Projector::start(views, config.partitions, ProjectorOptions::default())
            .await
            .map_err(|error| role("the projector", error))?;
        let waiting = Waiting::new(config.partitions);
        let names = workflows.names().cloned().collect();
        let stop_owners = CancellationToken::new();
        let owners = Owners::start(&OwnerOptions {
            log: Arc::clone(&wiring.log),
            topic: topic.clone(),
            partitions: config.partitions,
            process,
            workflows: Arc::new(workflows),
            views: Arc::new(LocalViews { projector: projector.clone(), waiting: waiting.clone() }),
            steps_max: config.steps_max,
            active_max: config.runs_active_max / usize::try_from(config.partitions).unwrap_or(1).max(1),
            clock: SharedClock::clone(&clock),
            duties: Duties::same(Duty::ALL, config.partitions),
            shutdown: stop_owners.clone(),
        });

        let producer = Arc::new(LogProducer::with_clock(
            Arc::clone(&wiring.log),
            &topic,
            config.partitions,
            SharedClock::clone(&clock),
        ));
        let stop_serving = CancellationToken::new();
        let namespaces = Namespaces::new(config.namespaces.iter().cloned());
        let ingest = Ingest::new(
            Arc::clone(&producer) as Arc<dyn tidewheel_ingest::Producer>,
            waiting.clone(),
            Settings {
                namespaces: namespaces.clone(),
                workflows: Some(names),
                datacenter: config.datacenter_label,
                topics: vec![(TopicFamily::WorkflowEvents, topic.clone())],
                verdict_timeout: VERDICT_TIMEOUT,
                metrics: recorder,
                stopping: stop_serving.clone(),
            },
        );
        let reads = Reads::new(
            projector.clone(),
            waiting,
            QueryOptions {
                namespaces,
                datacenter: config.datacenter_label,
                log_end: log_end(Arc::clone(&wiring.log), topic.clone()),
                stopping: stop_serving.clone(),
            },
        );
        let router = tidewheel_ingest::http::router(ingest).merge(tidewheel_projector::query::router(reads));
        let router = tidewheel_ingest::http::finish(router);
        let watch =
            Watch::start(&config, Arc::clone(&wiring.log), &topic, projector.clone(), producer, owners);
        let server = tokio::spawn(tidewheel_ingest::server::serve(
            listener,
            router,
            stop_serving.clone(),
            Limits::default(),
        ));
        let node = Self { address, wiring, projector, stop_serving, stop_owners, server, watch };
        let ready = tokio::time::timeout(READY_TIMEOUT, node.watch.ready()).await;
        match ready {
            Ok(Ok(())) => Ok(node),
            Ok(Err(error)) => {
                let _ = node.stop().await;
                Err(error)
            }
            Err(_) => {
                let _ = node.stop().await;
                Err(role("the node", "it did not lead every partition within ten minutes; see the log lines"))
            }
        }
    }

    /// The address it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resolves with the reason when a role stops.
    pub async fn failed(&self) -> NodeError {
        self.watch.failed().await
    }

    /// Stops: takes no more requests, finishes those in flight and the steps that end soon, writes the views and
    /// lets go of the folder.
    ///
    /// # Errors
    /// When a role had failed.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.stop_serving.cancel();
        let served = self.server.await;
        self.stop_owners.cancel();
        let owned = self.watch.stop().await;
        self.projector.close().await;
        let wiring = self.wiring;
        let closed = tokio::task::spawn_blocking(move || wiring.close()).await;
        owned?;
        match served {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(role("the HTTP server", error)),
            Err(error) => return Err(role("the HTTP server", error)),
        }
        closed.map_err(|error| role("closing the log", error))
    }
}

/// Tells the reading routes where a partition's log ends.
fn log_end(log: SharedLog, topic: Topic) -> LogEnd {
    Arc::new(move |partition| {
        let (log, place) = (Arc::clone(&log), TopicPartition::new(topic.clone(), partition));
        async move { log.bounds(&place).await.ok().map(|bounds| bounds.end) }.boxed()
    })
}

fn listen_error(config: &Config, error: &std::io::Error) -> NodeError {
    NodeError::Listen { address: config.listen, what: error.to_string() }
}
