//! Following the partitions of the configuration: one task each, which reads on after every failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidewheel_engine::config::{Applied, ConfigFold, ConfigTransition};
use tidewheel_log::LogError;
use tidewheel_schemas::TopicPartition;
use tokio::task::JoinSet;

use super::{ConfigStopped, Configuration, create_config_log};

/// Most records folded before a snapshot is published.
const RECORDS_MAX: usize = 1_024;
/// How long to wait before the log is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Whether what was read is no longer what the log holds. Anything else may pass, and what was read stays true meanwhile.
const fn is_lost(error: &LogError) -> bool {
    matches!(
        error,
        LogError::Trimmed { .. }
            | LogError::BeyondEnd { .. }
            | LogError::Damaged { .. }
            | LogError::Rewritten { .. }
    )
}

impl Configuration {
    /// Follows every partition, for ever. Its tasks end with it.
    pub(super) async fn follow(&self) {
        let ends = match self.begin().await {
            Ok(ends) => ends,
            Err(error) => {
                tracing::error!(topic = %self.0.options.topic, %error, "the configuration cannot be followed");
                self.0.stopped.send_replace(Some(error.into()));
                return;
            }
        };
        self.0.partitions.send_replace(u32::try_from(ends.len()).unwrap_or(u32::MAX));
        let mut tasks = JoinSet::new();
        for partition in ends.keys().copied() {
            let (following, ends) = (self.clone(), ends.clone());
            tasks.spawn(async move { following.follow_partition(partition, &ends).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Creates what does not exist, and says where each partition ends now.
    async fn begin(&self) -> Result<BTreeMap<u32, i64>, LogError> {
        loop {
            match self.try_begin().await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(topic = %self.0.options.topic, %error, "the configuration cannot be read; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                settled => return settled,
            }
        }
    }

    async fn try_begin(&self) -> Result<BTreeMap<u32, i64>, LogError> {
        let options = &self.0.options;
        let partitions =
            create_config_log(&options.log, &options.topic, &options.process, &options.clock).await?;
        let mut ends = BTreeMap::new();
        for partition in 0..partitions {
            let place = TopicPartition::new(options.topic.clone(), partition);
            ends.insert(partition, options.log.bounds(&place).await?.end);
        }
        Ok(ends)
    }

    async fn follow_partition(&self, partition: u32, ends: &BTreeMap<u32, i64>) {
        let place = TopicPartition::new(self.0.options.topic.clone(), partition);
        let mut fold = ConfigFold::new(partition);
        let mut is_away = false;
        loop {
            match self.read(&place, &mut fold, ends, &mut is_away).await {
                ConfigStopped::Log(error) if !is_lost(&error) => {
                    if !is_away {
                        tracing::warn!(partition = %place, %error, "the configuration is away; going on with what was read");
                    }
                    is_away = true;
                    tokio::time::sleep(RETRY).await;
                }
                error => {
                    tracing::error!(partition = %place, %error, "the configuration is followed no further");
                    self.0.stopped.send_replace(Some(error));
                    return;
                }
            }
        }
    }

    async fn read(
        &self,
        place: &TopicPartition,
        fold: &mut ConfigFold,
        ends: &BTreeMap<u32, i64>,
        is_away: &mut bool,
    ) -> ConfigStopped {
        let tail = self.0.options.log.tail(place, fold.control().next_offset).await;
        let mut tail = match tail {
            Ok(tail) => tail,
            Err(error) => return error.into(),
        };
        loop {
            let records = match tail.next(RECORDS_MAX).await {
                Ok(records) => records,
                Err(error) => return error.into(),
            };
            if std::mem::take(is_away) {
                tracing::info!(partition = %place, "the configuration is back");
            }
            let mut transitions = Vec::with_capacity(records.len());
            let mut failed = None;
            for record in &records {
                match fold.apply(record) {
                    Ok(transition) => transitions.push(transition),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            self.publish(fold, &transitions, ends);
            if let Some(error) = failed {
                return error.into();
            }
        }
    }

    /// The snapshot first: whoever knows the verdict finds what it did.
    fn publish(&self, fold: &ConfigFold, transitions: &[ConfigTransition], ends: &BTreeMap<u32, i64>) {
        let control = fold.control();
        self.0.snapshot.send_modify(|snapshot| {
            let snapshot = Arc::make_mut(snapshot);
            for after in transitions.iter().filter_map(|transition| transition.after.clone()) {
                snapshot.put(after);
            }
            if let Some(log) = control.log {
                let applied = Applied { log_id: log.log_id, offset: control.next_offset - 1 };
                snapshot.applied.insert(control.partition, applied);
            }
            snapshot.is_complete = ends.iter().all(|(partition, end)| {
                snapshot.applied.get(partition).is_some_and(|applied| applied.offset + 1 >= *end)
            });
        });
        for transition in transitions {
            self.0.verdicts.tell(transition);
        }
    }
}
