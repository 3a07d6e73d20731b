//! The birth of a log: topic and `LogCreated` in every partition, before anything else is appended.

use std::sync::Arc;

use tidewheel_log::{Clock, LogError, SharedLog};
use tidewheel_schemas::event::LogCreated;
use tidewheel_schemas::{Author, Entity, Envelope, EventId, LogId, Topic, TopicPartition, codec, registry};

/// A log that cannot be created.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateError {
    /// The log refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The first record could not be encoded.
    #[error("the first record of the log cannot be encoded: {0}")]
    Encode(String),
}

/// Creates the topic where it does not exist and writes `LogCreated` into every empty partition. Two processes may
/// do so at once: the first record counts, the other is void.
///
/// # Errors
/// When the topic has another number of partitions, or the log refuses.
pub async fn create_log(
    log: &SharedLog,
    topic: &Topic,
    partitions: u32,
    process: &Arc<str>,
    clock: &dyn Clock,
) -> Result<(), CreateError> {
    log.create_topic(topic, partitions).await?;
    for partition in 0..partitions {
        let place = TopicPartition::new(topic.clone(), partition);
        if log.bounds(&place).await?.end > 0 {
            continue;
        }
        let (envelope, event) = first_event(partition, partitions, registry::fold_newest(), process, clock);
        let record = codec::encode(&envelope, &event.into())
            .map_err(|error| CreateError::Encode(error.to_string()))?;
        log.append(&place, vec![record]).await?;
    }
    Ok(())
}

/// The first event of a partition's log, by whichever codec its topic has.
pub(crate) fn first_event(
    partition: u32,
    partitions: u32,
    fold: u32,
    process: &Arc<str>,
    clock: &dyn Clock,
) -> (Envelope, LogCreated) {
    let now_us = clock.now_us();
    let envelope = Envelope {
        event_id: EventId::random(clock.random_16()),
        entity: Entity::Partition(partition),
        namespace: None,
        recorded_at_us: now_us,
        cause: None,
        traceparent: None,
        author: Author::Candidate { process: Arc::clone(process) },
    };
    let event = LogCreated {
        log_id: LogId::random(clock.random_16()),
        epoch_us: now_us,
        partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
        fold: i32::try_from(fold).unwrap_or(i32::MAX),
    };
    (envelope, event)
}
