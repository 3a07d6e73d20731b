//! The one typed configuration: defaults < file < `TIDEWHEEL_*` < flags. Where each layer comes from is in `layers`.

mod access;
pub mod cluster;
mod layers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidewheel_schemas::Name;

pub use cluster::{Database, Datacenter, Kafka, Role, Tls};
pub use layers::{FILE, Layer, Sources};

/// Largest label of a datacenter: run ids carry 12 bits of it.
pub const DATACENTER_LABEL_MAX: u16 = 0x0fff;
/// Most partitions one node may be given.
pub const PARTITIONS_MAX: u32 = 1_024;

/// Everything a node can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the embedded log and store.
    pub data_dir: PathBuf,
    /// Address of the HTTP API; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Keep everything in memory and nothing on disk.
    pub ephemeral: bool,
    /// Partitions of a log that is created; an existing log must have as many.
    pub partitions: u32,
    /// Name of this datacenter, a part of its topics' names.
    pub datacenter: Name,
    /// Label of this datacenter in run ids, 0 to 4095.
    pub datacenter_label: u16,
    /// First part of every topic's name.
    pub prefix: Name,
    /// What an acknowledged append survives.
    pub durability: Durability,
    /// Where old records are kept, such as `file:///var/lib/tidewheel/archive` or `s3://bucket/prefix`; what was trimmed
    /// from the log is read there. Without one nothing can be archived or trimmed.
    pub archive: Option<String>,
    /// Records the views may be behind the log before new work is answered with 429.
    pub max_lag: u64,
    /// Steps that may run at once in this process.
    pub steps_max: usize,
    /// Unfinished runs that may have their workflow in memory at once, a few KiB each; the others wait their turn.
    pub runs_active_max: usize,
    /// The namespaces that exist from the start, beside those that are created.
    pub namespaces: BTreeSet<Name>,
    /// Whether every request needs an access token; if not said, in a cluster alone. Without, `listen` must be a
    /// loopback address, and a token that is shown is checked all the same.
    pub tokens_required: Option<bool>,
    /// What this process does, in a cluster.
    pub roles: BTreeSet<Role>,
    /// Name of this process among those of its datacenter, in a cluster: one that comes back under its name within its
    /// session keeps its partitions.
    pub node: Option<Name>,
    /// The datacenters of the cluster, by name; none on an embedded log.
    pub datacenters: BTreeMap<Name, Datacenter>,
    /// The datacenters that the runs of namespaces live in unless a start says otherwise; for a namespace without one
    /// it is the datacenter that is asked.
    pub namespace_homes: BTreeMap<Name, Name>,
    /// The datacenter whose brokers hold the topic of configuration changes.
    pub config_datacenter: Option<Name>,
    /// How Kafka is used, in a cluster.
    pub kafka: Kafka,
    /// How the database of the views is used, in a cluster.
    pub database: Database,
    /// What is logged: directives such as `info,tidewheel_ingest=debug`.
    pub log_filter: String,
    /// How it is logged, to standard error.
    pub log_format: LogFormat,
}

/// What an acknowledged append survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// A loss of power.
    #[default]
    Fsync,
    /// The end of the process only.
    Os,
}

impl Durability {
    /// The word used in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key nobody knows.
    #[error("{source_name}: `{key}` is not a setting{}", suggest(.suggestion.as_deref()))]
    UnknownKey {
        /// Where it stands: a file, the environment.
        source_name: String,
        /// The key as written.
        key: String,
        /// The setting that was probably meant.
        suggestion: Option<String>,
    },
    /// A value that does not fit its key.
    #[error("{source_name}: `{key}`: {what}")]
    Invalid {
        /// Where it stands.
        source_name: String,
        /// The key, or what is known of it.
        key: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// The file could not be read.
    #[error("the configuration file {path} cannot be read: {what}")]
    File {
        /// The file.
        path: String,
        /// Why.
        what: String,
    },
    /// Listening beyond this machine without tokens.
    #[error(
        "`listen` is {0}, which other machines can reach, but no access tokens are required: anybody could start and \
         end runs; set `tokens_required = true` (`tidewheel token bootstrap` makes the first token), or listen on a \
         loopback address such as 127.0.0.1:7400"
    )]
    NotLoopback(SocketAddr),
}

fn suggest(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(known) => format!("; did you mean `{known}`?"),
        None => format!("; the settings are {}", layers::keys().join(", ")),
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(".tidewheel"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            ephemeral: false,
            partitions: 4,
            datacenter: name("local"),
            datacenter_label: 0,
            prefix: name("tidewheel"),
            durability: Durability::Fsync,
            archive: None,
            max_lag: 100_000,
            steps_max: 1_024,
            runs_active_max: 100_000,
            namespaces: BTreeSet::from([name("default")]),
            tokens_required: None,
            roles: BTreeSet::from([Role::Ingest, Role::Engine, Role::Projector]),
            node: None,
            datacenters: BTreeMap::new(),
            namespace_homes: BTreeMap::new(),
            config_datacenter: None,
            kafka: Kafka::default(),
            database: Database::default(),
            log_filter: "warn,tidewheel=info".to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name that follows the rule of names")
}

impl Config {
    /// Reads every layer and checks the outcome.
    ///
    /// # Errors
    /// When a layer cannot be read, holds an unknown key or a value that does not fit, or when the outcome is
    /// refused by [`Config::check`].
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let config = layers::read(sources)?;
        config.check()?;
        Ok(config)
    }

    /// Checks what types cannot say. A node that is given a configuration checks it again.
    ///
    /// # Errors
    /// When a number is out of its range, no namespace exists, or `listen` is not a loopback address while no tokens are
    /// required.
    pub fn check(&self) -> Result<(), ConfigError> {
        let invalid = |key: &str, what: String| {
            Err(ConfigError::Invalid { source_name: "configuration".to_owned(), key: key.to_owned(), what })
        };
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return invalid("partitions", format!("{} given; give 1 to {PARTITIONS_MAX}", self.partitions));
        }
        if self.datacenter_label > DATACENTER_LABEL_MAX {
            let what = format!("{} given; give 0 to {DATACENTER_LABEL_MAX}", self.datacenter_label);
            return invalid("datacenter_label", what);
        }
        if self.max_lag == 0 {
            return invalid("max_lag", "0 given; at least 1 record must be allowed".to_owned());
        }
        if self.steps_max == 0 {
            return invalid("steps_max", "0 given; at least 1 step must be allowed".to_owned());
        }
        if self.runs_active_max < usize::try_from(self.partitions).unwrap_or(usize::MAX) {
            let what = format!("{} given; give at least one for each partition", self.runs_active_max);
            return invalid("runs_active_max", what);
        }
        if self.namespaces.is_empty() {
            return invalid(
                "namespaces",
                "none given; a node needs at least one, such as `default`".to_owned(),
            );
        }
        self.check_cluster()?;
        self.check_access()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn any_loopback_address_is_accepted() {
        for listen in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:7400"] {
            let config = Config { listen: listen.parse().expect(listen), ..Config::default() };
            assert_eq!(config.check(), Ok(()));
        }
    }

    #[test]
    fn numbers_out_of_range_name_their_key() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            match config.check() {
                Err(ConfigError::Invalid { key, .. }) => key,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(with(|config| config.partitions = 0), "partitions");
        assert_eq!(with(|config| config.partitions = 2_000), "partitions");
        assert_eq!(with(|config| config.datacenter_label = 4_096), "datacenter_label");
        assert_eq!(with(|config| config.max_lag = 0), "max_lag");
        assert_eq!(with(|config| config.steps_max = 0), "steps_max");
        assert_eq!(with(|config| config.namespaces.clear()), "namespaces");
    }
}
