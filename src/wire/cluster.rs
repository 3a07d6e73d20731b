//! A process of a cluster: the log on Kafka, the views in a database that speaks CQL, its place in the groups.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidewheel_ingest::fold::Member;
use tidewheel_log::kafka::{
    Compression, KafkaCluster, KafkaLog, KafkaLogOptions, KafkaMembership, MembershipOptions, Pem, Sasl,
    SaslMechanism, Secret, Tls,
};
use tidewheel_log::topic_rules::TopicOverride;
use tidewheel_log::{LogError, SharedLog};
use tidewheel_schemas::{Name, Topic, TopicFamily, registry};
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
    let (log, archive) = super::join_archive(log, config)?;
    let store = CqlStore::connect(cql_options(config)?).await?;
    Ok(Wiring { log, store: Arc::new(store), is_atomic: false, archive, file_log: None })
}

/// Opens the log alone.
///
/// # Errors
/// As [`join`].
pub fn join_log(config: &Config) -> Result<SharedLog, WireError> {
    Ok(Arc::new(KafkaLog::open(kafka_options(config)?)?))
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

/// What the last part of a group's name says about its members: they may lead partitions, write their views, or only
/// follow them.
pub(super) const OWNERS: &str = "owners";
pub(super) const PROJECTORS: &str = "projectors";
pub(super) const FOLLOWERS: &str = "followers";
/// In the client id of a group's member, what stands before the newest fold version that it knows.
const FOLD_MARK: &str = ".fold-";

pub(super) fn group_name(config: &Config, group: &str) -> String {
    format!("{}.{}.{group}", config.prefix, config.datacenter)
}

/// The groups a process is a member of, each for one of its roles.
pub struct Memberships {
    leads: Option<KafkaMembership>,
    projects: Option<KafkaMembership>,
    /// Without one of these roles a process is known by a group that suggests nothing.
    _follows: Option<KafkaMembership>,
}

/// Every process that leads or follows partitions of this datacenter, by the groups they are members of.
///
/// # Errors
/// When the brokers do not answer, or do not tell.
pub async fn members(config: &Config, topic: &Topic) -> Result<Vec<Member>, WireError> {
    let options = kafka_options(config)?;
    let mut members = Vec::new();
    for group in [OWNERS, PROJECTORS, FOLLOWERS] {
        let (options, topic, name) = (options.clone(), topic.clone(), group_name(config, group));
        let asked = {
            let name = name.clone();
            tokio::task::spawn_blocking(move || KafkaMembership::members(&options, &topic, &name))
        };
        let asked = asked.await.map_err(|error| LogError::Failed(error.to_string()))??;
        // Brokers say nothing of groups that one may not look at, and each datacenter has members of these two.
        if asked.is_empty() && group != FOLLOWERS {
            return Err(WireError::NoMembers { group: name });
        }
        members.extend(asked.into_iter().map(|client| match client.rsplit_once(FOLD_MARK) {
            Some((name, fold)) => Member { name: name.to_owned(), fold_newest: fold.parse().ok() },
            None => Member { name: client, fold_newest: None },
        }));
    }
    members.sort();
    members.dedup();
    Ok(members)
}

impl Memberships {
    /// Joins the groups of this process's roles.
    ///
    /// # Errors
    /// When a setting does not fit.
    pub fn join(config: &Config, topic: &Topic) -> Result<Self, WireError> {
        let mut options = kafka_options(config)?;
        let mark = format!("{FOLD_MARK}{}", registry::fold_newest());
        options.client_id.push_str(&mark);
        let has = |role: Role| config.roles.contains(&role);
        let member = |is_one: bool, group: &str| -> Result<Option<KafkaMembership>, LogError> {
            if !is_one {
                return Ok(None);
            }
            let membership = MembershipOptions {
                group: group_name(config, group),
                topic: topic.clone(),
                // A group keeps the client id of a member that comes back under its name, so the name tells builds apart
                // that know different folds.
                instance: config.node.as_ref().map(|node| format!("{node}{mark}")),
                session_timeout: Duration::from_millis(config.kafka.session_timeout_ms),
            };
            KafkaMembership::join(&options, &membership).map(Some)
        };
        Ok(Self {
            leads: member(has(Role::Engine), OWNERS)?,
            projects: member(has(Role::Projector), PROJECTORS)?,
            _follows: member(!has(Role::Engine) && !has(Role::Projector), FOLLOWERS)?,
        })
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
