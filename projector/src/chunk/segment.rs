//! Entries of a run's history that follow each other, collected into one row. How they are read is not said here.
//!
//! Where a segment ends depends on its first entry and on where the chunk ends, on nothing else. So of two segments
//! that begin with the same entry, one written by a chunk that ended earlier, the longer holds the shorter one, and
//! it has the later timestamp.

use tidewheel_engine::HistoryEntry;
use tidewheel_schemas::RunId;
use tidewheel_store::{StoreError, Value, Write};

use crate::views::run_history::{self, SEGMENT_BYTES, group_start};

/// An entry to be written.
#[derive(Debug)]
pub(super) struct Entry {
    number: u64,
    timestamp_us: i64,
    bytes: usize,
    fields: Vec<Value>,
}

impl Entry {
    pub(super) fn new(number: u64, entry: &HistoryEntry, timestamp_us: i64) -> Self {
        let fields = run_history::fields(entry);
        Self { number, timestamp_us, bytes: fields.iter().map(Value::bytes).sum(), fields }
    }

    /// Whether the store would take it. What fits into a segment with others fits; a larger one is a row by itself.
    pub(super) fn check(&self, run_id: RunId) -> Result<(), StoreError> {
        if self.bytes <= SEGMENT_BYTES {
            return Ok(());
        }
        run_history::write(run_id, self.number, vec![self.fields.clone()], self.timestamp_us).check()
    }
}

/// The segment of a run that entries are added to.
#[derive(Debug, Default)]
pub(super) struct Segment {
    first: u64,
    entries: Vec<Vec<Value>>,
    bytes: usize,
    timestamp_us: i64,
}

impl Segment {
    /// Adds an entry; the segment before, when the entry begins another.
    pub(super) fn add(&mut self, run_id: RunId, entry: Entry) -> Option<Write> {
        let closed = if self.takes(&entry) { None } else { self.close(run_id) };
        if self.entries.is_empty() {
            self.first = entry.number;
        }
        self.bytes += entry.bytes;
        self.timestamp_us = entry.timestamp_us;
        self.entries.push(entry.fields);
        closed
    }

    fn takes(&self, entry: &Entry) -> bool {
        entry.number == self.first + self.entries.len() as u64
            && group_start(entry.number) == group_start(self.first)
            && self.bytes + entry.bytes <= SEGMENT_BYTES
    }

    /// The segment as a row, if it has entries.
    pub(super) fn close(&mut self, run_id: RunId) -> Option<Write> {
        let Self { first, entries, timestamp_us, .. } = std::mem::take(self);
        (!entries.is_empty()).then(|| run_history::write(run_id, first, entries, timestamp_us))
    }
}
