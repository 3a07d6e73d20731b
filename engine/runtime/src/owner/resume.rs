//! Resuming: the fold at the checkpoint, after checking that the log is the one the views were built from.

use tidewheel_engine::fold::{self, Fold};
use tidewheel_schemas::TopicPartition;

use super::{OwnerError, OwnerOptions};
use crate::checkpoint;

/// The fold at the checkpoint of `place`, or the empty one.
pub(super) async fn fold(options: &OwnerOptions, place: &TopicPartition) -> Result<Fold, OwnerError> {
    let Some(resume) = options.views.resume(place.partition).await? else {
        return Ok(Fold::new(place.partition));
    };
    checkpoint::verify(&options.log, place, &resume.control).await??;
    fold::check(&resume.control)?;
    Ok(Fold::resume(resume.control, resume.outbox))
}
