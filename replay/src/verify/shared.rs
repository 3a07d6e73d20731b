//! The rows of a partition that stand for several runs: days of indexes, buckets of open work, and the checkpoint. They
//! are few, so what the log says of them is held, and put together from as many passes as there are.

use std::collections::BTreeMap;

use tidewheel_engine::Control;
use tidewheel_projector::views::open_work::{self, Bucket};
use tidewheel_projector::views::partition_control::{self, Checkpoint};
use tidewheel_schemas::OutboxName;
use tidewheel_store::{RowKey, TableSchema, Value, Write};

use super::compare::{Version, Versions};
use super::ground::Ground;
use super::stored::Stored;

/// Where the stored checkpoint of a partition stands, among the rows that stand for several runs.
pub(super) fn stands_at(stored: &[Stored], ground: &Ground) -> i64 {
    let key = partition_control::key(ground.partition);
    let is_it = |(table, row): &&Stored| table.number == partition_control::TABLE.number && row.key == key;
    match stored.iter().find(is_it).and_then(|(_, row)| row.columns.first()) {
        Some(Value::Int(next_offset)) => *next_offset,
        _ => ground.until,
    }
}

/// A day of an index: the records that touched it.
#[derive(Debug, Default)]
struct Day {
    columns: Option<&'static TableSchema>,
    at: Option<i64>,
    later: std::collections::BTreeSet<i64>,
}

/// A bucket of open work: its rows at the ground, and what the records after that add and take away.
#[derive(Debug, Default)]
struct Work {
    rows: i64,
    touched: Option<i64>,
    later: BTreeMap<i64, i64>,
}

/// What the log says of them.
#[derive(Debug)]
pub(super) struct Shared {
    ground: Ground,
    days: BTreeMap<RowKey, Day>,
    work: BTreeMap<Bucket, Work>,
    /// Messages that were delivered after the ground: the record that says so.
    delivered: BTreeMap<OutboxName, i64>,
    /// Control where the stored checkpoint stands.
    control: Option<Control>,
    /// Where that is.
    stands_at: i64,
}

impl Shared {
    /// Nothing yet. The stored checkpoint stands at `stands_at`.
    pub(super) const fn new(ground: Ground, stands_at: i64) -> Self {
        Self {
            ground,
            days: BTreeMap::new(),
            work: BTreeMap::new(),
            delivered: BTreeMap::new(),
            control: None,
            stands_at,
        }
    }

    /// A record noted a day of an index.
    pub(super) fn day(&mut self, write: Write, offset: i64) {
        if offset >= self.ground.end {
            return;
        }
        let is_later = offset >= self.ground.until;
        let day = self.days.entry(write.key).or_default();
        day.columns = Some(write.table);
        if is_later {
            day.later.insert(offset);
        } else {
            day.at = day.at.max(Some(offset));
        }
    }

    /// A record put (1) or deleted (-1) a row of open work, or wrote one again (0).
    pub(super) fn work(&mut self, bucket: Bucket, offset: i64, more: i64) {
        let work = self.work.entry(bucket).or_default();
        if offset >= self.ground.until {
            *work.later.entry(offset).or_default() += more;
        } else {
            work.rows += more;
            work.touched = work.touched.max(Some(offset));
        }
    }

    /// A run that had a row of open work is left to a later pass.
    pub(super) fn postpone(&mut self, bucket: Bucket) {
        if let Some(work) = self.work.get_mut(&bucket) {
            work.rows -= 1;
        }
    }

    /// A message was delivered after the ground.
    pub(super) fn delivered(&mut self, name: OutboxName, offset: i64) {
        self.delivered.insert(name, offset);
    }

    /// Control stands after a record.
    pub(super) fn passed(&mut self, control: &Control) {
        if control.next_offset == self.stands_at {
            self.control = Some(control.clone());
        }
    }

    /// Takes over the days that another pass over the same ground, or a later one, met.
    pub(super) fn add_days(&mut self, other: Self) {
        for (key, met) in other.days {
            let day = self.days.entry(key).or_default();
            day.columns = day.columns.or(met.columns);
            let offsets = met.at.into_iter().chain(met.later);
            for offset in offsets.filter(|offset| *offset < self.ground.end) {
                if offset >= self.ground.until {
                    day.later.insert(offset);
                } else {
                    day.at = day.at.max(Some(offset));
                }
            }
        }
    }

    /// The versions of every such row. `pending` are the messages not delivered at the end.
    pub(super) fn versions(
        self,
        pending: impl Iterator<Item = OutboxName>,
    ) -> BTreeMap<(u16, RowKey), (&'static TableSchema, Versions)> {
        let checkpoint = self.checkpoint(pending);
        let Self { ground, days, work, .. } = self;
        let mut all = BTreeMap::new();
        for (key, day) in days {
            let Some(table) = day.columns else { continue };
            let mut versions = Versions::default();
            for (offset, is_later) in day
                .at
                .map(|offset| (offset, false))
                .into_iter()
                .chain(day.later.into_iter().map(|o| (o, true)))
            {
                let columns = vec![Value::Int(offset)];
                let version = Version { timestamp_us: ground.written_us(offset), columns };
                versions.note(offset, is_later, Some(version));
            }
            all.insert((table.number, key), (table, versions));
        }
        for (bucket, work) in work {
            let mut versions = Versions::default();
            let mut rows = 0;
            let first = work.touched.map(|offset| (offset, work.rows, false));
            let later = work.later.into_iter().map(|(offset, more)| (offset, more, true));
            let mut name = None;
            for (offset, more, is_later) in first.into_iter().chain(later) {
                rows += more;
                let timestamp_us = ground.written_us(offset);
                let write = open_work::bucket_write(bucket, ground.partition, rows > 0, offset, timestamp_us);
                let version = write.columns.map(|columns| Version { timestamp_us, columns });
                versions.note(offset, is_later, version);
                name = Some(write.key);
            }
            if let Some(key) = name {
                all.insert((open_work::BUCKETS.number, key), (&open_work::BUCKETS, versions));
            }
        }
        if let Some(checkpoint) = checkpoint {
            let offset = checkpoint.control.next_offset - 1;
            let write = partition_control::write(&checkpoint, ground.written_us(offset));
            let mut versions = Versions::default();
            let version = write.columns.map(|columns| Version { timestamp_us: write.timestamp_us, columns });
            versions.note(offset, false, version);
            all.insert((write.table.number, write.key), (write.table, versions));
        }
        all
    }

    fn checkpoint(&self, pending: impl Iterator<Item = OutboxName>) -> Option<Checkpoint> {
        let control = self.control.clone()?;
        let is_before = |offset: i64| offset < self.stands_at;
        let live = |work: &Work| {
            let later: i64 =
                work.later.iter().filter(|(offset, _)| is_before(**offset)).map(|(_, more)| more).sum();
            work.rows + later > 0
        };
        let lowest = |later: bool| {
            let mut live = self.work.iter().filter(|(bucket, work)| bucket.later == later && live(work));
            live.next().map(|(bucket, _)| bucket.number)
        };
        let delivered_later =
            self.delivered.iter().filter(|(_, offset)| !is_before(**offset)).map(|(name, _)| *name);
        let outbox_from =
            pending.chain(delivered_later).map(|name| name.offset).filter(|offset| is_before(*offset)).min();
        Some(Checkpoint { control, open_now_from: lowest(false), open_later_from: lowest(true), outbox_from })
    }
}
