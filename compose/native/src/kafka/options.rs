//! What a Kafka cluster shall be like.

use std::path::PathBuf;
use std::time::Duration;

/// Options of a Kafka cluster. The default is one broker in a temporary folder, without TLS, users and rules.
#[derive(Debug, Clone)]
#[must_use]
pub struct KafkaOptions {
    pub(super) brokers: u8,
    pub(super) properties: Vec<(String, String)>,
    pub(super) users: Vec<(String, String)>,
    pub(super) tls: bool,
    pub(super) rules: bool,
    pub(super) compiled: bool,
    pub(super) folder: Option<PathBuf>,
    pub(super) ready_within: Duration,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            brokers: 1,
            properties: Vec::new(),
            users: Vec::new(),
            tls: false,
            rules: false,
            compiled: false,
            folder: None,
            ready_within: Duration::from_secs(240),
        }
    }
}

impl KafkaOptions {
    /// How many brokers, 1 to 9; each is a controller too. Internal topics have up to 3 replicas.
    pub const fn brokers(mut self, count: u8) -> Self {
        self.brokers = count;
        self
    }

    /// A line of every broker's `server.properties`; it wins over what is there otherwise.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A user who may log in with SASL/PLAIN at a listener of its own, without TLS; see
    /// [`Kafka::sasl_bootstrap`](crate::Kafka::sasl_bootstrap).
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// A listener with TLS and a self-signed certificate; see [`Kafka::tls_bootstrap`](crate::Kafka::tls_bootstrap)
    /// and [`Kafka::certificate`](crate::Kafka::certificate).
    pub const fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Access rules (ACLs) are checked: users may do nothing that no rule allows. Who comes without credentials, as on
    /// the first listener, may do all.
    pub const fn access_rules(mut self) -> Self {
        self.rules = true;
        self
    }

    /// Java's second compiler too: a slower start and more speed after it. For measurements.
    pub const fn compiled(mut self) -> Self {
        self.compiled = true;
        self
    }

    /// Lives in this folder, which is created if need be and kept; a cluster started there again has the same data and
    /// addresses, and should be given the same options.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// How long each broker may take to become ready; 240 s if nothing is said.
    pub const fn ready_within(mut self, within: Duration) -> Self {
        self.ready_within = within;
        self
    }
}
