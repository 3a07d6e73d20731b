//! Reading a container back, block by block. Bytes from outside: every length is checked, nothing panics.

use std::collections::BTreeMap;
use std::io::Read as _;

use bytes::Bytes;
use flate2::read::DeflateDecoder;
use tidewheel_schemas::{Headers, Record, RecordHeaders};

use super::{BLOCK_BYTES_MAX, CODEC, MAGIC, META, SCHEMA};

/// Bytes that are not a container of this archive; the text says what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

fn malformed(what: &str) -> Malformed {
    Malformed(what.to_owned())
}

/// Reads the records of a container in order.
#[derive(Debug, Clone)]
pub struct Reader {
    file: Bytes,
    /// Where the next block begins.
    at: usize,
    sync: [u8; 16],
    meta: BTreeMap<String, Bytes>,
    /// The block that is being read, inflated.
    block: Bytes,
    block_at: usize,
    /// Records of the block that were not read yet.
    left: i64,
    next: i64,
}

/// Takes parts off the front of some bytes.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| malformed("it ends in the middle"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn long(&mut self) -> Result<i64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
        Err(malformed("a number is too long"))
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.long()?).map_err(|_| malformed("a length is negative"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| malformed("a text is not UTF-8"))
    }
}

impl Reader {
    /// Opens a file whose first record shall lie at `from`.
    ///
    /// # Errors
    /// [`Malformed`] if it is no container, or one of another kind.
    pub fn open(file: Bytes, from: i64) -> Result<Self, Malformed> {
        let mut input = Input { bytes: &file, at: 0 };
        if input.take(4).is_ok_and(|magic| magic != MAGIC) || file.len() < 4 {
            return Err(malformed("it is no Avro container"));
        }
        let mut meta = BTreeMap::new();
        loop {
            let count = input.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                // Others write the size of such a part, too, to be skipped.
                input.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                let name = input.text()?.to_owned();
                meta.insert(name, Bytes::copy_from_slice(input.bytes()?));
            }
        }
        let sync = input.take(16)?.try_into().map_err(|_| malformed("it has no marker"))?;
        let at = input.at;
        let is = |name: &str, value: &str| meta.get(name).is_some_and(|found| *found == value);
        if !is("avro.schema", SCHEMA) || !is("avro.codec", CODEC) {
            return Err(malformed("it is an Avro container of something else"));
        }
        if !is(&format!("{META}from"), &from.to_string()) {
            return Err(Malformed(format!("it does not begin at offset {from}")));
        }
        Ok(Self { file, at, sync, meta, block: Bytes::new(), block_at: 0, left: 0, next: from })
    }

    /// What the file says about itself: our own entries without their common beginning, schemas among them.
    pub fn meta(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.meta.iter().filter_map(|(name, value)| Some((name.strip_prefix(META)?, value)))
    }

    /// The offset of the next record.
    pub const fn next_offset(&self) -> i64 {
        self.next
    }

    /// The header of the next block: records, and where its deflated bytes lie. `None` at the end.
    fn block_header(&self) -> Result<Option<(i64, std::ops::Range<usize>)>, Malformed> {
        let mut input = Input { bytes: &self.file, at: self.at };
        if self.at == self.file.len() {
            return Ok(None);
        }
        let count = input.long()?;
        if count <= 0 {
            return Err(malformed("a block has no records"));
        }
        let length = input.length()?;
        let begin = input.at;
        input.take(length)?;
        if input.take(16)? != self.sync {
            return Err(malformed("a block does not end with the marker"));
        }
        Ok(Some((count, begin..begin + length)))
    }

    /// Goes on at `offset`, which must not lie before the next record. What lies between is not looked at.
    ///
    /// # Errors
    /// [`Malformed`] if the file ends before, or is not what it should be.
    pub fn skip_to(&mut self, offset: i64) -> Result<(), Malformed> {
        loop {
            if offset - self.next < self.left {
                while self.next < offset {
                    self.record()?;
                }
                return Ok(());
            }
            self.next += self.left;
            self.left = 0;
            if self.next == offset {
                return Ok(());
            }
            let Some((count, deflated)) = self.block_header()? else {
                return Err(Malformed(format!("it ends before offset {offset}")));
            };
            if offset - self.next >= count {
                self.next += count;
                self.at = deflated.end + 16;
            } else {
                self.inflate(count, deflated)?;
            }
        }
    }

    fn inflate(&mut self, count: i64, deflated: std::ops::Range<usize>) -> Result<(), Malformed> {
        let mut block = Vec::new();
        let end = deflated.end;
        let most = BLOCK_BYTES_MAX as u64 + 1;
        DeflateDecoder::new(&self.file[deflated])
            .take(most)
            .read_to_end(&mut block)
            .map_err(|error| Malformed(format!("a block cannot be inflated ({error})")))?;
        if block.len() > BLOCK_BYTES_MAX {
            return Err(malformed("a block is too large"));
        }
        (self.block, self.block_at, self.left) = (block.into(), 0, count);
        self.at = end + 16;
        Ok(())
    }

    /// Up to `records_max` records, no more of them once keys and values have `bytes_max`; empty at the end.
    ///
    /// # Errors
    /// [`Malformed`] if the file is not what it should be.
    pub fn read(&mut self, records_max: usize, bytes_max: usize) -> Result<Vec<Record>, Malformed> {
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        while records.len() < records_max && (bytes < bytes_max || records.is_empty()) {
            if self.left == 0 {
                let Some((count, deflated)) = self.block_header()? else { break };
                self.inflate(count, deflated)?;
            }
            let record = self.record()?;
            bytes = bytes.saturating_add(record.key.len() + record.value.len());
            records.push(record);
        }
        Ok(records)
    }

    /// The next record of the block.
    fn record(&mut self) -> Result<Record, Malformed> {
        let block = self.block.clone();
        let mut input = Input { bytes: &block, at: self.block_at };
        let offset = input.long()?;
        if offset != self.next {
            return Err(Malformed(format!("offset {offset} stands where {} belongs", self.next)));
        }
        let recorded_at_us = match input.long()? {
            0 => None,
            1 => Some(input.long()?),
            _ => return Err(malformed("a time is neither null nor there")),
        };
        let key = block.slice_ref(input.bytes()?);
        let mut pairs = Vec::new();
        loop {
            let count = input.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                input.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                pairs.push((input.text()?, input.bytes()?));
            }
        }
        let reason = match input.long()? {
            0 => None,
            1 => Some(input.text()?),
            _ => return Err(malformed("a reason is neither null nor there")),
        };
        // What an older build did not know this one may.
        let headers = match (reason, pairs.is_empty()) {
            (Some(reason), true) => RecordHeaders::Foreign(reason.to_owned()),
            (Some(_), false) | (None, _) => Headers::from_pairs(pairs)
                .map_or_else(|error| RecordHeaders::Foreign(error.to_string()), RecordHeaders::Known),
        };
        if let RecordHeaders::Known(headers) = &headers
            && reason.is_none()
            && recorded_at_us != Some(headers.recorded_at_us)
        {
            return Err(Malformed(format!("the time of offset {offset} is not the one in its headers")));
        }
        let value = block.slice_ref(input.bytes()?);
        self.block_at = input.at;
        self.left -= 1;
        self.next += 1;
        if self.left == 0 && self.block_at != block.len() {
            return Err(malformed("a block holds more than its records"));
        }
        Ok(Record { offset, key, headers, value })
    }
}
