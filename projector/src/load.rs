//! Reading the views back into the fold's types: what an owner takes over from and evicted runs come back through.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidewheel_engine::Run;
use tidewheel_engine::outbox::OutboxEntry;
use tidewheel_engine::run::digest::PartsDigest;
use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{Event, RunId};
use tidewheel_store::{Cursor, Generation, Row, Scan, SharedStore, StoreError, TableSchema, Value};

use crate::views::open_work::{self, Bucket};
use crate::views::parked::{self, ParkedRow};
use crate::views::partition_control::{self, Checkpoint};
use crate::views::run_parts::Parts;
use crate::views::runs::{self, StoredHeader};
use crate::views::{outbox, partition_value};

mod history;

/// How often a torn load is tried again before the run must be refolded.
const LOAD_ATTEMPTS: usize = 5;
const PAGE_ROWS: usize = 1_000;

/// A view that could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Header, parts and history do not fit each other, whatever often they are read.
    #[error("the rows of run {run_id} do not fit each other ({what}); rebuild this run from the log")]
    Torn {
        /// The run.
        run_id: RunId,
        /// What does not fit.
        what: &'static str,
    },
}

impl LoadError {
    /// Whether trying again may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable(_)))
    }
}

/// One generation of the views, for reading.
#[derive(Clone)]
pub struct Views {
    store: SharedStore,
    generation: Generation,
}

impl std::fmt::Debug for Views {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Views").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// A run for which its owner has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenWork {
    /// When, microseconds since 1970; `i64::MIN` is now.
    pub due_us: i64,
    /// The run.
    pub run_id: RunId,
}

/// Where a walk over open work goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWorkPlace {
    bucket: Bucket,
    after: Option<Cursor>,
}

impl Views {
    /// The views of `generation` in `store`.
    pub const fn new(store: SharedStore, generation: Generation) -> Self {
        Self { store, generation }
    }

    /// The store.
    pub const fn store(&self) -> &SharedStore {
        &self.store
    }

    /// The generation.
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// One page of a partition's clustering rows.
    pub(crate) async fn page(
        &self,
        table: &'static TableSchema,
        partition: Vec<Value>,
        from: Option<Vec<Value>>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<tidewheel_store::Page, StoreError> {
        let scan = Scan { partition: Some(partition), from, to: None, after, reverse: false, limit };
        self.store.scan(self.generation, table, &scan).await
    }

    pub(crate) async fn each(
        &self,
        table: &'static TableSchema,
        partition: Vec<Value>,
        from: Option<Vec<Value>>,
        mut row: impl FnMut(Row) -> Result<(), StoreError> + Send,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.page(table, partition.clone(), from.clone(), after, PAGE_ROWS).await?;
            page.rows.into_iter().try_for_each(&mut row)?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// The header of a run, without its state; `None` if no view knows it. One point read.
    ///
    /// # Errors
    /// When the store fails or the row cannot be read.
    pub async fn header(&self, run_id: RunId) -> Result<Option<StoredHeader>, StoreError> {
        let row = self.store.get(self.generation, &runs::TABLE, &runs::header_key(run_id)).await?;
        row.map(|row| runs::read_header(run_id, row)).transpose()
    }

    /// A run with its whole history and parts, as it was in memory after its last applied record; `None`, after one
    /// point read, if no view knows it.
    ///
    /// # Errors
    /// When the store fails, or when header, parts and history do not fit each other after several tries: then the
    /// run must be refolded from the log.
    pub async fn load_run(&self, run_id: RunId) -> Result<Option<Run>, LoadError> {
        let mut torn = "";
        for _ in 0..LOAD_ATTEMPTS {
            let Some(stored) = self.header(run_id).await? else { return Ok(None) };
            match self.load_rest(stored).await? {
                Ok(run) => return Ok(Some(run)),
                Err(what) => torn = what,
            }
        }
        Err(LoadError::Torn { run_id, what: torn })
    }

    async fn load_rest(&self, stored: StoredHeader) -> Result<Result<Run, &'static str>, StoreError> {
        let StoredHeader { mut header, has_state, .. } = stored;
        let mut parts = Parts::default();
        // A run that was just started has none; its header says so.
        if header.parts.count > 0 {
            self.each(&runs::TABLE, runs::partition_key(header.run_id), None, |row| parts.add(row)).await?;
        }
        let history = self.history(header.run_id, header.version).await?;
        if history.len() as u64 != header.version
            || history.last().is_some_and(|entry| entry.offset > header.applied_offset)
        {
            return Ok(Err("the history is shorter or longer than the header says"));
        }
        if has_state {
            header.state = history.iter().rev().find_map(|entry| match &*entry.event {
                Event::RunStateChanged(change) => Some(change.state.clone()),
                _ => None,
            });
        }
        let expected = header.parts;
        let run = Run::from_parts(
            Arc::new(header),
            history,
            parts.unread,
            parts.timers,
            parts.remembered.into_iter().collect(),
        );
        if PartsDigest::of(&run) != expected && !mutation::is(Mutation::TornLoadAccepted) {
            return Ok(Err("the parts are not those the header was written with"));
        }
        Ok(Ok(run))
    }

    /// The checkpoint of a partition; `None` if nothing was projected yet.
    ///
    /// # Errors
    /// When the store fails or the row cannot be read.
    pub async fn checkpoint(&self, partition: u32) -> Result<Option<Checkpoint>, StoreError> {
        let key = partition_control::key(partition);
        let row = self.store.get(self.generation, &partition_control::TABLE, &key).await?;
        row.map(|row| partition_control::read(partition, row)).transpose()
    }

    /// Where a run of a partition is parked, if it is.
    ///
    /// # Errors
    /// When the store fails or the row cannot be read.
    pub async fn parked_run(&self, partition: u32, run_id: RunId) -> Result<Option<ParkedRow>, StoreError> {
        let row =
            self.store.get(self.generation, &parked::TABLE, &parked::row_key(partition, run_id)).await?;
        row.map(parked::read).transpose()
    }

    /// Up to `limit` parked runs of a partition in the order of their ids, those after `after`.
    ///
    /// # Errors
    /// When the store fails or a row cannot be read.
    pub async fn parked(
        &self,
        partition: u32,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<ParkedRow>, StoreError> {
        let (mut from, mut found) = (after.map(parked::key_after), Vec::new());
        let mut next = None;
        while found.len() < limit {
            let (key, left) = (parked::partition_key(partition), limit - found.len());
            let page = self.page(&parked::TABLE, key, from.take(), next.take(), left).await?;
            for row in page.rows {
                found.push(parked::read(row)?);
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// The outbox of a partition as of its checkpoint, in order.
    ///
    /// # Errors
    /// When the store fails or a row cannot be read.
    pub async fn outbox(&self, checkpoint: &Checkpoint) -> Result<Vec<OutboxEntry>, StoreError> {
        let mut entries = Vec::new();
        let Some(from) = checkpoint.outbox_from else { return Ok(entries) };
        let partition = checkpoint.control.partition;
        for bucket in outbox::bucket_of(from)..=outbox::bucket_of(checkpoint.control.next_offset) {
            let from = Some(vec![Value::Int(from)]);
            self.each(&outbox::TABLE, outbox::partition_key(partition, bucket), from, |row| {
                entries.push(outbox::read(row)?);
                Ok(())
            })
            .await?;
        }
        Ok(entries)
    }

    /// The buckets of open work of a partition that have rows, those due now first.
    pub(crate) async fn open_buckets(
        &self,
        checkpoint: &Checkpoint,
        from: Option<Bucket>,
        until_us: i64,
    ) -> Result<Vec<Bucket>, StoreError> {
        let mut buckets = Vec::new();
        for later in [false, true] {
            let Some(lowest) = checkpoint.lowest(later) else { continue };
            let lowest = from.map_or(lowest, |from| from.max(lowest));
            let end = if later {
                until_us.div_euclid(open_work::LATER_BUCKET_US).saturating_add(1)
            } else {
                i64::MAX
            };
            if lowest.later != later {
                continue;
            }
            let scan = Scan {
                partition: Some(vec![partition_value(checkpoint.control.partition)]),
                from: Some(lowest.clustering_key()),
                to: Some(Bucket { later, number: end }.clustering_key()),
                after: None,
                reverse: false,
                limit: PAGE_ROWS,
            };
            self.each_scan(&open_work::BUCKETS, scan, |row| {
                buckets.push(open_work::read_bucket(row)?);
                Ok(())
            })
            .await?;
        }
        Ok(buckets)
    }

    async fn each_scan(
        &self,
        table: &'static TableSchema,
        mut scan: Scan,
        mut row: impl FnMut(Row) -> Result<(), StoreError> + Send,
    ) -> Result<(), StoreError> {
        loop {
            let page = self.store.scan(self.generation, table, &scan).await?;
            page.rows.into_iter().try_for_each(&mut row)?;
            match page.next {
                Some(next) => scan.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// The offsets of the starts of the runs in a bucket.
    pub(crate) async fn open_starts(
        &self,
        partition: u32,
        bucket: Bucket,
    ) -> Result<BTreeSet<i64>, StoreError> {
        let mut starts = BTreeSet::new();
        self.each(&open_work::TABLE, bucket.partition_key(partition), None, |row| {
            starts.insert(open_work::read(row)?.1);
            Ok(())
        })
        .await?;
        Ok(starts)
    }

    /// A page of the runs of a partition that have work due now or before `until_us`, by due time (those due now
    /// first, oldest start first). Up to `limit`; `None` as the second value after the last page.
    ///
    /// # Errors
    /// When the store fails or a row cannot be read.
    pub async fn open_work(
        &self,
        checkpoint: &Checkpoint,
        until_us: i64,
        place: Option<OpenWorkPlace>,
        limit: usize,
    ) -> Result<(Vec<OpenWork>, Option<OpenWorkPlace>), StoreError> {
        let partition = checkpoint.control.partition;
        let start = place.as_ref().map(|place| place.bucket);
        let mut buckets = self.open_buckets(checkpoint, start, until_us).await?.into_iter().peekable();
        let mut after = place.and_then(|place| place.after);
        let mut found = Vec::new();
        while let Some(bucket) = buckets.next() {
            // The bucket a page ended in may have emptied since; its cursor is of no other one.
            let cursor = if start == Some(bucket) { after.take() } else { None };
            let scan = Scan {
                partition: Some(bucket.partition_key(partition)),
                from: None,
                to: bucket.later.then(|| vec![Value::Int(until_us)]),
                after: cursor,
                reverse: false,
                limit: (limit.max(1) - found.len()).max(1),
            };
            let page = self.store.scan(self.generation, &open_work::TABLE, &scan).await?;
            for row in page.rows {
                let (due_us, _, run_id) = open_work::read(row)?;
                found.push(OpenWork { due_us, run_id });
            }
            if let Some(next) = page.next {
                return Ok((found, Some(OpenWorkPlace { bucket, after: Some(next) })));
            }
            if found.len() >= limit {
                let next = buckets.peek().map(|bucket| OpenWorkPlace { bucket: *bucket, after: None });
                return Ok((found, next));
            }
        }
        Ok((found, None))
    }
}

impl OpenWorkPlace {
    /// The place as bytes, for those who hand it on.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.bucket.later)];
        bytes.extend_from_slice(&self.bucket.number.to_be_bytes());
        if let Some(Cursor(cursor)) = &self.after {
            bytes.extend_from_slice(cursor);
        }
        bytes
    }

    /// The place that [`Self::to_bytes`] wrote; `None` if the bytes are too short to be one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (later, rest) = bytes.split_first()?;
        let (number, cursor) = rest.split_first_chunk::<8>()?;
        let bucket = Bucket { later: *later != 0, number: i64::from_be_bytes(*number) };
        let after = (!cursor.is_empty()).then(|| Cursor(bytes::Bytes::copy_from_slice(cursor)));
        Some(Self { bucket, after })
    }
}
