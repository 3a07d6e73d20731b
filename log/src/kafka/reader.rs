//! Consumers shared by many readers: each partition has a queue of its own, so that a slow reader holds up no other,
//! and one set of threads and connections serves all of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidewheel_schemas::{Record, TopicPartition};
use tokio::sync::Notify;

use super::cluster::{misconfigured, serve};
use super::context::{Context, Troubles};
use super::record::{Pairs, from_message, pairs_of};
use crate::LogError;

/// What a consumer is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Readers that follow their partition.
    Tails,
    /// Readers that look something up and go.
    Reads,
}

impl Purpose {
    /// How long a request for records waits for some. A partition that is added meanwhile waits, too, which matters
    /// to who looks something up.
    pub const fn fetch_wait(self) -> Duration {
        match self {
            Self::Tails => Duration::from_millis(100),
            Self::Reads => Duration::from_millis(5),
        }
    }
}

/// The consumers of one cluster. There are as many as the most readers that one partition had at once.
pub(super) struct Readers {
    tails: Pool,
    reads: Pool,
}

struct Pool {
    config: ClientConfig,
    troubles: Arc<Troubles>,
    readers: Mutex<Vec<Arc<Reader>>>,
}

/// One consumer.
struct Reader {
    consumer: Arc<BaseConsumer<Context>>,
    /// Held while assignments change: one at a time.
    taken: Mutex<HashSet<TopicPartition>>,
}

/// One partition of one consumer, until it is dropped.
pub(super) struct Subscription {
    reader: Arc<Reader>,
    place: TopicPartition,
    /// None only while it is being dropped.
    queue: Option<PartitionQueue<Context>>,
    grown: Arc<Notify>,
}

/// What comes out of a subscription.
pub(super) enum Polled {
    Record(Record),
    /// Everything that is there was handed over.
    End,
    Error(RDKafkaErrorCode),
}

impl Readers {
    pub fn new(mut tails: ClientConfig, reads: ClientConfig, troubles: &Arc<Troubles>) -> Self {
        tails.set("statistics.interval.ms", "5000");
        let pool = |config| Pool { config, troubles: Arc::clone(troubles), readers: Mutex::default() };
        Self { tails: pool(tails), reads: pool(reads) }
    }

    /// Reads a partition from `offset` on. Blocks for a moment.
    pub fn subscribe(
        &self,
        purpose: Purpose,
        place: &TopicPartition,
        offset: i64,
    ) -> Result<Subscription, LogError> {
        let pool = match purpose {
            Purpose::Tails => &self.tails,
            Purpose::Reads => &self.reads,
        };
        let mut readers = pool.readers.lock();
        for reader in readers.iter() {
            if let Some(subscription) = Reader::subscribe(reader, place, offset)? {
                return Ok(subscription);
            }
        }
        let reader = Arc::new(pool.make()?);
        readers.push(Arc::clone(&reader));
        drop(readers);
        let subscribed = Reader::subscribe(&reader, place, offset)?;
        subscribed
            .ok_or_else(|| LogError::Failed(format!("{place} cannot be assigned to a new Kafka consumer")))
    }
}

impl Pool {
    fn make(&self) -> Result<Reader, LogError> {
        let mut context = Context::new(&self.troubles);
        context.on_lag = Some(Box::new(|topic, partition, lag| {
            let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
            metrics::gauge!("tidewheel_log_lag_records", &labels).set(lag as f64);
        }));
        let consumer: BaseConsumer<Context> =
            self.config.create_with_context(context).map_err(|error| misconfigured(&error))?;
        let consumer = Arc::new(consumer);
        serve("tidewheel-kafka-read", &consumer, || {})?;
        Ok(Reader { consumer, taken: Mutex::default() })
    }
}

fn list(place: &TopicPartition, offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    let partition = i32::try_from(place.partition).unwrap_or(i32::MAX);
    list.add_partition_offset(place.topic.as_str(), partition, offset)?;
    Ok(list)
}

impl Reader {
    /// `None` if the partition is taken.
    fn subscribe(
        reader: &Arc<Self>,
        place: &TopicPartition,
        offset: i64,
    ) -> Result<Option<Subscription>, LogError> {
        let mut taken = reader.taken.lock();
        if taken.contains(place) {
            return Ok(None);
        }
        let failed = |what: &str, error: &KafkaError| {
            LogError::Failed(format!("{place} cannot be {what} by the Kafka client: {error}"))
        };
        let assignment = list(place, Offset::Offset(offset)).map_err(|error| failed("named", &error))?;
        // The queue first: nothing of the partition may come to the consumer's common one.
        let partition = i32::try_from(place.partition).unwrap_or(i32::MAX);
        let queue = reader.consumer.split_partition_queue(place.topic.as_str(), partition);
        let Some(mut queue) = queue else { return Err(LogError::UnknownPartition(place.clone())) };
        let grown = Arc::new(Notify::new());
        let wake = Arc::clone(&grown);
        queue.set_nonempty_callback(move || wake.notify_one());
        reader.consumer.incremental_assign(&assignment).map_err(|error| failed("assigned", &error))?;
        taken.insert(place.clone());
        drop(taken);
        let (reader, place) = (Arc::clone(reader), place.clone());
        Ok(Some(Subscription { reader, place, queue: Some(queue), grown }))
    }
}

impl Subscription {
    /// The next thing, if there is one now.
    pub fn poll(&self) -> Option<Polled> {
        match self.queue.as_ref()?.poll(Duration::ZERO)? {
            Ok(message) => Some(Polled::Record(from_message(&message))),
            Err(KafkaError::PartitionEOF(_)) => Some(Polled::End),
            Err(error) => {
                Some(Polled::Error(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)))
            }
        }
    }

    /// As [`Self::poll`], for a message's offset and its headers as they are.
    pub fn poll_pairs(&self) -> Option<Result<(i64, Pairs), KafkaError>> {
        use rdkafka::Message as _;
        let polled = self.queue.as_ref()?.poll(Duration::ZERO)?;
        Some(polled.map(|message| (message.offset(), pairs_of(&message))))
    }

    /// Told when something has come; kept until somebody waits.
    pub fn grown(&self) -> Arc<Notify> {
        Arc::clone(&self.grown)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut taken = self.reader.taken.lock();
        if let Ok(assignment) = list(&self.place, Offset::Invalid)
            && let Err(error) = self.reader.consumer.incremental_unassign(&assignment)
        {
            // It stays taken: its queue may still get what belongs to this subscription.
            tracing::warn!(partition = %self.place, %error, "a partition cannot be given back to the Kafka client");
            return;
        }
        // What was fetched for this subscription is outdated by now; taking it out frees its memory.
        if let Some(queue) = self.queue.take() {
            while queue.poll(Duration::ZERO).is_some() {}
        }
        taken.remove(&self.place);
    }
}
