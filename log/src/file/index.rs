//! The sparse index of a segment: where to begin reading for an offset or a time. A cache: it can be rebuilt.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tidewheel_schemas::LogId;

use super::bytes::{Input, Malformed, put_signed, put_varint};

const INDEX_MAGIC: [u8; 8] = *b"TWLOGIX1";
/// An entry for each partition that has records in this many bytes.
const STRIDE_BYTES: u64 = 64 * 1024;

/// The first record of a partition in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub offset: i64,
    /// Where the group begins.
    pub byte: u64,
    /// Number of the group.
    pub group: u64,
    /// Largest time of the partition's records before this one.
    pub time_before_us: i64,
}

/// Entries by slot, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    slots: Vec<Vec<Entry>>,
}

impl Index {
    /// Notes the first record of a partition in a group, if the last note lies far enough back.
    pub fn note(&mut self, slot: usize, entry: Entry) {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, Vec::new);
        }
        let entries = &mut self.slots[slot];
        if entries.last().is_none_or(|last| entry.byte - last.byte >= STRIDE_BYTES) {
            entries.push(entry);
        }
    }

    /// Where to begin for `offset`; none if the partition has no record up to it here.
    pub fn for_offset(&self, slot: usize, offset: i64) -> Option<Entry> {
        self.before(slot, |entry| entry.offset <= offset)
    }

    /// Where to begin for the first record at or after `time_us`.
    pub fn for_time(&self, slot: usize, time_us: i64) -> Option<Entry> {
        self.before(slot, |entry| entry.time_before_us < time_us)
    }

    fn before(&self, slot: usize, matches: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let entries = self.slots.get(slot)?;
        entries.get(entries.partition_point(matches).checked_sub(1)?).copied()
    }

    fn to_bytes(&self, log_id: LogId, segment: u64) -> Vec<u8> {
        let mut bytes = INDEX_MAGIC.to_vec();
        bytes.extend_from_slice(log_id.as_bytes());
        bytes.extend_from_slice(&segment.to_le_bytes());
        put_varint(&mut bytes, self.slots.len() as u64);
        for entries in &self.slots {
            put_varint(&mut bytes, entries.len() as u64);
            for entry in entries {
                put_signed(&mut bytes, entry.offset);
                put_varint(&mut bytes, entry.byte);
                put_varint(&mut bytes, entry.group);
                put_signed(&mut bytes, entry.time_before_us);
            }
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8], log_id: LogId, segment: u64) -> Result<Self, Malformed> {
        let (bytes, checksum) = bytes.split_last_chunk().ok_or(Malformed("index"))?;
        if crc32fast::hash(bytes) != u32::from_le_bytes(*checksum) {
            return Err(Malformed("checksum of the index"));
        }
        let mut input = Input::new(bytes);
        let own = input.array("magic")? == INDEX_MAGIC
            && input.array("log id")? == *log_id.as_bytes()
            && input.u64("segment")? == segment;
        if !own {
            return Err(Malformed("index of another segment"));
        }
        let mut slots = Vec::new();
        for _ in 0..input.varint("slots")? {
            let mut entries = Vec::new();
            for _ in 0..input.varint("entries")? {
                entries.push(Entry {
                    offset: input.signed("offset")?,
                    byte: input.varint("byte")?,
                    group: input.varint("group")?,
                    time_before_us: input.signed("time")?,
                });
            }
            slots.push(entries);
        }
        Ok(Self { slots })
    }

    /// Keeps the index beside its segment. Not synced: a missing or torn one is rebuilt.
    pub fn save(&self, directory: &Path, log_id: LogId, segment: u64) -> io::Result<()> {
        fs::write(index_path(directory, segment), self.to_bytes(log_id, segment))
    }

    /// The index as saved; none if there is none that can be believed.
    pub fn load(directory: &Path, log_id: LogId, segment: u64) -> Option<Self> {
        let bytes = fs::read(index_path(directory, segment)).ok()?;
        Self::from_bytes(&bytes, log_id, segment).ok()
    }
}

pub(crate) fn index_path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("{segment:020}.index"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: i64, byte: u64) -> Entry {
        Entry { offset, byte, group: byte / 7, time_before_us: offset * 10 - 1 }
    }

    #[test]
    fn the_nearest_entry_before_an_offset_or_time_is_found() {
        let mut index = Index::default();
        index.note(1, entry(5, 100));
        index.note(1, entry(6, 200));
        index.note(1, entry(900, 100 + STRIDE_BYTES));
        assert_eq!(index.for_offset(1, 4), None);
        assert_eq!(index.for_offset(1, 899), Some(entry(5, 100)));
        assert_eq!(index.for_offset(1, 900), Some(entry(900, 100 + STRIDE_BYTES)));
        assert_eq!(index.for_offset(0, 900), None);
        assert_eq!(index.for_offset(7, 900), None);
        assert_eq!(index.for_time(1, 49), None);
        assert_eq!(index.for_time(1, 8_999), Some(entry(5, 100)));
        assert_eq!(index.for_time(1, 9_000), Some(entry(900, 100 + STRIDE_BYTES)));
    }

    #[test]
    fn a_saved_index_is_believed_only_whole_and_for_its_own_segment() {
        let folder = tempfile::tempdir().unwrap();
        let log_id = LogId::from_bytes([3; 16]);
        let mut index = Index::default();
        index.note(2, entry(5, 100));
        index.save(folder.path(), log_id, 9).unwrap();
        assert_eq!(Index::load(folder.path(), log_id, 9), Some(index));
        assert_eq!(Index::load(folder.path(), log_id, 8), None);
        assert_eq!(Index::load(folder.path(), LogId::from_bytes([4; 16]), 9), None);
        let bytes = fs::read(index_path(folder.path(), 9)).unwrap();
        for length in 0..bytes.len() {
            fs::write(index_path(folder.path(), 9), &bytes[..length]).unwrap();
            assert_eq!(Index::load(folder.path(), log_id, 9), None, "{length} bytes");
        }
    }
}
