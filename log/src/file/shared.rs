//! What the writer, the readers and the appenders of one file log share.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tidewheel_schemas::{LogId, Topic, TopicPartition};

use super::index::Index;
use super::partition::Partition;
use super::queue::Queue;
use super::scan::{Scan, sealed_index};
use super::segment::Segment;
use super::trim::Trimmed;
use crate::LogError;

/// Sealed segments whose index is kept in memory.
const SEALED_INDEXES_MAX: usize = 4;

pub(crate) struct Shared {
    pub directory: PathBuf,
    pub log_id: LogId,
    pub queue: Queue,
    pub topics: RwLock<Arc<Topics>>,
    /// Ascending; dense but for those that were trimmed.
    pub segments: RwLock<Vec<Arc<Segment>>>,
    pub sealed_indexes: Mutex<VecDeque<(u64, Arc<Index>)>>,
    /// What was trimmed; held while more is.
    pub trimmed: Mutex<Trimmed>,
}

/// The topics of the log. Replaced as a whole when one is created.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topics {
    numbers: HashMap<Topic, usize>,
    entries: Vec<(Topic, Vec<Arc<Partition>>)>,
    pub slots: Vec<Arc<Partition>>,
}

impl Topics {
    pub fn recovered(scan: &Scan, trimmed: &Trimmed) -> Self {
        let mut topics = Self::default();
        for found in &scan.topics {
            let ends = &scan.slots[found.first_slot..][..found.partitions as usize];
            topics.add(&found.topic, ends.iter().map(|progress| progress.next_offset));
            for (partition, start) in topics.partitions(&found.topic).into_iter().flatten().zip(0..) {
                partition.begin_at(trimmed.start(&found.topic, start));
            }
        }
        topics
    }

    pub fn add(&mut self, topic: &Topic, ends: impl Iterator<Item = i64>) {
        let number = self.entries.len();
        let topic_number = u32::try_from(number).unwrap_or(u32::MAX);
        let first_slot = self.slots.len();
        self.slots.extend(ends.zip(0..).map(|(end, partition)| {
            Arc::new(Partition::new(topic_number, partition, first_slot + partition as usize, end))
        }));
        self.numbers.insert(topic.clone(), number);
        self.entries.push((topic.clone(), self.slots[first_slot..].to_vec()));
    }

    pub fn next_number(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// In the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&Topic, &[Arc<Partition>])> {
        self.entries.iter().map(|(topic, partitions)| (topic, &**partitions))
    }

    pub fn partitions(&self, topic: &Topic) -> Option<&[Arc<Partition>]> {
        self.numbers.get(topic).map(|number| &*self.entries[*number].1)
    }

    pub fn partition(&self, of: &TopicPartition) -> Option<&Arc<Partition>> {
        self.partitions(&of.topic)?.get(of.partition as usize)
    }
}

impl Shared {
    pub fn partition(&self, of: &TopicPartition) -> Result<Arc<Partition>, LogError> {
        let found = self.topics.read().partition(of).map(Arc::clone);
        found.ok_or_else(|| LogError::UnknownPartition(of.clone()))
    }

    /// Whether the log has a segment of this number.
    pub fn has_segment(&self, number: u64) -> bool {
        self.segments.read().binary_search_by_key(&number, |segment| segment.number).is_ok()
    }

    /// The next segment after the one numbered `number` that is there.
    pub fn segment_after(&self, number: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.number <= number);
        segments.get(after).map(Arc::clone)
    }

    /// The last segment that began at or before `offset` of the slot.
    pub fn segment_for_offset(&self, slot: usize, offset: i64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.start(slot).next_offset <= offset);
        segments.get(after.checked_sub(1)?).map(Arc::clone)
    }

    /// The last segment before which every record of the slot is older than `time_us`.
    pub fn segment_for_time(&self, slot: usize, time_us: i64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| {
            let start = segment.start(slot);
            start.next_offset == 0 || start.time_max_us < time_us
        });
        segments.get(after.checked_sub(1)?).map(Arc::clone)
    }

    /// Looks something up in a segment's index.
    pub fn in_index<T>(&self, segment: &Segment, look: impl Fn(&Index) -> T) -> Result<T, LogError> {
        if let Some(index) = &*segment.index.lock() {
            return Ok(look(index));
        }
        let kept = self.sealed_indexes.lock().iter().find(|(number, _)| *number == segment.number).cloned();
        let index = match kept {
            Some((_, index)) => index,
            None => {
                let index = sealed_index(&self.directory, self.log_id, segment.number, segment.durable())?;
                self.keep_index(segment.number, Arc::clone(&index));
                index
            }
        };
        Ok(look(&index))
    }

    fn keep_index(&self, segment: u64, index: Arc<Index>) {
        let mut indexes = self.sealed_indexes.lock();
        if indexes.len() >= SEALED_INDEXES_MAX {
            indexes.pop_front();
        }
        indexes.push_back((segment, index));
    }

    /// Moves the index of a segment that is complete out of it, to its own file and the few kept in memory.
    pub fn seal_index(&self, segment: &Segment) {
        let Some(index) = segment.index.lock().take() else { return };
        if let Err(error) = index.save(&self.directory, self.log_id, segment.number) {
            tracing::debug!(segment = segment.number, %error, "the index of a segment could not be saved");
        }
        self.keep_index(segment.number, Arc::new(index));
    }

    /// Wakes every tail: the log has failed or was closed.
    pub fn wake_all(&self) {
        for partition in &self.topics.read().slots {
            partition.grown.notify_waiters();
        }
    }
}
