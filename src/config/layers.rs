//! The layers of the configuration: where each value comes from, and which keys there are. Not what they mean.

use std::path::PathBuf;

use figment::providers::{Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{Config, ConfigError};

/// The file that is read when none is named and it exists.
pub const FILE: &str = "tidewheel.toml";

const PREFIX: &str = "TIDEWHEEL_";
/// Variables of the client commands, of the choice of file and of the tests, which are no settings. A node under
/// test inherits the last ones.
const OTHER_VARIABLES: &[&str] = &[
    "TIDEWHEEL_CONFIG",
    "TIDEWHEEL_SERVER",
    "TIDEWHEEL_NAMESPACE",
    "TIDEWHEEL_TOKEN",
    "TIDEWHEEL_PYTHON",
    "TIDEWHEEL_S3_PYTHON",
    "TIDEWHEEL_CLUSTER",
    "TIDEWHEEL_CQL",
    "TIDEWHEEL_NATIVE_CACHE",
];
/// Settings whose text is taken as it is, also where it looks like a number.
const TEXTS: &[&str] = &[
    "data_dir",
    "listen",
    "datacenter",
    "prefix",
    "durability",
    "archive",
    "node",
    "config_datacenter",
    "log_filter",
    "log_format",
];
/// Settings that are lists of words.
const LISTS: &[&str] = &["namespaces", "roles"];
/// What separates a table from its setting in an environment variable: `TIDEWHEEL_KAFKA__USER`.
const TABLE_MARK: &str = "__";

/// Where a configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, which must exist; without one [`FILE`] is read if it exists.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `TIDEWHEEL_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Values given on the command line.
    pub flags: Layer,
}

impl Sources {
    /// The file in the working directory and the environment of this process.
    pub fn of_process() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(key, _)| key.starts_with(PREFIX))
            .collect();
        Self { environment, ..Self::default() }
    }
}

/// Values of one layer, by key.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    name: String,
    values: Dict,
}

impl Layer {
    /// An empty layer; `name` is shown where a value does not fit.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), values: Dict::new() }
    }

    /// Sets a value, if there is one.
    #[must_use]
    pub fn with<T: Into<Value>>(mut self, key: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.values.insert(key.to_owned(), value.into());
        }
        self
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Every key there is, as the configuration itself declares it.
pub(super) fn keys() -> Vec<String> {
    let data = Serialized::defaults(Config::default()).data().unwrap_or_default();
    data.into_values().flat_map(Dict::into_keys).collect()
}

pub(super) fn read(sources: Sources) -> Result<Config, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(layer) = file(sources.file)? {
        figment = figment.merge(layer);
    }
    figment = figment.merge(environment(sources.environment)?);
    check_keys(&sources.flags.name, sources.flags.values.keys())?;
    figment.merge(sources.flags).extract().map_err(|error| explain(&error))
}

fn file(named: Option<PathBuf>) -> Result<Option<Layer>, ConfigError> {
    let path = match named {
        Some(path) => path,
        None if PathBuf::from(FILE).exists() => PathBuf::from(FILE),
        None => return Ok(None),
    };
    let shown = path.display().to_string();
    let failed = |what: String| ConfigError::File { path: shown.clone(), what };
    let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let mut data = Toml::string(&text).data().map_err(|error| failed(error.to_string()))?;
    let values = data.remove(&Profile::Default).unwrap_or_default();
    check_keys(&shown, values.keys())?;
    Ok(Some(Layer { name: shown, values }))
}

fn environment(variables: Vec<(String, String)>) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new("the environment");
    for (variable, text) in variables {
        let Some(key) = variable.strip_prefix(PREFIX) else { continue };
        if OTHER_VARIABLES.contains(&variable.as_str()) {
            continue;
        }
        let key = key.to_ascii_lowercase();
        let mut path = key.split(TABLE_MARK).map(str::to_owned);
        let first = path.next().unwrap_or_default();
        check_keys(&format!("the environment variable {variable}"), [&first])?;
        let rest: Vec<_> = path.collect();
        let value = match first.as_str() {
            word if LISTS.contains(&word) => {
                Value::from(text.split(',').map(str::trim).map(str::to_owned).collect::<Vec<_>>())
            }
            word if TEXTS.contains(&word) => Value::from(text),
            _ => text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {}),
        };
        put(&mut layer.values, first, &rest, value);
    }
    Ok(layer)
}

/// Puts a value at a path of tables.
fn put(values: &mut Dict, key: String, rest: &[String], value: Value) {
    let Some((next, rest)) = rest.split_first() else {
        values.insert(key, value);
        return;
    };
    let table = values.entry(key).or_insert_with(|| Value::from(Dict::new()));
    if !matches!(table, Value::Dict(..)) {
        *table = Value::from(Dict::new());
    }
    if let Value::Dict(_, table) = table {
        put(table, next.clone(), rest, value);
    }
}

fn check_keys<'a>(source_name: &str, given: impl IntoIterator<Item = &'a String>) -> Result<(), ConfigError> {
    let known = keys();
    for key in given {
        if !known.contains(key) {
            let suggestion = nearest(key, &known);
            let (source_name, key) = (source_name.to_owned(), key.clone());
            return Err(ConfigError::UnknownKey { source_name, key, suggestion });
        }
    }
    Ok(())
}

/// The known key that is most like `key`, if one is.
fn nearest(key: &str, known: &[String]) -> Option<String> {
    let written = key.to_ascii_lowercase().replace(['-', '.'], "_");
    let likeness = |candidate: &String| strsim::jaro_winkler(&written, candidate);
    let best = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) >= 0.8).then(|| best.clone())
}

fn explain(error: &figment::Error) -> ConfigError {
    let source_name = error.metadata.as_ref().map_or("configuration", |metadata| metadata.name.as_ref());
    let key = if error.path.is_empty() { "?".to_owned() } else { error.path.join(".") };
    ConfigError::Invalid { source_name: source_name.to_owned(), key, what: error.kind.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::{Database, Datacenter, Durability, Kafka, LogFormat, Role};
    use super::*;

    fn sources(file: &str, environment: &[(&str, &str)], flags: Layer) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.toml");
        std::fs::write(&path, file).expect("the file is written");
        let environment = environment.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        (folder, Sources { file: Some(path), environment, flags })
    }

    fn load(file: &str, environment: &[(&str, &str)], flags: Layer) -> Result<Config, ConfigError> {
        let (_folder, sources) = sources(file, environment, flags);
        Config::load(sources)
    }

    #[test]
    fn a_later_layer_wins_over_an_earlier_one() {
        let file = "partitions = 2\nsteps_max = 2\nmax_lag = 2";
        let environment = [("TIDEWHEEL_STEPS_MAX", "3"), ("TIDEWHEEL_MAX_LAG", "3"), ("HOME", "x")];
        let config = load(file, &environment, Layer::new("flags").with("max_lag", Some(4_u64))).unwrap();
        assert_eq!((config.partitions, config.steps_max, config.max_lag), (2, 3, 4));
        assert_eq!(config.durability, Config::default().durability);
    }

    #[test]
    fn every_setting_can_be_given_by_file_and_by_environment() {
        let expected = Config {
            data_dir: "d".into(),
            listen: ([127, 0, 0, 1], 1).into(),
            ephemeral: true,
            partitions: 7,
            datacenter: tidewheel_schemas::Name::new("7").unwrap(),
            datacenter_label: 7,
            prefix: tidewheel_schemas::Name::new("p").unwrap(),
            durability: Durability::Os,
            archive: Some("file:///a".into()),
            max_lag: 8,
            steps_max: 9,
            runs_active_max: 10,
            namespaces: ["a", "b"]
                .into_iter()
                .map(|name| tidewheel_schemas::Name::new(name).unwrap())
                .collect(),
            tokens_required: Some(true),
            roles: [Role::Ingest, Role::Engine, Role::Projector].into(),
            node: Some(tidewheel_schemas::Name::new("3").unwrap()),
            datacenters: [(
                tidewheel_schemas::Name::new("7").unwrap(),
                Datacenter {
                    label: 5,
                    brokers: "b:1".into(),
                    database: vec!["d:1".into()],
                    database_datacenter: None,
                    keyspace: Some("k".into()),
                    url: None,
                },
            )]
            .into(),
            namespace_homes: [("a", "7")]
                .into_iter()
                .map(|(namespace, home)| {
                    let name = |text| tidewheel_schemas::Name::new(text).unwrap();
                    (name(namespace), name(home))
                })
                .collect(),
            config_datacenter: Some(tidewheel_schemas::Name::new("7").unwrap()),
            kafka: Kafka { session_timeout_ms: 7_000, allow: ["a".into()].into(), ..Kafka::default() },
            database: Database { replication_factor: 1, ..Database::default() },
            log_filter: "debug".into(),
            log_format: LogFormat::Json,
        };
        let file = "data_dir = 'd'\nlisten = '127.0.0.1:1'\nephemeral = true\npartitions = 7\ndatacenter = '7'\n\
                    datacenter_label = 7\nprefix = 'p'\ndurability = 'os'\narchive = 'file:///a'\nmax_lag = 8\nsteps_max = 9\n\
                    runs_active_max = 10\n\
                    namespaces = ['a', 'b']\nlog_filter = 'debug'\nlog_format = 'json'\n\
                    tokens_required = true\n\
                    namespace_homes = { a = '7' }\n\
                    roles = ['ingest', 'engine', 'projector']\nnode = '3'\nconfig_datacenter = '7'\n\
                    datacenters.7 = { label = 5, brokers = 'b:1', database = ['d:1'], keyspace = 'k' }\n\
                    kafka = { session_timeout_ms = 7000, allow = ['a'] }\n\
                    database = { replication_factor = 1 }";
        assert_eq!(file.lines().count(), keys().len(), "a setting is missing in this test");
        assert_eq!(load(file, &[], Layer::new("flags")).unwrap(), expected);
        let environment = [
            ("TIDEWHEEL_DATA_DIR", "d"),
            ("TIDEWHEEL_LISTEN", "127.0.0.1:1"),
            ("TIDEWHEEL_EPHEMERAL", "true"),
            ("TIDEWHEEL_PARTITIONS", "7"),
            ("TIDEWHEEL_DATACENTER", "7"),
            ("TIDEWHEEL_DATACENTER_LABEL", "7"),
            ("TIDEWHEEL_PREFIX", "p"),
            ("TIDEWHEEL_DURABILITY", "os"),
            ("TIDEWHEEL_ARCHIVE", "file:///a"),
            ("TIDEWHEEL_MAX_LAG", "8"),
            ("TIDEWHEEL_STEPS_MAX", "9"),
            ("TIDEWHEEL_RUNS_ACTIVE_MAX", "10"),
            ("TIDEWHEEL_NAMESPACES", "a, b"),
            ("TIDEWHEEL_TOKENS_REQUIRED", "true"),
            ("TIDEWHEEL_LOG_FILTER", "debug"),
            ("TIDEWHEEL_LOG_FORMAT", "json"),
            ("TIDEWHEEL_ROLES", "ingest,engine, projector"),
            ("TIDEWHEEL_NODE", "3"),
            ("TIDEWHEEL_CONFIG_DATACENTER", "7"),
            ("TIDEWHEEL_DATACENTERS__7__LABEL", "5"),
            ("TIDEWHEEL_DATACENTERS__7__BROKERS", "b:1"),
            ("TIDEWHEEL_DATACENTERS__7__DATABASE", "[\"d:1\"]"),
            ("TIDEWHEEL_DATACENTERS__7__KEYSPACE", "k"),
            ("TIDEWHEEL_NAMESPACE_HOMES__A", "\"7\""),
            ("TIDEWHEEL_KAFKA__SESSION_TIMEOUT_MS", "7000"),
            ("TIDEWHEEL_KAFKA__ALLOW", "[\"a\"]"),
            ("TIDEWHEEL_DATABASE__REPLICATION_FACTOR", "1"),
        ];
        assert_eq!(load("", &environment, Layer::new("flags")).unwrap(), expected);
    }

    #[test]
    fn the_switches_of_tests_are_no_settings() {
        for variable in OTHER_VARIABLES {
            assert_eq!(load("", &[(*variable, "require")], Layer::new("flags")).unwrap(), Config::default());
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_one_meant() {
        let unknown = |error: ConfigError| match error {
            ConfigError::UnknownKey { key, suggestion, .. } => (key, suggestion),
            other => panic!("{other}"),
        };
        let file = load("partition = 3", &[], Layer::new("flags")).unwrap_err();
        assert_eq!(unknown(file), ("partition".into(), Some("partitions".into())));
        let file = load("data-dir = 'x'", &[], Layer::new("flags")).unwrap_err();
        assert_eq!(unknown(file), ("data-dir".into(), Some("data_dir".into())));
        let environment = load("", &[("TIDEWHEEL_LISTN", "x")], Layer::new("flags")).unwrap_err();
        assert!(
            environment.to_string().contains("TIDEWHEEL_LISTN")
                && environment.to_string().contains("`listen`")
        );
        let stranger = load("quux = 1", &[], Layer::new("flags")).unwrap_err();
        assert!(stranger.to_string().contains("the settings are"), "{stranger}");
    }

    #[test]
    fn a_value_that_does_not_fit_names_its_place_and_key() {
        for (file, environment, place, key) in [
            ("partitions = 'many'", None, "a.toml", "partitions"),
            ("durability = 'maybe'", None, "a.toml", "durability"),
            ("", Some(("TIDEWHEEL_LISTEN", "here")), "the environment", "listen"),
            ("", Some(("TIDEWHEEL_PREFIX", "a b")), "the environment", "prefix"),
        ] {
            let error = load(file, environment.as_slice(), Layer::new("flags")).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_named_file_must_exist_and_be_toml() {
        let sources = Sources { file: Some("no/such/file.toml".into()), ..Sources::default() };
        assert!(matches!(Config::load(sources), Err(ConfigError::File { .. })));
        assert!(matches!(load("a = = b", &[], Layer::new("flags")), Err(ConfigError::File { .. })));
    }
}
