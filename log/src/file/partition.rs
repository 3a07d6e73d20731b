//! One partition as readers see it: its durable end and its most recent records.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tidewheel_schemas::Record;
use tokio::sync::Notify;

use crate::Bounds;

/// A partition of the log. Nothing in it lies above the durable watermark.
#[derive(Debug)]
pub(crate) struct Partition {
    pub topic: u32,
    pub partition: u32,
    pub slot: usize,
    /// The first offset still held. Raised before anything is removed.
    start: AtomicI64,
    recent: Mutex<Recent>,
    /// Woken once per group that has records of this partition.
    pub grown: Notify,
}

#[derive(Debug)]
struct Recent {
    records: VecDeque<Record>,
    end: i64,
}

/// What a partition holds in memory from an offset on.
pub(crate) enum Lookup {
    /// Records from that offset on.
    Records(Vec<Record>),
    /// The offset is the end.
    AtEnd,
    /// The offset lies further back, in the segments; the durable end is this.
    OnDisk { end: i64 },
}

impl Partition {
    pub fn new(topic: u32, partition: u32, slot: usize, end: i64) -> Self {
        let recent = Mutex::new(Recent { records: VecDeque::new(), end });
        Self { topic, partition, slot, start: AtomicI64::new(0), recent, grown: Notify::new() }
    }

    pub fn start(&self) -> i64 {
        self.start.load(Ordering::Acquire)
    }

    /// Everything below `offset` is gone.
    pub fn begin_at(&self, offset: i64) {
        self.start.fetch_max(offset, Ordering::AcqRel);
    }

    pub fn bounds(&self) -> Bounds {
        Bounds { start: self.start(), end: self.end() }
    }

    pub fn end(&self) -> i64 {
        self.recent.lock().end
    }

    /// Makes durable records visible; the caller wakes readers.
    pub fn publish(&self, records: impl ExactSizeIterator<Item = Record>) {
        let mut recent = self.recent.lock();
        recent.end += i64::try_from(records.len()).unwrap_or(0);
        recent.records.extend(records);
    }

    /// Forgets the oldest `count` records; they are read from the segments from here on.
    pub fn forget(&self, count: usize) {
        let mut recent = self.recent.lock();
        let count = count.min(recent.records.len());
        drop(recent.records.drain(..count));
    }

    pub fn lookup(&self, offset: i64, records_max: usize) -> Lookup {
        let recent = self.recent.lock();
        if offset >= recent.end {
            return Lookup::AtEnd;
        }
        let Some(first) = recent.records.front().map(|record| record.offset) else {
            return Lookup::OnDisk { end: recent.end };
        };
        let Ok(from) = usize::try_from(offset - first) else { return Lookup::OnDisk { end: recent.end } };
        let to = from.saturating_add(records_max).min(recent.records.len());
        Lookup::Records(recent.records.range(from..to).cloned().collect())
    }
}

/// Bytes a record costs while it is kept in memory.
pub(crate) fn resident_bytes(record: &Record) -> usize {
    size_of::<Record>() + record.key.len() + record.value.len()
}
