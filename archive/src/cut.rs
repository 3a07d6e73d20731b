//! Which beginnings of several partitions are one consistent past: no message received that was not sent, none
//! forgotten by its sender that was not received. What a record means is asked of the fold.
//!
//! Beginning with the cuts asked for, a cut is moved back as long as something is wrong; cuts only ever move back, so
//! this ends, and what it ends with is the latest consistent past before the one asked for.

use std::collections::BTreeMap;

use tidewheel_engine::{Fold, FoldError, OutboxChange};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Author, Entity, LogId, OutboxName, Record, RecordHeaders};

use crate::catalog::Chain;
use crate::error::ArchiveError;
use crate::location::Archive;

/// Records looked at at once.
const READ_RECORDS: usize = 1_000;

/// What folding one partition up to its cut told.
#[derive(Default)]
struct Told {
    /// The last message it accepted from each source.
    accepted: BTreeMap<(LogId, u32), OutboxName>,
    /// The first message it holds that its source, by index, sends behind its cut.
    too_early: Option<i64>,
    /// What it forgot because it was delivered: at which offset, for which partition, up to which name.
    forgotten: Vec<(i64, u32, OutboxName)>,
}

/// Moves the cuts of one topic's partitions back to a consistent past. `chains` and `cuts` are by partition.
pub(crate) async fn consistent(
    archive: &Archive,
    chains: &[Chain],
    mut cuts: Vec<i64>,
) -> Result<Vec<i64>, ArchiveError> {
    loop {
        let sources: BTreeMap<(LogId, u32), i64> = chains
            .iter()
            .zip(&cuts)
            .map(|(chain, cut)| ((chain.log_id, chain.place.partition), *cut))
            .collect();
        let mut told = Vec::new();
        for (chain, cut) in chains.iter().zip(&cuts) {
            told.push(fold(archive, chain, *cut, &sources).await?);
        }
        let before = cuts.clone();
        for (index, chain) in chains.iter().enumerate() {
            if let Some(offset) = told[index].too_early {
                cuts[index] = cuts[index].min(offset);
            }
            let source = (chain.log_id, chain.place.partition);
            let lost = told[index].forgotten.iter().find(|(_, destination, name)| {
                let receiver = usize::try_from(*destination).ok().and_then(|index| told.get(index));
                receiver.is_none_or(|receiver| receiver.accepted.get(&source).is_none_or(|last| last < name))
            });
            if let Some((offset, ..)) = lost {
                cuts[index] = cuts[index].min(*offset);
            }
        }
        if cuts == before {
            return Ok(cuts);
        }
    }
}

async fn fold(
    archive: &Archive,
    chain: &Chain,
    cut: i64,
    sources: &BTreeMap<(LogId, u32), i64>,
) -> Result<Told, ArchiveError> {
    let partitions = u32::try_from(sources.len()).unwrap_or(u32::MAX);
    let mut fold = Fold::new(chain.place.partition);
    let mut told = Told::default();
    let mut waiting = BTreeMap::<OutboxName, u32>::new();
    let mut finished = Vec::new();
    records(archive, chain, cut, |record| {
        if told.too_early.is_none() && is_too_early(record, sources) {
            told.too_early = Some(record.offset);
        }
        let transition = fold.apply(record).map_err(|error| unfoldable(chain, &error))?;
        for change in &transition.outbox {
            match change {
                OutboxChange::Put(entry) => {
                    let key = Entity::Run(entry.target).routing_key();
                    waiting.insert(entry.name, partition_for(&key, partitions));
                }
                OutboxChange::Trimmed(through) => {
                    let mut last = BTreeMap::new();
                    while let Some(entry) = waiting.first_entry().filter(|entry| *entry.key() <= *through) {
                        let (name, destination) = entry.remove_entry();
                        last.insert(destination, name);
                    }
                    let of = last.into_iter().map(|(destination, name)| (record.offset, destination, name));
                    told.forgotten.extend(of);
                }
            }
        }
        if let Some(change) = &transition.run
            && change.after.status.is_finished()
        {
            finished.push(change.after.run_id);
        }
        // A finished run sends nothing any more.
        if finished.len() >= READ_RECORDS {
            for run_id in finished.drain(..) {
                fold.evict(run_id, record.offset);
            }
        }
        Ok(())
    })
    .await?;
    told.accepted.clone_from(&fold.control().sources);
    Ok(told)
}

/// Whether it is a message that its source, as cut, has not sent.
fn is_too_early(record: &Record, sources: &BTreeMap<(LogId, u32), i64>) -> bool {
    let RecordHeaders::Known(headers) = &record.headers else { return false };
    let Author::Outbox { source, partition, name, .. } = &headers.author else { return false };
    sources.get(&(*source, *partition)).is_some_and(|cut| name.offset >= *cut)
}

fn unfoldable(chain: &Chain, error: &FoldError) -> ArchiveError {
    ArchiveError::Unknown { partition: chain.place.clone(), what: error.to_string() }
}

/// Hands out the records of a chain below `until`, in order.
pub(crate) async fn records(
    archive: &Archive,
    chain: &Chain,
    until: i64,
    mut each: impl FnMut(&Record) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    chain.covers(0, until)?;
    for range in chain.ranges.iter().filter(|range| range.from < until) {
        let mut reader = archive.open_range(range).await?;
        loop {
            let read = reader.read(READ_RECORDS, crate::history::READ_BYTES_MAX);
            let read = read.map_err(|malformed| archive.damaged(range, malformed))?;
            if read.is_empty() {
                break;
            }
            for record in read.iter().filter(|record| record.offset < until) {
                each(record)?;
            }
            // Others share this thread.
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}
