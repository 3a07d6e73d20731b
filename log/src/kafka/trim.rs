//! Removing what lies before an offset, by the brokers' own `DeleteRecords`. What may go is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tidewheel_schemas::TopicPartition;

use super::cluster::Cluster;
use super::topics::admin_options;
use crate::LogError;

/// Has the brokers delete everything below the offset of each partition.
pub(super) async fn trim(
    cluster: &Arc<Cluster>,
    before: &BTreeMap<TopicPartition, i64>,
) -> Result<(), LogError> {
    let what = |of: &TopicPartition| format!("trimming {of}");
    let mut offsets = TopicPartitionList::new();
    for (of, offset) in before {
        let partition = i32::try_from(of.partition).unwrap_or(i32::MAX);
        offsets
            .add_partition_offset(of.topic.as_str(), partition, Offset::Offset(*offset))
            .map_err(|error| cluster.explain(what(of), &error))?;
    }
    let Some((first, _)) = before.first_key_value() else { return Ok(()) };
    let answer = cluster
        .admin()?
        .delete_records(&offsets, &admin_options(cluster))
        .await
        .map_err(|error| cluster.explain(what(first), &error))?;
    for of in before.keys() {
        let partition = i32::try_from(of.partition).unwrap_or(i32::MAX);
        let outcome = answer.find_partition(of.topic.as_str(), partition).map(|found| found.error());
        match outcome {
            Some(Ok(())) => {}
            // Somebody else has trimmed further meanwhile: there is nothing left to do.
            Some(Err(KafkaError::OffsetFetch(RDKafkaErrorCode::OffsetOutOfRange))) => {}
            Some(Err(error)) => return Err(cluster.explain(what(of), &error)),
            None => return Err(cluster.explain(what(of), &KafkaError::NoMessageReceived)),
        }
        cluster.recent.forget(of);
    }
    Ok(())
}
