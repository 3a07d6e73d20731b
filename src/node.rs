//! A node: every role of one process around one log and one store. A program of yours embeds it through
//! [`Node::builder`]; `tidewheel dev` is such a program.

mod archive;
mod configuration;
mod datacenters;
mod duties;
mod gate;
mod parts;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidewheel_engine::config::views::FIRST_GENERATION;
use tidewheel_engine::workflow::Workflows;
use tidewheel_ingest::datacenters::{DatacentersError, Elsewhere};
use tidewheel_ingest::server::Limits;
use tidewheel_schemas::Name;
use tidewheel_sdk::{Context, WorkflowResult};
use tidewheel_store::Generation;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::gate::Gate;
use self::parts::{Begin, Parts};
use crate::config::{Config, ConfigError};
use crate::{telemetry, wire};

/// How long a starting node may take until it leads every partition.
const READY_TIMEOUT: Duration = Duration::from_secs(600);

/// The generation of the views that a datacenter begins with.
pub const GENERATION: Generation = Generation(FIRST_GENERATION);

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
    /// Requests cannot be forwarded to the other datacenters as they are named.
    #[error(transparent)]
    Datacenters(#[from] DatacentersError),
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
        NodeBuilder {
            config: Config::default(),
            workflows: Workflows::new(),
            neighbours: Vec::new(),
            refused: None,
        }
    }
}

/// A node that is being put together.
pub struct NodeBuilder {
    config: Config,
    workflows: Workflows,
    neighbours: Vec<Elsewhere>,
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

    /// Names another datacenter, beside those of the configuration: requests about the runs whose ids carry `label`
    /// are forwarded to `url`, and so are starts that name it. Each datacenter must name the others alike.
    #[must_use]
    pub fn other_datacenter(mut self, name: &str, label: u16, url: &str) -> Self {
        match Name::new(name) {
            Ok(name) => self.neighbours.push(Elsewhere { name, label, url: url.to_owned() }),
            Err(error) => {
                self.refused.get_or_insert(NodeError::Config(ConfigError::Invalid {
                    source_name: "the program".to_owned(),
                    key: "other_datacenter".to_owned(),
                    what: error.to_string(),
                }));
            }
        }
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
        RunningNode::start(self.config, self.workflows, self.neighbours).await
    }

    /// Starts the node, says so on standard output, and serves until SIGTERM or ctrl-c; what is in flight then is
    /// finished.
    ///
    /// # Errors
    /// As [`Self::start`]; also when a role stops while serving.
    pub async fn serve(self) -> Result<(), NodeError> {
        let kept = match &self.config {
            config if config.is_cluster() => format!("datacenter: {}", config.datacenter),
            config if config.ephemeral => "durability: nothing is kept: --ephemeral".to_owned(),
            config => format!("durability: {}", config.durability.as_str()),
        };
        let node = tokio::select! {
            biased;
            started = self.start() => started?,
            // Nothing was acknowledged yet, so nothing has to be finished.
            () = stop_signal() => return Ok(()),
        };
        println!("tidewheel is ready on http://{} ({kept})", node.address());
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
    parts: Parts,
    stop_serving: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl RunningNode {
    async fn start(
        config: Config,
        workflows: Workflows,
        neighbours: Vec<Elsewhere>,
    ) -> Result<Self, NodeError> {
        let recorder = telemetry::metrics_recorder().map_err(|error| role("the metrics recorder", error))?;
        // Before anything else is opened: a taken port is the commonest reason not to start.
        let listener =
            TcpListener::bind(config.listen).await.map_err(|error| listen_error(&config, &error))?;
        let address = listener.local_addr().map_err(|error| listen_error(&config, &error))?;
        let stop_serving = CancellationToken::new();
        let created = datacenters::Created::default();
        let forwarder = datacenters::forwarder(&config, neighbours, created.clone(), stop_serving.clone())?;
        let begin =
            Begin { config, workflows, forwarder, created, recorder, stop_serving: stop_serving.clone() };
        let serve = |listener, router| {
            let serving =
                tidewheel_ingest::server::serve(listener, router, stop_serving.clone(), Limits::default());
            tokio::spawn(serving)
        };
        if !begin.config.is_cluster() {
            let (parts, router) = begin.embedded().await?;
            let server = serve(listener, router);
            let node = Self { address, parts, stop_serving: stop_serving.clone(), server };
            let ready = tokio::time::timeout(READY_TIMEOUT, node.parts.ready()).await;
            let late =
                || role("the node", "it did not lead every partition within ten minutes; see the log lines");
            return match ready.unwrap_or_else(|_| Err(late())) {
                Ok(()) => Ok(node),
                Err(error) => {
                    let _ = node.stop().await;
                    Err(error)
                }
            };
        }
        // Log and store may be away for now; whoever asks meanwhile is told so.
        let gate = Gate::default();
        let server = serve(listener, gate.router());
        let joined = async {
            let (parts, router) = begin.joined().await?;
            gate.open(router);
            match parts.ready().await {
                Ok(()) => Ok(parts),
                Err(error) => {
                    let _ = parts.stop().await;
                    Err(error)
                }
            }
        };
        match joined.await {
            Ok(parts) => Ok(Self { address, parts, stop_serving: stop_serving.clone(), server }),
            Err(error) => {
                stop_serving.cancel();
                let _ = server.await;
                Err(error)
            }
        }
    }

    /// The address it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resolves with the reason when a role stops.
    pub async fn failed(&self) -> NodeError {
        self.parts.failed().await
    }

    /// Stops: takes no more requests, finishes those in flight and the steps that end soon, writes the views and
    /// lets go of log and store.
    ///
    /// # Errors
    /// When a role had failed.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.stop_serving.cancel();
        let served = self.server.await;
        self.parts.stop().await?;
        match served {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(role("the HTTP server", error)),
            Err(error) => Err(role("the HTTP server", error)),
        }
    }
}

fn listen_error(config: &Config, error: &std::io::Error) -> NodeError {
    NodeError::Listen { address: config.listen, what: error.to_string() }
}
