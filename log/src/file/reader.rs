//! Reading one partition back from the segments, group by group. Nothing beyond the durable watermark.

use std::sync::Arc;

use bytes::Bytes;
use tidewheel_schemas::{Record, RecordHeaders};

use super::bytes::{Input, LastText, Malformed};
use super::frame::{Frame, take_frame};
use super::group::{GroupFault, GroupReader};
use super::index::Entry;
use super::partition::Partition;
use super::scan::{damaged, open_segment, reading};
use super::segment::Segment;
use super::shared::Shared;
use crate::LogError;

/// Keys and values returned by one read, as long as there is more than one record.
const READ_BYTES_MAX: usize = 4 << 20;
/// Records that room is made for at once.
const RESERVED_MAX: usize = 4_096;

/// A place in the segments, moving forward.
pub(crate) struct Cursor {
    shared: Arc<Shared>,
    partition: Arc<Partition>,
    segment: Arc<Segment>,
    groups: GroupReader,
    /// How much of the current group was taken already.
    taken: usize,
    /// Offset of the next record.
    next: i64,
    texts: LastText,
}

impl Cursor {
    /// Starts at `offset`, which must be durable.
    pub fn at_offset(
        shared: &Arc<Shared>,
        partition: &Arc<Partition>,
        offset: i64,
    ) -> Result<Self, LogError> {
        let segment = shared.segment_for_offset(partition.slot, offset).ok_or(LogError::Closed)?;
        let entry = shared.in_index(&segment, |index| index.for_offset(partition.slot, offset))?;
        Self::new(shared, partition, segment, entry, offset)
    }

    fn new(
        shared: &Arc<Shared>,
        partition: &Arc<Partition>,
        segment: Arc<Segment>,
        entry: Option<Entry>,
        next: i64,
    ) -> Result<Self, LogError> {
        let groups = open(shared, &segment, entry)?;
        let (shared, partition) = (Arc::clone(shared), Arc::clone(partition));
        Ok(Self { shared, partition, segment, groups, taken: 0, next, texts: LastText::default() })
    }

    /// Whether the next record is the one at `offset` of this partition.
    pub fn stands_at(&self, partition: &Arc<Partition>, offset: i64) -> bool {
        Arc::ptr_eq(&self.partition, partition) && self.next == offset
    }

    /// Whether it stands where another one does.
    pub fn stands_where(&self, other: &Self) -> bool {
        self.stands_at(&other.partition, other.next)
    }

    /// Whether there are records up to `end` that it has not read.
    pub const fn is_before(&self, end: i64) -> bool {
        self.next < end
    }

    /// Whether its segment was removed from the log.
    pub fn is_trimmed(&self) -> bool {
        !self.shared.has_segment(self.segment.number)
    }

    /// Up to `records_max` records from here on and below `end`, at least one if there is one.
    pub fn read(&mut self, records_max: usize, end: i64) -> Result<Vec<Record>, LogError> {
        let left = usize::try_from(end - self.next).unwrap_or(0);
        let records = Vec::with_capacity(records_max.min(left).min(RESERVED_MAX));
        let mut batch = Batch { records, bytes: 0 };
        while batch.has_room(records_max) && self.next < end {
            if self.taken >= self.groups.payload().len() && !self.advance()? {
                return Err(self.missing(end));
            }
            self.take_from_group(&mut batch, records_max, end)?;
        }
        Ok(batch.records)
    }

    /// Goes on until a record is at or after `time_us` and answers its offset; `end` if there is none below it.
    fn find_time(&mut self, time_us: i64, end: i64) -> Result<i64, LogError> {
        while self.next < end {
            if !self.advance()? {
                return Err(self.missing(end));
            }
            let (slot_topic, slot_partition) = (self.partition.topic, self.partition.partition);
            let mut input = Input::new(self.groups.payload());
            while let Some(frame) = take_frame(&mut input).map_err(|malformed| self.malformed(malformed))? {
                let Frame::Record(place, body) = frame else { continue };
                if place.topic != slot_topic || place.partition != slot_partition {
                    continue;
                }
                let found = body.recorded_at_us().map_err(|malformed| self.malformed(malformed))?;
                if place.offset >= end || found.is_some_and(|found| found >= time_us) {
                    return Ok(place.offset.min(end));
                }
                self.next = place.offset + 1;
            }
        }
        Ok(end)
    }

    fn take_from_group(&mut self, batch: &mut Batch, records_max: usize, end: i64) -> Result<(), LogError> {
        let payload = self.groups.payload();
        let mut input = Input::new(&payload[self.taken..]);
        let mut texts = std::mem::take(&mut self.texts);
        let mut parts = Vec::new();
        while batch.has_room(records_max) && self.next < end {
            let Some(frame) = take_frame(&mut input).map_err(|malformed| self.malformed(malformed))? else {
                break;
            };
            let Frame::Record(place, body) = frame else { continue };
            let own = place.topic == self.partition.topic && place.partition == self.partition.partition;
            if !own || place.offset < self.next {
                continue;
            }
            if place.offset != self.next {
                let (byte, _) = self.groups.group();
                let what = format!("offset {} stands where {} belongs", place.offset, self.next);
                return Err(damaged(self.segment.number, self.groups.next_group - 1, byte, what));
            }
            let (headers, key, value) =
                body.parts(&mut texts).map_err(|malformed| self.malformed(malformed))?;
            batch.push(place.offset, headers, key.len() + value.len());
            parts.push((key, value));
            self.next += 1;
        }
        batch.fill(&parts);
        self.taken = payload.len() - input.rest().len();
        self.texts = texts;
        Ok(())
    }

    /// Goes to the next durable group, in this segment or the next; false if there is none.
    fn advance(&mut self) -> Result<bool, LogError> {
        loop {
            // The order matters: a segment's end is final once the next segment is there to be seen.
            let following = self.shared.segment_after(self.segment.number);
            self.taken = 0;
            match self.groups.advance(self.segment.durable()) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(GroupFault::Bad { byte, what }) => {
                    return Err(damaged(self.segment.number, self.groups.next_group, byte, what));
                }
                Err(GroupFault::Io(error)) => return Err(reading(self.segment.number, error)),
            }
            let Some(following) = following else { return Ok(false) };
            self.groups = open(&self.shared, &following, None)?;
            self.segment = following;
        }
    }

    fn malformed(&self, Malformed(what): Malformed) -> LogError {
        let (byte, _) = self.groups.group();
        let what = format!("a frame is malformed: {what}");
        damaged(self.segment.number, self.groups.next_group - 1, byte, what)
    }

    fn missing(&self, end: i64) -> LogError {
        let what = format!("records {} to {end} of a partition are missing", self.next);
        damaged(self.segment.number, self.groups.next_group, self.groups.position(), what)
    }
}

fn open(shared: &Shared, segment: &Segment, entry: Option<Entry>) -> Result<GroupReader, LogError> {
    let file = open_segment(&shared.directory, segment.number)?;
    let (group, byte) =
        entry.map_or((segment.first_group, segment.body_at), |entry| (entry.group, entry.byte));
    Ok(GroupReader::new(file, shared.log_id, segment.number, group, byte))
}

/// The offset of the first record at or after `time_us`; the end if there is none.
pub(crate) fn offset_for_time(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    time_us: i64,
) -> Result<i64, LogError> {
    let end = partition.end();
    let slot = partition.slot;
    let start = partition.start();
    if start == end {
        return Ok(end);
    }
    let first = shared.segment_for_offset(slot, start).ok_or(LogError::Closed)?;
    // Behind segments that were kept for other partitions there may be a gap.
    let mut cursor = match shared.segment_for_time(slot, time_us) {
        Some(segment) if segment.number >= first.number => {
            let entry = shared.in_index(&segment, |index| index.for_time(slot, time_us))?;
            let next = entry.map_or(segment.start(slot).next_offset, |entry| entry.offset);
            Cursor::new(shared, partition, segment, entry, next)?
        }
        Some(_) | None => Cursor::at_offset(shared, partition, start)?,
    };
    Ok(cursor.find_time(time_us, end)?.max(start))
}

/// Records on their way out: the bytes of those of one group lie in one buffer that holds nothing else.
struct Batch {
    records: Vec<Record>,
    /// Bytes of their keys and values.
    bytes: usize,
}

impl Batch {
    fn has_room(&self, records_max: usize) -> bool {
        self.records.len() < records_max && self.bytes < READ_BYTES_MAX
    }

    /// Adds a record of so many bytes, which come with [`Self::fill`].
    fn push(&mut self, offset: i64, headers: RecordHeaders, bytes: usize) {
        self.records.push(Record { offset, headers, key: Bytes::new(), value: Bytes::new() });
        self.bytes += bytes;
    }

    /// Gives the last records their keys and values.
    fn fill(&mut self, parts: &[(&[u8], &[u8])]) {
        let length = parts.iter().map(|(key, value)| key.len() + value.len()).sum();
        let mut buffer = Vec::with_capacity(length);
        for (key, value) in parts {
            buffer.extend_from_slice(key);
            buffer.extend_from_slice(value);
        }
        let mut rest = Bytes::from(buffer);
        let filled = self.records.len() - parts.len();
        for (record, (key, value)) in self.records[filled..].iter_mut().zip(parts) {
            record.key = rest.split_to(key.len());
            record.value = rest.split_to(value.len());
        }
    }
}
