//! Checks that every backend makes before it touches anything: sizes of batches, ranges of offsets.

use tidewheel_schemas::limit::RECORD_BYTES_MAX;
use tidewheel_schemas::{NewRecord, TopicPartition};

use crate::{Bounds, LogError};

/// Largest batch, in bytes of keys and values.
pub const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of a record that count against the limits: its key and its value.
pub fn record_bytes(record: &NewRecord) -> usize {
    record.key.len().saturating_add(record.value.len())
}

/// Refuses a batch with a record over the limit, or one that is too large as a whole; answers its bytes.
pub(crate) fn check_batch(records: &[NewRecord]) -> Result<usize, LogError> {
    let mut total = 0_usize;
    for record in records {
        let bytes = record_bytes(record);
        if bytes > RECORD_BYTES_MAX {
            return Err(LogError::TooLarge { bytes, limit: RECORD_BYTES_MAX });
        }
        total = total.saturating_add(bytes);
    }
    if total > BATCH_BYTES_MAX {
        return Err(LogError::TooLarge { bytes: total, limit: BATCH_BYTES_MAX });
    }
    Ok(total)
}

/// Refuses to trim up to an offset that does not exist yet. One that is gone already is fine: nothing is left to do.
pub(crate) fn check_limit(partition: &TopicPartition, before: i64, bounds: Bounds) -> Result<(), LogError> {
    if before > bounds.end {
        return Err(LogError::BeyondEnd { partition: partition.clone(), asked: before, end: bounds.end });
    }
    Ok(())
}

/// Refuses an offset outside `bounds`, the end itself being inside.
pub(crate) fn check_offset(partition: &TopicPartition, asked: i64, bounds: Bounds) -> Result<(), LogError> {
    if asked < bounds.start {
        return Err(LogError::Trimmed { partition: partition.clone(), asked, start: bounds.start });
    }
    if asked > bounds.end {
        return Err(LogError::BeyondEnd { partition: partition.clone(), asked, end: bounds.end });
    }
    Ok(())
}
