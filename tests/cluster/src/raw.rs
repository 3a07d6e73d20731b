//! librdkafka without Tidewheel's log around it, as what the log is measured beside.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tidewheel_native::Kafka;
use tidewheel_schemas::Topic;

/// A producer with the settings of the log's own.
///
/// # Errors
/// When librdkafka refuses them.
pub fn producer(kafka: &Kafka, compression: &str) -> KafkaResult<BaseProducer> {
    ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("queue.buffering.max.ms", "0")
        .set("queue.buffering.max.messages", "100000")
        .set("batch.num.messages", "10000")
        .set("message.max.bytes", "2097152")
        .set("compression.type", compression)
        .create()
}

/// A message as librdkafka takes it.
pub struct Message<'a> {
    /// The partition.
    pub partition: u32,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Milliseconds since 1970; the time at which it is sent, if absent.
    pub timestamp_ms: Option<i64>,
}

/// Sends messages with the same headers and waits until all are durable.
///
/// # Errors
/// When not all are after a minute.
///
/// # Panics
/// When a partition's number is none of Kafka's.
pub fn produce<'a>(
    producer: &BaseProducer,
    topic: &Topic,
    pairs: &[(&str, Bytes)],
    messages: impl IntoIterator<Item = Message<'a>>,
) -> KafkaResult<()> {
    for message in messages {
        let headers = pairs.iter().fold(OwnedHeaders::new_with_capacity(pairs.len()), |all, (key, value)| {
            all.insert(Header { key, value: Some(&value[..]) })
        });
        let mut record = BaseRecord::to(topic.as_str())
            .partition(i32::try_from(message.partition).expect("a partition"))
            .key(message.key)
            .payload(message.value)
            .headers(headers);
        record.timestamp = message.timestamp_ms;
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(1));
        }
    }
    producer.flush(Duration::from_secs(60))
}
