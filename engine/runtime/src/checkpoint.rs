//! Whether the log is the one that views were built from: it holds the event of their checkpoint (DESIGN §3).

use tidewheel_engine::Control;
use tidewheel_log::{LogError, SharedLog};
use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{Event, EventId, LogId, RecordHeaders, TopicPartition, decode};

/// A checkpoint whose event the log does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{partition}: the views were built from another log: at offset {offset} they folded {expected}, the log holds \
     {found}; rebuild the views from this log (delete the store folder) or restore the log"
)]
pub struct CheckpointMismatch {
    /// The partition.
    pub partition: TopicPartition,
    /// The checkpoint's last offset.
    pub offset: i64,
    /// What the views folded there.
    pub expected: String,
    /// What the log holds there.
    pub found: String,
}

/// Compares a checkpoint with the record at its place; `Ok(Err(…))` if it is another one or there is none.
///
/// # Errors
/// When the log cannot be read.
pub async fn verify(
    log: &SharedLog,
    place: &TopicPartition,
    control: &Control,
) -> Result<Result<(), CheckpointMismatch>, LogError> {
    let offset = control.next_offset - 1;
    if offset < 0 || mutation::is(Mutation::CheckpointUnverified) {
        return Ok(Ok(()));
    }
    if let (Some(known), Some(other)) = (control.log, is_of(log, place, control).await?) {
        return Ok(Err(CheckpointMismatch {
            partition: place.clone(),
            offset: 0,
            expected: format!("the beginning of log {}", known.log_id),
            found: format!("that of log {other}"),
        }));
    }
    let expected = control.last_event_id;
    let found = match log.read(place, offset, 1).await {
        Ok(records) => records.into_iter().next(),
        Err(LogError::BeyondEnd { .. }) => None,
        Err(error) => return Err(error),
    };
    let event_id = match &found {
        Some(record) => match &record.headers {
            RecordHeaders::Known(headers) => Some(headers.event_id),
            RecordHeaders::Foreign(_) => None,
        },
        None => None,
    };
    if found.is_some() && event_id == expected {
        return Ok(Ok(()));
    }
    Ok(Err(CheckpointMismatch {
        partition: place.clone(),
        offset,
        expected: event(expected),
        found: if found.is_none() { "nothing: it ends before".to_owned() } else { event(event_id) },
    }))
}

fn event(id: Option<EventId>) -> String {
    id.map_or("a foreign record".to_owned(), |id| format!("event {id}"))
}

/// A clone holds the same events at the same places, but is another log, which its first record says. A log whose first
/// record was trimmed is no clone that was made since.
async fn is_of(
    log: &SharedLog,
    place: &TopicPartition,
    control: &Control,
) -> Result<Option<LogId>, LogError> {
    let Some(known) = control.log else { return Ok(None) };
    if log.bounds(place).await?.start > 0 {
        return Ok(None);
    }
    let first = log.read(place, 0, 1).await?.into_iter().next();
    let created = first.and_then(|record| match &record.headers {
        RecordHeaders::Known(headers) => match decode(headers, &record.value) {
            Ok((_, Event::LogCreated(created))) => Some(created.log_id),
            Ok(_) | Err(_) => None,
        },
        RecordHeaders::Foreign(_) => None,
    });
    Ok(created.filter(|log_id| *log_id != known.log_id))
}
