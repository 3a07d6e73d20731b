//! The configuration's reader: it follows `{prefix}.config.changes` from its start, folds it, publishes snapshots and
//! tells who changed something what became of it. No rule lives here, and nobody owns that topic.

mod change;
mod follow;
mod read;
mod verdicts;

use std::sync::Arc;

use tidewheel_engine::config::{ConfigEntity, ConfigFoldError, ConfigSnapshot};
use tidewheel_engine::{CONFIG_FOLD_VERSION, Verdict};
use tidewheel_log::{LogError, SharedClock, SharedLog};
use tidewheel_schemas::{LogId, NewRecord, Position, Topic, TopicFamily, TopicPartition, codec};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::change::ChangeError;
pub use self::read::read;
use self::verdicts::Verdicts;
use crate::create::first_event;

/// Partitions of a configuration's topic that is created: what is configured is little, and one order is easy to read.
pub const CONFIG_PARTITIONS: u32 = 1;

/// What a reader of the configuration needs.
#[derive(Clone)]
pub struct ConfigOptions {
    /// The log that holds the topic; it need not be the one of workflows.
    pub log: SharedLog,
    /// The topic.
    pub topic: Topic,
    /// Name of this process in the first record of a log it creates, for people.
    pub process: Arc<str>,
    /// Where it takes time and randomness from.
    pub clock: SharedClock,
    /// Cancelled when the process is to stop.
    pub shutdown: CancellationToken,
}

/// What became of a change that is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Where its record lies.
    pub position: Position,
    /// What the fold said; `None` if it was not judged in time.
    pub judged: Option<Judged>,
}

/// What the fold said of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What was said of it.
    pub verdict: Verdict,
    /// What it is about, as it stands after it.
    pub after: Option<ConfigEntity>,
}

/// Why the configuration is followed no further.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigStopped {
    /// What its log holds cannot be folded here.
    #[error(transparent)]
    Fold(#[from] ConfigFoldError),
    /// Its log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The configuration of a process. Cloning shares it.
#[derive(Clone)]
pub struct Configuration(Arc<Shared>);

struct Shared {
    options: ConfigOptions,
    snapshot: watch::Sender<Arc<ConfigSnapshot>>,
    /// Partitions of the topic; 0 until they are known.
    partitions: watch::Sender<u32>,
    stopped: watch::Sender<Option<ConfigStopped>>,
    verdicts: Verdicts,
}

impl Configuration {
    /// Begins to follow the configuration. It goes on, or tries to, until the options' shutdown; a log that is away is
    /// asked again and again.
    pub fn start(options: ConfigOptions) -> Self {
        let shutdown = options.shutdown.clone();
        let configuration = Self(Arc::new(Shared {
            options,
            snapshot: watch::Sender::default(),
            partitions: watch::Sender::new(0),
            stopped: watch::Sender::default(),
            verdicts: Verdicts::default(),
        }));
        let following = configuration.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = following.follow() => {}
                () = shutdown.cancelled() => {}
            }
        });
        configuration
    }

    /// The snapshots, each as soon as it is known. The first ones may be incomplete.
    pub fn snapshots(&self) -> watch::Receiver<Arc<ConfigSnapshot>> {
        self.0.snapshot.subscribe()
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<ConfigSnapshot> {
        Arc::clone(&self.0.snapshot.borrow())
    }

    /// Resolves once everything was read that the log held when this began.
    pub async fn complete(&self) {
        let mut snapshots = self.snapshots();
        // The sender lives as long as `self`.
        let _ = snapshots.wait_for(|snapshot| snapshot.is_complete).await;
    }

    /// Resolves when the configuration can be followed no further: its log is not fit for use, has lost facts, or is
    /// ahead of this build. A log that is merely away is waited for.
    pub async fn stopped(&self) -> ConfigStopped {
        let mut stopped = self.0.stopped.subscribe();
        loop {
            if let Some(error) = stopped.borrow_and_update().clone() {
                return error;
            }
            if stopped.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Creates the configuration's topic where it does not exist, and the first record of every empty partition. Two
/// processes may do so at once: the first record counts, the other is void. Says how many partitions there are.
///
/// # Errors
/// When the log refuses.
pub async fn create_config_log(
    log: &SharedLog,
    topic: &Topic,
    process: &Arc<str>,
    clock: &SharedClock,
) -> Result<u32, LogError> {
    let partitions = log.partitions(topic).await?.unwrap_or(CONFIG_PARTITIONS);
    // Where it exists, this checks that facts may be kept in it.
    log.create_topic(topic, partitions).await?;
    for partition in 0..partitions {
        let place = TopicPartition::new(topic.clone(), partition);
        if log.bounds(&place).await?.end == 0 {
            log.append(&place, vec![first_record(partition, partitions, process, clock)?]).await?;
        }
    }
    Ok(partitions)
}

fn first_record(
    partition: u32,
    partitions: u32,
    process: &Arc<str>,
    clock: &SharedClock,
) -> Result<NewRecord, LogError> {
    let (envelope, event) = first_event(partition, partitions, CONFIG_FOLD_VERSION, process, clock.as_ref());
    codec::encode_config(&envelope, &event.into())
        .map_err(|error| LogError::Failed(format!("the configuration's first record: {error}")))
}

/// A place in the configuration. It belongs to no datacenter, so its label is 0 everywhere.
const fn position(log_id: LogId, partition: u32, offset: i64) -> Position {
    Position { log_id, family: TopicFamily::ConfigChanges, datacenter: 0, partition, offset }
}
