//! What was trimmed from a file log: which segments are gone, and where that lets partitions begin. Frozen bytes.
//!
//! All partitions share the segments, so one goes only when every record in it may. The file `trimmed` is replaced
//! as a whole before any segment is removed: a process that ends in between is finished by the next one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidewheel_schemas::{LogId, Topic, TopicPartition};

use super::bytes::{Input, Malformed, put_bytes, put_signed, put_varint};
use super::index::index_path;
use super::scan::io as io_error;
use super::segment::{Segment, segment_path, sync_directory};
use super::shared::{Shared, Topics};
use crate::LogError;
use crate::limits::check_limit;

const MAGIC: [u8; 8] = *b"TWLOGTR1";
const NAME: &str = "trimmed";

/// Segments that are gone, side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gone {
    /// The first one that is there again, or one past the last.
    until: u64,
    /// Used bytes of the segment before the first of them.
    bytes_before: u64,
}

/// What was trimmed so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trimmed {
    log_id: Option<LogId>,
    /// By the first segment of each.
    gone: BTreeMap<u64, Gone>,
    /// Where partitions begin.
    starts: BTreeMap<Topic, Vec<i64>>,
}

impl Trimmed {
    /// The log whose segments these were; none if nothing was trimmed.
    pub const fn log_id(&self) -> Option<LogId> {
        self.log_id
    }

    /// Whether the segment is gone.
    pub fn has(&self, segment: u64) -> bool {
        self.gone.range(..=segment).next_back().is_some_and(|(_, gone)| segment < gone.until)
    }

    /// Used bytes of the segment before `segment`, if that one is the first of some that are gone.
    pub fn bytes_before(&self, segment: u64) -> Option<u64> {
        self.gone.get(&segment).map(|gone| gone.bytes_before)
    }

    /// Where a partition begins.
    pub fn start(&self, topic: &Topic, partition: usize) -> i64 {
        self.starts.get(topic).and_then(|starts| starts.get(partition)).copied().unwrap_or(0)
    }

    fn remove(&mut self, segment: u64, bytes_before: u64) {
        let mut gone = Gone { until: segment + 1, bytes_before };
        if let Some(behind) = self.gone.remove(&gone.until) {
            gone.until = behind.until;
        }
        match self.gone.range_mut(..segment).next_back() {
            Some((_, before)) if before.until == segment => before.until = gone.until,
            Some(_) | None => drop(self.gone.insert(segment, gone)),
        }
    }

    fn to_bytes(&self, log_id: LogId) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(log_id.as_bytes());
        put_varint(&mut bytes, self.gone.len() as u64);
        for (first, gone) in &self.gone {
            put_varint(&mut bytes, *first);
            put_varint(&mut bytes, gone.until);
            put_varint(&mut bytes, gone.bytes_before);
        }
        put_varint(&mut bytes, self.starts.len() as u64);
        for (topic, starts) in &self.starts {
            put_bytes(&mut bytes, topic.as_str().as_bytes());
            put_varint(&mut bytes, starts.len() as u64);
            starts.iter().for_each(|start| put_signed(&mut bytes, *start));
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let (bytes, checksum) = bytes.split_last_chunk().ok_or(Malformed("its end"))?;
        if crc32fast::hash(bytes) != u32::from_le_bytes(*checksum) {
            return Err(Malformed("its checksum does not match"));
        }
        let mut input = Input::new(bytes);
        if input.array("magic")? != MAGIC {
            return Err(Malformed("it was written by another version of Tidewheel"));
        }
        let log_id = Some(LogId::from_bytes(input.array("log id")?));
        let mut trimmed = Self { log_id, ..Self::default() };
        for _ in 0..input.varint("segments")? {
            let first = input.varint("segment")?;
            let gone = Gone { until: input.varint("segment")?, bytes_before: input.varint("bytes")? };
            trimmed.gone.insert(first, gone);
        }
        for _ in 0..input.varint("topics")? {
            let topic = Topic::new(input.text("topic")?);
            let mut starts = Vec::new();
            for _ in 0..input.varint("partitions")? {
                starts.push(input.signed("start")?);
            }
            trimmed.starts.insert(topic, starts);
        }
        Ok(trimmed)
    }

    /// What was trimmed from the log in `directory`.
    pub fn load(directory: &Path) -> Result<Self, LogError> {
        let path = directory.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(io_error(format!("reading {}", path.display()), error)),
        };
        Self::from_bytes(&bytes).map_err(|Malformed(what)| LogError::Damaged {
            segment: NAME.to_owned(),
            group: 0,
            byte: 0,
            what: what.to_owned(),
        })
    }

    /// Replaces what is kept in `directory`, durably.
    fn save(&self, directory: &Path, log_id: LogId) -> io::Result<()> {
        let (fresh, path) = (directory.join(format!("{NAME}.new")), directory.join(NAME));
        let mut file = File::create(&fresh)?;
        file.write_all(&self.to_bytes(log_id))?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        sync_directory(directory)
    }
}

/// Removes the segments in which every record lies below the offset given for its partition.
pub(crate) fn trim(shared: &Shared, before: &BTreeMap<TopicPartition, i64>) -> Result<(), LogError> {
    let mut trimmed = shared.trimmed.lock();
    let topics = Arc::clone(&shared.topics.read());
    let mut limits = vec![0; topics.slots.len()];
    for (of, offset) in before {
        let partition = topics.partition(of).ok_or_else(|| LogError::UnknownPartition(of.clone()))?;
        check_limit(of, *offset, partition.bounds())?;
        limits[partition.slot] = (*offset).max(partition.start());
    }
    let segments = shared.segments.read().clone();
    let (removed, starts) = removable(&segments, &topics, &limits);
    if removed.is_empty() {
        return Ok(());
    }
    let mut next = trimmed.clone();
    next.log_id = Some(shared.log_id);
    for segment in &removed {
        let before = segments.iter().find(|before| before.number + 1 == segment.number);
        next.remove(segment.number, before.map_or(0, |before| before.durable()));
    }
    next.starts = topics
        .iter()
        .map(|(topic, partitions)| {
            (topic.clone(), partitions.iter().map(|partition| starts[partition.slot]).collect())
        })
        .collect();
    next.save(&shared.directory, shared.log_id).map_err(|error| {
        io_error(format!("noting in {} what is trimmed", shared.directory.display()), error)
    })?;
    *trimmed = next;
    // Readers learn that records are gone before they are.
    for (partition, start) in topics.slots.iter().zip(starts) {
        partition.begin_at(start);
    }
    let is_gone = |segment: &Segment| removed.iter().any(|gone| gone.number == segment.number);
    shared.segments.write().retain(|segment| !is_gone(segment));
    for segment in &removed {
        if let Err(error) = remove(&shared.directory, segment.number) {
            // It is noted as gone, so the next start removes it.
            tracing::warn!(segment = segment.number, %error, "a trimmed segment could not be removed");
        }
    }
    Ok(())
}

/// The segments that may go, and where each partition, by slot, begins without them. The last one stays.
fn removable(segments: &[Arc<Segment>], topics: &Topics, limits: &[i64]) -> (Vec<Arc<Segment>>, Vec<i64>) {
    let mut starts: Vec<i64> = topics.slots.iter().map(|partition| partition.start()).collect();
    let mut removed = Vec::new();
    for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
        let held = |slot: usize| (segment.start(slot).next_offset, next.start(slot).next_offset);
        let may_go = (0..limits.len()).all(|slot| {
            let (from, until) = held(slot);
            from == until || until <= limits[slot].max(starts[slot])
        });
        if may_go {
            for (slot, start) in starts.iter_mut().enumerate() {
                let (from, until) = held(slot);
                if from < until {
                    *start = (*start).max(until);
                }
            }
            removed.push(Arc::clone(segment));
        }
    }
    (removed, starts)
}

fn remove(directory: &Path, segment: u64) -> io::Result<()> {
    let path: PathBuf = segment_path(directory, segment);
    // An index without its segment is of no use and does no harm.
    let _ = fs::remove_file(index_path(directory, segment));
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Trimmed {
        let mut trimmed = Trimmed { log_id: Some(LogId::from_bytes([7; 16])), ..Trimmed::default() };
        trimmed.remove(0, 0);
        trimmed.remove(3, 500);
        trimmed.starts.insert(Topic::new("t"), vec![12, 0]);
        trimmed
    }

    #[test]
    fn the_bytes_of_what_was_trimmed_never_change() {
        let bytes = some().to_bytes(LogId::from_bytes([7; 16]));
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "54574c4f47545231",
            "07070707070707070707070707070707",
            "02",
            "000100",
            "0304f403",
            "01",
            "0174",
            "02",
            "18",
            "00",
        );
        assert_eq!(text[..text.len() - 8], *expected);
    }

    #[test]
    fn it_reads_back_and_any_flipped_or_missing_byte_is_noticed() {
        let bytes = some().to_bytes(LogId::from_bytes([7; 16]));
        assert_eq!(Trimmed::from_bytes(&bytes), Ok(some()));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x20;
            assert!(Trimmed::from_bytes(&flipped).is_err(), "byte {at}");
            assert!(Trimmed::from_bytes(&bytes[..at]).is_err(), "length {at}");
        }
    }

    #[test]
    fn segments_side_by_side_become_one_gap_in_whatever_order_they_go() {
        for order in [[4_u64, 5, 6], [6, 5, 4], [5, 4, 6], [4, 6, 5]] {
            let mut trimmed = Trimmed::default();
            order.iter().for_each(|segment| trimmed.remove(*segment, segment * 10));
            assert_eq!(trimmed.gone, BTreeMap::from([(4, Gone { until: 7, bytes_before: 40 })]), "{order:?}");
            assert!(trimmed.has(4) && trimmed.has(6) && !trimmed.has(3) && !trimmed.has(7));
            assert_eq!((trimmed.bytes_before(4), trimmed.bytes_before(5)), (Some(40), None));
        }
    }
}
