//! Segment files: names, headers, and what readers need to know of each. Groups are in `group.rs`.
//!
//! A segment's header says how far every partition had come when it began, so that a reader finds an offset or
//! a time, and opening finds the topics, without reading the segments before it. Frozen bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidewheel_schemas::{LogId, Topic};

use super::bytes::{Input, Malformed, put_bytes, put_signed, put_varint};
use super::index::Index;

const SEGMENT_MAGIC: [u8; 8] = *b"TWLOGSEG";
const VERSION: u32 = 1;
/// Magic, version, length, checksum.
const FIXED_BYTES: usize = 20;
const HEADER_BYTES_MAX: usize = 64 << 20;

/// How far a partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Offset of the next record.
    pub next_offset: i64,
    /// Largest time of all records so far, microseconds; `i64::MIN` if none.
    pub time_max_us: i64,
}

impl Progress {
    pub const START: Self = Self { next_offset: 0, time_max_us: i64::MIN };
}

/// What stands at the front of a segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub log_id: LogId,
    pub segment: u64,
    /// Number of the segment's first group.
    pub first_group: u64,
    /// Used bytes of the segment before; 0 for the first.
    pub previous_bytes: u64,
    /// The topics in the order of their numbers, each with its partitions' progress.
    pub topics: Vec<(Topic, Vec<Progress>)>,
}

impl SegmentHeader {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        bytes.extend_from_slice(self.log_id.as_bytes());
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.first_group.to_le_bytes());
        bytes.extend_from_slice(&self.previous_bytes.to_le_bytes());
        put_varint(&mut bytes, self.topics.len() as u64);
        for (topic, partitions) in &self.topics {
            put_bytes(&mut bytes, topic.as_str().as_bytes());
            put_varint(&mut bytes, partitions.len() as u64);
            for progress in partitions {
                put_signed(&mut bytes, progress.next_offset);
                put_signed(&mut bytes, progress.time_max_us);
            }
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let checksum = crc32fast::hash(&bytes[FIXED_BYTES..]);
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        bytes[16..FIXED_BYTES].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header of `file` and where its groups begin.
    pub fn read(file: &File) -> io::Result<Result<(Self, u64), Malformed>> {
        let mut fixed = [0; FIXED_BYTES];
        match file.read_exact_at(&mut fixed, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err(Malformed("the file ends inside the segment's header")));
            }
            Err(error) => return Err(error),
        }
        let (length, checksum) = match Self::fixed(&fixed) {
            Ok(fixed) => fixed,
            Err(malformed) => return Ok(Err(malformed)),
        };
        let mut bytes = vec![0; length - FIXED_BYTES];
        match file.read_exact_at(&mut bytes, FIXED_BYTES as u64) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err(Malformed("the file ends inside the segment's header")));
            }
            Err(error) => return Err(error),
        }
        if crc32fast::hash(&bytes) != checksum {
            return Ok(Err(Malformed("the checksum of the segment's header does not match")));
        }
        Ok(Self::parse(&mut Input::new(&bytes)).map(|header| (header, length as u64)))
    }

    fn fixed(bytes: &[u8]) -> Result<(usize, u32), Malformed> {
        let mut input = Input::new(bytes);
        if input.array("magic")? != SEGMENT_MAGIC {
            return Err(Malformed("this is no segment of a log"));
        }
        if input.u32("version")? != VERSION {
            return Err(Malformed("the segment was written by another version of Tidewheel"));
        }
        let length = usize::try_from(input.u32("length")?).unwrap_or(usize::MAX);
        if !(FIXED_BYTES..=HEADER_BYTES_MAX).contains(&length) {
            return Err(Malformed("the length of the segment's header"));
        }
        Ok((length, input.u32("checksum")?))
    }

    fn parse(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let log_id = LogId::from_bytes(input.array("log id")?);
        let segment = input.u64("segment")?;
        let first_group = input.u64("first group")?;
        let previous_bytes = input.u64("previous bytes")?;
        let mut topics = Vec::new();
        for _ in 0..input.varint("topics")? {
            let topic = Topic::new(input.text("topic")?);
            let mut partitions = Vec::new();
            for _ in 0..input.varint("partitions")? {
                let next_offset = input.signed("next offset")?;
                partitions.push(Progress { next_offset, time_max_us: input.signed("time")? });
            }
            topics.push((topic, partitions));
        }
        Ok(Self { log_id, segment, first_group, previous_bytes, topics })
    }
}

/// A segment as readers see it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub number: u64,
    pub first_group: u64,
    /// Where the groups begin.
    pub body_at: u64,
    /// How far each partition, by slot, had come when the segment began; fewer slots than now if topics came later.
    pub starts: Vec<Progress>,
    /// One past the last durable group.
    durable: AtomicU64,
    /// Kept for the segment being written only.
    pub index: Mutex<Option<Index>>,
}

impl Segment {
    pub fn new(header: &SegmentHeader, body_at: u64, durable: u64, index: Option<Index>) -> Self {
        let starts = header.topics.iter().flat_map(|(_, partitions)| partitions.iter().copied()).collect();
        Self {
            number: header.segment,
            first_group: header.first_group,
            body_at,
            starts,
            durable: AtomicU64::new(durable),
            index: Mutex::new(index),
        }
    }

    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub fn set_durable(&self, byte: u64) {
        self.durable.store(byte, Ordering::Release);
    }

    pub fn start(&self, slot: usize) -> Progress {
        self.starts.get(slot).copied().unwrap_or(Progress::START)
    }
}

pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:020}.segment")
}

pub(crate) fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(segment_name(number))
}

/// The number in a file's name with this extension; none for other files.
pub(crate) fn number_of(path: &Path, extension: &str) -> Option<u64> {
    let matches = path.extension().is_some_and(|found| found == extension);
    let stem = path.file_stem()?.to_str()?;
    (matches && stem.len() == 20).then(|| stem.parse().ok())?
}

pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        let progress = Progress { next_offset: 5, time_max_us: -3 };
        SegmentHeader {
            log_id: LogId::from_bytes([1; 16]),
            segment: 2,
            first_group: 3,
            previous_bytes: 4,
            topics: vec![(Topic::new("t"), vec![progress, Progress::START])],
        }
    }

    #[test]
    fn the_bytes_of_a_segments_header_never_change() {
        let text: String = header().to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "54574c4f47534547",
            "01000000",
            "4d000000",
            "CHECKSUM",
            "01010101010101010101010101010101",
            "0200000000000000",
            "0300000000000000",
            "0400000000000000",
            "01",
            "0174",
            "02",
            "0a",
            "05",
            "00",
            "ffffffffffffffffff01",
        );
        assert_eq!(text[..32], expected[..32]);
        assert_eq!(text[40..], expected[40..]);
    }

    #[test]
    fn a_header_reads_back_and_any_flipped_byte_of_it_is_noticed() {
        let bytes = header().to_bytes();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        assert_eq!(SegmentHeader::read(&file).unwrap(), Ok((header(), bytes.len() as u64)));
        for (at, byte) in (0..).zip(&bytes) {
            file.write_all_at(&[byte ^ 0x10], at).unwrap();
            assert!(SegmentHeader::read(&file).unwrap().is_err(), "byte {at}");
            file.write_all_at(&[*byte], at).unwrap();
        }
        file.set_len(bytes.len() as u64 - 1).unwrap();
        assert!(SegmentHeader::read(&file).unwrap().is_err());
    }
}
