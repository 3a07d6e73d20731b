//! Where a partition is compared: the offset its views are known to hold, and the one they cannot be beyond.

use tidewheel_engine::{Fold, LogInfo};
use tidewheel_log::LogError;
use tidewheel_projector::load;
use tidewheel_schemas::TopicPartition;

use super::{Held, VerifyError, Views};

/// Write timestamps of one record: the record's own and those of mends.
pub(super) const STEP_US: i64 = 8;

/// The place of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) partition: u32,
    pub(crate) place: TopicPartition,
    /// The base of its write timestamps.
    pub(crate) epoch_us: i64,
    /// Every record before this offset was in the views before any row was read.
    pub(crate) until: i64,
    /// No row that was read follows from a record at or after this offset. Known once the rows were read.
    pub(crate) end: i64,
}

impl Ground {
    /// Where the views stand now; where they have no checkpoint, as far as they are `held`, or to the end of the log.
    pub(super) async fn of(views: &Views, partition: u32, held: Option<&Held>) -> Result<Self, VerifyError> {
        let place = TopicPartition::new(views.topic.clone(), partition);
        let bounds = views.log.bounds(&place).await?;
        if bounds.start > 0 {
            // Whoever has an archive is told exactly what is in neither.
            if let Err(error @ LogError::Archive { .. }) = views.log.read(&place, 0, 1).await {
                return Err(error.into());
            }
            return Err(VerifyError::Trimmed { partition: place, start: bounds.start });
        }
        let stored = load::Views::new(views.store.clone(), views.generation).checkpoint(partition).await?;
        let until = match (stored, held) {
            (Some(checkpoint), _) => checkpoint.control.next_offset,
            (None, Some(held)) => held(partition),
            (None, None) => bounds.end,
        };
        let until = until.max(0);
        let mut fold = Fold::new(partition);
        for record in views.log.read(&place, 0, 1).await? {
            fold.apply(&record)?;
        }
        let epoch_us = fold.control().log.map_or(0, |LogInfo { epoch_us, .. }| epoch_us);
        let mut ground = Self { partition, place, epoch_us, until, end: until };
        ground.close(views).await?;
        Ok(ground)
    }

    /// The rows were read: what they follow from lies before the end of the log.
    pub(super) async fn close(&mut self, views: &Views) -> Result<(), VerifyError> {
        self.end = views.log.bounds(&self.place).await?.end;
        if self.until > self.end {
            let (partition, checkpoint, end) = (self.place.clone(), self.until, self.end);
            return Err(VerifyError::AheadOfLog { partition, checkpoint, end });
        }
        Ok(())
    }

    /// The write timestamp of a record.
    pub(crate) const fn written_us(&self, offset: i64) -> i64 {
        self.epoch_us.saturating_add(offset.saturating_mul(STEP_US))
    }

    /// The write timestamp of the record that a row written at `timestamp_us` follows from, were it mended or not.
    pub(crate) const fn base_us(&self, timestamp_us: i64) -> i64 {
        timestamp_us.saturating_sub(timestamp_us.saturating_sub(self.epoch_us).rem_euclid(STEP_US))
    }

    /// The offset of that record.
    pub(crate) const fn offset_of(&self, timestamp_us: i64) -> i64 {
        timestamp_us.saturating_sub(self.epoch_us).div_euclid(STEP_US)
    }

    /// Whether a row follows from a record that the views need not hold yet.
    pub(super) const fn is_later(&self, timestamp_us: i64) -> bool {
        self.offset_of(timestamp_us) >= self.until
    }

    /// The newest timestamp that a record can have given.
    pub(super) const fn newest_us(&self) -> i64 {
        self.written_us(self.end.saturating_sub(1))
    }
}
