//! A reader that follows one partition of a Kafka topic: fills offsets without a record, waits while brokers are
//! away, and ends when what it would read next is not there any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use rdkafka::error::RDKafkaErrorCode;
use tidewheel_schemas::{Record, TopicPartition};

use super::cluster::{Cluster, TopicShape, blocking};
use super::reader::{Polled, Purpose, Subscription};
use super::record::hole;
use crate::{Bounds, LogError, Tail};

/// Keys and values returned by one call, as long as there is more than one record.
pub(super) const READ_BYTES_MAX: usize = 4 << 20;
/// How long a tail without records rests at the end before it looks whether only holes follow.
const HOLE_AFTER: Duration = Duration::from_secs(1);
/// A tail looks at its queue at least this often, should a wake-up ever be missed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a question about trouble rests after it could not be answered.
const DOUBT_RESTS: Duration = Duration::from_secs(1);
/// How often a topic must be found missing before it is.
const MISSING_TIMES: u32 = 3;

/// Why the next records may never come.
#[derive(Debug, Clone, Copy)]
enum Doubt {
    /// The brokers do not have the offset.
    OutOfRange,
    /// The brokers do not know the topic; found so this many times.
    Missing(u32),
    /// Perhaps only offsets without records follow, or the end has moved back.
    AtEnd,
}

/// What was asked and not answered yet. Kept, so that a caller who gives up and comes back gets nearer to it.
enum Asking {
    /// Asked when the next offset to hand over was this.
    Bounds(i64, BoxFuture<'static, Result<Bounds, LogError>>),
    Shape(BoxFuture<'static, Result<Option<TopicShape>, LogError>>),
    Subscription(BoxFuture<'static, Result<Subscription, LogError>>),
}

pub(super) struct KafkaTail {
    cluster: Arc<Cluster>,
    purpose: Purpose,
    place: TopicPartition,
    /// None while it is exchanged.
    subscription: Option<Subscription>,
    /// The next offset to hand over.
    position: i64,
    /// How many records the last call handed over: the next one may have as many.
    taken: usize,
    /// Below this there are no records from `position` on.
    hole_until: i64,
    /// The record behind the hole.
    behind_hole: Option<Record>,
    /// There was nothing more, and nothing has come since.
    at_end_since: Option<Instant>,
    /// When the brokers next say that there is nothing more, there are no records below this offset.
    proven_until: Option<i64>,
    doubt: Option<Doubt>,
    asking: Option<Asking>,
    /// No question is asked before.
    rests_until: Option<Instant>,
    /// Everything below this was in the log before the next subscription begins.
    known_end: Option<i64>,
    /// How often in a row the offset was refused though it lies within the bounds.
    refusals: u32,
    ended: Option<LogError>,
}

impl KafkaTail {
    /// Starts at `offset`. Everything below `end` was in the log before.
    pub async fn open(
        cluster: &Arc<Cluster>,
        purpose: Purpose,
        place: &TopicPartition,
        offset: i64,
        end: Option<i64>,
    ) -> Result<Self, LogError> {
        let mut tail = Self::idle(cluster, purpose, place, offset);
        tail.known_end = end;
        while tail.subscription.is_none() {
            tail.wait(LOOK_EVERY).await?;
        }
        Ok(tail)
    }

    /// Goes on with a subscription whose next record is at or behind `offset`.
    pub fn resumed(
        cluster: &Arc<Cluster>,
        purpose: Purpose,
        place: &TopicPartition,
        offset: i64,
        subscription: Subscription,
    ) -> Self {
        let mut tail = Self::idle(cluster, purpose, place, offset);
        tail.subscription = Some(subscription);
        tail
    }

    fn idle(cluster: &Arc<Cluster>, purpose: Purpose, place: &TopicPartition, offset: i64) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            purpose,
            place: place.clone(),
            subscription: None,
            position: offset,
            taken: 0,
            hole_until: offset,
            behind_hole: None,
            at_end_since: None,
            proven_until: None,
            doubt: None,
            asking: None,
            rests_until: None,
            known_end: None,
            refusals: 0,
            ended: None,
        }
    }

    /// The next offset to hand over.
    pub const fn position(&self) -> i64 {
        self.position
    }

    /// Its subscription, if nothing was taken out of it that was not handed over.
    pub fn into_subscription(self) -> Option<Subscription> {
        let is_settled = self.ended.is_none() && self.doubt.is_none() && self.asking.is_none();
        let is_plain = is_settled && self.behind_hole.is_none() && self.hole_until <= self.position;
        self.subscription.filter(|_| is_plain)
    }

    /// Asks anew from the next offset on.
    fn begin_again(&mut self) {
        // Gone before the new one comes, or both would need a consumer each.
        self.subscription = None;
        self.at_end_since = None;
        self.proven_until = None;
        self.doubt = None;
    }

    /// Asks anew from the next offset on; when the answer is that there is nothing more, nothing is below `end`.
    pub fn prove(&mut self, end: i64) {
        if self.behind_hole.is_none() && self.hole_until <= self.position {
            self.begin_again();
            self.known_end = Some(end);
        }
    }

    /// Up to `records_max` records that are there now, onto `records`. Never waits.
    pub fn take(&mut self, records: &mut Vec<Record>, records_max: usize) {
        let mut bytes = 0;
        while records.len() < records_max && bytes < READ_BYTES_MAX {
            let record = if self.position < self.hole_until {
                hole(self.position)
            } else if let Some(record) = self.behind_hole.take() {
                record
            } else {
                match self.subscription.as_ref().and_then(Subscription::poll) {
                    None => break,
                    Some(Polled::Record(record)) => {
                        self.at_end_since = None;
                        self.refusals = 0;
                        if record.offset < self.position {
                            continue;
                        }
                        self.hole_until = record.offset;
                        self.behind_hole = Some(record);
                        continue;
                    }
                    Some(Polled::End) => {
                        self.at_end_since = Some(Instant::now());
                        if let Some(end) = self.proven_until.take() {
                            self.hole_until = self.hole_until.max(end);
                        }
                        continue;
                    }
                    Some(Polled::Error(code)) => {
                        self.heard(code);
                        continue;
                    }
                }
            };
            bytes += record.key.len() + record.value.len();
            self.position = record.offset + 1;
            records.push(record);
        }
    }

    fn heard(&mut self, code: RDKafkaErrorCode) {
        match code {
            RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::LogTruncation => self.doubt = Some(Doubt::OutOfRange),
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => self.doubt = Some(Doubt::Missing(0)),
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                let what = format!("reading {}", self.place);
                self.ended = Some(LogError::Forbidden { what, cause: code.to_string() });
            }
            code => {
                if self.cluster.asker.troubles.tell(&format!("tail {code:?}")) {
                    tracing::warn!(partition = %self.place, %code, "reading a partition is in trouble, it goes on");
                }
            }
        }
    }

    fn check(&self, bounds: Bounds) -> Result<(), LogError> {
        crate::limits::check_offset(&self.place, self.position, bounds)
    }

    /// The question that must be answered before records can come, if there is one.
    fn question(&self) -> Option<Asking> {
        let (cluster, place) = (Arc::clone(&self.cluster), self.place.clone());
        match self.doubt {
            Some(Doubt::OutOfRange | Doubt::AtEnd) => {
                let asking = async move { cluster.bounds(&place).await }.boxed();
                Some(Asking::Bounds(self.position, asking))
            }
            Some(Doubt::Missing(_)) => {
                Some(Asking::Shape(async move { cluster.shape(&place.topic).await }.boxed()))
            }
            None if self.subscription.is_none() => {
                let (purpose, offset) = (self.purpose, self.position);
                let subscribe = move || cluster.readers.subscribe(purpose, &place, offset);
                Some(Asking::Subscription(blocking(subscribe).boxed()))
            }
            None => None,
        }
    }

    fn bounds_are(&mut self, bounds: Bounds) -> Result<(), LogError> {
        let doubt = self.doubt.take();
        self.check(bounds)?;
        match doubt {
            Some(Doubt::AtEnd) => {
                self.at_end_since = None;
                if bounds.end > self.position {
                    self.prove(bounds.end);
                }
            }
            // A leader that has just changed may refuse once what it has.
            Some(Doubt::OutOfRange) if self.refusals >= 2 => {
                return Err(LogError::Rewritten { partition: self.place.clone(), asked: self.position });
            }
            Some(Doubt::OutOfRange) => {
                self.refusals += 1;
                self.begin_again();
            }
            Some(Doubt::Missing(_)) | None => {}
        }
        Ok(())
    }

    fn shape_is(&mut self, shape: Option<TopicShape>) -> Result<(), LogError> {
        let is_there =
            shape.is_some_and(|shape| self.place.partition < shape.partitions || shape.partitions == 0);
        let Some(Doubt::Missing(times)) = self.doubt else { return Ok(()) };
        if is_there {
            self.begin_again();
        } else if times + 1 >= MISSING_TIMES {
            return Err(LogError::UnknownPartition(self.place.clone()));
        } else {
            self.doubt = Some(Doubt::Missing(times + 1));
            self.rests_until = Some(Instant::now() + DOUBT_RESTS);
        }
        Ok(())
    }

    /// A question found no answer: it is asked again later, unless nobody will ever answer.
    fn unanswered(&mut self, error: LogError) -> Result<(), LogError> {
        match error {
            LogError::UnknownPartition(_)
            | LogError::Forbidden { .. }
            | LogError::Options(_)
            | LogError::Failed(_)
            | LogError::Closed => Err(error),
            error => {
                if self.cluster.asker.troubles.tell("tail waits") {
                    tracing::warn!(partition = %self.place, %error, "a reader waits for the brokers");
                }
                self.rests_until = Some(Instant::now() + DOUBT_RESTS);
                Ok(())
            }
        }
    }

    /// Settles what is in doubt and waits for something to come, a while at most. An error is the end.
    pub async fn wait(&mut self, at_most: Duration) -> Result<(), LogError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let outcome = self.wait_or_end(at_most).await;
        if let Err(error) = &outcome {
            self.cluster.recent.forget(&self.place);
            self.ended = Some(error.clone());
        }
        outcome
    }

    async fn wait_or_end(&mut self, at_most: Duration) -> Result<(), LogError> {
        if let Some(until) = self.rests_until {
            tokio::time::sleep_until(until.into()).await;
            self.rests_until = None;
        }
        if self.asking.is_none() {
            self.asking = self.question();
        }
        match &mut self.asking {
            Some(Asking::Bounds(asked_at, asking)) => {
                let (asked_at, answer) = (*asked_at, asking.await);
                self.asking = None;
                if asked_at != self.position {
                    // Records have come meanwhile; the bounds are older than they.
                    self.doubt = self.doubt.filter(|doubt| !matches!(doubt, Doubt::AtEnd));
                    return Ok(());
                }
                match answer {
                    Ok(bounds) => self.bounds_are(bounds),
                    Err(error) => self.unanswered(error),
                }
            }
            Some(Asking::Shape(asking)) => {
                let answer = asking.await;
                self.asking = None;
                match answer {
                    Ok(shape) => self.shape_is(shape),
                    Err(error) => self.unanswered(error),
                }
            }
            Some(Asking::Subscription(asking)) => {
                let answer = asking.await;
                self.asking = None;
                match answer {
                    Ok(subscription) => {
                        self.subscription = Some(subscription);
                        self.proven_until = self.known_end.take();
                        Ok(())
                    }
                    Err(error) => self.unanswered(error),
                }
            }
            None => {
                self.wait_for_more(at_most).await;
                Ok(())
            }
        }
    }

    async fn wait_for_more(&mut self, at_most: Duration) {
        let rest = match self.at_end_since {
            Some(since) => HOLE_AFTER.saturating_sub(since.elapsed()),
            None => LOOK_EVERY,
        };
        if self.at_end_since.is_some() && rest.is_zero() {
            self.doubt = Some(Doubt::AtEnd);
            return;
        }
        let Some(grown) = self.subscription.as_ref().map(Subscription::grown) else { return };
        // A wake-up that came before is kept, so none is missed between looking and waiting.
        let _ = tokio::time::timeout(at_most.min(rest).min(LOOK_EVERY), grown.notified()).await;
    }
}

#[async_trait]
impl Tail for KafkaTail {
    async fn next(&mut self, records_max: usize) -> Result<Vec<Record>, LogError> {
        // Growing to thousands step by step moves each record several times.
        let mut records = Vec::with_capacity(self.taken.min(records_max));
        loop {
            self.take(&mut records, records_max.max(1));
            if !records.is_empty() {
                self.taken = records.len();
                self.cluster.recent.keep(&self.place, &records);
                return Ok(records);
            }
            self.wait(LOOK_EVERY).await?;
        }
    }
}
