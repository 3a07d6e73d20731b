//! What archive and log hold of a partition together, for people who look before they act.

use serde::Serialize;
use tidewheel_log::EventLog;
use tidewheel_schemas::{LogId, TopicPartition};

use crate::error::ArchiveError;
use crate::history::Files;
use crate::identity::identify;
use crate::location::Archive;

/// Offsets `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Offsets {
    /// The first.
    pub from: i64,
    /// One past the last.
    pub to: i64,
}

/// What there is of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Its log, if it can be told.
    pub log_id: Option<LogId>,
    /// What is archived of this log.
    pub archived: Option<Offsets>,
    /// In how many ranges.
    pub ranges: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// What the log holds.
    pub log: Offsets,
    /// What is wrong, such as offsets that are in neither; none if both together reach back to offset 0.
    pub missing: Option<String>,
}

/// Looks what archive and log hold of `place`. Files are not read back.
///
/// # Errors
/// When log or archive cannot be read.
pub async fn coverage(
    log: &dyn EventLog,
    archive: &Archive,
    place: &TopicPartition,
) -> Result<Coverage, ArchiveError> {
    let bounds = log.bounds(place).await?;
    let mut found = Coverage {
        topic: place.topic.to_string(),
        partition: place.partition,
        log_id: None,
        archived: None,
        ranges: 0,
        bytes: 0,
        log: Offsets { from: bounds.start, to: bounds.end },
        missing: None,
    };
    let chain = match identify(log, &Files::new(archive.clone()), place, bounds).await {
        Ok(Some((log_id, chain))) => {
            found.log_id = Some(log_id);
            chain
        }
        Ok(None) => None,
        Err(error @ ArchiveError::Log(_)) => return Err(error),
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => {
            found.missing = Some(error.to_string());
            None
        }
    };
    if let Some(chain) = chain {
        found.archived = Some(Offsets { from: chain.from(), to: chain.to() });
        found.ranges = chain.ranges.len() as u64;
        found.bytes = chain.ranges.iter().map(|range| range.bytes).sum();
        found.missing = chain.covers(0, chain.to().max(bounds.start)).err().map(|error| error.to_string());
    }
    Ok(found)
}
