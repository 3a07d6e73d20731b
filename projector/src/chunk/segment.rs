//! Entries of a run's history that follow each other, collected into one row. How they are read is not said here.
//!
//! Where a segment ends depends on its first entry and on where the chunk ends, on nothing else. So of two segments
//! that begin with the same entry, one written by a chunk that ended earlier, the longer holds the shorter one, and
//! it has the later timestamp.

use tidewheel_schemas::RunId;
use tidewheel_store::{Item, ItemsBuilder, StoreError, Write};

use crate::views::run_history::{self, SEGMENT_BYTES, group_start};

/// An entry to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) number: u64,
    pub(super) timestamp_us: i64,
    pub(super) item: Item<'a>,
}

impl Entry<'_> {
    fn bytes(self) -> usize {
        self.item.encoded().len()
    }

    /// Whether the store would take it. What fits into a segment with others fits; a larger one is a row by itself.
    pub(super) fn check(self, run_id: RunId) -> Result<(), StoreError> {
        if self.bytes() <= SEGMENT_BYTES {
            return Ok(());
        }
        run_history::write_one(run_id, self.number, self.item, self.timestamp_us).check()
    }
}

/// The segment of a run that entries are added to.
#[derive(Debug, Default)]
pub(super) struct Segment {
    first: u64,
    entries: ItemsBuilder,
    timestamp_us: i64,
}

impl Segment {
    /// Adds an entry; the segment before, when the entry begins another.
    pub(super) fn add(&mut self, run_id: RunId, entry: Entry<'_>) -> Option<Write> {
        let closed = if self.takes(entry) { None } else { self.close(run_id) };
        if self.entries.is_empty() {
            self.first = entry.number;
        }
        self.timestamp_us = entry.timestamp_us;
        self.entries.push(entry.item);
        closed
    }

    fn takes(&self, entry: Entry<'_>) -> bool {
        entry.number == self.first + self.entries.len() as u64
            && group_start(entry.number) == group_start(self.first)
            && self.entries.bytes() + entry.bytes() <= SEGMENT_BYTES
    }

    /// The segment as a row, if it has entries.
    pub(super) fn close(&mut self, run_id: RunId) -> Option<Write> {
        let Self { first, entries, timestamp_us } = std::mem::take(self);
        (!entries.is_empty()).then(|| run_history::write(run_id, first, entries.finish(), timestamp_us))
    }
}
