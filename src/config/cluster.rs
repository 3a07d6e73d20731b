//! Settings of a cluster: its datacenters, what a process does in them, how Kafka and the database are reached. What
//! they are turned into is in `wire`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidewheel_ingest::datacenters::forwarding_url;
use tidewheel_schemas::Name;

use super::{Config, ConfigError, DATACENTER_LABEL_MAX};

/// Shortest and longest time a silent process keeps its partitions; the brokers' own defaults allow no less and no
/// more.
const SESSION_MS: std::ops::RangeInclusive<u64> = 6_000..=300_000;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes requests that append.
    Ingest,
    /// Leads partitions: runs workflows and steps, fires timers.
    Engine,
    /// Writes views and answers from them.
    Projector,
    /// Serves runners.
    Gateway,
}

impl Role {
    /// The word used in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Engine => "engine",
            Self::Projector => "projector",
            Self::Gateway => "gateway",
        }
    }
}

/// A datacenter: its label, its brokers, its store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Datacenter {
    /// Its label in run ids, 0 to 4095; never given to another one.
    pub label: u16,
    /// `host:port` of some brokers that hold its topics, separated by commas.
    pub brokers: String,
    /// Some nodes of its database, `host` or `host:port`.
    pub database: Vec<String>,
    /// How the database calls the datacenter; its name here if absent.
    #[serde(default)]
    pub database_datacenter: Option<String>,
    /// The keyspace of its views; `{prefix}_{name}` if absent, with `_` for what a keyspace's name may not have.
    #[serde(default)]
    pub keyspace: Option<String>,
    /// Where other datacenters reach its API; requests about its runs are forwarded there.
    #[serde(default)]
    pub url: Option<String>,
}

/// How Kafka is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// Replicas of topics that are created.
    pub replication_factor: u32,
    /// Rules for topics that are given up, by name.
    pub allow: BTreeSet<String>,
    /// How long a process may be silent until its partitions are given to others, milliseconds.
    pub session_timeout_ms: u64,
    /// How long an append may be on its way until its fate is declared unknown, milliseconds.
    pub message_timeout_ms: u64,
    /// `zstd` or `none`.
    pub compression: String,
    /// The user, for brokers that ask for one.
    pub user: Option<String>,
    /// Where its password is: `env:VARIABLE` or `file:PATH`.
    pub password: Option<String>,
    /// `plain`, `scram-sha-256` or `scram-sha-512`.
    pub mechanism: String,
    /// Encryption, if any.
    pub tls: Option<Tls>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            replication_factor: 3,
            allow: BTreeSet::new(),
            session_timeout_ms: 6_000,
            message_timeout_ms: 120_000,
            compression: "zstd".to_owned(),
            user: None,
            password: None,
            mechanism: "scram-sha-512".to_owned(),
            tls: None,
        }
    }
}

/// How the database of the views is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Nodes of the datacenter that keep each row.
    pub replication_factor: u16,
    /// Requests on their way at once.
    pub requests_max: usize,
    /// The user, for a database that asks for one.
    pub user: Option<String>,
    /// Where its password is: `env:VARIABLE` or `file:PATH`.
    pub password: Option<String>,
    /// Encryption, if any.
    pub tls: Option<Tls>,
}

impl Default for Database {
    fn default() -> Self {
        Self { replication_factor: 3, requests_max: 256, user: None, password: None, tls: None }
    }
}

/// Encryption of connections. Files are PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The authorities to trust; the system's if absent (Kafka only).
    pub ca: Option<PathBuf>,
    /// The certificate of this client.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Whether a server's name need not be in its certificate.
    pub any_host_name: bool,
}

/// Reads a secret from where it is: `env:VARIABLE` or `file:PATH`, without the line's end.
///
/// # Errors
/// When the reference is neither, or nothing is there. The text of the error never holds the secret.
pub fn secret(key: &str, reference: &str) -> Result<String, ConfigError> {
    let invalid = |what: String| ConfigError::Invalid {
        source_name: "configuration".to_owned(),
        key: key.to_owned(),
        what,
    };
    let text = match reference.split_once(':') {
        Some(("env", variable)) => std::env::var(variable)
            .map_err(|_| invalid(format!("the environment variable {variable} is not set")))?,
        Some(("file", path)) => std::fs::read_to_string(path)
            .map_err(|error| invalid(format!("the file {path} cannot be read: {error}")))?,
        // What is written here may be the secret itself.
        _ => return Err(invalid("give where the secret is, `env:VARIABLE` or `file:PATH`".to_owned())),
    };
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.is_empty() { Err(invalid("the secret is empty".to_owned())) } else { Ok(text) }
}

impl Config {
    /// Whether this is a process of a cluster, on Kafka and a database.
    pub fn is_cluster(&self) -> bool {
        !self.datacenters.is_empty()
    }

    /// The datacenter this process is in; `None` on an embedded log.
    pub fn own_datacenter(&self) -> Option<&Datacenter> {
        self.datacenters.get(&self.datacenter)
    }

    /// The label of this process's datacenter.
    pub fn label(&self) -> u16 {
        self.own_datacenter().map_or(self.datacenter_label, |datacenter| datacenter.label)
    }

    /// The keyspace of a datacenter's views.
    pub fn keyspace(&self, name: &Name, datacenter: &Datacenter) -> String {
        let clean = |character: char| {
            if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '_' }
        };
        datacenter
            .keyspace
            .clone()
            .unwrap_or_else(|| format!("{}_{}", self.prefix, name).chars().map(clean).collect())
    }

    /// The datacenter that holds `config.changes`: the one named, or the only one there is.
    pub fn config_home(&self) -> Option<(&Name, &Datacenter)> {
        match &self.config_datacenter {
            Some(name) => self.datacenters.get_key_value(name),
            None => self.datacenters.first_key_value(),
        }
    }

    /// Checks what is said of the cluster.
    pub(super) fn check_cluster(&self) -> Result<(), ConfigError> {
        let invalid = |key: &str, what: String| {
            Err(ConfigError::Invalid { source_name: "configuration".to_owned(), key: key.to_owned(), what })
        };
        for (namespace, home) in &self.namespace_homes {
            let key = format!("namespace_homes.{namespace}");
            if !self.namespaces.contains(namespace) {
                return invalid(&key, format!("`{namespace}` is none of the namespaces"));
            }
            if self.is_cluster() && !self.datacenters.contains_key(home) {
                return invalid(&key, format!("`{home}` is none of the datacenters"));
            }
        }
        if self.roles.is_empty() {
            return invalid("roles", "none given; give ingest, engine or projector".to_owned());
        }
        if self.roles.contains(&Role::Gateway) {
            let what = "this build has no runner channel yet; give ingest, engine or projector".to_owned();
            return invalid("roles", what);
        }
        if !self.is_cluster() {
            let all = Self::default().roles;
            return if self.roles == all {
                Ok(())
            } else {
                invalid("roles", "roles are split between the processes of a cluster only".to_owned())
            };
        }
        let names = || self.datacenters.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
        if self.own_datacenter().is_none() {
            let what = format!("`{}` is none of the datacenters {}", self.datacenter, names());
            return invalid("datacenter", what);
        }
        match &self.config_datacenter {
            Some(home) if !self.datacenters.contains_key(home) => {
                let what = format!("`{home}` is none of the datacenters {}", names());
                return invalid("config_datacenter", what);
            }
            None if self.datacenters.len() > 1 => {
                let what = format!("say which of {} holds the configuration's topic", names());
                return invalid("config_datacenter", what);
            }
            _ => {}
        }
        let mut labels = BTreeMap::new();
        for (name, datacenter) in &self.datacenters {
            let key = |setting: &str| format!("datacenters.{name}.{setting}");
            if datacenter.label > DATACENTER_LABEL_MAX {
                let what = format!("{} given; give 0 to {DATACENTER_LABEL_MAX}", datacenter.label);
                return invalid(&key("label"), what);
            }
            if let Some(other) = labels.insert(datacenter.label, name) {
                return invalid(&key("label"), format!("{} is the label of `{other}`", datacenter.label));
            }
            if datacenter.brokers.trim().is_empty() {
                return invalid(&key("brokers"), "none given; give `host:port`, …".to_owned());
            }
            if datacenter.database.is_empty() {
                return invalid(&key("database"), "none given; give some nodes, `host:port`".to_owned());
            }
            if let Some(url) = &datacenter.url
                && let Err(what) = forwarding_url(url)
            {
                return invalid(&key("url"), format!("`{url}` {what}"));
            }
            if *name != self.datacenter && datacenter.url.is_none() {
                let what = "missing; requests about its runs are forwarded there".to_owned();
                return invalid(&key("url"), what);
            }
        }
        if !SESSION_MS.contains(&self.kafka.session_timeout_ms) {
            let what = format!(
                "{} given; give {} to {}",
                self.kafka.session_timeout_ms,
                SESSION_MS.start(),
                SESSION_MS.end()
            );
            return invalid("kafka.session_timeout_ms", what);
        }
        if self.kafka.user.is_some() != self.kafka.password.is_some() {
            return invalid("kafka.user", "give `user` and `password` together or not at all".to_owned());
        }
        if self.database.user.is_some() != self.database.password.is_some() {
            return invalid("database.user", "give `user` and `password` together or not at all".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn datacenter(label: u16) -> Datacenter {
        Datacenter {
            label,
            brokers: "one:9092".into(),
            database: vec!["one".into()],
            database_datacenter: None,
            keyspace: None,
            url: Some("http://one:7400".into()),
        }
    }

    fn cluster() -> Config {
        Config {
            datacenter: name("alpha"),
            datacenters: BTreeMap::from([(name("alpha"), datacenter(1)), (name("Be.ta"), datacenter(2))]),
            config_datacenter: Some(name("alpha")),
            ..Config::default()
        }
    }

    #[test]
    fn what_contradicts_itself_names_its_key() {
        assert_eq!(cluster().check(), Ok(()));
        let with = |change: fn(&mut Config)| {
            let mut config = cluster();
            change(&mut config);
            match config.check() {
                Err(ConfigError::Invalid { key, .. }) => key,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(with(|config| config.datacenter = name("gamma")), "datacenter");
        assert_eq!(with(|config| config.config_datacenter = None), "config_datacenter");
        assert_eq!(with(|config| config.config_datacenter = Some(name("gamma"))), "config_datacenter");
        assert_eq!(with(|config| config.roles.clear()), "roles");
        assert_eq!(
            with(|config| {
                config.namespace_homes.insert(name("default"), name("gamma"));
            }),
            "namespace_homes.default"
        );
        assert_eq!(
            with(|config| {
                config.namespace_homes.insert(name("billing"), name("alpha"));
            }),
            "namespace_homes.billing"
        );
        assert_eq!(
            with(|config| {
                config.roles.insert(Role::Gateway);
            }),
            "roles"
        );
        assert_eq!(with(|config| config.kafka.session_timeout_ms = 5), "kafka.session_timeout_ms");
        assert_eq!(with(|config| config.kafka.user = Some("me".into())), "kafka.user");
        assert_eq!(with(|config| config.database.password = Some("env:X".into())), "database.user");
        let beta = |config: &mut Config, change: &dyn Fn(&mut Datacenter)| {
            change(config.datacenters.get_mut(&name("Be.ta")).unwrap());
        };
        type Change<'a> = &'a dyn Fn(&mut Datacenter);
        let cases: [(&str, Change<'_>); 6] = [
            ("label", &|datacenter| datacenter.label = 5_000),
            ("brokers", &|datacenter| datacenter.brokers.clear()),
            ("database", &|datacenter| datacenter.database.clear()),
            ("url", &|datacenter| datacenter.url = None),
            ("url", &|datacenter| datacenter.url = Some("one:7400".into())),
            ("url", &|datacenter| datacenter.url = Some("https://one:7400".into())),
        ];
        for (setting, change) in cases {
            let mut config = cluster();
            beta(&mut config, change);
            let Err(ConfigError::Invalid { key, .. }) = config.check() else { panic!("{setting}") };
            assert_eq!(key, format!("datacenters.Be.ta.{setting}"));
        }
        let mut config = cluster();
        beta(&mut config, &|datacenter| datacenter.label = 1);
        assert!(matches!(config.check(), Err(ConfigError::Invalid { .. })), "a label is given once");
    }

    #[test]
    fn a_datacenter_has_a_keyspace_of_its_own() {
        let config = cluster();
        let names: Vec<_> =
            config.datacenters.iter().map(|(name, datacenter)| config.keyspace(name, datacenter)).collect();
        assert_eq!(names, ["tidewheel_be_ta", "tidewheel_alpha"]);
    }

    #[test]
    fn a_secret_is_read_from_where_it_is_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        assert_eq!(secret("kafka.password", &format!("file:{}", path.display())), Ok("hunter2".to_owned()));
        for reference in ["hunter2", "env:TIDEWHEEL_NO_SUCH_VARIABLE", "file:/no/such/file"] {
            let error = secret("kafka.password", reference).unwrap_err().to_string();
            assert!(error.contains("kafka.password") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn roles_are_split_in_a_cluster_only() {
        let roles = BTreeSet::from([Role::Ingest]);
        assert!(Config { roles: roles.clone(), ..cluster() }.check().is_ok());
        assert!(Config { roles, ..Config::default() }.check().is_err());
    }
}
