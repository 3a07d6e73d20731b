//! What a Kafka log is told: brokers, security, bounds, and what its topics must be like. And how that becomes the
//! configuration of a client, without a secret ever being shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use tidewheel_schemas::Topic;

use crate::LogError;
use crate::topic_rules::TopicOverride;

/// The longest time after which an append's fate is known: DESIGN promises five minutes to whoever waits for it.
pub const MESSAGE_TIMEOUT_MAX: Duration = Duration::from_secs(280);

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text to itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Something in PEM that lies in a file or is given as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// Path of a file.
    File(String),
    /// The text itself.
    Text(Secret),
}

/// TLS towards the brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whom to trust; the system's certificates when absent.
    pub authority: Option<Pem>,
    /// The client's certificate, where the brokers ask for one.
    pub certificate: Option<Pem>,
    /// Its key.
    pub key: Option<Pem>,
    /// What the key is encrypted with.
    pub key_password: Option<Secret>,
    /// Whether the broker's name need not be in its certificate.
    pub any_host_name: bool,
}

/// How a user proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// The password itself; only over TLS does nobody else read it.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// Kafka's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A user of the brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is used.
    pub mechanism: SaslMechanism,
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// One Kafka cluster and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaCluster {
    /// `host:port`, separated by commas; any reachable one of them leads to the others.
    pub brokers: String,
    /// TLS, or plain TCP when absent.
    pub tls: Option<Tls>,
    /// Who we are, or nobody when absent.
    pub sasl: Option<Sasl>,
}

impl KafkaCluster {
    /// A cluster that is reached without TLS and password.
    pub fn plain(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), tls: None, sasl: None }
    }
}

/// How records are compressed on their way to the brokers and on their disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// Zstandard, per batch.
    #[default]
    Zstd,
}

/// What a [`KafkaLog`](super::KafkaLog) is told.
#[derive(Debug, Clone)]
pub struct KafkaLogOptions {
    /// Where topics live.
    pub cluster: KafkaCluster,
    /// Topics that live elsewhere, by full name.
    pub topic_clusters: BTreeMap<Topic, KafkaCluster>,
    /// What this process calls itself; in the brokers' logs and quotas. The readers' group, which never commits
    /// an offset and has no members, is `<client_id>.reader`.
    pub client_id: String,
    /// Replicas of topics that are created.
    pub replication_factor: u32,
    /// Rules for topics that are given up.
    pub overrides: BTreeSet<TopicOverride>,
    /// How long an append may be on its way until its fate is declared unknown; at most [`MESSAGE_TIMEOUT_MAX`].
    pub message_timeout: Duration,
    /// How long any other request may take.
    pub request_timeout: Duration,
    /// Bytes of keys and values of appends on their way.
    pub queue_bytes_max: usize,
    /// Records of appends on their way.
    pub queue_records_max: usize,
    /// Bytes of one partition that are read ahead. What the brokers answer at once may come on top.
    pub read_ahead_bytes: usize,
    /// How long an append waits for company.
    pub linger: Duration,
    /// How batches are compressed.
    pub compression: Compression,
}

impl KafkaLogOptions {
    /// The defaults for a cluster.
    pub fn new(cluster: KafkaCluster) -> Self {
        Self {
            cluster,
            topic_clusters: BTreeMap::new(),
            client_id: "tidewheel".to_owned(),
            replication_factor: 3,
            overrides: BTreeSet::new(),
            message_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(15),
            queue_bytes_max: 64 << 20,
            queue_records_max: 200_000,
            read_ahead_bytes: 4 << 20,
            linger: Duration::ZERO,
            compression: Compression::default(),
        }
    }

    /// Refuses what cannot work.
    pub(super) fn check(&self) -> Result<(), LogError> {
        let refuse = |text: &str| Err(LogError::Options(text.to_owned()));
        if self.message_timeout > MESSAGE_TIMEOUT_MAX || self.message_timeout < Duration::from_millis(100) {
            return refuse("the message timeout must be between 0.1 and 280 seconds");
        }
        if self.request_timeout < Duration::from_millis(100) || self.request_timeout > MESSAGE_TIMEOUT_MAX {
            return refuse("the request timeout must be between 0.1 and 280 seconds");
        }
        if self.linger > Duration::from_secs(1) {
            return refuse("the linger time must be at most a second");
        }
        if self.replication_factor == 0 || self.replication_factor > 32_767 {
            return refuse("the replication factor must be 1 or more");
        }
        let clusters = std::iter::once(&self.cluster).chain(self.topic_clusters.values());
        for cluster in clusters {
            if cluster.brokers.split(',').all(|broker| broker.trim().is_empty()) {
                return refuse("no brokers are named");
            }
            let is_half = |tls: &Tls| tls.certificate.is_some() != tls.key.is_some();
            if cluster.tls.as_ref().is_some_and(is_half) {
                return refuse("a TLS certificate needs its key, and a key its certificate");
            }
        }
        Ok(())
    }

    /// What every client of `cluster` has.
    pub(super) fn client(&self, cluster: &KafkaCluster) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        config.set("bootstrap.servers", &cluster.brokers);
        config.set("client.id", &self.client_id);
        config.set("socket.nagle.disable", "true");
        config.set("socket.keepalive.enable", "true");
        let socket_timeout = self.message_timeout.min(Duration::from_secs(30)).max(Duration::from_secs(1));
        config.set("socket.timeout.ms", millis(socket_timeout));
        config.set("reconnect.backoff.ms", "50");
        config.set("reconnect.backoff.max.ms", "1000");
        config.set("broker.address.family", "any");
        let protocol = match (&cluster.tls, &cluster.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &cluster.tls {
            let mut pem = |pem: &Option<Pem>, file: &str, text: &str| match pem {
                Some(Pem::File(path)) => drop(config.set(file, path)),
                Some(Pem::Text(Secret(inline))) => drop(config.set(text, inline)),
                None => {}
            };
            pem(&tls.authority, "ssl.ca.location", "ssl.ca.pem");
            pem(&tls.certificate, "ssl.certificate.location", "ssl.certificate.pem");
            pem(&tls.key, "ssl.key.location", "ssl.key.pem");
            if let Some(Secret(password)) = &tls.key_password {
                config.set("ssl.key.password", password);
            }
            let algorithm = if tls.any_host_name { "none" } else { "https" };
            config.set("ssl.endpoint.identification.algorithm", algorithm);
        }
        if let Some(sasl) = &cluster.sasl {
            config.set("sasl.mechanism", sasl.mechanism.as_str());
            config.set("sasl.username", &sasl.user);
            config.set("sasl.password", &sasl.password.0);
        }
        config
    }

    /// A client that appends.
    pub(super) fn producer(&self, cluster: &KafkaCluster) -> ClientConfig {
        let mut config = self.client(cluster);
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("message.timeout.ms", millis(self.message_timeout));
        config.set("queue.buffering.max.ms", millis(self.linger));
        config.set("batch.num.messages", "10000");
        config.set("message.max.bytes", "2097152");
        // What is on the way is bounded before it gets there; the client's own bounds must not be nearer.
        config.set("queue.buffering.max.messages", "0");
        config.set("queue.buffering.max.kbytes", "2097151");
        let compression = match self.compression {
            Compression::None => "none",
            Compression::Zstd => "zstd",
        };
        config.set("compression.type", compression);
        config
    }

    /// A client that reads; `wait` is how long a request for records waits for some.
    pub(super) fn consumer(&self, cluster: &KafkaCluster, wait: Duration) -> ClientConfig {
        let mut config = self.client(cluster);
        config.set("group.id", format!("{}.reader", self.client_id));
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error");
        config.set("isolation.level", "read_uncommitted");
        config.set("enable.partition.eof", "true");
        config.set("fetch.wait.max.ms", millis(wait));
        config.set("fetch.min.bytes", "1");
        config.set("fetch.error.backoff.ms", "100");
        config.set("fetch.queue.backoff.ms", "10");
        config.set("queued.min.messages", "100000");
        // What comes in one answer comes on top of what is read ahead, and is larger once it is no longer compressed.
        let at_once = (self.read_ahead_bytes / 8).clamp(64 << 10, 1 << 20);
        config.set("fetch.message.max.bytes", at_once.to_string());
        config.set(
            "queued.max.messages.kbytes",
            (self.read_ahead_bytes / 1024).clamp(64, 2_097_151).to_string(),
        );
        config.set("check.crcs", "true");
        config
    }

    /// A client that only asks.
    pub(super) fn asker(&self, cluster: &KafkaCluster) -> ClientConfig {
        self.client(cluster)
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret_options() -> KafkaLogOptions {
        let tls = Tls {
            key: Some(Pem::Text(Secret::new("hunter2-key"))),
            certificate: Some(Pem::File("/client.pem".to_owned())),
            key_password: Some(Secret::new("hunter2-pass")),
            ..Tls::default()
        };
        let sasl = Sasl {
            mechanism: SaslMechanism::ScramSha512,
            user: "tidewheel".to_owned(),
            password: Secret::new("hunter2-word"),
        };
        KafkaLogOptions::new(KafkaCluster {
            brokers: "one:9092".to_owned(),
            tls: Some(tls),
            sasl: Some(sasl),
        })
    }

    #[test]
    fn secrets_are_never_shown() {
        let options = secret_options();
        assert!(!format!("{options:?}").contains("hunter2"), "{options:?}");
        let config = options.producer(&options.cluster);
        assert_eq!(config.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(config.get("ssl.endpoint.identification.algorithm"), Some("https"));
        assert_eq!(config.get("ssl.key.pem"), Some("hunter2-key"));
    }

    #[test]
    fn a_key_that_cannot_be_read_is_an_error_without_its_text() {
        let error = super::super::KafkaLog::open(secret_options()).expect_err("a key that is none");
        assert!(matches!(error, LogError::Options(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn an_appends_fate_is_known_within_five_minutes() {
        let mut options = KafkaLogOptions::new(KafkaCluster::plain("one:9092"));
        assert!(options.check().is_ok());
        options.message_timeout = Duration::from_secs(300);
        assert!(matches!(options.check(), Err(LogError::Options(_))));
    }

    #[test]
    fn half_a_certificate_and_no_brokers_are_refused() {
        let mut options = secret_options();
        if let Some(tls) = &mut options.cluster.tls {
            tls.key = None;
        }
        assert!(matches!(options.check(), Err(LogError::Options(_))));
        assert!(KafkaLogOptions::new(KafkaCluster::plain(" , ")).check().is_err());
    }
}
