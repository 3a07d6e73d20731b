//! Reading a run's history: segments in the order of keys, each entry once. What segments are is said in
//! `views::run_history`.

use tidewheel_engine::HistoryEntry;
use tidewheel_schemas::RunId;
use tidewheel_store::{Row, Scan, StoreError};

use super::{PAGE_ROWS, Views};
use crate::views::run_history::{self, BUCKET_ENTRIES, bucket_of, group_start};

/// The entries taken so far.
struct Union {
    /// The number of the next entry to take; those below are taken or not wanted.
    next: u64,
    /// The number of the last entry to take.
    until: u64,
    /// How many are taken at most.
    limit: usize,
    entries: Vec<(u64, HistoryEntry)>,
}

impl Union {
    const fn new(from: u64, until: u64, limit: usize) -> Self {
        Self { next: if from == 0 { 1 } else { from }, until, limit, entries: Vec::new() }
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.entries.len())
    }

    /// Takes what a segment has of the entries wanted. With `no_gap`, nothing of one that begins after the next one;
    /// `false` then.
    fn take(&mut self, row: Row, no_gap: bool) -> Result<bool, StoreError> {
        let (first, entries) = run_history::split(row)?;
        if no_gap && first > self.next {
            return Ok(false);
        }
        for (place, entry) in (0..).zip(entries.iter()) {
            let number = first.saturating_add(place);
            if (self.next..=self.until).contains(&number) && self.room() > 0 {
                self.entries.push((number, run_history::read(entry)?));
                self.next = number.saturating_add(1);
            }
        }
        Ok(true)
    }
}

impl Views {
    /// The entries of a run from number `from` to `version`, up to `limit`, oldest first, each once; fewer where
    /// payloads are large, but at least one if there is one.
    ///
    /// History is written before the header: what is above the header's version is not there yet.
    ///
    /// # Errors
    /// When the store fails or a row cannot be read.
    pub async fn entries(
        &self,
        run_id: RunId,
        from: u64,
        version: u64,
        limit: usize,
    ) -> Result<Vec<(u64, HistoryEntry)>, StoreError> {
        let mut union = Union::new(from, version, limit);
        // Mostly a segment begins where the page before ended; only where none does is the group's beginning read, and
        // only where that lacks an entry, all that the bucket has.
        let (mut from_group, mut whole_bucket) = (false, false);
        while union.room() > 0 && union.next <= version {
            let group = group_start(union.next);
            let start = if from_group { group } else { union.next };
            let bucket_end = (bucket_of(start) + 1).saturating_mul(BUCKET_ENTRIES);
            let wanted = if whole_bucket { BUCKET_ENTRIES } else { union.room() as u64 };
            union.until = version.min(bucket_end).min(union.next.saturating_add(wanted - 1));
            if self.take_segments(run_id, start, start == group, &mut union).await? {
                break;
            }
            let is_done = union.next > union.until;
            if !is_done && whole_bucket {
                let Some(after) = union.until.checked_add(1) else { break };
                union.next = after;
            }
            whole_bucket = !is_done && !whole_bucket && start == group;
            from_group = !is_done && (whole_bucket || start > group);
        }
        Ok(union.entries)
    }

    /// Takes the segments of a bucket that begin with entry `start` and up to the last one wanted. `true` when the
    /// store ended a page of them after entries were found: its rows are large.
    async fn take_segments(
        &self,
        run_id: RunId,
        start: u64,
        is_group: bool,
        union: &mut Union,
    ) -> Result<bool, StoreError> {
        let end = union.until.saturating_add(1);
        let mut scan = Scan {
            partition: Some(run_history::partition_key(run_id, bucket_of(start))),
            from: Some(run_history::clustering_key(start)),
            to: Some(run_history::clustering_key(end)),
            after: None,
            reverse: false,
            limit: usize::try_from(end - start).unwrap_or(PAGE_ROWS).min(PAGE_ROWS),
        };
        loop {
            let page = self.store.scan(self.generation, &run_history::TABLE, &scan).await?;
            for row in page.rows {
                if !union.take(row, !is_group)? {
                    return Ok(false);
                }
            }
            match page.next {
                None => return Ok(false),
                Some(_) if !union.entries.is_empty() => return Ok(true),
                Some(next) => scan.after = Some(next),
            }
        }
    }

    /// The whole history of a run up to a version.
    pub(super) async fn history(&self, run_id: RunId, version: u64) -> Result<Vec<HistoryEntry>, StoreError> {
        let mut union = Union::new(1, version, usize::MAX);
        let Some(last) = version.checked_sub(1) else { return Ok(Vec::new()) };
        union.entries.reserve(usize::try_from(version).unwrap_or(0).min(PAGE_ROWS));
        for bucket in 0..=last / BUCKET_ENTRIES {
            let key = run_history::partition_key(run_id, bucket);
            self.each(&run_history::TABLE, key, None, |row| union.take(row, false).map(drop)).await?;
        }
        Ok(union.entries.into_iter().map(|(_, entry)| entry).collect())
    }
}
