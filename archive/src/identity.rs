//! Which log a partition is, and which chain of an archive is its own.
//!
//! A log that begins at its beginning says it in its first record. One that was trimmed does not: there the archive
//! says it, if the two hold the same record at the same offset. That is why a trim always leaves one archived record.

use tidewheel_log::{Bounds, EventLog};
use tidewheel_schemas::event::LogCreated;
use tidewheel_schemas::{
    ConfigEvent, Event, LogId, Record, RecordHeaders, TopicPartition, decode, decode_config,
};

use crate::catalog::{Catalog, Chain};
use crate::error::ArchiveError;
use crate::history::Files;

/// What the first record of a partition says.
pub(crate) fn created(record: &Record) -> Option<LogCreated> {
    let RecordHeaders::Known(headers) = &record.headers else { return None };
    match decode(headers, &record.value) {
        Ok((_, Event::LogCreated(created))) => Some(created),
        Ok(_) | Err(_) => match decode_config(headers, &record.value) {
            Ok((_, ConfigEvent::LogCreated(created))) => Some(created),
            Ok(_) | Err(_) => None,
        },
    }
}

/// The log of `place` and its chain, if it has one. `None` for an empty partition.
pub(crate) async fn identify(
    log: &dyn EventLog,
    files: &Files,
    place: &TopicPartition,
    bounds: Bounds,
) -> Result<Option<(LogId, Option<Chain>)>, ArchiveError> {
    let catalog = Catalog::load(files.archive(), Some(place)).await?;
    if bounds.start == 0 {
        let Some(first) = log.read(place, 0, 1).await?.into_iter().next() else { return Ok(None) };
        let Some(created) = created(&first) else {
            let what = "its first record is not the one that begins a log".to_owned();
            return Err(ArchiveError::Unknown { partition: place.clone(), what });
        };
        let own = catalog.of(place).find(|chain| chain.log_id == created.log_id);
        if let Some(chain) = own {
            check_same(log, files, chain, bounds).await?;
        }
        return Ok(Some((created.log_id, own.cloned())));
    }
    let mut furthest: Option<&Chain> = None;
    let mut other = None;
    for chain in catalog.of(place) {
        if chain.to() <= bounds.start {
            if furthest.is_none_or(|furthest| furthest.to() < chain.to()) {
                furthest = Some(chain);
            }
            continue;
        }
        match check_same(log, files, chain, bounds).await {
            Ok(()) => return Ok(Some((chain.log_id, Some(chain.clone())))),
            Err(ArchiveError::Diverged { .. }) => other = Some(chain.log_id),
            Err(error) => return Err(error),
        }
    }
    if let Some(archived) = other {
        return Err(ArchiveError::OtherLog { partition: place.clone(), archived, here: None });
    }
    // The one that ends right before the log could be anybody's: nothing ties the two together.
    let from = furthest.map_or(0, |chain| chain.to().min(bounds.start - 1));
    Err(ArchiveError::Gap { partition: place.clone(), from, last: bounds.start - 1 })
}

/// Refuses a chain that does not hold what the log holds at the last offset they share, or that ends behind the log.
async fn check_same(
    log: &dyn EventLog,
    files: &Files,
    chain: &Chain,
    bounds: Bounds,
) -> Result<(), ArchiveError> {
    let partition = || chain.place.clone();
    let offset = chain.to().min(bounds.end) - 1;
    if offset >= bounds.start
        && let Some(range) = chain.at(offset)
    {
        let archived = files.read(range, offset, 1).await?;
        let held = log.read(&chain.place, offset, 1).await?;
        if archived.first() != held.first() {
            return Err(ArchiveError::Diverged { partition: partition(), log_id: chain.log_id, offset });
        }
    }
    if chain.to() > bounds.end {
        let (archived, end) = (chain.to(), bounds.end);
        return Err(ArchiveError::AheadOfLog { partition: partition(), archived, end });
    }
    Ok(())
}
