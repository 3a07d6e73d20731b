//! Watching the roles of a node: readiness, lag, and the first one that stops.

use std::sync::Arc;
use std::time::Duration;

use tidewheel_ingest::LogProducer;
use tidewheel_log::SharedLog;
use tidewheel_projector::Projector;
use tidewheel_runtime::{OwnerStatus, Owners};
use tidewheel_schemas::{Topic, TopicPartition};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{NodeError, role};
use crate::config::Config;

const LAG_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Default)]
struct Standing {
    ready: bool,
    failure: Option<NodeError>,
}

/// The watch over a node.
pub(super) struct Watch {
    standing: watch::Receiver<Standing>,
    tasks: Vec<JoinHandle<()>>,
    lag: JoinHandle<()>,
    projector: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(
        config: &Config,
        log: SharedLog,
        topic: &Topic,
        projector: Projector,
        producer: Arc<LogProducer>,
        owners: Owners,
    ) -> Self {
        let (sender, standing) = watch::channel(Standing::default());
        let Owners { status, tasks } = owners;
        let tasks = tasks
            .into_iter()
            .map(|owner| {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let failure = match owner.await {
                        Ok(Ok(())) => return,
                        Ok(Err(error)) => role("the owner of a partition", error),
                        Err(error) => role("the owner of a partition", error),
                    };
                    fail(&sender, failure);
                })
            })
            .collect();
        let places: Vec<_> =
            (0..config.partitions).map(|partition| TopicPartition::new(topic.clone(), partition)).collect();
        let lag = Lag {
            places,
            log,
            projector: projector.clone(),
            producer,
            owners: status,
            max_lag: i64::try_from(config.max_lag).unwrap_or(i64::MAX),
        };
        let failing = sender.clone();
        Self {
            standing,
            tasks,
            lag: tokio::spawn(lag.watch(sender)),
            projector: tokio::spawn(async move {
                fail(&failing, role("the projector", projector.failed().await));
            }),
        }
    }

    /// Resolves once this node leads every partition.
    pub(super) async fn ready(&self) -> Result<(), NodeError> {
        let mut standing = self.standing.clone();
        let standing = standing
            .wait_for(|standing| standing.ready || standing.failure.is_some())
            .await
            .map_err(|error| role("the node", error))?;
        standing.failure.clone().map_or(Ok(()), Err)
    }

    pub(super) async fn failed(&self) -> NodeError {
        let mut standing = self.standing.clone();
        let failed = standing.wait_for(|standing| standing.failure.is_some()).await;
        match failed {
            Ok(standing) => standing.failure.clone().unwrap_or_else(|| role("the node", "unknown")),
            Err(error) => role("the node", error),
        }
    }

    /// Waits for the owners, which were told to stop.
    pub(super) async fn stop(self) -> Result<(), NodeError> {
        for task in self.tasks {
            // The task reports its owner's failure itself and does not panic.
            let _ = task.await;
        }
        self.lag.abort();
        self.projector.abort();
        let failure = self.standing.borrow().failure.clone();
        failure.map_or(Ok(()), Err)
    }
}

fn fail(sender: &watch::Sender<Standing>, failure: NodeError) {
    tracing::error!(%failure, "a role stopped");
    sender.send_modify(|standing| {
        standing.ready = false;
        standing.failure.get_or_insert(failure);
    });
}

struct Lag {
    places: Vec<TopicPartition>,
    log: SharedLog,
    projector: Projector,
    producer: Arc<LogProducer>,
    owners: Vec<watch::Receiver<OwnerStatus>>,
    max_lag: i64,
}

impl Lag {
    async fn watch(self, sender: watch::Sender<Standing>) {
        loop {
            self.look(&sender).await;
            let ready = sender.borrow().ready;
            tokio::time::sleep(if ready { LAG_INTERVAL } else { Duration::from_millis(5) }).await;
        }
    }

    async fn look(&self, sender: &watch::Sender<Standing>) {
        let mut ready = true;
        for (partition, owner) in (0_u32..).zip(&self.owners) {
            let owner = owner.borrow();
            if let Some(log) = owner.log {
                self.producer.set_log_id(partition, log.log_id);
            }
            ready &= owner.leading && owner.log.is_some();
        }
        let mut lag_max = 0;
        for (partition, place) in (0_u32..).zip(&self.places) {
            if let Ok(bounds) = self.log.bounds(place).await {
                let lag = bounds.end - 1 - self.projector.applied_offset(partition);
                metrics::gauge!("tidewheel_projector_lag_records", "partition" => partition.to_string())
                    .set(lag as f64);
                lag_max = lag_max.max(lag);
            }
        }
        self.producer.set_lag_over_limit(lag_max > self.max_lag);
        let failed = sender.borrow().failure.is_some();
        self.producer.set_ready(ready && !failed);
        sender.send_if_modified(|standing| {
            // A short loss of leadership is mended by the owner; readiness says whether requests are taken now.
            let changed = standing.ready != ready;
            standing.ready = ready && standing.failure.is_none();
            changed
        });
    }
}
