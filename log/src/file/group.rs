//! Groups: what one sync makes durable. A header with a checksum, then frames. Frozen bytes.
//!
//! `magic, payload length u32, log id, segment u64, group u64, crc32 of all but magic and itself`, little-endian.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use tidewheel_schemas::LogId;

use super::bytes::Input;

pub(crate) const GROUP_MAGIC: [u8; 4] = *b"TWG1";
pub(crate) const GROUP_HEADER_BYTES: usize = 44;
const CHECKSUM_AT: usize = 40;
const CHUNK_BYTES: usize = 256 * 1024;

/// Reserves room for a group's header at the front of an empty buffer.
pub(crate) fn begin_group(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(GROUP_HEADER_BYTES, 0);
}

/// Writes the header of the group whose frames were appended since [`begin_group`].
pub(crate) fn finish_group(buffer: &mut [u8], log_id: LogId, segment: u64, group: u64) {
    // Groups are bounded far below 4 GiB (limits.rs).
    let length = u32::try_from(buffer.len() - GROUP_HEADER_BYTES).unwrap_or(u32::MAX);
    buffer[..4].copy_from_slice(&GROUP_MAGIC);
    buffer[4..8].copy_from_slice(&length.to_le_bytes());
    buffer[8..24].copy_from_slice(log_id.as_bytes());
    buffer[24..32].copy_from_slice(&segment.to_le_bytes());
    buffer[32..CHECKSUM_AT].copy_from_slice(&group.to_le_bytes());
    let checksum = checksum(buffer);
    buffer[CHECKSUM_AT..GROUP_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(group: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&group[4..CHECKSUM_AT]);
    hasher.update(&group[GROUP_HEADER_BYTES..]);
    hasher.finalize()
}

/// The header of a group that says it belongs to `segment` of the log `log_id`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupHeader {
    pub length: usize,
    pub group: u64,
    checksum: u32,
}

impl GroupHeader {
    /// None if the bytes are no header, or one of another log or segment.
    pub fn parse(bytes: &[u8], log_id: LogId, segment: u64) -> Option<Self> {
        let mut input = Input::new(bytes);
        if input.array("magic").ok()? != GROUP_MAGIC {
            return None;
        }
        let length = usize::try_from(input.u32("length").ok()?).ok()?;
        let same_log = input.array("log id").ok()? == *log_id.as_bytes();
        let same_segment = input.u64("segment").ok()? == segment;
        let group = input.u64("group").ok()?;
        let checksum = input.u32("checksum").ok()?;
        (same_log && same_segment).then_some(Self { length, group, checksum })
    }
}

/// Why the next group cannot be believed.
#[derive(Debug)]
pub(crate) enum GroupFault {
    Bad { byte: u64, what: &'static str },
    Io(io::Error),
}

/// Reads the groups of one segment file in order, a chunk at a time, checking each.
#[derive(Debug)]
pub(crate) struct GroupReader {
    file: File,
    log_id: LogId,
    segment: u64,
    /// Number the next group must have.
    pub next_group: u64,
    /// Where in the file the buffer begins.
    buffer_at: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the next group begins.
    next_at: usize,
    payload: Range<usize>,
}

impl GroupReader {
    /// Starts at the group `next_group`, which begins at `at`.
    pub const fn new(file: File, log_id: LogId, segment: u64, next_group: u64, at: u64) -> Self {
        let buffer = Vec::new();
        Self { file, log_id, segment, next_group, buffer_at: at, buffer, next_at: 0, payload: 0..0 }
    }

    /// Where in the file the next group begins.
    pub const fn position(&self) -> u64 {
        self.buffer_at + self.next_at as u64
    }

    /// The frames of the group last advanced to.
    pub fn payload(&self) -> &[u8] {
        &self.buffer[self.payload.clone()]
    }

    /// The group last advanced to as a whole, and where it begins.
    pub fn group(&self) -> (u64, &[u8]) {
        let start = self.payload.start - GROUP_HEADER_BYTES;
        (self.buffer_at + start as u64, &self.buffer[start..self.payload.end])
    }

    /// Goes to the next group before `limit`; false if there is none.
    pub fn advance(&mut self, limit: u64) -> Result<bool, GroupFault> {
        let byte = self.position();
        if byte >= limit {
            return Ok(false);
        }
        let bad = |what| GroupFault::Bad { byte, what };
        if !self.fill(GROUP_HEADER_BYTES, limit)? {
            return Err(bad("the file ends inside the header of a group"));
        }
        let header = GroupHeader::parse(&self.buffer[self.next_at..], self.log_id, self.segment)
            .ok_or_else(|| bad("no group of this log and segment begins here"))?;
        if header.group != self.next_group {
            return Err(bad("the group has another number"));
        }
        let length = GROUP_HEADER_BYTES.saturating_add(header.length);
        if !self.fill(length, limit)? {
            return Err(bad("the file ends inside the group"));
        }
        let whole = &self.buffer[self.next_at..self.next_at + length];
        if checksum(whole) != header.checksum {
            return Err(bad("the checksum does not match"));
        }
        self.payload = self.next_at + GROUP_HEADER_BYTES..self.next_at + length;
        self.next_at += length;
        self.next_group += 1;
        Ok(true)
    }

    /// Sees to it that `length` bytes from the next group on are in the buffer; false if `limit` is nearer.
    fn fill(&mut self, length: usize, limit: u64) -> Result<bool, GroupFault> {
        if self.buffer.len() - self.next_at >= length {
            return Ok(true);
        }
        let room = usize::try_from(limit - self.position()).unwrap_or(usize::MAX);
        if room < length {
            return Ok(false);
        }
        self.buffer.drain(..self.next_at);
        self.buffer_at += self.next_at as u64;
        self.next_at = 0;
        self.payload = 0..0;
        let held = self.buffer.len();
        self.buffer.resize(length.max(CHUNK_BYTES).min(room), 0);
        let read = self.file.read_exact_at(&mut self.buffer[held..], self.buffer_at + held as u64);
        if let Err(error) = read {
            self.buffer.truncate(held);
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return Ok(false);
            }
            return Err(GroupFault::Io(error));
        }
        Ok(true)
    }
}

/// Looks in `file` from `from` on for the header of a group numbered above `group`: if there is one, the group
/// before it was synced, so what makes that one unreadable is damage and not a torn write.
pub(crate) fn find_later_group(
    file: &File,
    log_id: LogId,
    segment: u64,
    group: u64,
    from: u64,
) -> io::Result<Option<u64>> {
    let mut chunk = vec![0; 1 << 20];
    let mut at = from;
    loop {
        let mut held = 0;
        while held < chunk.len() {
            match file.read_at(&mut chunk[held..], at + held as u64)? {
                0 => break,
                read => held += read,
            }
        }
        let last = held == 0 || held < chunk.len();
        let places = held.saturating_sub(GROUP_HEADER_BYTES - 1);
        for place in 0..places {
            if chunk[place] == GROUP_MAGIC[0]
                && let Some(header) = GroupHeader::parse(&chunk[place..held], log_id, segment)
                && header.group > group
            {
                return Ok(Some(header.group));
            }
        }
        if last {
            return Ok(None);
        }
        at += places as u64;
    }
}
