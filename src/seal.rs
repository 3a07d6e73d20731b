//! Sealing without a node: the rest of a log whose processes are all stopped, before it is replaced by a clone. A node
//! that runs seals its log itself.

use std::sync::Arc;

use tidewheel_archive::{Archive, ArchiveError, ExportOptions, Exported, Progress, export};
use tidewheel_log::{LogError, SharedLog, SystemClock};
use tidewheel_schemas::{Topic, TopicFamily, TopicPartition};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::wire::{self, WireError};

/// Ranges on their way to who listens.
const PROGRESS_MAX: usize = 64;

/// Why a log was not sealed to its end.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The log would be gone with this command.
    #[error("an ephemeral log is gone with its node; there is nothing to seal")]
    Ephemeral,
    /// There is nowhere to seal it to.
    #[error("there is no archive: set `archive` in the configuration, such as file:///var/archive")]
    NoArchive,
    /// There is no such log.
    #[error("there is no topic {0}: nothing was ever written with this configuration")]
    NoLog(Topic),
    /// The log cannot be opened, for example because its node still runs.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Log or archive cannot be read or written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A part of this program failed.
    #[error("sealing stopped unexpectedly: {0}")]
    Failed(String),
}

/// Seals everything from where the archive of `config` ends to where its log ends, or before the first record at or after
/// `until_us`, microseconds since 1970. `each` hears of every range.
///
/// # Errors
/// See [`SealError`]. Begun again, it goes on.
pub async fn seal(
    config: &Config,
    until_us: Option<i64>,
    mut each: impl FnMut(&Progress),
) -> Result<Vec<Exported>, SealError> {
    if config.ephemeral {
        return Err(SealError::Ephemeral);
    }
    let archive = Archive::open(config.archive.as_deref().ok_or(SealError::NoArchive)?)?;
    let failed = |error: tokio::task::JoinError| SealError::Failed(error.to_string());
    let opening = config.clone();
    let opened = tokio::task::spawn_blocking(move || wire::open_log(&opening)).await.map_err(failed)??;
    let done = seal_log(config, &opened.log, &archive, until_us, &mut each).await;
    tokio::task::spawn_blocking(move || opened.close()).await.map_err(failed)?;
    done
}

async fn seal_log(
    config: &Config,
    log: &SharedLog,
    archive: &Archive,
    until_us: Option<i64>,
    each: &mut impl FnMut(&Progress),
) -> Result<Vec<Exported>, SealError> {
    let mut places = Vec::new();
    for family in [TopicFamily::WorkflowEvents, TopicFamily::ConfigChanges] {
        let topic = family.topic(&config.prefix, &config.datacenter);
        let count = log.partitions(&topic).await?.ok_or_else(|| SealError::NoLog(topic.clone()))?;
        places.extend((0..count).map(|partition| TopicPartition::new(topic.clone(), partition)));
    }
    let options = ExportOptions { until_us, ..ExportOptions::new(places, SystemClock::shared()) };
    let (progress, mut heard) = mpsc::channel(PROGRESS_MAX);
    let log = Arc::clone(log);
    let work = async move { export(&log, archive, &options, &progress).await };
    let listen = async {
        while let Some(sealed) = heard.recv().await {
            each(&sealed);
        }
    };
    let (done, ()) = futures::future::join(work, listen).await;
    Ok(done?)
}
