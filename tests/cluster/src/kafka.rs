//! The Kafka cluster of a test: one broker on loopback that all tests of a binary share, or brokers of its own. And
//! what an operator or another program does to topics, without Tidewheel's log.

use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidewheel_log::EventLog as _;
use tidewheel_log::kafka::{KafkaCluster, KafkaLog, KafkaLogOptions};
use tidewheel_log::suite::fresh_topic;
use tidewheel_log::topic_rules::TopicOverride;
use tidewheel_native::{Kafka, KafkaOptions, available_or_skip};
use tidewheel_schemas::{Topic, TopicPartition};

static SHARED: OnceLock<Kafka> = OnceLock::new();

/// The broker that the tests of this binary share; none, after a line that says why, where there can be none.
///
/// # Panics
/// When it does not start.
pub async fn shared(test: &'static str) -> Option<&'static Kafka> {
    let start = move || {
        let toolchain = available_or_skip(test)?;
        let options = KafkaOptions::default();
        Some(SHARED.get_or_init(|| Kafka::start(&toolchain, &options).expect("a Kafka broker")))
    };
    tokio::task::spawn_blocking(start).await.expect("the start of a broker")
}

/// Brokers of a test's own.
///
/// # Panics
/// When they do not start.
pub async fn own(test: &'static str, options: KafkaOptions) -> Option<Kafka> {
    let start = move || {
        let toolchain = available_or_skip(test)?;
        Some(Kafka::start(&toolchain, &options).expect("Kafka brokers"))
    };
    tokio::task::spawn_blocking(start).await.expect("the start of brokers")
}

/// Options for a log in these brokers with one replica of everything.
pub fn options(kafka: &Kafka) -> KafkaLogOptions {
    let mut options = KafkaLogOptions::new(KafkaCluster::plain(kafka.bootstrap()));
    options.replication_factor = 1;
    options.overrides = [TopicOverride::AllowSingleReplica].into();
    options
}

/// A log in these brokers, as one process has it.
///
/// # Panics
/// When its options are refused.
pub fn log(kafka: &Kafka) -> KafkaLog {
    KafkaLog::open(options(kafka)).expect("a log")
}

/// The only partition of a topic that nobody used before.
///
/// # Panics
/// When it cannot be created.
pub async fn one_partition(log: &KafkaLog) -> TopicPartition {
    let topic = fresh_topic();
    log.create_topic(&topic, 1).await.expect("a topic");
    TopicPartition::new(topic, 0)
}

/// An administrator's client.
///
/// # Panics
/// When it cannot be made.
pub fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().expect("an admin client")
}

fn patience() -> AdminOptions {
    let timeout = Some(Duration::from_secs(20));
    AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
}

/// Creates a topic with settings of the test's own.
///
/// # Panics
/// When the broker refuses.
pub async fn create_topic(kafka: &Kafka, topic: &Topic, settings: &[(&str, &str)]) {
    let new = NewTopic::new(topic.as_str(), 1, TopicReplication::Fixed(1));
    let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
    let outcomes = admin(kafka).create_topics([&new], &patience()).await.expect("an answer");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

/// Deletes a topic.
///
/// # Panics
/// When the broker refuses.
pub async fn delete_topic(kafka: &Kafka, topic: &Topic) {
    let outcomes = admin(kafka).delete_topics(&[topic.as_str()], &patience()).await.expect("an answer");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

/// Deletes every record below `offset`.
///
/// # Panics
/// When the broker refuses.
pub async fn trim(kafka: &Kafka, place: &TopicPartition, offset: i64) {
    let mut list = TopicPartitionList::new();
    let partition = i32::try_from(place.partition).expect("a partition");
    list.add_partition_offset(place.topic.as_str(), partition, Offset::Offset(offset)).expect("an offset");
    admin(kafka).delete_records(&list, &patience()).await.expect("an answer");
}
