//! What a chunk changes in one run: the newest header, and for every index entry and part its last fate.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidewheel_engine::{PartChange, RunChange, RunHeader};
use tidewheel_schemas::Payload;
use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_store::{Item, WriteSet};

use super::fates::{Fate, Fates};
use super::live::Live;
use super::segment::{self, Segment};
use crate::views::open_work::{self, Bucket};
use crate::views::parked::{self, CAUSE_UNREADABLE, ParkedRow};
use crate::views::run_parts::{self, PartName};
use crate::views::runs_by::{self, Entry};
use crate::views::{delete, put, run_history, runs};

/// One run's changes.
#[derive(Debug)]
pub(super) struct RunChunk {
    before: Option<Arc<RunHeader>>,
    /// The newest header that is applied; none if the run's first record was refused.
    last: Option<Arc<RunHeader>>,
    last_offset: i64,
    segment: Segment,
    entries: Fates<Entry>,
    work: Fates<i64>,
    parts: BTreeMap<PartName, (PartChange, Fate)>,
    state_offset: Option<i64>,
    /// The row of `parked`, under the one key that it can have.
    parked: Fates<()>,
    /// Offset of the record of which a row would be refused; it and what follows are not applied.
    refused_at: Option<i64>,
}

/// Where a run halted that has not ended since.
fn parked_at(header: &RunHeader) -> Option<i64> {
    header.parked_at.filter(|_| !header.status.is_finished())
}

fn same_state(before: Option<&Payload>, after: Option<&Payload>) -> bool {
    match (before, after) {
        (None, None) => true,
        // Unchanged state shares its bytes; comparing up to 512 KiB at every record would cost too much.
        (Some(before), Some(after)) => {
            before.data.as_ptr() == after.data.as_ptr()
                && before.data.len() == after.data.len()
                && before.content_type == after.content_type
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

impl RunChunk {
    /// Whether a change is one: verdicts that leave a run as it stands carry it all the same.
    pub(super) fn is_change(change: &RunChange) -> bool {
        change.entry.is_some()
            || !change.parts.is_empty()
            || change
                .before
                .as_ref()
                .is_none_or(|before| !Arc::ptr_eq(before, &change.after) && **before != *change.after)
    }

    pub(super) fn new(first: &RunChange) -> Self {
        Self {
            before: first.before.clone(),
            last: first.before.clone(),
            last_offset: -1,
            segment: Segment::default(),
            entries: Fates::default(),
            work: Fates::default(),
            parts: BTreeMap::new(),
            state_offset: None,
            parked: Fates::default(),
            refused_at: None,
        }
    }

    /// Takes one record's change in, with a buffer to make its entry in. The error says why the store would refuse a row
    /// of it.
    pub(super) fn add(
        &mut self,
        change: &RunChange,
        partition: u32,
        offset: i64,
        timestamp_us: i64,
        scratch: &mut Vec<u8>,
        writes: &mut WriteSet,
    ) -> Result<(), String> {
        if self.refused_at.is_some() {
            return Ok(());
        }
        let after = &change.after;
        let entry = change.entry.as_ref().map(|entry| {
            scratch.clear();
            run_history::push(scratch, entry);
            segment::Entry { number: after.version, timestamp_us, item: Item::new(scratch) }
        });
        let checked = entry.map_or(Ok(()), |entry| entry.check(after.run_id)).and_then(|()| {
            // The row is made once, from the newest header; of the others it matters only that it could be.
            if runs::surely_fits(after) {
                return Ok(());
            }
            runs::header_write(after, partition, timestamp_us).check()
        });
        if let Err(error) = checked {
            self.refused_at = Some(offset);
            return Err(error.to_string());
        }
        writes.inserts.extend(entry.and_then(|entry| self.segment.add(after.run_id, entry)));
        let before = self.last.as_deref();
        runs_by::changes(before, after, |entry, live| self.entries.note(entry, live, offset));
        let (old, new) = (before.and_then(RunHeader::work_due_us), after.work_due_us());
        if old != new {
            if let Some(due_us) = old {
                self.work.note(due_us, false, offset);
            }
            if let Some(due_us) = new {
                self.work.note(due_us, true, offset);
            }
        }
        for part in &change.parts {
            let (live, unique) = match part {
                PartChange::Signal(_, part) => (part.is_some(), true),
                PartChange::Remembered(_, part) => (part.is_some(), true),
                // A timer may replace one that was set before the chunk.
                PartChange::Timer(_, part) => (part.is_some(), self.before.is_none()),
            };
            let fate = Fate { live, offset, fresh: live && unique };
            let (changed, fate) =
                self.parts.entry(PartName::of(part)).or_insert_with(|| (part.clone(), fate));
            *changed = part.clone();
            (fate.live, fate.offset) = (live, offset);
        }
        let (old, new) = (before.and_then(parked_at), parked_at(after));
        if old != new {
            self.parked.note((), new.is_some(), offset);
        }
        if !same_state(before.and_then(|before| before.state.as_ref()), after.state.as_ref()) {
            self.state_offset = Some(offset);
        }
        self.last = Some(Arc::clone(after));
        self.last_offset = offset;
        Ok(())
    }

    /// Turns the changes into rows.
    pub(super) fn finish(
        mut self,
        partition: u32,
        at: &impl Fn(i64) -> i64,
        atomic: bool,
        live: &mut Live,
        touched: &mut BTreeMap<Bucket, i64>,
        writes: &mut WriteSet,
    ) {
        let Some(last) = &self.last else { return };
        writes.inserts.extend(self.segment.close(last.run_id));
        let mut header = Arc::clone(last);
        let mut header_offset = self.last_offset;
        let mut work = self.work;
        if let Some(parked_at) = self.refused_at {
            // Parked runs have no open work, so what this record leaves is its row's deletion.
            if let Some(due_us) = last.work_due_us() {
                work.note(due_us, false, parked_at);
            }
            Arc::make_mut(&mut header).parked_at = Some(parked_at);
            header_offset = parked_at;
        }
        for (entry, fate) in self.entries.iter() {
            let (table, key) = (entry.table(), entry.key_of(&header, partition));
            let (clustering, timestamp_us) = (runs_by::clustering_key(&header), at(fate.offset));
            if fate.live {
                let columns = runs_by::columns(header.run_id, fate.offset);
                let is_late = mutation::is(Mutation::IndexAfterEntity);
                let stage = if is_late { &mut writes.deletions } else { &mut writes.inserts };
                stage.push(put(table, key, Some(clustering), timestamp_us, columns));
            } else if fate.must_delete(atomic) {
                let is_early = mutation::is(Mutation::OldIndexFirst);
                let stage = if is_early { &mut writes.inserts } else { &mut writes.deletions };
                stage.push(delete(table, key, clustering, timestamp_us));
            }
        }
        for (due_us, fate) in work.iter() {
            let newest = touched.entry(Bucket::of(&header, *due_us)).or_insert(fate.offset);
            *newest = fate.offset.max(*newest);
            if !fate.live {
                // Of an intermediate version too: a write that was cut may have put it, and a load then found it.
                live.bucket_removed(Bucket::of(&header, *due_us), header.started_offset);
            }
            if fate.live || fate.must_delete(atomic) {
                let write =
                    open_work::write(&header, partition, *due_us, fate.live, fate.offset, at(fate.offset));
                let stage = if fate.live { &mut writes.inserts } else { &mut writes.deletions };
                stage.push(write);
            }
        }
        if let Some(due_us) = header.work_due_us() {
            live.bucket_put(Bucket::of(&header, due_us), header.started_offset);
        }
        // The fold parked or unparked it; a refused row is noted by the chunk.
        if let (Some(((), fate)), None) = (self.parked.iter().next(), self.refused_at) {
            match parked_at(&header).filter(|_| fate.live) {
                Some(parked_at) => {
                    let cause = CAUSE_UNREADABLE.to_owned();
                    let row = ParkedRow { run_id: header.run_id, parked_at, cause };
                    writes.inserts.push(parked::write(partition, &row, at(fate.offset)));
                }
                None if fate.must_delete(atomic) => {
                    writes.deletions.push(parked::removal(partition, header.run_id, at(fate.offset)));
                }
                None => {}
            }
        }
        writes.entities.push(runs::header_write(&header, partition, at(header_offset)));
        if let (Some(offset), Some(state)) = (self.state_offset, &header.state) {
            writes.entities.push(run_parts::state_write(header.run_id, state, offset, at(offset)));
        }
        for (change, fate) in self.parts.values() {
            if fate.live || fate.must_delete(atomic) {
                writes.entities.push(run_parts::part_write(header.run_id, change, at(fate.offset)));
            }
        }
    }
}
