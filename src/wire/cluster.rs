//! A process of a cluster: the log on Kafka, the views in a database that speaks CQL, its place in the groups.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidewheel_log::kafka::{
    Compression, KafkaCluster, KafkaLog, KafkaLogOptions, KafkaMembership, MembershipOptions, Pem, Sasl,
    SaslMechanism, Secret, Tls,
};
use tidewheel_log::topic_rules::TopicOverride;
use tidewheel_log::{LogError, SharedLog};
use tidewheel_schemas::{Name, Topic, TopicFamily};
use tidewheel_store::cql::{CqlStore, CqlStoreOptions, CqlTls, Secret as CqlSecret};
use tokio::sync::watch;

use super::{WireError, Wiring};
use crate::config::cluster::secret;
use crate::config::{Config, ConfigError, Role};

/// Opens the log and the store of the datacenter this process is in.
///
/// # Errors
/// When they are away, which may pass, or refuse this process.
pub async fn join(config: &Config) -> Result<Wiring, WireError> {
    let log: SharedLog = Arc::new(KafkaLog::open(kafka_options(config)?)?);
    let store = CqlStore::connect(cql_options(config)?).await?;
    Ok(Wiring { log, store: Arc::new(store), is_atomic: false, file_log: None })
}

/// What the log is told.
///
/// # Errors
/// When a setting does not fit or a secret is not where it is said to be.
pub fn kafka_options(config: &Config) -> Result<KafkaLogOptions, ConfigError> {
    let kafka = &config.kafka;
    let sasl = match kafka.user.as_ref().zip(kafka.password.as_ref()) {
        Some((user, password)) => Some(Sasl {
            mechanism: mechanism(&kafka.mechanism)?,
            user: user.clone(),
            password: Secret::new(secret("kafka.password", password)?),
        }),
        None => None,
    };
    let file = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map(|path| Pem::File(path.to_string_lossy().into_owned()))
    };
    let tls = kafka.tls.as_ref().map(|tls| Tls {
        authority: file(&tls.ca),
        certificate: file(&tls.certificate),
        key: file(&tls.key),
        key_password: None,
        any_host_name: tls.any_host_name,
    });
    let cluster =
        |brokers: &str| KafkaCluster { brokers: brokers.to_owned(), tls: tls.clone(), sasl: sasl.clone() };
    let (_, own) = own(config)?;
    let mut options = KafkaLogOptions::new(cluster(&own.brokers));
    if let Some((_, home)) = config.config_home() {
        let topic = TopicFamily::ConfigChanges.topic(&config.prefix, &config.datacenter);
        options.topic_clusters.insert(topic, cluster(&home.brokers));
    }
    options.client_id = match &config.node {
        Some(node) => format!("{}-{node}", config.prefix),
        None => config.prefix.to_string(),
    };
    options.replication_factor = kafka.replication_factor;
    options.overrides = kafka.allow.iter().map(|name| topic_override(name)).collect::<Result<_, _>>()?;
    options.message_timeout = Duration::from_millis(kafka.message_timeout_ms);
    options.compression = match kafka.compression.as_str() {
        "zstd" => Compression::Zstd,
        "none" => Compression::None,
        other => return Err(invalid("kafka.compression", format!("`{other}` given; give zstd or none"))),
    };
    Ok(options)
}

/// What the store is told.
///
/// # Errors
/// When a secret is not where it is said to be.
pub fn cql_options(config: &Config) -> Result<CqlStoreOptions, ConfigError> {
    let (name, own) = own(config)?;
    let database = &config.database;
    let datacenter = own.database_datacenter.clone().unwrap_or_else(|| name.to_string());
    let mut options = CqlStoreOptions::new(own.database.clone(), datacenter, config.keyspace(name, own));
    options.replication_factor = database.replication_factor;
    options.requests_max = database.requests_max;
    options.user.clone_from(&database.user);
    options.password = match &database.password {
        Some(password) => Some(CqlSecret::new(secret("database.password", password)?)),
        None => None,
    };
    options.tls = match &database.tls {
        Some(tls) => Some(CqlTls {
            ca: tls.ca.clone().ok_or_else(|| {
                invalid("database.tls.ca", "missing; give the authorities to trust".to_owned())
            })?,
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            verify_server_name: !tls.any_host_name,
        }),
        None => None,
    };
    Ok(options)
}

/// The datacenter this process is in.
pub(super) fn own(config: &Config) -> Result<(&Name, &crate::config::Datacenter), ConfigError> {
    config
        .datacenters
        .get_key_value(&config.datacenter)
        .ok_or_else(|| invalid("datacenter", format!("`{}` is none of the datacenters", config.datacenter)))
}

fn invalid(key: &str, what: String) -> ConfigError {
    ConfigError::Invalid { source_name: "configuration".to_owned(), key: key.to_owned(), what }
}

fn mechanism(name: &str) -> Result<SaslMechanism, ConfigError> {
    match name {
        "plain" => Ok(SaslMechanism::Plain),
        "scram-sha-256" => Ok(SaslMechanism::ScramSha256),
        "scram-sha-512" => Ok(SaslMechanism::ScramSha512),
        other => {
            let what = format!("`{other}` given; give plain, scram-sha-256 or scram-sha-512");
            Err(invalid("kafka.mechanism", what))
        }
    }
}

fn topic_override(name: &str) -> Result<TopicOverride, ConfigError> {
    TopicOverride::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| {
        let known: Vec<_> = TopicOverride::ALL.iter().map(|known| known.as_str()).collect();
        invalid("kafka.allow", format!("`{name}` is none of {}", known.join(", ")))
    })
}

/// The groups a process is a member of, each for one of its roles.
pub struct Memberships {
    leads: Option<KafkaMembership>,
    projects: Option<KafkaMembership>,
}

impl Memberships {
    /// Joins the groups of this process's roles.
    ///
    /// # Errors
    /// When a setting does not fit.
    pub fn join(config: &Config, topic: &Topic) -> Result<Self, WireError> {
        let options = kafka_options(config)?;
        let member = |role: Role, group: &str| -> Result<Option<KafkaMembership>, LogError> {
            if !config.roles.contains(&role) {
                return Ok(None);
            }
            let membership = MembershipOptions {
                group: format!("{}.{}.{group}", config.prefix, config.datacenter),
                topic: topic.clone(),
                instance: config.node.as_ref().map(Name::to_string),
                session_timeout: Duration::from_millis(config.kafka.session_timeout_ms),
            };
            KafkaMembership::join(&options, &membership).map(Some)
        };
        Ok(Self { leads: member(Role::Engine, "owners")?, projects: member(Role::Projector, "projectors")? })
    }

    /// The partitions to lead; `None` without the role of an engine.
    pub fn leads(&self) -> Option<watch::Receiver<BTreeSet<u32>>> {
        self.leads.as_ref().map(KafkaMembership::suggested)
    }

    /// The partitions to project; `None` without the role of a projector.
    pub fn projects(&self) -> Option<watch::Receiver<BTreeSet<u32>>> {
        self.projects.as_ref().map(KafkaMembership::suggested)
    }
}
