//! Mending in place: the writes that make stored rows what the log says, without a generation of their own. Which rows
//! differ is found by `verify`.
//!
//! A mended row carries the timestamp of the record it follows from, raised by the number of the mend (1 to 7): it wins
//! over what it mends, and loses against whatever a later record writes, also while that is being written. Every version
//! written here is one that the log gave at or before the place the views stood at, so none can come back that a live
//! writer has replaced.

use std::collections::BTreeSet;

use tidewheel_projector::views::run_history::{self, SEGMENT_BYTES, clustering_key, group_start};
use tidewheel_projector::views::runs;
use tidewheel_store::{Item, ItemsBuilder, Key, RowKey, Rows, TableSchema, Value, Write, WriteSet};

use crate::verify::compare::history::History;
use crate::verify::compare::{Found, Version, Versions};
use crate::verify::detail::Detail;
use crate::verify::ground::Ground;
use crate::verify::{Kind, Remedy};

/// The highest number of a mend; beyond it the views are rebuilt.
pub const MENDS_MAX: u8 = 7;

/// Bytes of entries that a mended segment may have: more than a segment has that was written by a build that measured
/// values alone, which it must not be shorter than. What is shorter is older, and would lose against what it mends.
const MENDED_BYTES: usize = SEGMENT_BYTES + 4 * 1024;

/// Rows after which another write set begins; a run is never cut.
const SET_ROWS: usize = 500;

/// The writes of one mend.
struct Mend<'a> {
    ground: &'a Ground,
    number: i64,
    sets: Vec<WriteSet>,
    rows: usize,
}

/// The write sets that mend what was found in a partition, as far as that can be done in place.
pub(crate) fn writes(detail: &Detail, found: &[Found], number: u8) -> Vec<WriteSet> {
    let mut mend = Mend::new(&detail.ground, number);
    let mut whole = BTreeSet::new();
    for found in found.iter().filter(|found| found.remedy == Remedy::InPlace) {
        if found.table.number == run_history::TABLE.number {
            mend.history(&detail.history, found);
        } else if found.table.number == runs::TABLE.number {
            whole.insert(found.key.partition.clone());
            // What no record puts is not among the rows of the run.
            if !detail.rows.contains_key(&(found.table.number, found.key.clone())) {
                mend.row(found, None);
            }
        } else {
            let versions = detail.rows.get(&(found.table.number, found.key.clone()));
            mend.row(found, versions.map(|(_, versions)| versions));
        }
    }
    for partition in whole {
        mend.run(detail, &partition);
    }
    mend.sets
}

/// The write set that mends a row that stands for several runs.
pub(crate) fn write(
    ground: &Ground,
    found: &Found,
    versions: Option<&Versions>,
    number: u8,
) -> Vec<WriteSet> {
    let mut mend = Mend::new(ground, number);
    if found.remedy == Remedy::InPlace {
        mend.row(found, versions);
    }
    mend.sets
}

impl<'a> Mend<'a> {
    fn new(ground: &'a Ground, number: u8) -> Self {
        Self { ground, number: i64::from(number.min(MENDS_MAX)), sets: Vec::new(), rows: 0 }
    }

    /// Room for one more row, or several that must stay together.
    fn set(&mut self, rows: usize) -> &mut WriteSet {
        if self.sets.is_empty() || self.rows >= SET_ROWS {
            self.sets.push(WriteSet::default());
            self.rows = 0;
        }
        self.rows += rows;
        let last = self.sets.len() - 1;
        &mut self.sets[last]
    }

    fn push(
        &mut self,
        table: &'static TableSchema,
        key: RowKey,
        timestamp_us: i64,
        columns: Option<Vec<Value>>,
    ) {
        let is_put = columns.is_some();
        let write = Write { table, key, timestamp_us, columns };
        let is_index = table.rows != Rows::Current;
        let set = self.set(1);
        let stage = match (is_put, is_index) {
            (true, true) => &mut set.inserts,
            (true, false) => &mut set.entities,
            (false, _) => &mut set.deletions,
        };
        stage.push(write);
    }

    fn row(&mut self, found: &Found, versions: Option<&Versions>) {
        let written_us = found.stored_us.map(|stored_us| self.ground.base_us(stored_us));
        let version = versions.and_then(|versions| {
            written_us.and_then(|written_us| versions.written_at(written_us)).or(versions.first())
        });
        match (version, found.stored_us, written_us) {
            (Some(version), _, _) => {
                let timestamp_us = version.timestamp_us.saturating_add(self.number);
                self.push(found.table, found.key.clone(), timestamp_us, Some(version.columns.clone()));
            }
            (None, Some(stored_us), Some(written_us)) => {
                // At one timestamp a deletion wins.
                let timestamp_us = written_us.saturating_add(self.number).max(stored_us);
                self.push(found.table, found.key.clone(), timestamp_us, None);
            }
            (None, _, _) => {}
        }
    }

    /// Writes a run's header and parts as a whole.
    fn run(&mut self, detail: &Detail, partition: &Key) {
        let table = &runs::TABLE;
        let first = RowKey { partition: partition.clone(), clustering: None };
        let rows = detail.rows.range((table.number, first)..);
        let rows =
            rows.take_while(|((number, key), _)| *number == table.number && key.partition == *partition);
        let mut writes = Vec::new();
        for ((_, key), (table, versions)) in rows {
            let Versions { at, changes, .. } = versions;
            let (timestamp_us, columns) = match (at, changes.last()) {
                (Some(Version { timestamp_us, columns }), _) => (*timestamp_us, Some(columns.clone())),
                // A part that is gone: a row that came back goes with it.
                (None, Some((offset, false))) => (self.ground.written_us(*offset), None),
                (None, _) => continue,
            };
            let timestamp_us = timestamp_us.saturating_add(self.number);
            writes.push(Write { table, key: key.clone(), timestamp_us, columns });
        }
        self.set(writes.len()).entities.extend(writes);
    }

    fn history(&mut self, history: &History, found: &Found) {
        let partition = &found.key.partition;
        let first = match found.key.clustering.as_ref().and_then(|key| key.first()) {
            Some(Value::Int(first)) => first.cast_unsigned(),
            _ => return,
        };
        let entry = |number: u64| {
            history.get(&(partition.clone(), number)).filter(|entry| entry.offset < self.ground.until)
        };
        let mut number = first;
        let mut segments = Vec::new();
        loop {
            let from = number;
            let (mut entries, mut offset) = (ItemsBuilder::default(), None);
            while let Some(expected) = entry(number) {
                let is_full = entries.bytes() + expected.entry.len() > MENDED_BYTES && !entries.is_empty();
                if is_full || group_start(number) != group_start(from) {
                    break;
                }
                offset = Some(expected.offset);
                entries.push(Item::new(&expected.entry));
                number += 1;
            }
            let Some(offset) = offset else { break };
            segments.push((from, entries.finish(), offset));
            // A segment that is stored is put right by itself; what is missing goes on to where something is stored.
            let goes_on = found.kind == Kind::Missing && entry(number).is_some_and(|entry| !entry.is_found);
            if !goes_on {
                break;
            }
        }
        if let (true, Some(stored_us)) = (segments.is_empty(), found.stored_us) {
            let timestamp_us = self.ground.base_us(stored_us).saturating_add(self.number).max(stored_us);
            return self.push(found.table, found.key.clone(), timestamp_us, None);
        }
        for (from, entries, offset) in segments {
            let key = RowKey { partition: partition.clone(), clustering: Some(clustering_key(from)) };
            let timestamp_us = self.ground.written_us(offset).saturating_add(self.number);
            self.push(found.table, key, timestamp_us, Some(vec![Value::List(entries)]));
        }
    }
}
