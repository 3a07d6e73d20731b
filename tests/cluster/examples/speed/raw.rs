//! librdkafka alone: copies of the records that a batch start appended, with the same settings, to the same number of
//! partitions.

use std::time::Instant;

use rdkafka::producer::BaseProducer;
use tidewheel_cluster::nodes::{Cluster, PARTITIONS, Servers};
use tidewheel_cluster::raw::{Message, produce, producer};
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
        let producer = producer(&servers.kafka, "zstd")?;
        Ok(Self { producer, topic, record })
    }

    /// Records a second.
    pub(crate) fn produce(&self) -> Result<f64, Failure> {
        tokio::task::block_in_place(|| {
            let RecordHeaders::Known(headers) = &self.record.headers else { return Err("no headers".into()) };
            let pairs = headers.to_pairs();
            let messages = (0..PARTITIONS).cycle().take(RECORDS).map(|partition| Message {
                partition,
                key: &self.record.key,
                value: &self.record.value,
                timestamp_ms: None,
            });
            let began = Instant::now();
            produce(&self.producer, &self.topic, &pairs, messages)?;
            Ok(RECORDS as f64 / began.elapsed().as_secs_f64())
        })
    }
}
