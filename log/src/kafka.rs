//! The log in Kafka topics: what several processes share.
//!
//! The way of a batch: `append` -> bounded queue -> the appending thread -> librdkafka's idempotent producer ->
//! brokers -> the hearing thread -> the append's future. Readers share consumers, a queue for each partition.

mod cluster;
mod context;
mod flight;
mod inspect;
mod membership;
mod options;
mod producer;
mod queue;
mod read;
mod reader;
mod recent;
mod record;
mod tail;
mod topics;
mod trim;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
pub use inspect::KafkaInspector;
pub use membership::{KafkaMembership, MembershipOptions};
pub use options::{
    Compression, KafkaCluster, KafkaLogOptions, MESSAGE_TIMEOUT_MAX, Pem, Sasl, SaslMechanism, Secret, Tls,
};
use tidewheel_schemas::{NewRecord, Record, Topic, TopicPartition};

use self::cluster::Cluster;
use self::reader::Purpose;
use self::tail::KafkaTail;
use crate::limits::{check_limit, check_offset};
use crate::topic_rules::TopicSettings;
use crate::{Appending, Bounds, EventLog, LogError, Tail};

/// A log in Kafka topics.
///
/// Kafka's own rules that matter here: an acknowledged record is held by every in-sync replica (`acks=all`); records
/// of one producer to one partition keep their order and come once (idempotence); readers see uncommitted
/// transactions of other programs, which is why those are of no use to them. A record's Kafka time is its
/// `recorded-at` in whole milliseconds.
pub struct KafkaLog {
    clusters: Vec<Arc<Cluster>>,
    /// Topics that live in another cluster than the first.
    elsewhere: BTreeMap<Topic, usize>,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let brokers: Vec<&str> = self.clusters.iter().map(|cluster| cluster.asker.brokers.as_str()).collect();
        formatter.debug_struct("KafkaLog").field("brokers", &brokers).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Makes the clients; the brokers need not be there yet.
    ///
    /// # Errors
    /// [`LogError::Options`] if the options cannot work or a certificate or key cannot be read.
    pub fn open(options: KafkaLogOptions) -> Result<Self, LogError> {
        options.check()?;
        let options = Arc::new(options);
        let mut specs = vec![&options.cluster];
        let mut elsewhere = BTreeMap::new();
        for (topic, spec) in &options.topic_clusters {
            let index = specs.iter().position(|known| *known == spec).unwrap_or_else(|| {
                specs.push(spec);
                specs.len() - 1
            });
            elsewhere.insert(topic.clone(), index);
        }
        let clusters: Vec<_> =
            specs.into_iter().map(|spec| Cluster::open(spec, &options)).collect::<Result<_, _>>()?;
        Ok(Self { clusters, elsewhere })
    }

    fn cluster(&self, topic: &Topic) -> &Arc<Cluster> {
        &self.clusters[self.elsewhere.get(topic).copied().unwrap_or(0)]
    }

    /// What the brokers say about a topic; `None` if there is no such topic. Creates nothing.
    ///
    /// # Errors
    /// When the brokers cannot be reached, do not accept this user, or do not let them describe the topic.
    pub async fn settings(&self, topic: &Topic) -> Result<Option<TopicSettings>, LogError> {
        topics::settings(self.cluster(topic), topic).await
    }

    /// Takes no more appends and waits until the fate of everything submitted is known, half a minute at most.
    /// Blocks meanwhile.
    pub fn close(&self) {
        for cluster in &self.clusters {
            cluster.appender.close();
        }
        for cluster in &self.clusters {
            cluster.appender.finish();
        }
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn create_topic(&self, topic: &Topic, partitions: u32) -> Result<(), LogError> {
        topics::create(self.cluster(topic), topic, partitions).await
    }

    async fn partitions(&self, topic: &Topic) -> Result<Option<u32>, LogError> {
        Ok(self.cluster(topic).shape(topic).await?.map(|shape| shape.partitions))
    }

    fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Appending {
        self.cluster(&to.topic).appender.append(to, records)
    }

    async fn tail(&self, from: &TopicPartition, offset: i64) -> Result<Box<dyn Tail>, LogError> {
        let cluster = self.cluster(&from.topic);
        check_offset(from, offset, cluster.bounds(from).await?)?;
        Ok(Box::new(KafkaTail::open(cluster, Purpose::Tails, from, offset, None).await?))
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: i64,
        records_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        read::read(self.cluster(&from.topic), from, offset, records_max).await
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        self.cluster(&of.topic).bounds(of).await
    }

    async fn offset_for_time(&self, of: &TopicPartition, time_us: i64) -> Result<i64, LogError> {
        read::offset_for_time(self.cluster(&of.topic), of, time_us).await
    }

    async fn foreign_headers(
        &self,
        of: &TopicPartition,
        offset: i64,
    ) -> Result<Vec<(String, bytes::Bytes)>, LogError> {
        read::foreign_headers(self.cluster(&of.topic), of, offset).await
    }

    async fn trim(&self, before: &BTreeMap<TopicPartition, i64>) -> Result<(), LogError> {
        let mut by_cluster = BTreeMap::<usize, BTreeMap<TopicPartition, i64>>::new();
        for (of, offset) in before {
            let index = self.elsewhere.get(&of.topic).copied().unwrap_or(0);
            check_limit(of, *offset, self.bounds(of).await?)?;
            by_cluster.entry(index).or_default().insert(of.clone(), *offset);
        }
        for (index, before) in by_cluster {
            trim::trim(&self.clusters[index], &before).await?;
        }
        Ok(())
    }
}
