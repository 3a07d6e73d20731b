//! Making a clone: the records of an archive in the empty log that a configuration names. No node runs meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidewheel_archive::{Archive, ArchiveError, AsOf, CloneIdentity, ImportPlan, Imported, import};
use tidewheel_log::{SharedClock, SharedLog, SystemClock};
use tidewheel_projector::Views;
use tidewheel_projector::views::TABLES;
use tidewheel_schemas::TopicFamily;

use crate::config::Config;
use crate::node::GENERATION;
use crate::wire::{self, WireError};

/// A clone that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// There is nothing to write to.
    #[error("an ephemeral node keeps nothing: name a data folder instead")]
    Ephemeral,
    /// Something is there already.
    #[error("{place} holds {what}; nothing was written. Import into an empty one")]
    NotEmpty {
        /// The folder or keyspace.
        place: String,
        /// What it holds.
        what: &'static str,
    },
    /// Log or store cannot be opened.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The archive, or writing to the log.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The folder of the embedded log.
    #[error("{what}: {source}")]
    Folder {
        /// What was being done.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A part of this program failed.
    #[error("the import stopped unexpectedly: {0}")]
    Failed(String),
}

/// Imports the archive at `from` into the log that `config` names, which must be empty, as must its store. An embedded
/// log appears as a whole or not at all; topics of a cluster that were written in part must be deleted.
///
/// # Errors
/// See [`CloneError`].
pub async fn clone_from(
    config: &Config,
    from: &str,
    as_of: AsOf,
    identity: CloneIdentity,
) -> Result<Vec<Imported>, CloneError> {
    if config.ephemeral {
        return Err(CloneError::Ephemeral);
    }
    let archive = Archive::open(from)?;
    let runs = TopicFamily::WorkflowEvents.topic(&config.prefix, &config.datacenter);
    let changes = TopicFamily::ConfigChanges.topic(&config.prefix, &config.datacenter);
    let plan = ImportPlan::make(&archive, &runs, &changes, as_of, identity).await?;
    let plan = plan.with_partitions(config.partitions)?;
    let clock = SystemClock::shared();
    if config.is_cluster() {
        return into_cluster(config, &archive, &plan, &clock).await;
    }
    into_folder(config, &archive, &plan, &clock).await
}

async fn into_cluster(
    config: &Config,
    archive: &Archive,
    plan: &ImportPlan,
    clock: &SharedClock,
) -> Result<Vec<Imported>, CloneError> {
    let wiring = wire::join(config).await?;
    let store_failed = |error| CloneError::Wire(WireError::Store(error));
    wiring.store.create_tables(GENERATION, TABLES).await.map_err(store_failed)?;
    let views = Views::new(Arc::clone(&wiring.store), GENERATION);
    for partition in 0..config.partitions {
        if views.checkpoint(partition).await.map_err(store_failed)?.is_some() {
            return Err(CloneError::NotEmpty {
                place: "the keyspace".to_owned(),
                what: "views of another log",
            });
        }
    }
    // What is written goes to the log alone, whatever archive the clone will have.
    let log: SharedLog = wiring.archive.as_ref().map_or(&wiring.log, |joined| joined.log()).clone();
    let done = import(&*log, archive, plan, clock).await;
    let closed = tokio::task::spawn_blocking(move || wiring.close()).await;
    closed.map_err(|error| CloneError::Failed(error.to_string()))?;
    Ok(done?)
}

async fn into_folder(
    config: &Config,
    archive: &Archive,
    plan: &ImportPlan,
    clock: &SharedClock,
) -> Result<Vec<Imported>, CloneError> {
    for (folder, what) in wire::folders(config) {
        if has_files(&folder)? {
            return Err(CloneError::NotEmpty { place: folder.display().to_string(), what });
        }
    }
    let half = config.data_dir.join("log.importing");
    let clear = |half: &Path| match std::fs::remove_dir_all(half) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(CloneError::Folder { what: format!("removing {}", half.display()), source })
        }
        Ok(()) | Err(_) => Ok(()),
    };
    // What an import left that was stopped.
    clear(&half)?;
    let (opening, folder) = (config.clone(), half.clone());
    let opened = tokio::task::spawn_blocking(move || wire::open_log_in(&opening, folder)).await;
    let log = opened.map_err(|error| CloneError::Failed(error.to_string()))??;
    let done = import(&*log.log, archive, plan, clock).await;
    let closed = tokio::task::spawn_blocking(move || log.close()).await;
    closed.map_err(|error| CloneError::Failed(error.to_string()))?;
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            clear(&half)?;
            return Err(error.into());
        }
    };
    appear(config, &half)?;
    Ok(done)
}

/// Gives the finished log its name.
fn appear(config: &Config, half: &Path) -> Result<(), CloneError> {
    let whole = wire::log_folder(config);
    let rename = || {
        if whole.exists() {
            // Empty, as was checked.
            std::fs::remove_dir(&whole)?;
        }
        std::fs::rename(half, &whole)?;
        std::fs::File::open(&config.data_dir)?.sync_all()
    };
    rename().map_err(|source| CloneError::Folder { what: format!("naming {}", whole.display()), source })
}

fn has_files(folder: &PathBuf) -> Result<bool, CloneError> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(CloneError::Folder { what: format!("looking into {}", folder.display()), source }),
    }
}
