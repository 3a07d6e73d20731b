//! How far a generation is behind its log, and whether that is near enough for reads to move there.

use futures::future::try_join_all;
use tidewheel_log::{LogError, SharedLog};
use tidewheel_schemas::{Topic, TopicPartition};

/// A partition of a generation that is too far behind its log for reads to move there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} is {lag} records behind the log, the limit is {limit}")]
pub struct TooFar {
    /// The partition.
    pub partition: u32,
    /// How many records it is behind.
    pub lag: u64,
    /// How many it may be.
    pub limit: u64,
}

/// Where the log ends, by partition.
///
/// # Errors
/// When a partition does not answer.
pub async fn ends(log: &SharedLog, topic: &Topic, partitions: u32) -> Result<Vec<i64>, LogError> {
    let places: Vec<_> =
        (0..partitions).map(|partition| TopicPartition::new(topic.clone(), partition)).collect();
    let bounds = try_join_all(places.iter().map(|place| log.bounds(place))).await?;
    Ok(bounds.into_iter().map(|bounds| bounds.end).collect())
}

/// How many records a generation is behind a log with these `ends`, by partition. `applied` are the offsets of the last
/// records it holds.
pub fn lags(ends: &[i64], applied: impl IntoIterator<Item = i64>) -> impl Iterator<Item = u64> {
    ends.iter().zip(applied).map(|(end, applied)| (end - 1 - applied).max(0).unsigned_abs())
}

/// The sum of [`lags`], if no partition is further behind than `limit`.
///
/// # Errors
/// The first partition that is.
pub fn lag(ends: &[i64], applied: impl IntoIterator<Item = i64>, limit: u64) -> Result<u64, TooFar> {
    let mut sum = 0;
    for (partition, lag) in (0_u32..).zip(lags(ends, applied)) {
        if lag > limit {
            return Err(TooFar { partition, lag, limit });
        }
        sum += lag;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_partition_too_far_behind_is_named_however_near_the_others_are() {
        assert_eq!(lag(&[10, 0, 5], [9, -1, 2], 2), Ok(2));
        assert_eq!(lag(&[10, 0, 5], [9, -1, 1], 2), Err(TooFar { partition: 2, lag: 3, limit: 2 }));
    }

    #[test]
    fn a_generation_ahead_of_ends_that_were_asked_for_before_is_not_behind() {
        assert_eq!(lag(&[10], [12], 0), Ok(0));
    }
}
