//! One Kafka cluster: the clients that this process has for it, what it knows of its topics, and what errors mean.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::AdminClient;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidewheel_schemas::{Topic, TopicPartition};

use super::context::{Context, Troubles, is_distrust};
use super::options::{KafkaCluster, KafkaLogOptions};
use super::producer::Appender;
use super::read::Idle;
use super::reader::{Purpose, Readers};
use super::recent::Recent;
use crate::{Bounds, LogError};

/// How long a question that got no clear answer rests before it is asked again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the appending thread asks whether a topic exists before it leaves that to the producer.
const EXISTS_TIMEOUT: Duration = Duration::from_secs(3);

/// What is known of topics, and whom to ask.
pub(super) struct Asker {
    pub brokers: String,
    pub troubles: Arc<Troubles>,
    consumer: Arc<BaseConsumer<Context>>,
    /// Topics that exist and how many partitions they have. Partitions only become more.
    topics: Mutex<HashMap<Topic, u32>>,
}

/// One cluster.
pub(super) struct Cluster {
    pub options: Arc<KafkaLogOptions>,
    pub asker: Arc<Asker>,
    pub appender: Appender,
    pub readers: Readers,
    pub idle: Arc<Idle>,
    pub recent: Recent,
    admin_config: ClientConfig,
    admin: Mutex<Option<Arc<AdminClient<Context>>>>,
}

/// What a topic is, as the brokers' metadata tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopicShape {
    pub partitions: u32,
    pub replication_factor: u32,
    /// Whether every partition has a leader.
    pub is_led: bool,
}

/// A client library's refusal of its configuration, without the values it was given.
pub(super) fn misconfigured(error: &KafkaError) -> LogError {
    let text = match error {
        KafkaError::ClientConfig(_, description, key, _) => format!("{description}: {key}"),
        KafkaError::ClientCreation(description) => description.clone(),
        other => format!("{:?}", other.rdkafka_error_code()),
    };
    LogError::Options(text)
}

/// Serves what a client tells on its own, for as long as the client lives.
pub(super) fn serve(
    name: &str,
    consumer: &Arc<BaseConsumer<Context>>,
    on_tick: impl Fn() + Send + 'static,
) -> Result<(), LogError> {
    let consumer: Weak<BaseConsumer<Context>> = Arc::downgrade(consumer);
    let run = move || {
        while let Some(consumer) = consumer.upgrade() {
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    use rdkafka::Message as _;
                    // Every partition is read from a queue of its own, made before it is assigned.
                    tracing::error!(topic = message.topic(), "a Kafka message came to nobody's queue");
                }
                // No group is joined and no offset committed, so none of its permissions are needed.
                Some(Err(error))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {}
                Some(Err(error)) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                    consumer.context().troubles.error(&KafkaError::Global(code), &code.to_string());
                }
            }
            drop(consumer);
            on_tick();
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|error| LogError::Failed(format!("a thread of the Kafka client cannot be started: {error}")))
}

impl Cluster {
    /// Makes the clients. The brokers need not be there.
    pub fn open(spec: &KafkaCluster, options: &Arc<KafkaLogOptions>) -> Result<Arc<Self>, LogError> {
        let troubles = Arc::<Troubles>::default();
        let admin_config = options.asker(spec);
        let consumer: BaseConsumer<Context> = admin_config
            .create_with_context(Context::new(&troubles))
            .map_err(|error| misconfigured(&error))?;
        let consumer = Arc::new(consumer);
        let idle = Arc::<Idle>::default();
        let tired = Arc::downgrade(&idle);
        serve("tidewheel-kafka-ask", &consumer, move || {
            if let Some(idle) = tired.upgrade() {
                idle.drop_old();
            }
        })?;
        let asker = Arc::new(Asker {
            brokers: spec.brokers.clone(),
            troubles: Arc::clone(&troubles),
            consumer,
            topics: Mutex::default(),
        });
        let known = Arc::clone(&asker);
        let silent_since = Mutex::new(None::<Instant>);
        let exists = Box::new(move |place: &TopicPartition| {
            // Brokers that do not answer would hold up one partition after the other.
            if silent_since.lock().is_some_and(|since| since.elapsed() < 2 * EXISTS_TIMEOUT) {
                return Ok(());
            }
            match known.exists(place, EXISTS_TIMEOUT) {
                Err(error @ LogError::UnknownPartition(_)) => Err(error),
                Ok(()) => Ok(()),
                Err(_) => {
                    *silent_since.lock() = Some(Instant::now());
                    Ok(())
                }
            }
        });
        let bounds = (options.queue_bytes_max, options.queue_records_max);
        let producer = options.producer(spec);
        let appender = Appender::start(producer, &troubles, bounds, options.message_timeout, exists)?;
        let wait = |purpose: Purpose| options.consumer(spec, purpose.fetch_wait());
        let readers = Readers::new(wait(Purpose::Tails), wait(Purpose::Reads), &troubles);
        let options = Arc::clone(options);
        let admin = Mutex::new(None);
        let recent = Recent::default();
        Ok(Arc::new(Self { options, asker, appender, readers, idle, recent, admin_config, admin }))
    }

    /// The client for creating and describing topics.
    pub fn admin(&self) -> Result<Arc<AdminClient<Context>>, LogError> {
        let mut admin = self.admin.lock();
        if let Some(admin) = &*admin {
            return Ok(Arc::clone(admin));
        }
        let context = Context::new(&self.asker.troubles);
        let made: AdminClient<Context> =
            self.admin_config.create_with_context(context).map_err(|error| misconfigured(&error))?;
        let made = Arc::new(made);
        *admin = Some(Arc::clone(&made));
        Ok(made)
    }

    /// The topic's shape; `None` if there is no such topic.
    pub async fn shape(&self, topic: &Topic) -> Result<Option<TopicShape>, LogError> {
        let (asker, topic, timeout) = (Arc::clone(&self.asker), topic.clone(), self.options.request_timeout);
        blocking(move || asker.shape(&topic, timeout)).await
    }

    /// The readable range of a partition.
    pub async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        let (asker, of, timeout) = (Arc::clone(&self.asker), of.clone(), self.options.request_timeout);
        blocking(move || asker.bounds(&of, timeout)).await
    }

    /// The first offset whose message time is at or after `time_ms`; `None` if there is none.
    pub async fn offset_for_time(&self, of: &TopicPartition, time_ms: i64) -> Result<Option<i64>, LogError> {
        let (asker, of, timeout) = (Arc::clone(&self.asker), of.clone(), self.options.request_timeout);
        blocking(move || asker.offset_for_time(&of, time_ms, timeout)).await
    }

    /// What an error of a call means.
    pub fn explain(&self, what: String, error: &KafkaError) -> LogError {
        self.asker.explain(what, error)
    }
}

/// Runs something that waits for the network on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(LogError::Closed))
}

impl Asker {
    /// What an error of a call means.
    pub fn explain(&self, what: String, error: &KafkaError) -> LogError {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let brokers = self.brokers.clone();
        match code {
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                return LogError::Forbidden { what, cause: code.to_string() };
            }
            code if is_distrust(code) => {
                return LogError::Credentials { what, brokers, cause: code.to_string() };
            }
            _ => {}
        }
        match self.troubles.recent() {
            Some(trouble) if trouble.is_distrust => {
                LogError::Credentials { what, brokers, cause: trouble.text }
            }
            Some(trouble) => {
                LogError::Unreachable { what, brokers, cause: format!("{code} ({})", trouble.text) }
            }
            None => LogError::Unreachable { what, brokers, cause: code.to_string() },
        }
    }

    fn shape(&self, topic: &Topic, timeout: Duration) -> Result<Option<TopicShape>, LogError> {
        let what = || format!("looking for topic {topic}");
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic.as_str()), timeout)
            .map_err(|error| self.explain(what(), &error))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic.as_str()) else {
            return Ok(None);
        };
        if let Some(error) = found.error() {
            let code = RDKafkaErrorCode::from(error);
            return match code {
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::InvalidTopic => {
                    self.topics.lock().remove(topic);
                    Ok(None)
                }
                // A topic that is being created has no leaders for a moment.
                RDKafkaErrorCode::LeaderNotAvailable => {
                    Ok(Some(TopicShape { partitions: 0, replication_factor: 0, is_led: false }))
                }
                code => Err(self.explain(what(), &KafkaError::MetadataFetch(code))),
            };
        }
        let partitions = u32::try_from(found.partitions().len()).unwrap_or(u32::MAX);
        let fewest = found.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
        let is_led = found.partitions().iter().all(|partition| partition.leader() >= 0);
        if partitions > 0 {
            self.topics.lock().insert(topic.clone(), partitions);
        }
        let replication_factor = u32::try_from(fewest).unwrap_or(u32::MAX);
        Ok(Some(TopicShape { partitions, replication_factor, is_led }))
    }

    /// Refuses a partition that does not exist. Asks only for what is not known to exist.
    pub fn exists(&self, place: &TopicPartition, timeout: Duration) -> Result<(), LogError> {
        let is_known = self.topics.lock().get(&place.topic).is_some_and(|count| place.partition < *count);
        if is_known {
            return Ok(());
        }
        let until = Instant::now() + timeout;
        loop {
            match self.shape(&place.topic, timeout)? {
                Some(shape) if place.partition < shape.partitions => return Ok(()),
                Some(shape) if shape.partitions == 0 && Instant::now() < until => std::thread::sleep(AGAIN),
                Some(_) | None => return Err(LogError::UnknownPartition(place.clone())),
            }
        }
    }

    fn bounds(&self, of: &TopicPartition, timeout: Duration) -> Result<Bounds, LogError> {
        self.retried(of, timeout, "looking for the ends of", |left| {
            let partition = i32::try_from(of.partition).unwrap_or(i32::MAX);
            let (start, end) = self.consumer.fetch_watermarks(of.topic.as_str(), partition, left)?;
            Ok(Bounds { start, end })
        })
    }

    fn offset_for_time(
        &self,
        of: &TopicPartition,
        time_ms: i64,
        timeout: Duration,
    ) -> Result<Option<i64>, LogError> {
        self.retried(of, timeout, "looking for a time in", |left| {
            let partition = i32::try_from(of.partition).unwrap_or(i32::MAX);
            let mut times = TopicPartitionList::new();
            times.add_partition_offset(of.topic.as_str(), partition, Offset::Offset(time_ms))?;
            let found = self.consumer.offsets_for_times(times, left)?;
            let Some(found) = found.elements().first().map(|element| (element.offset(), element.error()))
            else {
                return Err(KafkaError::NoMessageReceived);
            };
            match found {
                (_, Err(error)) => Err(error),
                (Offset::Offset(offset), Ok(())) => Ok(Some(offset)),
                (_, Ok(())) => Ok(None),
            }
        })
    }

    /// Asks about a partition until there is a clear answer or time is up: leaders move.
    fn retried<T>(
        &self,
        of: &TopicPartition,
        timeout: Duration,
        what: &str,
        ask: impl Fn(Duration) -> Result<T, KafkaError>,
    ) -> Result<T, LogError> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(AGAIN);
            self.exists(of, left)?;
            let error = match ask(left) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            match code {
                // What was known of it may be long ago.
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition => {
                    self.topics.lock().remove(&of.topic);
                }
                RDKafkaErrorCode::TopicAuthorizationFailed => {
                    return Err(self.explain(format!("{what} {of}"), &error));
                }
                code if is_distrust(code) => return Err(self.explain(format!("{what} {of}"), &error)),
                _ => {}
            }
            if Instant::now() + AGAIN >= until {
                return Err(self.explain(format!("{what} {of}"), &error));
            }
            std::thread::sleep(AGAIN);
        }
    }
}
