//! librdkafka alone: copies of records that batch starts appended, with the same settings, to the same number of
//! partitions. As many different ones as a broker gets in a while: copies of a single one would compress to nothing.

use std::time::Instant;

use bytes::Bytes;
use rdkafka::producer::BaseProducer;
use tidewheel_cluster::nodes::{Cluster, PARTITIONS, Servers};
use tidewheel_cluster::raw::{Message, produce, producer};
use tidewheel_log::suite::fresh_topic;
use tidewheel_schemas::{Record, RecordHeaders, Topic, TopicPartition};

use crate::Failure;

const RECORDS: usize = 200_000;
/// Most records that are copied.
const COPIED_MAX: i64 = 20_000;

pub(crate) struct Raw {
    producer: BaseProducer,
    topic: Topic,
    pairs: Vec<(&'static str, Bytes)>,
    records: Vec<Record>,
}

impl Raw {
    /// Takes the starts at the end of a partition of the log.
    pub(crate) async fn of(cluster: &Cluster, servers: &Servers) -> Result<Self, Failure> {
        let log = cluster.log("alpha");
        let place = TopicPartition::new(cluster.topic("alpha"), 0);
        let bounds = log.bounds(&place).await?;
        let mut records = Vec::new();
        let mut from = bounds.start.max(bounds.end - COPIED_MAX);
        while from < bounds.end {
            let read = log.read(&place, from, 1_000).await?;
            from = read.last().ok_or("the log has become shorter")?.offset + 1;
            records.extend(read);
        }
        let is_start = |record: &Record| {
            matches!(&record.headers, RecordHeaders::Known(headers)
                if headers.event_type == tidewheel_schemas::EventType::RunStarted)
        };
        records.retain(is_start);
        let RecordHeaders::Known(headers) = &records.first().ok_or("no start in the log")?.headers else {
            return Err("no headers".into());
        };
        let pairs = headers.to_pairs();
        let topic = fresh_topic();
        log.create_topic(&topic, PARTITIONS).await?;
        let producer = producer(&servers.kafka, "zstd")?;
        Ok(Self { producer, topic, pairs, records })
    }

    /// Records a second.
    pub(crate) fn produce(&self) -> Result<f64, Failure> {
        tokio::task::block_in_place(|| {
            let partitions = (0..PARTITIONS).cycle();
            let messages =
                partitions.zip(self.records.iter().cycle()).take(RECORDS).map(|(partition, record)| {
                    Message { partition, key: &record.key, value: &record.value, timestamp_ms: None }
                });
            let began = Instant::now();
            produce(&self.producer, &self.topic, &self.pairs, messages)?;
            Ok(RECORDS as f64 / began.elapsed().as_secs_f64())
        })
    }
}
