//! The records that tails of this process read last: who looks one of them up needs no broker for it.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use tidewheel_schemas::{Record, TopicPartition};

/// Bytes of keys and values that are kept of one partition.
const BYTES_MAX: usize = 512 << 10;
/// Records that are kept of one partition.
const RECORDS_MAX: usize = 2_048;

#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<TopicPartition, Kept>>);

/// Records at consecutive offsets.
#[derive(Default)]
struct Kept {
    records: VecDeque<Record>,
    bytes: usize,
}

fn bytes_of(record: &Record) -> usize {
    record.key.len() + record.value.len()
}

impl Kept {
    fn next_offset(&self) -> Option<i64> {
        self.records.back().map(|last| last.offset + 1)
    }

    fn push(&mut self, record: &Record) {
        match self.next_offset() {
            // Another tail of the partition has brought it.
            Some(next) if record.offset < next => return,
            Some(next) if record.offset > next => *self = Self::default(),
            Some(_) | None => {}
        }
        self.bytes += bytes_of(record);
        self.records.push_back(record.clone());
        while self.bytes > BYTES_MAX || self.records.len() > RECORDS_MAX {
            let Some(oldest) = self.records.pop_front() else { return };
            self.bytes -= bytes_of(&oldest);
        }
    }
}

impl Recent {
    /// Keeps what a tail has just read.
    pub fn keep(&self, of: &TopicPartition, records: &[Record]) {
        let mut partitions = self.0.lock();
        match partitions.get_mut(of) {
            Some(kept) => records.iter().for_each(|record| kept.push(record)),
            None => records.iter().for_each(|record| partitions.entry(of.clone()).or_default().push(record)),
        }
    }

    /// Forgets a partition: its log is not what it was.
    pub fn forget(&self, of: &TopicPartition) {
        self.0.lock().remove(of);
    }

    /// Up to `records_max` records from `offset` on and below `end`, if all that are asked for are kept.
    pub fn find(
        &self,
        of: &TopicPartition,
        offset: i64,
        records_max: usize,
        end: i64,
    ) -> Option<Vec<Record>> {
        let partitions = self.0.lock();
        let kept = partitions.get(of)?;
        let first = kept.records.front()?.offset;
        let from = usize::try_from(offset.checked_sub(first)?).ok()?;
        let wanted = usize::try_from(end.checked_sub(offset)?).ok()?.min(records_max);
        let to = from.checked_add(wanted)?;
        (to <= kept.records.len()).then(|| kept.records.range(from..to).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidewheel_schemas::{RecordHeaders, Topic};

    use super::*;

    fn record(offset: i64, bytes: usize) -> Record {
        let headers = RecordHeaders::Foreign(String::new());
        Record { offset, key: Bytes::new(), headers, value: Bytes::from(vec![0; bytes]) }
    }

    fn offsets(found: Option<Vec<Record>>) -> Option<Vec<i64>> {
        found.map(|records| records.iter().map(|record| record.offset).collect())
    }

    #[test]
    fn what_is_kept_is_found_whole_or_not_at_all() {
        let (recent, of) = (Recent::default(), TopicPartition::new(Topic::new("t"), 0));
        recent.keep(&of, &[record(5, 1), record(6, 1)]);
        recent.keep(&of, &[record(6, 1), record(7, 1)]);
        assert_eq!(offsets(recent.find(&of, 5, 10, 8)), Some(vec![5, 6, 7]));
        assert_eq!(offsets(recent.find(&of, 6, 1, 8)), Some(vec![6]));
        assert_eq!(offsets(recent.find(&of, 4, 1, 8)), None);
        assert_eq!(offsets(recent.find(&of, 7, 2, 9)), None);
        recent.keep(&of, &[record(20, 1)]);
        assert_eq!(offsets(recent.find(&of, 7, 1, 21)), None, "no longer consecutive");
        assert_eq!(offsets(recent.find(&of, 20, 5, 21)), Some(vec![20]));
        recent.forget(&of);
        assert_eq!(offsets(recent.find(&of, 20, 1, 21)), None);
    }

    #[test]
    fn what_is_kept_is_bounded_by_bytes_and_by_records() {
        let (recent, of) = (Recent::default(), TopicPartition::new(Topic::new("t"), 0));
        for offset in 0..10_000 {
            recent.keep(&of, &[record(offset, 10)]);
        }
        assert_eq!(recent.0.lock()[&of].records.len(), RECORDS_MAX);
        for offset in 10_000..10_010 {
            recent.keep(&of, &[record(offset, 100_000)]);
        }
        assert!(recent.0.lock()[&of].bytes <= BYTES_MAX);
    }
}
