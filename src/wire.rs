//! The only place that picks vendors: which log and which store a configuration means.

#[cfg(all(feature = "kafka", feature = "cql"))]
mod cluster;
#[cfg(not(all(feature = "kafka", feature = "cql")))]
#[path = "wire/alone.rs"]
mod cluster;
#[cfg(all(feature = "kafka", feature = "cql"))]
mod inspect;
#[cfg(not(all(feature = "kafka", feature = "cql")))]
#[path = "wire/inspect/alone.rs"]
mod inspect;

use std::path::PathBuf;
use std::sync::Arc;

use tidewheel_archive::{Archive, ArchiveError, JoinedLog};
use tidewheel_ingest::producer::BYTES_ON_THE_WAY_MAX;
use tidewheel_log::file::{FileLog, FileLogOptions};
use tidewheel_log::memory::MemoryLog;
use tidewheel_log::{LogError, SharedLog};
use tidewheel_runtime::APPENDS_BYTES_MAX;
use tidewheel_store::embedded::{EmbeddedOptions, EmbeddedStore};
use tidewheel_store::memory::MemoryStore;
use tidewheel_store::{SharedStore, StoreError};

use crate::config::{Config, ConfigError, Durability};

pub use self::cluster::{Memberships, join, members};
#[cfg(all(feature = "kafka", feature = "cql"))]
pub use self::cluster::{cql_options, kafka_options};
pub use self::inspect::{commands, inspect};

/// Folder of the log's segments below the data folder.
const LOG_FOLDER: &str = "log";
/// Folder of the store's files below the data folder. Deleting it is safe: the views are rebuilt from the log.
const STORE_FOLDER: &str = "store";

/// The log and store of a node, and how to let go of them.
pub struct Wiring {
    /// The log.
    pub log: SharedLog,
    /// The store.
    pub store: SharedStore,
    /// Whether the store writes everything of a chunk or nothing.
    pub is_atomic: bool,
    /// The log and its archive, if one is configured; `log` is the two joined then.
    pub archive: Option<JoinedLog>,
    file_log: Option<Arc<FileLog>>,
}

/// A log or store that cannot be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WireError {
    /// The log.
    #[error("the log cannot be opened: {0}")]
    Log(#[from] LogError),
    /// The store.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] StoreError),
    /// The archive.
    #[error("the archive cannot be opened: {0}")]
    Archive(#[from] ArchiveError),
    /// A setting that is needed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A part that this build was made without.
    #[error("this build was made without Kafka and CQL; use one made with its default features")]
    NotBuilt,
    /// A group without a member that anybody tells of.
    #[error(
        "the group {group} has no member, or the brokers do not tell this process: start a process that has the role for \
         it, or permit this user to describe the group"
    )]
    NoMembers {
        /// The group.
        group: String,
    },
    /// What a build without clients for it cannot look at.
    #[error(
        "this build was made without Kafka and CQL and cannot look at brokers and databases; use one made with its \
         default features"
    )]
    NotLooked,
}

impl WireError {
    /// Whether log or store are only away for now.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Log(error) => error.is_transient(),
            Self::Store(error) => matches!(error, StoreError::Unavailable(_)),
            Self::Archive(error) => error.is_transient(),
            Self::Config(_) | Self::NotBuilt | Self::NoMembers { .. } | Self::NotLooked => false,
        }
    }
}

fn open_file_log(config: &Config) -> Result<Arc<FileLog>, LogError> {
    open_file_log_in(config, log_folder(config))
}

fn open_file_log_in(config: &Config, folder: PathBuf) -> Result<Arc<FileLog>, LogError> {
    let mut options = FileLogOptions::new(folder);
    options.durability = match config.durability {
        Durability::Fsync => tidewheel_log::file::Durability::Fsync,
        Durability::Os => tidewheel_log::file::Durability::Os,
    };
    // Beside the share of requests (see `LogProducer`) there is room for every owner's appends: an owner that finds
    // none gives up its reign.
    let owners_bytes = APPENDS_BYTES_MAX * usize::try_from(config.partitions).unwrap_or(usize::MAX);
    options.queue_bytes_max = BYTES_ON_THE_WAY_MAX.saturating_add(owners_bytes.saturating_mul(2));
    options.queue_records_max = usize::MAX;
    // What memory holds may say more than the disk now, so nothing of this process may be believed any more.
    options.on_failure = Some(Arc::new(|error| {
        tracing::error!(%error, "the log failed; this process ends so that the next one starts from what is durable");
        eprintln!("error: the log failed: {error}; this process ends, start it again");
        std::process::abort();
    }));
    Ok(Arc::new(FileLog::open(options)?))
}

/// A log without its store.
pub struct OpenLog {
    /// The log.
    pub log: SharedLog,
    file_log: Option<Arc<FileLog>>,
}

/// Opens the log alone that `config` names. Blocks meanwhile.
///
/// # Errors
/// When another process has the folder open, its files cannot be read, or brokers refuse.
pub fn open_log(config: &Config) -> Result<OpenLog, WireError> {
    if config.is_cluster() {
        return Ok(OpenLog { log: cluster::join_log(config)?, file_log: None });
    }
    let file_log = open_file_log(config)?;
    Ok(OpenLog { log: Arc::clone(&file_log) as SharedLog, file_log: Some(file_log) })
}

/// Opens an embedded log in a folder of the caller's choice. Blocks meanwhile.
///
/// # Errors
/// As [`open_log`].
pub fn open_log_in(config: &Config, folder: PathBuf) -> Result<OpenLog, WireError> {
    let file_log = open_file_log_in(config, folder)?;
    Ok(OpenLog { log: Arc::clone(&file_log) as SharedLog, file_log: Some(file_log) })
}

/// The folder of the embedded log's segments.
pub fn log_folder(config: &Config) -> PathBuf {
    config.data_dir.join(LOG_FOLDER)
}

/// The folders of an embedded node, and what they hold.
pub fn folders(config: &Config) -> [(PathBuf, &'static str); 2] {
    [(log_folder(config), "a log"), (config.data_dir.join(STORE_FOLDER), "views of another log")]
}

impl OpenLog {
    /// Writes what was submitted and lets go of the folder. Blocks meanwhile.
    pub fn close(&self) {
        if let Some(log) = &self.file_log {
            log.close();
        }
    }
}

/// Opens what `config` names: files below its data folder, or memory if it is ephemeral.
///
/// # Errors
/// When another process has the folder open, or its files cannot be read.
pub fn open(config: &Config) -> Result<Wiring, WireError> {
    if config.ephemeral {
        let (log, archive) = join_archive(Arc::new(MemoryLog::new()), config)?;
        let store = Arc::new(MemoryStore::new());
        return Ok(Wiring { log, store, is_atomic: true, archive, file_log: None });
    }
    let file_log = open_file_log(config)?;
    let (log, archive) = join_archive(Arc::clone(&file_log) as SharedLog, config)?;
    let store = EmbeddedStore::open(&EmbeddedOptions::new(config.data_dir.join(STORE_FOLDER)))?;
    Ok(Wiring { log, store: Arc::new(store), is_atomic: true, archive, file_log: Some(file_log) })
}

/// The log with its archive before it, if one is configured: what was trimmed is read there, by whoever asks.
fn join_archive(log: SharedLog, config: &Config) -> Result<(SharedLog, Option<JoinedLog>), ArchiveError> {
    let Some(location) = &config.archive else { return Ok((log, None)) };
    let joined = JoinedLog::new(log, Archive::open(location)?);
    Ok((Arc::new(joined.clone()), Some(joined)))
}

impl Wiring {
    /// Writes what was submitted and lets go of the folder. Blocks meanwhile.
    pub fn close(&self) {
        if let Some(log) = &self.file_log {
            log.close();
        }
    }
}
