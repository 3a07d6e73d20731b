//! Changing the configuration: one append, then the fold's verdict on it. What a change does is the fold's business.

use std::time::Duration;

use tidewheel_log::LogError;
use tidewheel_schemas::codec::EncodeError;
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{ConfigEvent, Envelope, Position, TopicPartition, codec};
use tokio::time::{Instant, timeout_at};

use super::{Changed, Configuration, position};

/// A log that says nothing for so long is away.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Why a change came to nothing, as far as is known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// The configuration's log was not read yet, or does not answer; nothing was appended.
    #[error("the configuration's log cannot be reached; nothing was changed, try again")]
    Away,
    /// The change cannot be a record; nothing was appended.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log did not answer in time: whether the change was appended is not known.
    #[error("the configuration's log did not answer within {} s", .0.as_secs())]
    Unanswered(Duration),
}

impl Configuration {
    /// Appends a change and waits for the fold's verdict on it, both within `patience`.
    ///
    /// # Errors
    /// See [`ChangeError`]; after [`ChangeError::Unanswered`] and some errors of the log it may have happened.
    pub async fn change(
        &self,
        envelope: Envelope,
        event: ConfigEvent,
        patience: Duration,
    ) -> Result<Changed, ChangeError> {
        let deadline = Instant::now() + patience;
        let record = codec::encode_config(&envelope, &event)?;
        let partitions = *self.0.partitions.borrow();
        let partition = partition_for(&record.key, partitions);
        // Nothing is appended before the first record was read back.
        let applied = self.0.snapshot.borrow().applied.get(&partition).copied();
        let (Some(applied), true) = (applied, partitions > 0) else { return Err(ChangeError::Away) };
        let options = &self.0.options;
        let place = TopicPartition::new(options.topic.clone(), partition);
        // Asked first, for an append to a log that is away may still happen long after the answer.
        let bounds =
            timeout_at(deadline.min(Instant::now() + ANSWERS_WITHIN), options.log.bounds(&place)).await;
        if !matches!(bounds, Ok(Ok(_))) {
            return Err(ChangeError::Away);
        }
        let mut waiter = self.0.verdicts.expect(envelope.event_id);
        let appended = timeout_at(deadline, options.log.append(&place, vec![record])).await;
        let offset = appended.map_err(|_| ChangeError::Unanswered(patience))??.first();
        let judged = timeout_at(deadline, waiter.at(offset)).await.ok();
        Ok(Changed { position: position(applied.log_id, partition, offset), judged })
    }

    /// Waits until the snapshot holds the record at `position`; `false` if it is of another log or does not get there
    /// within `patience`.
    pub async fn reach(&self, position: Position, patience: Duration) -> bool {
        let mut snapshots = self.snapshots();
        let holds = snapshots.wait_for(|snapshot| {
            snapshot.applied.get(&position.partition).is_some_and(|applied| applied.offset >= position.offset)
        });
        let is_there = matches!(tokio::time::timeout(patience, holds).await, Ok(Ok(_)));
        let snapshot = self.snapshot();
        let is_same_log = snapshot
            .applied
            .get(&position.partition)
            .is_some_and(|applied| applied.log_id == position.log_id);
        is_there && is_same_log
    }
}
