//! The log as a process sees it: appends that are late, lost or not answered; tails that stand still with it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tidewheel_log::{Appended, Appending, Bounds, EventLog, LogError, Tail};
use tidewheel_schemas::{EventType, NewRecord, Record, RecordHeaders, Topic, TopicPartition};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Life, Port};
use crate::fault::Fault;

/// Most batches one process has on the way to one partition.
const BATCHES_MAX: usize = 4_096;
/// After how long an append whose answer was lost is given up.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// A batch on its way.
pub(super) struct Batch {
    records: Vec<NewRecord>,
    done: oneshot::Sender<Result<Appended, LogError>>,
}

/// The log through one process's port.
pub struct LogPort(pub Arc<Port>);

/// An error that says nothing about what became of the append.
fn unknown(what: &str) -> LogError {
    LogError::Io { what: what.to_owned(), source: Arc::new(std::io::Error::other("planned")) }
}

fn is_claim(records: &[NewRecord]) -> bool {
    records.iter().any(|record| match &record.headers {
        RecordHeaders::Known(headers) => headers.event_type == EventType::PartitionClaimed,
        RecordHeaders::Foreign(_) => false,
    })
}

impl Port {
    fn producer(self: &Arc<Self>, to: &TopicPartition) -> mpsc::Sender<Batch> {
        let mut producers = self.producers.lock();
        let producer = producers.entry(to.clone()).or_insert_with(|| {
            let (batches, queue) = mpsc::channel(BATCHES_MAX);
            tokio::spawn(Arc::clone(self).produce(to.clone(), queue));
            batches
        });
        producer.clone()
    }

    /// Carries batches to one partition, in order. What is on the way when the process ends may still arrive.
    async fn produce(self: Arc<Self>, place: TopicPartition, mut queue: mpsc::Receiver<Batch>) {
        let world = Arc::clone(&self.world);
        while let Some(Batch { records, done }) = queue.recv().await {
            if !world.count_operation() {
                return;
            }
            let mut delay = self.delay();
            if is_claim(&records) && world.strikes(&self.random, Fault::ClaimDelayed, 150) {
                delay += Duration::from_millis(self.random.between(200, 3_000));
            }
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let unreachable = self.troubles.lock().log_until;
            if !world.is_calm() && Instant::now() < unreachable {
                tokio::time::sleep_until(unreachable).await;
            }
            if self.awake().await {
                self.deliver(&place, records, done).await;
            } else if self.random.chance(500) {
                world.faults.add(Fault::LandedAfterCrash);
                tokio::time::sleep(Duration::from_micros(self.random.below(2_000_000))).await;
                let _ = world.land(self.who, &place, records).await;
            }
        }
    }

    async fn deliver(
        &self,
        place: &TopicPartition,
        records: Vec<NewRecord>,
        done: oneshot::Sender<Result<Appended, LogError>>,
    ) {
        let world = &self.world;
        if world.strikes(&self.random, Fault::AppendRefused, 4) {
            let _ = done.send(Err(LogError::Overloaded));
        } else if world.strikes(&self.random, Fault::AppendLost, 6) {
            let _ = done.send(Err(unknown("an append was lost")));
        } else if world.strikes(&self.random, Fault::AckLost, 6) {
            let _ = world.land(self.who, place, records).await;
            let _ = done.send(Err(unknown("an acknowledgement was lost")));
        } else if world.strikes(&self.random, Fault::AckLate, 3) {
            if self.random.chance(500) {
                let _ = world.land(self.who, place, records).await;
            }
            tokio::spawn(async move {
                tokio::time::sleep(GIVEN_UP).await;
                let _ = done.send(Err(unknown("an append was given up")));
            });
        } else {
            // The submitter may have dropped its future; the batch stays appended.
            let _ = done.send(world.land(self.who, place, records).await);
        }
    }

    fn log_is_unreachable(&self) -> bool {
        !self.world.is_calm() && Instant::now() < self.troubles.lock().log_until
    }

    async fn reach_log(&self) -> Result<(), LogError> {
        self.access().await;
        if self.log_is_unreachable() {
            return Err(unknown("the log cannot be reached"));
        }
        Ok(())
    }
}

#[async_trait]
impl EventLog for LogPort {
    async fn create_topic(&self, topic: &Topic, partitions: u32) -> Result<(), LogError> {
        self.0.reach_log().await?;
        self.0.world.log().create_topic(topic, partitions).await
    }

    async fn partitions(&self, topic: &Topic) -> Result<Option<u32>, LogError> {
        self.0.reach_log().await?;
        self.0.world.log().partitions(topic).await
    }

    fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Appending {
        let (done, outcome) = oneshot::channel();
        if self.0.life() == Life::Dead {
            return std::future::pending().boxed();
        }
        if self.0.producer(to).try_send(Batch { records, done }).is_err() {
            return std::future::ready(Err(LogError::Overloaded)).boxed();
        }
        let port = Arc::clone(&self.0);
        async move {
            let answer = outcome.await.unwrap_or(Err(LogError::Closed));
            if !port.awake().await {
                std::future::pending::<()>().await;
            }
            answer
        }
        .boxed()
    }

    async fn tail(&self, from: &TopicPartition, offset: i64) -> Result<Box<dyn Tail>, LogError> {
        self.0.reach_log().await?;
        let tail = self.0.world.log().tail(from, offset).await?;
        Ok(Box::new(PortTail { tail, port: Arc::clone(&self.0), ready_at: None, held: Vec::new() }))
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: i64,
        records_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        self.0.reach_log().await?;
        self.0.world.log().read(from, offset, records_max).await
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        self.0.reach_log().await?;
        self.0.world.log().bounds(of).await
    }

    async fn offset_for_time(&self, of: &TopicPartition, time_us: i64) -> Result<i64, LogError> {
        self.0.reach_log().await?;
        self.0.world.log().offset_for_time(of, time_us).await
    }
}

struct PortTail {
    tail: Box<dyn Tail>,
    port: Arc<Port>,
    /// When the next records arrive. Kept here, so that a caller who gives up and asks again gets nearer to it.
    ready_at: Option<Instant>,
    /// Records that arrived and were not handed over, since the process stands still or the caller gave up.
    held: Vec<Record>,
}

#[async_trait]
impl Tail for PortTail {
    async fn next(&mut self, records_max: usize) -> Result<Vec<Record>, LogError> {
        let ready_at = *self.ready_at.get_or_insert_with(|| Instant::now() + self.port.delay());
        if Instant::now() < ready_at {
            tokio::time::sleep_until(ready_at).await;
        }
        // A reader that is cut off waits: its client reconnects by itself.
        let unreachable = self.port.troubles.lock().log_until;
        if !self.port.world.is_calm() && Instant::now() < unreachable {
            tokio::time::sleep_until(unreachable).await;
        }
        if self.held.is_empty() {
            self.held = self.tail.next(records_max.min(64)).await?;
        }
        if !self.port.awake().await || !self.port.world.count_operation() {
            std::future::pending::<()>().await;
        }
        self.ready_at = None;
        Ok(std::mem::take(&mut self.held))
    }
}
