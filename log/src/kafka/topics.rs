//! Topics: created with the settings that facts need, and checked for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidewheel_schemas::Topic;

use super::cluster::{Cluster, TopicShape};
use crate::LogError;
use crate::topic_rules::{TopicSettings, settings_of_a_new_topic, violations};

/// How often a new topic is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether a topic is created or only asked for whether it could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    /// It is.
    Real,
    /// The brokers look at everything and create nothing.
    Rehearsed,
}

/// Creates a topic, or checks one that is there. Several processes may do so at once.
pub(super) async fn create(cluster: &Arc<Cluster>, topic: &Topic, partitions: u32) -> Result<(), LogError> {
    if cluster.shape(topic).await?.is_none() {
        create_new(cluster, topic, partitions, Creation::Real).await?;
    }
    let shape = wait_until_led(cluster, topic, partitions).await?;
    if shape.partitions != partitions {
        let (topic, found) = (topic.clone(), shape.partitions);
        return Err(LogError::PartitionCount { topic, found, expected: partitions });
    }
    check(cluster, topic, shape).await
}

async fn check(cluster: &Arc<Cluster>, topic: &Topic, shape: TopicShape) -> Result<(), LogError> {
    let settings = describe(cluster, topic, shape).await?;
    let found = violations(topic, &settings, &cluster.options.overrides);
    if found.is_empty() { Ok(()) } else { Err(LogError::Topic(found.into())) }
}

/// What the brokers say about a topic; `None` if there is no such topic.
pub(super) async fn settings(
    cluster: &Arc<Cluster>,
    topic: &Topic,
) -> Result<Option<TopicSettings>, LogError> {
    match cluster.shape(topic).await? {
        Some(shape) => describe(cluster, topic, shape).await.map(Some),
        None => Ok(None),
    }
}

pub(super) fn admin_options(cluster: &Cluster) -> AdminOptions {
    let timeout = cluster.options.request_timeout;
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}

pub(super) async fn create_new(
    cluster: &Arc<Cluster>,
    topic: &Topic,
    partitions: u32,
    creation: Creation,
) -> Result<(), LogError> {
    let what = || format!("creating topic {topic}");
    let replicas = cluster.options.replication_factor;
    let values = settings_of_a_new_topic(replicas);
    // A topic that would be refused afterwards is not created.
    let planned = TopicSettings {
        partitions,
        replication_factor: replicas,
        values: values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    };
    let broken = violations(topic, &planned, &cluster.options.overrides);
    if !broken.is_empty() {
        return Err(LogError::Topic(broken.into()));
    }
    let count = i32::try_from(partitions).unwrap_or(i32::MAX);
    let factor = i32::try_from(replicas).unwrap_or(i32::MAX);
    let empty = NewTopic::new(topic.as_str(), count, TopicReplication::Fixed(factor));
    let new = values.iter().fold(empty, |new, (name, value)| new.set(name, value));
    let options = admin_options(cluster).validate_only(creation == Creation::Rehearsed);
    let admin = cluster.admin()?;
    let outcome = admin.create_topics([&new], &options).await;
    let code = match outcome {
        Ok(outcomes) => match outcomes.into_iter().next() {
            Some(Err((_, code))) => code,
            Some(Ok(_)) | None => return Ok(()),
        },
        Err(error) => return Err(cluster.explain(what(), &error)),
    };
    match code {
        RDKafkaErrorCode::TopicAlreadyExists => Ok(()),
        RDKafkaErrorCode::InvalidReplicationFactor => Err(LogError::Options(format!(
            "topic {topic} was to be created with {replicas} replicas, and the cluster has fewer brokers; start more, or ask for fewer replicas"
        ))),
        RDKafkaErrorCode::InvalidTopic
        | RDKafkaErrorCode::InvalidPartitions
        | RDKafkaErrorCode::InvalidConfig
        | RDKafkaErrorCode::PolicyViolation => {
            Err(LogError::Options(format!("topic {topic} cannot be created: {code}")))
        }
        code => Err(cluster.explain(what(), &KafkaError::AdminOp(code))),
    }
}

/// A new topic is known to some brokers before others, and has no leaders for a moment.
async fn wait_until_led(
    cluster: &Arc<Cluster>,
    topic: &Topic,
    partitions: u32,
) -> Result<TopicShape, LogError> {
    let until = Instant::now() + cluster.options.request_timeout;
    loop {
        let shape = cluster.shape(topic).await?;
        match shape {
            Some(shape) if shape.partitions > 0 && (shape.is_led || shape.partitions != partitions) => {
                return Ok(shape);
            }
            shape if Instant::now() >= until => {
                let what = format!("waiting for topic {topic}");
                return match shape {
                    // Some partitions are without a leader; what they are is known all the same.
                    Some(shape) if shape.partitions > 0 => Ok(shape),
                    _ => Err(cluster.explain(what, &KafkaError::NoMessageReceived)),
                };
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn describe(
    cluster: &Arc<Cluster>,
    topic: &Topic,
    shape: TopicShape,
) -> Result<TopicSettings, LogError> {
    let what = || format!("reading the settings of topic {topic}");
    let admin = cluster.admin()?;
    let resource = ResourceSpecifier::Topic(topic.as_str());
    let until = Instant::now() + cluster.options.request_timeout;
    loop {
        let described = admin.describe_configs([&resource], &admin_options(cluster)).await;
        let described = described.map_err(|error| cluster.explain(what(), &error))?;
        match described.into_iter().next() {
            // The client passes over an error of the resource; a topic always has settings.
            Some(Ok(resource)) if resource.entries.is_empty() && Instant::now() < until => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Some(Ok(resource)) if resource.entries.is_empty() => {
                return Err(cluster.explain(what(), &KafkaError::NoMessageReceived));
            }
            Some(Ok(resource)) => {
                let values =
                    resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
                return Ok(TopicSettings {
                    partitions: shape.partitions,
                    replication_factor: shape.replication_factor,
                    values: values.collect(),
                });
            }
            // The broker that was asked may hear of a new topic later than others.
            Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition)) | None if Instant::now() < until => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Some(Err(code)) => return Err(cluster.explain(what(), &KafkaError::AdminOp(code))),
            None => return Err(cluster.explain(what(), &KafkaError::NoMessageReceived)),
        }
    }
}
