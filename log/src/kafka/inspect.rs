//! What this process's user may do with topics and groups, found out without changing anything: where Kafka has no
//! question for it, by a request that is refused for another reason once the permission was looked at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tidewheel_schemas::{Topic, TopicPartition};
use tokio::sync::oneshot;

use super::cluster::{Cluster, misconfigured};
use super::context::{Context, Troubles, is_distrust};
use super::{KafkaLog, KafkaLogOptions, topics};
use crate::LogError;
use crate::topic_rules::TopicSettings;

/// Largest record that is sent to hear that it is too large, bytes. A topic that takes larger ones is not asked.
const PROBE_BYTES_MAX: i64 = 32 << 20;
/// A partition that no topic has.
const NO_PARTITION: i32 = i32::MAX - 1;
/// How long one poll of a client waits.
const POLL: Duration = Duration::from_millis(100);
/// How long a commit that nobody could take rests.
const AGAIN: Duration = Duration::from_millis(500);

/// Looks at one Kafka cluster with the eyes of a process's user.
#[derive(Debug)]
pub struct KafkaInspector {
    log: KafkaLog,
    options: KafkaLogOptions,
}

impl KafkaInspector {
    /// Makes the clients; the brokers need not be there. Looks at `options.cluster` alone.
    ///
    /// # Errors
    /// [`LogError::Options`] if the options cannot work.
    pub fn open(mut options: KafkaLogOptions) -> Result<Self, LogError> {
        options.topic_clusters.clear();
        Ok(Self { log: KafkaLog::open(options.clone())?, options })
    }

    /// The log in this cluster, to read with.
    pub const fn log(&self) -> &KafkaLog {
        &self.log
    }

    fn cluster(&self) -> &Arc<Cluster> {
        &self.log.clusters[0]
    }

    /// What the brokers say about a topic; `None` if there is no such topic.
    ///
    /// # Errors
    /// When the brokers cannot be reached, do not accept this user, or do not let them describe the topic.
    pub async fn settings(&self, topic: &Topic) -> Result<Option<TopicSettings>, LogError> {
        self.log.settings(topic).await
    }

    /// Whether a topic could be created here by this user, with the replicas of the options. Creates none.
    ///
    /// # Errors
    /// [`LogError::Forbidden`] if the user may not, [`LogError::Options`] if there are not as many brokers, or as
    /// [`Self::settings`].
    pub async fn may_create(&self, topic: &Topic, partitions: u32) -> Result<(), LogError> {
        topics::create_new(self.cluster(), topic, partitions, topics::Creation::Rehearsed).await
    }

    /// Whether records of a partition can be read.
    ///
    /// # Errors
    /// [`LogError::Forbidden`] if the user may not, or as [`Self::settings`].
    pub async fn may_read(&self, place: &TopicPartition) -> Result<(), LogError> {
        let config = self.options.consumer(&self.options.cluster, POLL);
        let (cluster, place, until) = (Arc::clone(self.cluster()), place.clone(), self.until());
        on_thread(move || {
            let what = format!("reading {place}");
            let troubles = &cluster.asker.troubles;
            let consumer: BaseConsumer<Context> =
                config.create_with_context(Context::new(troubles)).map_err(|error| misconfigured(&error))?;
            let explain = |error: &KafkaError| cluster.explain(what.clone(), error);
            consumer
                .assign(&at(&place, Offset::End).map_err(|error| explain(&error))?)
                .map_err(|error| explain(&error))?;
            let mut last = KafkaError::NoMessageReceived;
            while Instant::now() < until {
                match consumer.poll(POLL) {
                    None => {}
                    Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                    Some(Err(error)) if is_verdict(&error) => return Err(explain(&error)),
                    Some(Err(error)) => last = error,
                }
            }
            Err(explain(&last))
        })
        .await
    }

    /// Whether records can be appended to a partition whose topic takes batches of `limit_bytes`: a larger record is
    /// sent, which the broker refuses after it looked at the permission. `false` if it cannot be told that way.
    ///
    /// # Errors
    /// [`LogError::Forbidden`] if the user may not, or as [`Self::settings`].
    pub async fn may_write(&self, place: &TopicPartition, limit_bytes: i64) -> Result<bool, LogError> {
        if !(0..=PROBE_BYTES_MAX).contains(&limit_bytes) {
            return Ok(false);
        }
        let bytes = usize::try_from(limit_bytes).unwrap_or_default() + 1;
        let mut config = self.options.producer(&self.options.cluster);
        config.set("message.max.bytes", (bytes + (64 << 10)).to_string());
        config.set("compression.type", "none");
        config.set("message.timeout.ms", self.options.request_timeout.as_millis().to_string());
        let (cluster, place, until) = (Arc::clone(self.cluster()), place.clone(), self.until());
        on_thread(move || {
            let what = format!("appending to {place}");
            let explain = |error: &KafkaError| cluster.explain(what.clone(), error);
            let probe = Probe::new(&cluster.asker.troubles);
            let producer: BaseProducer<Probe> =
                config.create_with_context(probe).map_err(|error| misconfigured(&error))?;
            let payload = vec![0_u8; bytes];
            let record = BaseRecord::<'_, (), [u8], ()>::with_opaque_to(place.topic.as_str(), ())
                .partition(i32::try_from(place.partition).unwrap_or(i32::MAX))
                .payload(payload.as_slice());
            producer.send(record).map_err(|(error, _)| explain(&error))?;
            while Instant::now() < until {
                producer.poll(POLL);
                let heard = producer.context().heard.lock().take();
                return match heard {
                    None => continue,
                    Some(RDKafkaErrorCode::NoError | RDKafkaErrorCode::MessageSizeTooLarge) => Ok(true),
                    Some(code) => Err(explain(&KafkaError::MessageProduction(code))),
                };
            }
            Err(explain(&KafkaError::NoMessageReceived))
        })
        .await
    }

    /// Whether this user may be a member of a group that reads `topic`: an offset of a partition that does not exist
    /// is committed, which the broker refuses after it looked at the permission. Nobody's membership is touched.
    ///
    /// # Errors
    /// [`LogError::Forbidden`] if the user may not, or as [`Self::settings`].
    pub async fn may_join(&self, group: &str, topic: &Topic) -> Result<(), LogError> {
        let mut config = self.options.consumer(&self.options.cluster, POLL);
        config.set("group.id", group);
        let (cluster, until, topic) = (Arc::clone(self.cluster()), self.until(), topic.clone());
        let what = format!("joining group {group}");
        on_thread(move || {
            let explain = |error: &KafkaError| cluster.explain(what.clone(), error);
            let probe = Probe::new(&cluster.asker.troubles);
            let consumer: BaseConsumer<Probe> =
                config.create_with_context(probe).map_err(|error| misconfigured(&error))?;
            let mut offsets = TopicPartitionList::new();
            offsets
                .add_partition_offset(topic.as_str(), NO_PARTITION, Offset::Offset(0))
                .map_err(|error| explain(&error))?;
            let mut last = KafkaError::NoMessageReceived;
            while Instant::now() < until {
                consumer.commit(&offsets, CommitMode::Async).map_err(|error| explain(&error))?;
                let again = Instant::now() + AGAIN;
                while Instant::now() < again.min(until) {
                    if let Some(Err(error)) = consumer.poll(POLL) {
                        if is_verdict(&error) {
                            return Err(explain(&error));
                        }
                        last = error;
                    }
                    let heard = consumer.context().heard.lock().take();
                    match heard {
                        Some(
                            RDKafkaErrorCode::NoError
                            | RDKafkaErrorCode::UnknownTopicOrPartition
                            | RDKafkaErrorCode::UnknownMemberId,
                        ) => return Ok(()),
                        Some(code) if is_verdict(&KafkaError::Global(code)) => {
                            return Err(explain(&KafkaError::Global(code)));
                        }
                        Some(code) => last = KafkaError::Global(code),
                        None => {}
                    }
                }
            }
            Err(explain(&last))
        })
        .await
    }

    fn until(&self) -> Instant {
        Instant::now() + self.options.request_timeout
    }
}

fn at(place: &TopicPartition, offset: Offset) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    let partition = i32::try_from(place.partition).unwrap_or(i32::MAX);
    list.add_partition_offset(place.topic.as_str(), partition, offset)?;
    Ok(list)
}

/// Whether an error says that the user is not let, rather than that nobody answered yet.
fn is_verdict(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
    ) || is_distrust(code)
}

/// Runs what waits for the network on a thread that nobody has to wait for in turn.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new()
        .name("tidewheel-kafka-inspect".to_owned())
        .spawn(move || drop(done.send(work())))
        .map_err(|error| {
            LogError::Failed(format!("a thread of the Kafka client cannot be started: {error}"))
        })?;
    outcome.await.unwrap_or(Err(LogError::Closed))
}

/// Remembers what became of the one thing that was asked.
struct Probe {
    troubles: Arc<Troubles>,
    heard: Mutex<Option<RDKafkaErrorCode>>,
}

impl Probe {
    fn new(troubles: &Arc<Troubles>) -> Self {
        Self { troubles: Arc::clone(troubles), heard: Mutex::new(None) }
    }

    fn hear(&self, outcome: Result<(), &KafkaError>) {
        let code = match outcome {
            Ok(()) => RDKafkaErrorCode::NoError,
            Err(error) => error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
        };
        *self.heard.lock() = Some(code);
    }
}

impl ClientContext for Probe {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.troubles.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.troubles.error(&error, reason);
    }
}

impl ConsumerContext for Probe {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.hear(result.as_ref().map(|()| ()));
    }
}

impl ProducerContext for Probe {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.hear(result.as_ref().map(|_| ()).map_err(|(error, _)| error));
    }
}
