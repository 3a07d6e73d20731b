//! A wider clone: every partition of the runs' topic becomes several. Which record goes where, and how, is in `split`.
//!
//! A key's partition is its hash modulo their number, so with a whole multiple of them every new partition takes its runs
//! from exactly one old one, and messages from one partition to another keep their order.

mod moved;
mod replays;
mod split;

use std::collections::BTreeMap;

use tidewheel_log::{EventLog, SharedClock};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{LogId, NewRecord, Topic, TopicPartition};

use self::moved::Moved;
pub(crate) use self::replays::end_replays;
use self::split::{Names, Source, Split};
use crate::cut::records;
use crate::error::ArchiveError;
use crate::import::{Imported, Part, append};
use crate::location::Archive;

/// Records read at once for each new partition, most of them, and the bytes of their values: as many are kept in memory.
const PAGE_RECORDS: usize = 500;
const PAGE_RECORDS_MAX: usize = 8_000;
const PAGE_BYTES: usize = 4 << 20;

/// How many partitions there were, and how many there will be: a whole multiple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Width {
    from: u32,
    to: u32,
}

impl Width {
    /// None if it is no whole multiple, or no more.
    pub(crate) fn new(from: u32, to: u32) -> Option<Self> {
        (from > 0 && to > from && to.is_multiple_of(from)).then_some(Self { from, to })
    }

    pub(crate) const fn to(self) -> u32 {
        self.to
    }

    /// What an old partition becomes; the first has its number.
    fn parts(self, partition: u32) -> impl Iterator<Item = u32> {
        (partition..self.to).step_by(self.from as usize)
    }

    /// Which of the parts of `partition` a key belongs to; the first for a key that belongs to another partition, where it
    /// belongs as little as before.
    fn part_of(self, partition: u32, key: &[u8]) -> usize {
        let number = partition_for(key, self.to);
        if number % self.from == partition { (number / self.from) as usize } else { 0 }
    }
}

/// Writes the runs' partitions wider. Everything is read twice: messages between partitions name where their sender's
/// records lie, which is known once those were looked through. In memory are one or two bytes for each record.
pub(crate) async fn widen(
    log: &dyn EventLog,
    archive: &Archive,
    parts: &[Part],
    width: Width,
    clock: &SharedClock,
) -> Result<Vec<Imported>, ArchiveError> {
    let mut sources = BTreeMap::new();
    for part in parts {
        let partition = part.chain.place.partition;
        let ids = width.parts(partition).map(|number| (LogId::random(clock.random_16()), number)).collect();
        let source = look_through(archive, part, width, ids).await?;
        sources.insert((part.chain.log_id, partition), source);
    }
    let mut done = Vec::new();
    for part in parts {
        done.extend(write(log, archive, part, width, &sources).await?);
    }
    done.sort_by_key(|imported| imported.partition);
    Ok(done)
}

/// Learns where the records of a partition will lie.
async fn look_through(
    archive: &Archive,
    part: &Part,
    width: Width,
    ids: Vec<(LogId, u32)>,
) -> Result<Source, ArchiveError> {
    let mut moved = Moved::new(ids.len());
    let mut split = Split::new(&part.chain.place, width, &ids, Names::Old);
    records(archive, &part.chain, part.until, |record| {
        moved.push(split.take(record)?);
        split.discard();
        Ok(())
    })
    .await?;
    split.finish()?;
    Ok(Source { ids, moved, ends: split.ends() })
}

async fn write(
    log: &dyn EventLog,
    archive: &Archive,
    part: &Part,
    width: Width,
    sources: &BTreeMap<(LogId, u32), Source>,
) -> Result<Vec<Imported>, ArchiveError> {
    let place = &part.chain.place;
    let Some(source) = sources.get(&(part.chain.log_id, place.partition)) else { return Ok(Vec::new()) };
    let mut split = Split::new(place, width, &source.ids, Names::New(sources));
    let mut written = vec![0; source.ids.len()];
    let page = (PAGE_RECORDS * source.ids.len()).min(PAGE_RECORDS_MAX);
    for range in part.chain.ranges.iter().filter(|range| range.from < part.until) {
        let mut reader = archive.open_range(range).await?;
        loop {
            let read = reader.read(page, PAGE_BYTES).map_err(|error| archive.damaged(range, error))?;
            if read.is_empty() {
                break;
            }
            for record in read.iter().filter(|record| record.offset < part.until) {
                split.take(record)?;
            }
            flush(log, &place.topic, &mut split, &mut written).await?;
        }
    }
    split.finish()?;
    flush(log, &place.topic, &mut split, &mut written).await?;
    if split.ends() != source.ends {
        return Err(
            split.refused("the archive was another one when it was read for the first time".to_owned())
        );
    }
    let imported = source.ids.iter().zip(written).enumerate().map(|(index, ((log_id, number), records))| {
        // What was not carried over belongs to no single one of them.
        let of_first = |count: i64| if index == 0 { count } else { 0 };
        Imported {
            topic: place.topic.to_string(),
            partition: *number,
            from_partition: place.partition,
            from_log_id: part.chain.log_id,
            log_id: *log_id,
            records,
            left_out: of_first(part.chain.to() - part.until),
            void: of_first(split.void()),
        }
    });
    Ok(imported.collect())
}

async fn flush(
    log: &dyn EventLog,
    topic: &Topic,
    split: &mut Split<'_>,
    written: &mut [i64],
) -> Result<(), ArchiveError> {
    let batches: Vec<(u32, Vec<NewRecord>)> = split.take_written();
    let appends = batches.into_iter().zip(written).map(|((number, batch), next)| async move {
        let place = TopicPartition::new(topic.clone(), number);
        if !batch.is_empty() {
            *next = append(log, &place, batch, *next).await?;
        }
        Ok::<_, ArchiveError>(())
    });
    futures::future::try_join_all(appends).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_multiple_is_wider() {
        let wider = [(4, 8), (4, 12), (1, 7)];
        assert!(wider.iter().all(|(from, to)| Width::new(*from, *to).is_some()));
        let none = [(4, 4), (4, 6), (4, 2), (0, 4), (8, 12), (4, 0)];
        assert!(none.iter().all(|(from, to)| Width::new(*from, *to).is_none()));
    }

    proptest::proptest! {
        #[test]
        fn a_key_goes_to_a_part_of_its_old_partition_and_nowhere_else(
            key: Vec<u8>, from in 1_u32..20, times in 2_u32..20,
        ) {
            let width = Width::new(from, from * times).unwrap();
            let (old, new) = (partition_for(&key, from), partition_for(&key, from * times));
            let parts: Vec<u32> = width.parts(old).collect();
            proptest::prop_assert_eq!(parts.len(), times as usize);
            proptest::prop_assert_eq!(parts[width.part_of(old, &key)], new);
            for other in (0..from).filter(|other| *other != old) {
                let foreign = width.parts(other).nth(width.part_of(other, &key)).unwrap();
                proptest::prop_assert_ne!(foreign, new);
            }
        }
    }
}
