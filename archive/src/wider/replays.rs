//! Replays that had not ended: they count offsets of partitions that a wider clone does not have, so they end here.

use tidewheel_engine::config::ConfigFold;
use tidewheel_log::{EventLog, SharedClock};
use tidewheel_schemas::event::ReplayCancelled;
use tidewheel_schemas::{Author, Entity, Envelope, EventId, NewRecord, Topic, TopicPartition, encode_config};

use crate::error::ArchiveError;
use crate::import::append;

/// Records read at once.
const READ_RECORDS: usize = 1_000;

/// Cancels the replays of the datacenter whose runs lie in `runs`, in the partition of the configuration that was just
/// written. Answers how many records that took.
pub(crate) async fn end_replays(
    log: &dyn EventLog,
    place: &TopicPartition,
    runs: &Topic,
    clock: &SharedClock,
) -> Result<i64, ArchiveError> {
    let unknown = |what: String| ArchiveError::Unknown { partition: place.clone(), what };
    let mut fold = ConfigFold::new(place.partition);
    let end = log.bounds(place).await?.end;
    while fold.control().next_offset < end {
        let next = fold.control().next_offset;
        let read = log.read(place, next, READ_RECORDS).await?;
        if read.is_empty() {
            return Err(unknown(format!("what was just written cannot be read from offset {next} on")));
        }
        for record in &read {
            fold.apply(record).map_err(|error| unknown(error.to_string()))?;
        }
    }
    let mut ends: Vec<NewRecord> = Vec::new();
    for views in fold.views().values() {
        let suffix = format!(".{}.workflow.events", views.datacenter);
        let Some(replay) = views.running().filter(|_| runs.as_str().ends_with(&suffix)) else { continue };
        let envelope = Envelope {
            event_id: EventId::random(clock.random_16()),
            entity: Entity::Views(views.datacenter.clone()),
            namespace: None,
            recorded_at_us: clock.now_us(),
            cause: None,
            traceparent: None,
            author: Author::Ingest { principal: "import".into() },
        };
        let event = ReplayCancelled {
            replay: i32::try_from(replay.number).unwrap_or(i32::MAX),
            reason: "its log was imported with more partitions".to_owned(),
        };
        ends.push(encode_config(&envelope, &event.into()).map_err(|error| unknown(error.to_string()))?);
    }
    let count = i64::try_from(ends.len()).unwrap_or(i64::MAX);
    if count > 0 {
        append(log, place, ends, fold.control().next_offset).await?;
    }
    Ok(count)
}
