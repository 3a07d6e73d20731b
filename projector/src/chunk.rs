//! Chunks: what the records of a stretch of one partition change, each row written once.
//!
//! A key that an intermediate version would have put is deleted all the same, because an earlier, crashed write of
//! other boundaries may have put it. A store that writes a chunk as one batch together with its checkpoint cannot
//! be left so; there the deletion of a key that did not exist before the chunk is dropped.

mod fates;
mod live;
mod run;
mod segment;

use std::collections::{BTreeMap, HashMap};

use tidewheel_engine::outbox::OutboxEntry;
use tidewheel_engine::{Control, OutboxChange, Transition};
use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{OutboxName, RunId};
use tidewheel_store::{Source, WriteSet};

use self::fates::Fate;
pub use self::live::Live;
use self::run::RunChunk;
use crate::views::index_days::{self, Index};
use crate::views::parked::{self, ParkedRow};
use crate::views::partition_control::{self, Checkpoint};
use crate::views::{day_of, open_work, outbox, rejections};

/// Collects what the records of one partition change.
#[derive(Debug)]
pub struct Chunk {
    partition: u32,
    control: Control,
    records: usize,
    writes: WriteSet,
    runs: Vec<RunChunk>,
    places: HashMap<RunId, usize>,
    outbox: BTreeMap<OutboxName, Message>,
    days: BTreeMap<(Index, String, i64), i64>,
    parked: Vec<ParkedRow>,
    /// Where entries of histories are made, one after the other.
    scratch: Vec<u8>,
}

/// What became of an outbox entry within the chunk.
#[derive(Debug)]
struct Message {
    /// The entry, unless it was trimmed.
    entry: Option<OutboxEntry>,
    offset: i64,
    /// The chunk created it.
    fresh: bool,
}

/// A chunk ready to be written.
#[derive(Debug)]
pub struct Finished {
    /// Its rows, in the order of DESIGN §7.
    pub writes: WriteSet,
    /// Where the views stand after it.
    pub checkpoint: Checkpoint,
    /// Runs of which the store would refuse a row for good; they are parked.
    pub parked: Vec<ParkedRow>,
    /// How many records it holds.
    pub records: usize,
}

impl Chunk {
    /// An empty chunk of the partition whose Control is `control`.
    pub fn new(control: Control) -> Self {
        Self {
            partition: control.partition,
            control,
            records: 0,
            writes: WriteSet::default(),
            runs: Vec::new(),
            places: HashMap::new(),
            outbox: BTreeMap::new(),
            days: BTreeMap::new(),
            parked: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// How many records it holds.
    pub const fn records(&self) -> usize {
        self.records
    }

    /// The offset of its last record.
    pub const fn last_offset(&self) -> i64 {
        self.control.next_offset - 1
    }

    /// Takes records in, in the order of offsets. `control` is that after the last of them. Records before the
    /// chunk's place are skipped: the views hold them.
    pub fn add(&mut self, transitions: &[Transition], control: &Control, live: &Live) {
        let from = self.control.next_offset;
        for transition in transitions.iter().filter(|transition| transition.offset >= from) {
            self.records += 1;
            self.add_one(transition, control, live);
        }
        if control.next_offset > from {
            self.control = control.clone();
        }
    }

    fn add_one(&mut self, transition: &Transition, control: &Control, live: &Live) {
        let (partition, offset) = (self.partition, transition.offset);
        let timestamp_us = control.write_timestamp_us(offset);
        rejections::of(transition, |rejection| {
            self.days.insert((Index::Rejections, rejection.namespace.clone(), rejection.day()), offset);
            self.writes.inserts.extend(rejection.writes(timestamp_us));
        });
        for change in &transition.outbox {
            match change {
                OutboxChange::Put(entry) => {
                    let message = Message { entry: Some(entry.clone()), offset, fresh: true };
                    self.outbox.insert(entry.name, message);
                }
                OutboxChange::Trimmed(through) => {
                    for name in live.outbox_through(*through) {
                        self.outbox.entry(name).or_insert(Message { entry: None, offset, fresh: false });
                    }
                    for message in self.outbox.range_mut(..=*through).map(|(_, message)| message) {
                        if message.entry.take().is_some() {
                            message.offset = offset;
                        }
                    }
                }
            }
        }
        let Some(change) = transition.run.as_deref() else { return };
        if live.is_refused(change.after.run_id) || !RunChunk::is_change(change) {
            return;
        }
        let place = *self.places.entry(change.after.run_id).or_insert_with(|| {
            self.runs.push(RunChunk::new(change));
            self.runs.len() - 1
        });
        let Some(run) = self.runs.get_mut(place) else { return };
        if change.before.is_none() {
            let day =
                (Index::Runs, change.after.namespace.as_str().to_owned(), day_of(change.after.created_at_us));
            self.days.insert(day, offset);
        }
        if let Err(cause) =
            run.add(change, partition, offset, timestamp_us, &mut self.scratch, &mut self.writes)
        {
            tracing::error!(run_id = %change.after.run_id, offset, %cause, "run parked: its row would be refused");
            self.parked.push(ParkedRow { run_id: change.after.run_id, parked_at: offset, cause });
        }
    }

    /// Turns what was collected into rows. `live` is brought up to the end of the chunk. With `atomic`, the store
    /// writes all of it together.
    pub fn finish(self, live: &mut Live, atomic: bool) -> Finished {
        let Self { partition, control, records, mut writes, runs, outbox, days, parked, .. } = self;
        let at = |offset: i64| control.write_timestamp_us(offset);
        writes.source = Some(Source(partition));
        let mut touched = BTreeMap::new();
        for run in runs {
            run.finish(partition, &at, atomic, live, &mut touched, &mut writes);
        }
        for (bucket, offset) in touched {
            let write =
                open_work::bucket_write(bucket, partition, live.has_bucket(bucket), offset, at(offset));
            let stage = if write.columns.is_some() { &mut writes.inserts } else { &mut writes.deletions };
            stage.push(write);
        }
        for (name, message) in outbox {
            match &message.entry {
                Some(entry) => {
                    live.outbox_put(name);
                    writes.inserts.push(outbox::write(partition, entry, at(message.offset)));
                }
                None => {
                    live.outbox_removed(name);
                    let fate = Fate { live: false, offset: message.offset, fresh: message.fresh };
                    if fate.must_delete(atomic) {
                        writes.deletions.push(outbox::removal(partition, name, at(message.offset)));
                    }
                }
            }
        }
        for ((index, namespace, day), offset) in days {
            writes.inserts.push(index_days::write(index, &namespace, day, partition, offset, at(offset)));
        }
        for row in &parked {
            live.refuse(row.run_id);
            writes.inserts.push(parked::write(partition, row, at(row.parked_at)));
        }
        let last = control.next_offset - 1;
        let timestamp_us = at(last);
        let checkpoint = live.checkpoint(control);
        let is_early = mutation::is(Mutation::CheckpointBeforeRows);
        let stage = if is_early { &mut writes.inserts } else { &mut writes.checkpoints };
        stage.push(partition_control::write(&checkpoint, timestamp_us));
        Finished { writes, checkpoint, parked, records }
    }
}
