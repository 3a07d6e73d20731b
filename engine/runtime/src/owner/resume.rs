//! Resuming: the fold at the checkpoint, after checking that the log is the one the views were built from.

use tidewheel_engine::fold::{self, Fold};
use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{RecordHeaders, TopicPartition};

use super::{OwnerError, OwnerOptions};

/// The fold at the checkpoint of `place`, or the empty one.
pub(super) async fn fold(options: &OwnerOptions, place: &TopicPartition) -> Result<Fold, OwnerError> {
    let Some(resume) = options.views.resume(place.partition).await? else {
        return Ok(Fold::new(place.partition));
    };
    let offset = resume.control.next_offset - 1;
    if offset >= 0 && !mutation::is(Mutation::CheckpointUnverified) {
        let expected = resume.control.last_event_id;
        let found = match options.log.read(place, offset, 1).await {
            Ok(records) => records.into_iter().next(),
            Err(tidewheel_log::LogError::BeyondEnd { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let event_id = match &found {
            Some(record) => match &record.headers {
                RecordHeaders::Known(headers) => Some(headers.event_id),
                RecordHeaders::Foreign(_) => None,
            },
            None => None,
        };
        if found.is_none() || event_id != expected {
            let text =
                |id: Option<tidewheel_schemas::EventId>| id.map_or("none".to_owned(), |id| id.to_string());
            return Err(OwnerError::CheckpointMismatch {
                partition: place.clone(),
                offset,
                expected: text(expected),
                found: if found.is_none() { "nothing: it ends before".to_owned() } else { text(event_id) },
            });
        }
    }
    fold::check(&resume.control)?;
    Ok(Fold::resume(resume.control, resume.outbox))
}
