//! Packing records into a container. Everything stays in memory until it is whole: a range is bounded.

use std::collections::BTreeSet;
use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use sha2::{Digest as _, Sha256};
use tidewheel_schemas::{LogId, Record, RecordHeaders, TopicPartition, codec, registry};

use super::{BLOCK_BYTES, CODEC, MAGIC, META, SCHEMA};

/// Collects the records of a range.
pub struct Writer {
    place: TopicPartition,
    log_id: LogId,
    from: i64,
    next: i64,
    sync: [u8; 16],
    /// Closed blocks.
    blocks: Vec<u8>,
    /// The open one, not yet deflated.
    block: Vec<u8>,
    block_records: i64,
    raw_bytes: usize,
    schemas: BTreeSet<u32>,
    recorded: Option<(i64, i64)>,
}

/// A whole container.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The file.
    pub bytes: Bytes,
    /// One past the last offset.
    pub to: i64,
    /// Ids of the schemas that its metadata hold.
    pub schemas: Vec<u32>,
    /// Earliest and latest time in a record's headers, microseconds since 1970.
    pub recorded: Option<(i64, i64)>,
}

pub(super) fn put_long(into: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        into.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_long(into, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    into.extend_from_slice(bytes);
}

impl Writer {
    /// An empty range of `place` that begins at `from`.
    pub fn new(place: TopicPartition, log_id: LogId, from: i64) -> Self {
        // The same range has the same marker, so that its file has the same bytes whoever writes it.
        let mut hash = Sha256::new();
        hash.update(b"tidewheel archive sync v1");
        hash.update(place.to_string().as_bytes());
        hash.update(log_id.as_bytes());
        hash.update(from.to_be_bytes());
        let digest = hash.finalize();
        let sync = std::array::from_fn(|index| digest[index]);
        Self {
            place,
            log_id,
            from,
            next: from,
            sync,
            blocks: Vec::new(),
            block: Vec::with_capacity(BLOCK_BYTES + (64 << 10)),
            block_records: 0,
            raw_bytes: 0,
            schemas: BTreeSet::new(),
            recorded: None,
        }
    }

    /// One past the last offset so far.
    pub const fn to(&self) -> i64 {
        self.next
    }

    /// Bytes so far, before they are deflated.
    pub const fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// Adds the next record. Its offset is the one behind the last, which the log promises. `foreign` are the headers of
    /// a record whose headers are not ours, as far as the log tells them.
    pub fn push(&mut self, record: &Record, foreign: &[(String, Bytes)]) {
        debug_assert_eq!(record.offset, self.next, "the log answers offsets without holes");
        let before = self.block.len();
        let block = &mut self.block;
        put_long(block, record.offset);
        match &record.headers {
            RecordHeaders::Known(headers) => {
                let time_us = headers.recorded_at_us;
                put_long(block, 1);
                put_long(block, time_us);
                put_bytes(block, &record.key);
                let pairs = headers.to_pairs();
                put_long(block, i64::try_from(pairs.len()).unwrap_or(i64::MAX));
                for (name, value) in &pairs {
                    put_bytes(block, name.as_bytes());
                    put_bytes(block, value);
                }
                put_long(block, 0);
                put_long(block, 0);
                let (first, last) = self.recorded.unwrap_or((time_us, time_us));
                self.recorded = Some((first.min(time_us), last.max(time_us)));
            }
            RecordHeaders::Foreign(reason) => {
                put_long(block, 0);
                put_bytes(block, &record.key);
                if !foreign.is_empty() {
                    put_long(block, i64::try_from(foreign.len()).unwrap_or(i64::MAX));
                    for (name, value) in foreign {
                        put_bytes(block, name.as_bytes());
                        put_bytes(block, value);
                    }
                }
                put_long(block, 0);
                put_long(block, 1);
                put_bytes(block, reason.as_bytes());
            }
        }
        put_bytes(block, &record.value);
        if let Ok(id) = codec::schema_id(&record.value)
            && registry::schema_text(id).is_some()
        {
            self.schemas.insert(id);
        }
        self.raw_bytes += self.block.len() - before;
        self.next = record.offset + 1;
        self.block_records += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        if self.block_records == 0 {
            return;
        }
        let mut encoder =
            DeflateEncoder::new(Vec::with_capacity(self.block.len() / 2), Compression::default());
        // Writing to memory does not fail.
        let deflated = encoder.write_all(&self.block).and_then(|()| encoder.finish()).unwrap_or_default();
        put_long(&mut self.blocks, self.block_records);
        put_bytes(&mut self.blocks, &deflated);
        self.blocks.extend_from_slice(&self.sync);
        self.block.clear();
        self.block_records = 0;
    }

    /// The whole file.
    pub fn finish(mut self) -> Packed {
        self.close_block();
        let mut meta = vec![
            ("avro.codec".to_owned(), CODEC.to_owned()),
            ("avro.schema".to_owned(), SCHEMA.to_owned()),
            (format!("{META}format"), crate::FORMAT.to_string()),
            (format!("{META}from"), self.from.to_string()),
            (format!("{META}log_id"), self.log_id.to_string()),
            (format!("{META}partition"), self.place.partition.to_string()),
        ];
        for id in &self.schemas {
            let text = registry::schema_text(*id).unwrap_or_default();
            meta.push((format!("{META}schema.{id}"), text.to_owned()));
        }
        meta.push((format!("{META}to"), self.next.to_string()));
        meta.push((format!("{META}topic"), self.place.topic.to_string()));
        let mut file = MAGIC.to_vec();
        put_long(&mut file, i64::try_from(meta.len()).unwrap_or(i64::MAX));
        for (name, value) in &meta {
            put_bytes(&mut file, name.as_bytes());
            put_bytes(&mut file, value.as_bytes());
        }
        put_long(&mut file, 0);
        file.extend_from_slice(&self.sync);
        file.append(&mut self.blocks);
        let schemas = self.schemas.into_iter().collect();
        Packed { bytes: file.into(), to: self.next, schemas, recorded: self.recorded }
    }
}
