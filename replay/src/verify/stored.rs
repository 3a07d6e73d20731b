//! Reading what is stored: every row of every table once, page by page, each handed to the partition it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidewheel_projector::views::{TABLES, run_history};
use tidewheel_store::{Row, RowKey, Scan, TableSchema};

use super::compare::Found;
use super::digest::{self, Sums};
use super::ground::Ground;
use super::owner::{self, Owner};
use super::scope::{Chosen, Scope};
use super::threads::{self, Work};
use super::{Job, Kind, Remedy, VerifyError};

const PAGE_ROWS: usize = 1_000;

/// A table and one of its rows.
pub(super) type Stored = (&'static TableSchema, Row);

/// What the rows of the views are, in sums.
pub(super) struct Summed {
    /// By partition, in the order of the grounds.
    pub(super) sums: Vec<Sums>,
    /// Rows that stand for several runs.
    pub(super) shared: Vec<Stored>,
    /// Rows that belong to no partition of the log, as far as they are described.
    pub(super) strays: Vec<Found>,
    /// How many of these there are.
    pub(super) stray_count: u64,
    /// Rows read and within the scope, by table.
    pub(super) rows_by_table: BTreeMap<&'static str, u64>,
}

struct Collector {
    sums: Vec<Sums>,
    shared: Mutex<Vec<Stored>>,
    strays: Mutex<Vec<Found>>,
    stray_count: AtomicU64,
}

/// Sums up every row within the scope.
pub(super) async fn sum_up(job: &Arc<Job>, grounds: &Arc<Vec<Ground>>) -> Result<Summed, VerifyError> {
    let sums = grounds.iter().map(|_| Sums::new(job.scope.buckets())).collect();
    let collector = Arc::new(Collector {
        sums,
        shared: Mutex::default(),
        strays: Mutex::default(),
        stray_count: AtomicU64::default(),
    });
    let read = |table: &'static TableSchema| -> Work<u64> {
        let (job, grounds, collector) = (Arc::clone(job), Arc::clone(grounds), Arc::clone(&collector));
        Box::pin(async move { each(&job, table, |row| collector.take(&job, &grounds, table, row)).await })
    };
    let counts = threads::each(job.threads, TABLES.iter().copied().map(read).collect()).await?;
    let rows_by_table = TABLES.iter().map(|table| table.name).zip(counts).collect();
    let collector =
        Arc::into_inner(collector).ok_or_else(|| VerifyError::Thread("one is not done".to_owned()))?;
    Ok(Summed {
        sums: collector.sums,
        shared: collector.shared.into_inner(),
        strays: collector.strays.into_inner(),
        stray_count: collector.stray_count.into_inner(),
        rows_by_table,
    })
}

impl Collector {
    /// Takes a row in; whether it is within the scope.
    fn take(&self, job: &Job, grounds: &[Ground], table: &'static TableSchema, row: Row) -> bool {
        let Some((partition, owner)) = owner::of_row(table, &row.key, &row.columns, job.views.partitions)
        else {
            if job.is_whole() {
                self.stray_count.fetch_add(1, Ordering::Relaxed);
                let mut strays = self.strays.lock();
                if strays.len() < job.differences_max {
                    strays.push(stray(table, row));
                }
            }
            return job.is_whole();
        };
        let Some(place) = job.place_of(partition) else { return false };
        if owner == Owner::Partition {
            if job.scope.is_whole() {
                self.shared.lock().push((table, row));
            }
            return job.scope.is_whole();
        }
        let (Some(bucket), Some(ground)) = (job.scope.bucket(owner), grounds.get(place)) else {
            return false;
        };
        let sums = &self.sums[place];
        sums.note(bucket, digest::cost(&row.key, &row.columns));
        if ground.is_later(row.timestamp_us) {
            sums.leave_out(bucket);
            return true;
        }
        if table.number == run_history::TABLE.number {
            sum_history(sums, bucket, row, ground);
        } else {
            let base_us = ground.base_us(row.timestamp_us);
            sums.add(bucket, digest::of_row(table, &row.key, &row.columns, base_us));
        }
        true
    }
}

/// Sums up a segment entry by entry. One that is not as it must be, apart from what its entries are, spoils the sum.
fn sum_history(sums: &Sums, bucket: usize, row: Row, ground: &Ground) {
    let (partition, base_us) = (row.key.partition.clone(), ground.base_us(row.timestamp_us));
    let Ok((first, entries)) = run_history::split(row) else { return sums.add(bucket, 1) };
    let mut last = first;
    let mut offset = None;
    for (number, entry) in (first..).zip(entries.iter()) {
        sums.add(bucket, digest::of_entry(&run_history::TABLE, &partition, number, entry));
        last = number;
        offset = entry.first_int();
    }
    let is_timed = offset.is_some_and(|offset| ground.written_us(offset) == base_us);
    if !is_timed || run_history::group_start(last) != run_history::group_start(first) {
        sums.add(bucket, 1);
    }
}

fn stray(table: &'static TableSchema, row: Row) -> Found {
    Found {
        table,
        key: row.key,
        kind: Kind::Extra,
        what: format!("written at {}; it names no partition of the log", row.timestamp_us),
        offset: None,
        remedy: Remedy::Rebuild,
        stored_us: Some(row.timestamp_us),
    }
}

/// The rows of one partition that are looked at closely.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Rows by table and key.
    pub(super) rows: BTreeMap<(u16, RowKey), Stored>,
    /// Segments of histories.
    pub(super) history: Vec<Row>,
}

/// Reads the rows of the buckets chosen, by partition in the order of the grounds.
pub(super) async fn chosen(
    job: &Arc<Job>,
    chosen: &Arc<Vec<Chosen>>,
    scope: &Scope,
) -> Result<(Vec<Rows>, BTreeMap<&'static str, u64>), VerifyError> {
    let collected: Arc<Vec<Mutex<Rows>>> = Arc::new(chosen.iter().map(|_| Mutex::default()).collect());
    let read = |table: &'static TableSchema| -> Work<u64> {
        let (job, chosen, scope) = (Arc::clone(job), Arc::clone(chosen), scope.clone());
        let collected = Arc::clone(&collected);
        Box::pin(async move {
            let partitions = job.views.partitions;
            let take = |row: Row| {
                let owned = owner::of_row(table, &row.key, &row.columns, partitions);
                let Some((partition, owner)) = owned else { return false };
                let Some(place) = job.place_of(partition) else { return false };
                if owner == Owner::Partition || !chosen[place].contains(scope.bucket(owner)) {
                    return false;
                }
                let mut rows = collected[place].lock();
                if table.number == run_history::TABLE.number {
                    rows.history.push(row);
                } else {
                    rows.rows.insert((table.number, row.key.clone()), (table, row));
                }
                true
            };
            each(&job, table, take).await
        })
    };
    let counts = threads::each(job.threads, TABLES.iter().copied().map(read).collect()).await?;
    let rows_by_table = TABLES.iter().map(|table| table.name).zip(counts).collect();
    let collected =
        Arc::into_inner(collected).ok_or_else(|| VerifyError::Thread("one is not done".to_owned()))?;
    Ok((collected.into_iter().map(Mutex::into_inner).collect(), rows_by_table))
}

/// Hands every row of a table over; how many were taken.
async fn each(
    job: &Job,
    table: &'static TableSchema,
    mut take: impl FnMut(Row) -> bool + Send,
) -> Result<u64, VerifyError> {
    let mut scan =
        Scan { partition: None, from: None, to: None, after: None, reverse: false, limit: PAGE_ROWS };
    let mut taken = 0;
    loop {
        job.meter.check()?;
        let page = job.views.store.scan(job.views.generation, table, &scan).await?;
        job.meter.rows(page.rows.len() as u64);
        for row in page.rows {
            taken += u64::from(take(row));
        }
        match page.next {
            Some(next) => scan.after = Some(next),
            None => return Ok(taken),
        }
    }
}
