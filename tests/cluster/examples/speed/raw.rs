//! librdkafka alone: copies of the records that a batch start appended, with the same settings, to the same number of
//! partitions.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tidewheel_cluster::nodes::{Cluster, PARTITIONS, Servers};
use tidewheel_log::suite::fresh_topic;
use tidewheel_schemas::{Record, RecordHeaders, Topic, TopicPartition};

use crate::Failure;

const RECORDS: usize = 200_000;

pub(crate) struct Raw {
    producer: BaseProducer,
    topic: Topic,
    record: Record,
}

impl Raw {
    /// Takes the last record of a start that W1 left in the log.
    pub(crate) async fn of(cluster: &Cluster, servers: &Servers) -> Result<Self, Failure> {
        let log = cluster.log("alpha");
        let place = TopicPartition::new(cluster.topic("alpha"), 0);
        let bounds = log.bounds(&place).await?;
        let from = bounds.start.max(bounds.end - 500);
        let records = log.read(&place, from, 500).await?;
        let is_start = |record: &Record| {
            matches!(&record.headers, RecordHeaders::Known(headers)
                if headers.event_type == tidewheel_schemas::EventType::RunStarted)
        };
        let record = records.into_iter().rev().find(is_start).ok_or("no start in the log")?;
        let topic = fresh_topic();
        log.create_topic(&topic, PARTITIONS).await?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", servers.kafka.bootstrap())
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("queue.buffering.max.ms", "0")
            .set("queue.buffering.max.messages", "100000")
            .set("batch.num.messages", "10000")
            .set("message.max.bytes", "2097152")
            .set("compression.type", "zstd")
            .create()?;
        Ok(Self { producer, topic, record })
    }

    /// Records a second.
    pub(crate) fn produce(&self) -> Result<f64, Failure> {
        tokio::task::block_in_place(|| {
            let RecordHeaders::Known(headers) = &self.record.headers else { return Err("no headers".into()) };
            let pairs = headers.to_pairs();
            let began = Instant::now();
            for number in 0..RECORDS {
                let headers =
                    pairs.iter().fold(OwnedHeaders::new_with_capacity(pairs.len()), |all, (key, value)| {
                        all.insert(Header { key, value: Some(&value[..]) })
                    });
                let mut message = BaseRecord::to(self.topic.as_str())
                    .partition(i32::try_from(number % PARTITIONS as usize)?)
                    .key(&self.record.key[..])
                    .payload(&self.record.value[..])
                    .headers(headers);
                while let Err((_, back)) = self.producer.send(message) {
                    message = back;
                    self.producer.poll(Duration::from_millis(1));
                }
            }
            self.producer.flush(Duration::from_secs(60))?;
            Ok(RECORDS as f64 / began.elapsed().as_secs_f64())
        })
    }
}
