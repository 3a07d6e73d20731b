//! Watching the roles of a node: readiness, lag, and the first one that stops.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tidewheel_engine::config::ConfigSnapshot;
use tidewheel_ingest::LogProducer;
use tidewheel_log::SharedLog;
use tidewheel_projector::Generations;
use tidewheel_runtime::{Configuration, OwnerStatus, Owners};
use tidewheel_schemas::{Topic, TopicPartition};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{NodeError, role};
use crate::config::Config;

const LAG_INTERVAL: Duration = Duration::from_millis(100);
/// Where asking for the end of the log is a request to a server.
const REMOTE_LAG_INTERVAL: Duration = Duration::from_millis(500);

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
    configuration: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(
        config: &Config,
        log: SharedLog,
        topic: &Topic,
        generations: Generations,
        producer: Arc<LogProducer>,
        owners: Owners,
        configuration: Configuration,
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
            generations: generations.clone(),
            producer,
            followed: vec![false; status.len()],
            owners: status,
            configuration: configuration.snapshots(),
            is_cluster: config.is_cluster(),
            max_lag: i64::try_from(config.max_lag).unwrap_or(i64::MAX),
        };
        let failing = sender.clone();
        let failing_configuration = sender.clone();
        Self {
            standing,
            tasks,
            lag: tokio::spawn(lag.watch(sender)),
            projector: tokio::spawn(async move {
                fail(&failing, role("the projector", generations.failed().await));
            }),
            configuration: tokio::spawn(async move {
                fail(&failing_configuration, role("the configuration", configuration.stopped().await));
            }),
        }
    }

    /// Resolves once this node takes requests: it leads every partition, or in a cluster follows them.
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
        self.configuration.abort();
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
    generations: Generations,
    producer: Arc<LogProducer>,
    owners: Vec<watch::Receiver<OwnerStatus>>,
    configuration: watch::Receiver<Arc<ConfigSnapshot>>,
    /// By partition, whether it was ever followed to where it ended at the start.
    followed: Vec<bool>,
    is_cluster: bool,
    max_lag: i64,
}

impl Lag {
    async fn watch(mut self, sender: watch::Sender<Standing>) {
        loop {
            self.look(&sender).await;
            let ready = sender.borrow().ready;
            let interval = match (ready, self.is_cluster) {
                (true, true) => REMOTE_LAG_INTERVAL,
                (true, false) | (false, true) => LAG_INTERVAL,
                (false, false) => Duration::from_millis(5),
            };
            tokio::time::sleep(interval).await;
        }
    }

    async fn look(&mut self, sender: &watch::Sender<Standing>) {
        // Before, nobody's token could be judged.
        let mut ready = self.configuration.borrow().is_complete;
        let (mut resident_runs, mut steps_in_flight) = (0, 0);
        for ((partition, owner), followed) in (0_u32..).zip(&self.owners).zip(&mut self.followed) {
            let owner = owner.borrow();
            if let Some(log) = owner.log {
                self.producer.set_log_id(partition, log.log_id);
            }
            metrics::gauge!("tidewheel_engine_leading", "partition" => partition.to_string())
                .set(if owner.leading { 1.0 } else { 0.0 });
            resident_runs += owner.resident_runs;
            steps_in_flight += owner.steps_in_flight;
            *followed |= owner.caught_up && owner.log.is_some();
            // Alone, this process is the one that leads. In a cluster another one may; requests are taken in any case.
            ready &= if self.is_cluster { *followed } else { owner.leading && owner.log.is_some() };
        }
        metrics::gauge!("tidewheel_engine_resident_runs").set(resident_runs as f64);
        metrics::gauge!("tidewheel_engine_steps_in_flight").set(steps_in_flight as f64);
        let bounds = join_all(self.places.iter().map(|place| self.log.bounds(place))).await;
        let mut lag_max = 0;
        for (partition, bounds) in (0_u32..).zip(bounds) {
            match bounds {
                Ok(bounds) => {
                    let lag = bounds.end - 1 - self.generations.applied_offset(partition);
                    metrics::gauge!("tidewheel_projector_lag_records", "partition" => partition.to_string())
                        .set(lag as f64);
                    lag_max = lag_max.max(lag);
                }
                // What cannot be reached takes no appends either: whoever asks is told at once instead of waiting.
                Err(error) => {
                    ready = false;
                    if sender.borrow().ready {
                        tracing::warn!(%error, "the log does not answer; no requests are taken meanwhile");
                    }
                }
            }
        }
        self.producer.set_lag_over_limit(lag_max > self.max_lag);
        let failed = sender.borrow().failure.is_some();
        self.producer.set_ready(ready && !failed);
        metrics::gauge!("tidewheel_node_ready").set(if ready && !failed { 1.0 } else { 0.0 });
        sender.send_if_modified(|standing| {
            // A short loss of leadership is mended by the owner; readiness says whether requests are taken now.
            let changed = standing.ready != ready;
            standing.ready = ready && standing.failure.is_none();
            changed
        });
    }
}
