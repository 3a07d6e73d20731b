//! The first look at a partition: what the log leads to is summed up by buckets of owners, and compared with the sums of
//! what is stored. Only where these differ must rows be looked at one by one (`detail`).
//!
//! Of a run that ended nothing is kept but that it did; what comes for it later is left to the closer look. Where too
//! much is held all the same, the upper half of the buckets is left to another pass over the log.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidewheel_engine::{Control, Fold, Transition};
use tidewheel_projector::views::open_work::{self, Bucket};
use tidewheel_projector::views::{index_days, outbox, partition_control, rejections, run_history};
use tidewheel_schemas::{OutboxName, Record, RunId};
use tidewheel_store::{Value, Write};

use super::digest;
use super::ground::Ground;
use super::meter::Meter;
use super::owner::{self, Owner};
use super::refold::{Refold, Sink};
use super::scope::Scope;
use super::shared::Shared;
use super::{VerifyError, Views};

/// What a run in memory takes beside the values of its records.
const RUN_BYTES: usize = 1_024;
const RECORD_BYTES: usize = 400;
/// What is kept of a run that ended.
const ENDED_BYTES: usize = 40;

/// A row of a run, as far as it must be known to be taken back.
#[derive(Debug)]
struct Slot {
    hash: u64,
    work: Option<Bucket>,
    /// Put after the ground: in no sum.
    is_later: bool,
}

#[derive(Debug, Default)]
struct Held {
    slots: BTreeMap<u64, Slot>,
    bytes: usize,
}

struct Pending {
    bucket: usize,
    hash: u64,
    is_later: bool,
}

/// The sums of one partition.
pub(super) struct Survey {
    scope: Scope,
    ground: Ground,
    partitions: u32,
    held_bytes_max: usize,
    sums: Vec<u64>,
    costs: Vec<u32>,
    /// Buckets to be looked at closely, whatever their sums are.
    again: Vec<bool>,
    /// The buckets of this pass.
    from: usize,
    to: usize,
    held: HashMap<RunId, Held>,
    held_bytes: usize,
    ended: HashSet<RunId>,
    /// Runs that ended in what is folded and not taken yet.
    ending: Vec<RunId>,
    /// The runs held, by the offset of their start.
    starts: HashMap<i64, RunId>,
    outbox: BTreeMap<OutboxName, Pending>,
    shared: Shared,
    /// Passes over the log.
    pub(super) passes: u32,
}

/// What a survey leads to.
pub(super) struct Surveyed {
    pub(super) sums: Vec<u64>,
    pub(super) costs: Vec<u32>,
    pub(super) again: Vec<bool>,
    pub(super) shared: Shared,
    pub(super) pending: Vec<OutboxName>,
    pub(super) passes: u32,
}

impl Survey {
    pub(super) fn new(
        views: &Views,
        scope: Scope,
        ground: Ground,
        stands_at: i64,
        held_bytes_max: usize,
    ) -> Self {
        let buckets = scope.buckets();
        Self {
            scope,
            partitions: views.partitions,
            held_bytes_max,
            sums: vec![0; buckets],
            costs: vec![0; buckets],
            again: vec![false; buckets],
            from: 0,
            to: buckets,
            held: HashMap::new(),
            held_bytes: 0,
            ended: HashSet::new(),
            ending: Vec::new(),
            starts: HashMap::new(),
            outbox: BTreeMap::new(),
            shared: Shared::new(ground.clone(), stands_at),
            ground,
            passes: 0,
        }
    }

    /// Passes over the log until every bucket was summed up.
    pub(super) async fn run(
        mut self,
        views: &Views,
        at_once: usize,
        meter: &Meter,
    ) -> Result<Surveyed, VerifyError> {
        let buckets = self.sums.len();
        while self.from < buckets {
            if self.passes > 0 {
                meter.again(self.ground.end.unsigned_abs());
            }
            self.to = buckets;
            (self.held, self.ended, self.held_bytes) = (HashMap::new(), HashSet::new(), 0);
            self.starts = HashMap::new();
            let mut refold = Refold::new(views, self.ground.partition);
            let (until, end) = (self.ground.until, self.ground.end);
            refold.run(views, until, at_once, false, meter, &mut self).await?;
            // What this build may not fold it has not written either. Each version that may have been read counts.
            refold.run(views, end, 1, true, meter, &mut self).await?;
            self.from = self.to;
            self.passes += 1;
        }
        let Self { sums, costs, again, shared, outbox, passes, .. } = self;
        let pending = outbox.into_keys().collect();
        Ok(Surveyed { sums, costs, again, shared, pending, passes })
    }

    /// The bucket of an owner, if it is one of this pass.
    fn bucket(&self, owner: Owner) -> Option<usize> {
        let bucket = self.scope.bucket(owner)?;
        (self.from..self.to).contains(&bucket).then_some(bucket)
    }

    fn add(&mut self, bucket: usize, hash: u64) {
        self.sums[bucket] = self.sums[bucket].wrapping_add(hash);
    }

    fn take_from(&mut self, bucket: usize, hash: u64) {
        self.sums[bucket] = self.sums[bucket].wrapping_sub(hash);
    }

    fn outbox(&mut self, bucket: Option<usize>, offset: i64, write: &Write) {
        let [Some(from), Some(index)] = [0, 1].map(|place| integer(write, place)) else { return };
        let Ok(index) = u32::try_from(index) else { return };
        let name = OutboxName { offset: from, index };
        let is_later = offset >= self.ground.until;
        let Some(columns) = &write.columns else {
            let Some(pending) = self.outbox.remove(&name) else { return };
            if is_later {
                self.shared.delivered(name, offset);
                self.again[pending.bucket] |= !pending.is_later;
            } else {
                self.take_from(pending.bucket, pending.hash);
            }
            return;
        };
        let Some(bucket) = bucket else { return };
        let hash = digest::of_row(write.table, &write.key, columns, write.timestamp_us);
        if !is_later {
            self.add(bucket, hash);
        }
        self.outbox.insert(name, Pending { bucket, hash, is_later });
    }

    fn row(&mut self, bucket: usize, run_id: RunId, offset: i64, write: &Write) {
        let is_later = offset >= self.ground.until;
        let is_work = write.table.number == open_work::TABLE.number;
        let work = if is_work { work_bucket(write) } else { None };
        let name = digest::of_key(write.table, &write.key);
        let held = self.held.entry(run_id).or_default();
        let before = held.slots.remove(&name);
        let after = write.columns.as_ref().map(|columns| {
            self.costs[bucket] = self.costs[bucket].saturating_add(digest::cost(&write.key, columns));
            let hash = digest::of_row(write.table, &write.key, columns, write.timestamp_us);
            Slot { hash, work, is_later }
        });
        if let Some(work) = work {
            let more = i64::from(after.is_some()) - i64::from(before.is_some());
            self.shared.work(work, offset, more);
        }
        let added = after.as_ref().filter(|slot| !slot.is_later).map(|slot| slot.hash);
        if let Some(after) = after {
            held.slots.insert(name, after);
        }
        if let Some(before) = before.filter(|slot| !slot.is_later) {
            if is_later {
                // It may have been read before this record changed it, or after.
                self.again[bucket] = true;
            } else {
                self.take_from(bucket, before.hash);
            }
        }
        if let Some(hash) = added {
            self.add(bucket, hash);
        }
    }

    /// Leaves the upper half of the buckets to another pass.
    fn postpone(&mut self, fold: &mut Fold) {
        let middle = self.from + (self.to - self.from) / 2;
        if middle == self.from {
            return;
        }
        let (scope, sums) = (&self.scope, middle..self.to);
        self.sums[sums.clone()].fill(0);
        self.costs[sums.clone()].fill(0);
        self.again[sums].fill(false);
        let is_left =
            |run_id: &RunId| scope.bucket(Owner::Run(*run_id)).is_none_or(|bucket| bucket >= middle);
        let shared = &mut self.shared;
        self.held.retain(|run_id, held| {
            if !is_left(run_id) {
                return true;
            }
            fold.forget(*run_id);
            held.slots.values().filter_map(|slot| slot.work).for_each(|work| shared.postpone(work));
            false
        });
        self.ended.retain(|run_id| !is_left(run_id));
        self.starts.retain(|_, run_id| !is_left(run_id));
        self.outbox.retain(|_, pending| pending.bucket < middle);
        let held: usize = self.held.values().map(|held| held.bytes).sum();
        self.held_bytes = held + self.ended.len() * ENDED_BYTES;
        self.to = middle;
    }
}

fn integer(write: &Write, place: usize) -> Option<i64> {
    match write.key.clustering.as_ref()?.get(place) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

/// The bucket that a row of open work is in.
pub(super) fn work_bucket(write: &Write) -> Option<Bucket> {
    match write.key.partition.as_slice() {
        [_, Value::Bool(later), Value::Int(number)] => Some(Bucket { later: *later, number: *number }),
        _ => None,
    }
}

impl Sink for Survey {
    fn wants(&mut self, owner: Owner, _offset: i64, _fold: &Fold) -> bool {
        let Some(bucket) = self.bucket(owner) else { return false };
        match owner {
            Owner::Run(run_id) if self.ended.contains(&run_id) => {
                self.again[bucket] = true;
                false
            }
            Owner::Run(_) | Owner::Record(_) | Owner::Partition => true,
        }
    }

    fn folded(&mut self, owner: Owner, record: &Record, transition: &Transition) {
        let (Owner::Run(run_id), Some(change)) = (owner, &transition.run) else { return };
        if change.before.is_none() {
            self.starts.insert(change.after.started_offset, run_id);
            self.held_bytes += RUN_BYTES;
            self.held.insert(run_id, Held { slots: BTreeMap::new(), bytes: RUN_BYTES });
        }
        if change.after.status.is_finished() {
            self.ending.push(run_id);
        } else if let Some(held) = self.held.get_mut(&run_id) {
            let bytes = RECORD_BYTES + record.value.len();
            held.bytes += bytes;
            self.held_bytes += bytes;
        }
    }

    fn take(&mut self, _owner: Option<Owner>, offset: i64, write: Write) {
        let is = |number: u16| write.table.number == number;
        if is(partition_control::TABLE.number) || is(open_work::BUCKETS.number) {
            return;
        }
        if is(index_days::TABLE.number) {
            return self.shared.day(write, offset);
        }
        let owner = match (&write.columns, owner::started_offset(write.table, &write.key)) {
            // What is deleted says of its run when it began, or which one it is.
            (None, Some(started)) => self.starts.get(&started).copied().map(Owner::Run),
            (columns, _) => {
                let columns = columns.as_deref().unwrap_or_default();
                owner::in_partition(write.table, &write.key, columns, self.partitions)
            }
        };
        let bucket = owner.and_then(|owner| self.bucket(owner));
        if is(outbox::TABLE.number) {
            return self.outbox(bucket, offset, &write);
        }
        let (Some(owner), Some(bucket)) = (owner, bucket) else { return };
        let is_rejection = is(rejections::BY_DAY.number) || is(rejections::BY_SUBJECT.number);
        let columns = match write.columns.as_deref() {
            Some(columns) if is_rejection || is(run_history::TABLE.number) => columns,
            _ => {
                if let Owner::Run(run_id) = owner {
                    self.row(bucket, run_id, offset, &write);
                }
                return;
            }
        };
        // Written once and never again.
        if offset >= self.ground.until {
            return;
        }
        self.costs[bucket] = self.costs[bucket].saturating_add(digest::cost(&write.key, columns));
        if is_rejection {
            let hash = digest::of_row(write.table, &write.key, columns, write.timestamp_us);
            self.add(bucket, hash);
        } else if let (Some(first), Some(Value::List(entries))) = (integer(&write, 0), columns.first()) {
            for (number, entry) in (first.cast_unsigned()..).zip(entries.iter()) {
                let hash = digest::of_entry(write.table, &write.key.partition, number, entry);
                self.add(bucket, hash);
            }
        }
    }

    fn taken(&mut self, fold: &mut Fold) {
        for run_id in std::mem::take(&mut self.ending) {
            if let Some(run) = fold.run(run_id) {
                self.starts.remove(&run.header.started_offset);
            }
            fold.forget(run_id);
            let bytes = self.held.remove(&run_id).map_or(0, |held| held.bytes);
            self.held_bytes = self.held_bytes.saturating_sub(bytes);
            if self.ended.insert(run_id) {
                self.held_bytes += ENDED_BYTES;
            }
        }
        if self.held_bytes > self.held_bytes_max && fold.control().next_offset <= self.ground.until {
            self.postpone(fold);
        }
    }

    fn passed(&mut self, control: &Control) {
        self.shared.passed(control);
    }
}
