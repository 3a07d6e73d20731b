//! Trimming the log: what is archived, read back in this very call, and not needed by anybody, goes.

use std::collections::BTreeMap;

use serde::Serialize;
use tidewheel_log::{EventLog, SharedLog};
use tidewheel_schemas::{LogId, TopicPartition};

use crate::error::ArchiveError;
use crate::history::Files;
use crate::identity::identify;
use crate::location::Archive;
use crate::verify::range_of;

/// What a trim did in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trimmed {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Its log; none if the partition is empty.
    pub log_id: Option<LogId>,
    /// Where the log began before.
    pub before: i64,
    /// Below this offset everything was archived, verified, and free to go.
    pub allowed: i64,
    /// Where the log begins now. A log that goes by whole segments may keep more than it must.
    pub after: i64,
}

/// Removes from each partition named what lies below the offset given for it, as far as the archive holds it. Every
/// range that loses a record is read back first and compared with the log. One archived record always stays: it is
/// what ties log and archive together.
///
/// # Errors
/// When a range is missing, damaged or differs from the log, or when log or archive cannot be read or written. Nothing
/// was removed then, unless it is the removal that failed.
pub async fn trim(
    log: &SharedLog,
    archive: &Archive,
    free_below: &BTreeMap<TopicPartition, i64>,
) -> Result<Vec<Trimmed>, ArchiveError> {
    let files = Files::new(archive.clone());
    let mut done = Vec::new();
    let mut limits = BTreeMap::new();
    for (place, free) in free_below {
        let (log_id, allowed, before) = allowed(&**log, &files, place, *free).await?;
        if allowed > before {
            limits.insert(place.clone(), allowed);
        }
        let (topic, partition) = (place.topic.to_string(), place.partition);
        done.push(Trimmed { topic, partition, log_id, before, allowed: allowed.max(before), after: before });
    }
    if limits.is_empty() {
        return Ok(done);
    }
    log.trim(&limits).await?;
    for (trimmed, place) in done.iter_mut().zip(free_below.keys()) {
        trimmed.after = log.bounds(place).await?.start;
    }
    Ok(done)
}

async fn allowed(
    log: &dyn EventLog,
    files: &Files,
    place: &TopicPartition,
    free: i64,
) -> Result<(Option<LogId>, i64, i64), ArchiveError> {
    let bounds = log.bounds(place).await?;
    let Some((log_id, chain)) = identify(log, files, place, bounds).await? else {
        return Ok((None, bounds.start, bounds.start));
    };
    let Some(chain) = chain else { return Ok((Some(log_id), bounds.start, bounds.start)) };
    chain.covers(0, chain.to())?;
    let allowed = free.min(chain.to() - 1);
    let losing = chain.ranges.iter().filter(|range| range.to > bounds.start && range.from < allowed);
    for range in losing {
        range_of(log, files.archive(), &chain, range, bounds).await?;
    }
    Ok((Some(log_id), allowed, bounds.start))
}
