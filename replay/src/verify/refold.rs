//! Refolding one partition into the rows it must have led to.

use tidewheel_engine::Fold;
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_projector::load;
use tidewheel_schemas::TopicPartition;
use tidewheel_store::{MemoryStore, StateStore as _};

use super::{Report, VerifyError, Views};

const READ_RECORDS: usize = 1_000;

/// Writes the rows of `partition` into `expected`.
pub(super) async fn partition(
    views: &Views,
    partition: u32,
    expected: &MemoryStore,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let from = TopicPartition::new(views.topic.clone(), partition);
    let bounds = views.log.bounds(&from).await?;
    if bounds.start > 0 {
        return Err(VerifyError::Trimmed { partition: from, start: bounds.start });
    }
    let stored = load::Views::new(views.store.clone(), views.generation).checkpoint(partition).await?;
    let until = stored.map_or(bounds.end, |checkpoint| checkpoint.control.next_offset);
    if until > bounds.end {
        return Err(VerifyError::AheadOfLog { partition: from, checkpoint: until, end: bounds.end });
    }
    report.behind += (bounds.end - until).unsigned_abs();
    let mut fold = Fold::new(partition);
    let mut live = Live::default();
    let mut offset = 0;
    while offset < until {
        let left = usize::try_from(until - offset).unwrap_or(usize::MAX);
        let records = views.log.read(&from, offset, READ_RECORDS.min(left)).await?;
        if records.is_empty() {
            return Err(VerifyError::AheadOfLog { partition: from, checkpoint: until, end: offset });
        }
        for record in &records {
            let mut chunk = Chunk::new(fold.control().clone());
            let transition = fold.apply(record)?;
            chunk.add(std::slice::from_ref(&transition), fold.control(), &live);
            expected.write(views.generation, &chunk.finish(&mut live, false).writes).await?;
            offset = record.offset + 1;
            report.records += 1;
        }
    }
    Ok(())
}
