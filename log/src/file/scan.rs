//! Walking over a segment's groups: what they add to topics, progress and index, and whether they fit together.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use tidewheel_schemas::{LogId, Topic};

use super::bytes::{Input, Malformed};
use super::frame::{Frame, Place, take_frame};
use super::group::{GroupFault, GroupReader};
use super::index::{Entry, Index};
use super::segment::{Progress, SegmentHeader, segment_name, segment_path};
use crate::LogError;

/// A topic and which of the log's slots are its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSlots {
    pub topic: Topic,
    pub partitions: u32,
    pub first_slot: usize,
}

/// How far topics and partitions have come at some byte of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub topics: Vec<TopicSlots>,
    pub slots: Vec<Progress>,
    pub index: Index,
}

impl Scan {
    pub fn new(header: &SegmentHeader) -> Self {
        let mut scan = Self { topics: Vec::new(), slots: Vec::new(), index: Index::default() };
        for (topic, partitions) in &header.topics {
            scan.add_topic(topic.clone(), u32::try_from(partitions.len()).unwrap_or(u32::MAX));
            let first_slot = scan.slots.len() - partitions.len();
            scan.slots[first_slot..].copy_from_slice(partitions);
        }
        scan
    }

    fn add_topic(&mut self, topic: Topic, partitions: u32) {
        let first_slot = self.slots.len();
        self.topics.push(TopicSlots { topic, partitions, first_slot });
        self.slots.resize(first_slot + partitions as usize, Progress::START);
    }

    fn slot(&self, place: Place) -> Option<usize> {
        let topic = self.topics.get(place.topic as usize)?;
        (place.partition < topic.partitions).then_some(topic.first_slot + place.partition as usize)
    }

    /// Takes in the group `group` that begins at `byte`.
    pub fn group(&mut self, byte: u64, group: u64, payload: &[u8]) -> Result<(), String> {
        let malformed = |Malformed(what)| format!("a frame is malformed: {what}");
        let mut input = Input::new(payload);
        while let Some(frame) = take_frame(&mut input).map_err(malformed)? {
            match frame {
                Frame::Topic { number, partitions, name } => {
                    if number as usize != self.topics.len() {
                        return Err(format!("topic `{name}` has number {number}, not the next one"));
                    }
                    self.add_topic(Topic::new(name), partitions);
                }
                Frame::Record(place, body) => {
                    let slot =
                        self.slot(place).ok_or("a record lies in a partition that was never created")?;
                    let Progress { next_offset, time_max_us } = self.slots[slot];
                    if place.offset != next_offset {
                        return Err(format!("offset {} stands where {next_offset} belongs", place.offset));
                    }
                    self.index
                        .note(slot, Entry { offset: place.offset, byte, group, time_before_us: time_max_us });
                    let time_us = body.recorded_at_us().map_err(malformed)?.unwrap_or(i64::MIN);
                    self.slots[slot] = Progress {
                        next_offset: place.offset.saturating_add(1),
                        time_max_us: time_max_us.max(time_us),
                    };
                }
            }
        }
        Ok(())
    }
}

/// How a walk over a segment ended.
pub(crate) struct Walked {
    pub scan: Scan,
    /// One past the last good group.
    pub end: u64,
    /// Number of the group that would come next.
    pub next_group: u64,
    /// Where the last good group begins, and its bytes.
    pub last_group: Option<(u64, Vec<u8>)>,
    /// Why the walk ended before the limit.
    pub fault: Option<&'static str>,
}

/// Walks over the groups of a segment up to `limit`.
pub(crate) fn walk(
    directory: &Path,
    header: &SegmentHeader,
    body_at: u64,
    limit: u64,
) -> Result<Walked, LogError> {
    let (log_id, segment) = (header.log_id, header.segment);
    let file = open_segment(directory, segment)?;
    let mut reader = GroupReader::new(file, log_id, segment, header.first_group, body_at);
    let mut scan = Scan::new(header);
    let mut last_group = None;
    let fault = loop {
        match reader.advance(limit) {
            Ok(true) => {
                let (byte, _) = reader.group();
                let group = reader.next_group - 1;
                scan.group(byte, group, reader.payload())
                    .map_err(|what| damaged(segment, group, byte, what))?;
                last_group = Some(byte);
            }
            Ok(false) => break None,
            Err(GroupFault::Bad { what, .. }) => break Some(what),
            Err(GroupFault::Io(error)) => return Err(reading(segment, error)),
        }
    };
    // The reader's buffer holds the last good group unless a refill began; read it again by its place.
    let (end, next_group) = (reader.position(), reader.next_group);
    let last_group = match last_group {
        None => None,
        Some(byte) => {
            let mut bytes = vec![0; usize::try_from(end - byte).unwrap_or(usize::MAX)];
            let file = open_segment(directory, segment)?;
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, byte)
                .map_err(|error| reading(segment, error))?;
            Some((byte, bytes))
        }
    };
    Ok(Walked { scan, end, next_group, last_group, fault })
}

/// The index of a sealed segment: as saved, or else rebuilt and saved.
pub(crate) fn sealed_index(
    directory: &Path,
    log_id: LogId,
    segment: u64,
    end: u64,
) -> Result<Arc<Index>, LogError> {
    if let Some(index) = Index::load(directory, log_id, segment) {
        return Ok(Arc::new(index));
    }
    let file = open_segment(directory, segment)?;
    let (header, body_at) = read_header(&file, segment)?;
    let walked = walk(directory, &header, body_at, end)?;
    if let Some(what) = walked.fault {
        return Err(damaged(segment, walked.next_group, walked.end, what));
    }
    if let Err(error) = walked.scan.index.save(directory, log_id, segment) {
        tracing::debug!(segment, %error, "the index of a segment could not be saved");
    }
    Ok(Arc::new(walked.scan.index))
}

pub(crate) fn open_segment(directory: &Path, segment: u64) -> Result<File, LogError> {
    File::open(segment_path(directory, segment)).map_err(|error| reading(segment, error))
}

pub(crate) fn read_header(file: &File, segment: u64) -> Result<(SegmentHeader, u64), LogError> {
    let header = SegmentHeader::read(file).map_err(|error| reading(segment, error))?;
    header.map_err(|Malformed(what)| damaged(segment, 0, 0, what))
}

pub(crate) fn damaged(segment: u64, group: u64, byte: u64, what: impl Into<String>) -> LogError {
    LogError::Damaged { segment: segment_name(segment), group, byte, what: what.into() }
}

pub(crate) fn reading(segment: u64, error: std::io::Error) -> LogError {
    io(format!("reading {}", segment_name(segment)), error)
}

pub(crate) fn io(what: impl Into<String>, error: std::io::Error) -> LogError {
    LogError::Io { what: what.into(), source: Arc::new(error) }
}
