//! What a Cassandra cluster shall be like.

use std::path::PathBuf;
use std::time::Duration;

/// Options of a Cassandra cluster: at least one datacenter, a temporary folder, no TLS and no authentication.
#[derive(Debug, Clone)]
#[must_use]
pub struct CassandraOptions {
    /// The datacenter of each node.
    pub(super) nodes: Vec<String>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) authenticated: bool,
    pub(super) tls: bool,
    pub(super) compiled: bool,
    pub(super) folder: Option<PathBuf>,
    pub(super) ready_within: Duration,
}

impl CassandraOptions {
    /// One node in each of these datacenters.
    pub fn datacenters(names: &[&str]) -> Self {
        Self {
            nodes: names.iter().map(|name| (*name).to_owned()).collect(),
            settings: Vec::new(),
            authenticated: false,
            tls: false,
            compiled: false,
            folder: None,
            ready_within: Duration::from_secs(240),
        }
    }

    /// One more node in a datacenter, which may be a new one.
    pub fn node(mut self, datacenter: &str) -> Self {
        self.nodes.push(datacenter.to_owned());
        self
    }

    /// A top-level line of every node's `cassandra.yaml`, `value` as YAML; it replaces the one that is there.
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Nodes acknowledge a write once their own log of it is on the disk. By default that is written some time after, and a
    /// killed node has only what other replicas kept.
    pub fn synced(self) -> Self {
        self.setting("commitlog_sync", "batch").setting("commitlog_sync_period", "0ms")
    }

    /// Clients must log in; the first role is [`SUPERUSER`](crate::SUPERUSER). Permissions are checked too.
    pub const fn authenticated(mut self) -> Self {
        self.authenticated = true;
        self
    }

    /// The CQL port also speaks TLS, with a self-signed certificate; see
    /// [`Cassandra::certificate`](crate::Cassandra::certificate).
    pub const fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Java's second compiler too: a slower start and more speed after it. For measurements.
    pub const fn compiled(mut self) -> Self {
        self.compiled = true;
        self
    }

    /// Lives in this folder, which is created if need be and kept; a cluster started there again has the same data and
    /// addresses, and must be given the same datacenters.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// How long each node may take to become ready; 240 s if nothing is said.
    pub const fn ready_within(mut self, within: Duration) -> Self {
        self.ready_within = within;
        self
    }
}
