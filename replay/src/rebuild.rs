//! Rebuilding: writes the views of a partition into a generation from the log alone, with the projector's own chunks.
//! It goes on where the generation stands. Live traffic, and moving readers to the generation, are not its business.

use std::time::Duration;

use tidewheel_engine::{Control, Fold, FoldError, Transition, fold};
use tidewheel_log::LogError;
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_projector::load::{self, LoadError};
use tidewheel_projector::views::TABLES;
use tidewheel_runtime::{CheckpointMismatch, checkpoint};
use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{Record, RunId, TopicPartition};
use tidewheel_store::{StoreError, WriteSet};
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::turns::{Turn, Turns};
use crate::verify::Views;

/// Records read at once.
const READ_RECORDS: usize = 2_048;
/// Records folded before what they changed is taken into the chunk: as much as stays near the processor.
const FOLDED_RECORDS: usize = 128;
/// The longest time that a chunk is folded over.
const CHUNK_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// How much is held in memory.
#[derive(Debug, Clone, Copy)]
pub struct RebuildOptions {
    /// Records of a chunk: the more, the fewer rows are written that a later record changes again.
    pub chunk_records: usize,
    /// Bytes of values after which a chunk ends before it has that many records.
    pub chunk_bytes: usize,
    /// Unfinished runs kept in memory after a chunk; those untouched for longest leave it and are loaded again.
    pub runs_max: usize,
    /// Records behind the end of the log at which a share that fills a generation goes on by following the log.
    pub near: i64,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self { chunk_records: 32_768, chunk_bytes: 32 * 1024 * 1024, runs_max: 50_000, near: 512 }
    }
}

/// What was rebuilt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Records folded.
    pub records: u64,
    /// Rows put and deleted.
    pub rows: u64,
    /// Chunks written.
    pub chunks: u64,
}

/// A rebuild that could not go on. What it wrote stays good: begun again, it goes on there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RebuildError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A run that had left memory cannot be read back.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The log is ahead of this build.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The log is not the one that these views were built from.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointMismatch),
    /// The log does not hold what comes next.
    #[error(
        "{partition} begins at offset {start}: {} to {} were trimmed and cannot be rebuilt from the log; configure the \
         archive that holds them",
        .next, .start - 1
    )]
    Trimmed {
        /// The partition.
        partition: TopicPartition,
        /// Its first offset.
        start: i64,
        /// The offset that is needed.
        next: i64,
    },
    /// The log ended before the end it had when the rebuild began.
    #[error("{partition} ends at offset {end}, it had {expected} records")]
    Ended {
        /// The partition.
        partition: TopicPartition,
        /// Where it ends.
        end: i64,
        /// Where it ended.
        expected: i64,
    },
    /// A task that folded or wrote a chunk ended early.
    #[error("a task of the rebuild ended early: {0}")]
    Task(String),
}

/// Where the rows of a chunk are written while the next one is folded, as long as there is a turn to spare for it.
#[derive(Debug, Clone)]
pub struct Beside {
    /// A chunk that is being written has one of them, as one that is being folded has.
    pub turns: Turns,
    /// Has ended when nothing is written any more, whatever became of those who began it.
    pub writes: TaskTracker,
}

/// A chunk that is being written.
struct Pending {
    written: AbortOnDropHandle<Result<(), StoreError>>,
    /// The offset at which it begins.
    next_offset: i64,
    /// What will have been done.
    rebuilt: Rebuilt,
    /// The runs that left memory at its end, sorted: of no others that are not in memory it has rows.
    left: Vec<RunId>,
}

/// Rebuilds the views of one partition up to where its log ends when this begins, from where they stand. Partitions may
/// be rebuilt at once, each in a task of its own; those that share `turns` hold as many chunks as these allow. When this
/// is dropped, a chunk may still be being written for a moment.
///
/// # Errors
/// See [`RebuildError`].
pub async fn rebuild(
    views: &Views,
    partition: u32,
    options: &RebuildOptions,
    turns: &Turns,
) -> Result<Rebuilt, RebuildError> {
    views.store.create_tables(views.generation, TABLES).await?;
    let beside = Beside { turns: turns.clone(), writes: TaskTracker::new() };
    let rebuilding = Rebuilding::open(views.clone(), partition, *options, true).await?;
    let mut rebuilding = rebuilding.writes_beside(beside);
    let end = views.log.bounds(rebuilding.place()).await?.end;
    let records = options.chunk_records;
    while rebuilding.next_offset() < end {
        let turn = turns.take().await;
        // A task that ends leaves its thread, so that what it began to write is taken up while the next one folds.
        let chunk = tokio::spawn(rebuilding.chunk_in_turn(end, records, Duration::ZERO, turn));
        let made = AbortOnDropHandle::new(chunk).await;
        rebuilding = made.map_err(|error| RebuildError::Task(error.to_string()))??;
    }
    rebuilding.settle().await?;
    Ok(rebuilding.rebuilt)
}

/// The rebuilding of one partition, chunk by chunk.
pub struct Rebuilding {
    views: Views,
    place: TopicPartition,
    rows: load::Views,
    options: RebuildOptions,
    atomic: bool,
    fold: Fold,
    live: Live,
    /// Runs that ended and are still in memory, with their last offset.
    finished: Vec<RunId>,
    /// Runs that left memory when this was told to let go of some.
    left: Vec<RunId>,
    rebuilt: Rebuilt,
    beside: Option<Beside>,
    pending: Option<Pending>,
}

impl Rebuilding {
    /// Goes on where the generation stands, whose tables exist. `atomic` says whether the store writes a chunk as one
    /// batch.
    ///
    /// # Errors
    /// When the store fails, when the log is ahead of this build, or when it does not hold what comes next.
    pub async fn open(
        views: Views,
        partition: u32,
        options: RebuildOptions,
        atomic: bool,
    ) -> Result<Self, RebuildError> {
        let place = TopicPartition::new(views.topic.clone(), partition);
        let rows = load::Views::new(views.store.clone(), views.generation);
        let (fold, live) = match rows.checkpoint(partition).await? {
            None => (Fold::new(partition), Live::default()),
            Some(checkpoint) => {
                fold::check(&checkpoint.control)?;
                let live = Live::load(&rows, &checkpoint).await?;
                let outbox = rows.outbox(&checkpoint).await?;
                (Fold::resume(checkpoint.control, outbox), live)
            }
        };
        let next = fold.control().next_offset;
        let start = views.log.bounds(&place).await?.start;
        if start > next {
            return Err(RebuildError::Trimmed { partition: place, start, next });
        }
        // What was trimmed was archived, and so was the event before.
        if next > start {
            checkpoint::verify(&views.log, &place, fold.control()).await??;
        }
        Ok(Self {
            views,
            place,
            rows,
            options,
            atomic,
            fold,
            live,
            finished: Vec::new(),
            left: Vec::new(),
            rebuilt: Rebuilt::default(),
            beside: None,
            pending: None,
        })
    }

    /// Writes the rows of a chunk while the next one is folded, from now on. They are written for sure after
    /// [`Self::settle`] alone.
    #[must_use]
    pub fn writes_beside(mut self, beside: Beside) -> Self {
        self.beside = Some(beside);
        self
    }

    /// The partition.
    pub const fn place(&self) -> &TopicPartition {
        &self.place
    }

    /// The offset of the record that comes next.
    pub const fn next_offset(&self) -> i64 {
        self.fold.control().next_offset
    }

    /// The offset of the first record whose rows may not be written yet. Where records are folded for a projector, what
    /// that one has written is its business.
    pub fn written_offset(&self) -> i64 {
        self.pending.as_ref().map_or(self.next_offset(), |pending| pending.next_offset)
    }

    /// What was done since this was opened, as far as it is written.
    pub const fn rebuilt(&self) -> Rebuilt {
        self.rebuilt
    }

    /// Waits until the rows of all chunks are written. Cancel-safe.
    ///
    /// # Errors
    /// When the store failed. After that this must be opened anew.
    pub async fn settle(&mut self) -> Result<(), RebuildError> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let written = (&mut pending.written).await;
        let rebuilt = pending.rebuilt;
        self.pending = None;
        written.map_err(|error| RebuildError::Task(error.to_string()))??;
        self.rebuilt = rebuilt;
        Ok(())
    }

    /// Folds and writes the next chunk: at most `records_max` records, none of them at or after `end`, which the log
    /// had at least once.
    ///
    /// # Errors
    /// See [`RebuildError`]. After one this must be opened anew.
    pub async fn chunk(&mut self, end: i64, records_max: usize) -> Result<(), RebuildError> {
        self.chunk_over(end, records_max, Duration::ZERO).await
    }

    /// As [`Self::chunk`], but folds the records little by little, over about this time and an hour at most, so that
    /// whoever needs the processor meanwhile does not wait for all of them. Its rows are made and written in one go at the
    /// end. When it is dropped before that, this must be opened anew.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn chunk_over(
        &mut self,
        end: i64,
        records_max: usize,
        time: Duration,
    ) -> Result<(), RebuildError> {
        let begin = self.next_offset();
        let done = match self.fold_chunk(end, records_max, time).await {
            Ok((records, writes)) => self.write(begin, records, writes).await,
            Err(error) => Err(error),
        };
        if done.is_err() {
            // Whoever begins again must not meet what this one still writes; that it fails, too, says nothing more.
            let _ = self.settle().await;
        }
        done
    }

    /// As [`Self::chunk_over`], for a task of its own: a turn is over when this is, and what was rebuilt comes back.
    pub(crate) async fn chunk_in_turn(
        mut self,
        end: i64,
        records_max: usize,
        time: Duration,
        turn: Turn,
    ) -> Result<Self, RebuildError> {
        let made = self.chunk_over(end, records_max, time).await;
        turn.end();
        made.map(|()| self)
    }

    async fn fold_chunk(
        &mut self,
        end: i64,
        records_max: usize,
        time: Duration,
    ) -> Result<(u64, WriteSet), RebuildError> {
        let began = Instant::now();
        let most = records_max.clamp(1, self.options.chunk_records.max(1));
        let mut chunk = Chunk::new(self.fold.control().clone());
        let mut transitions = Vec::with_capacity(FOLDED_RECORDS);
        let mut bytes = 0;
        while chunk.records() < most && bytes < self.options.chunk_bytes && self.next_offset() < end {
            let left = usize::try_from(end - self.next_offset()).unwrap_or(usize::MAX);
            let wanted = READ_RECORDS.min(left).min(most - chunk.records());
            let records = self.views.log.read(&self.place, self.next_offset(), wanted).await?;
            if records.is_empty() {
                let partition = self.place.clone();
                return Err(RebuildError::Ended { partition, end: self.next_offset(), expected: end });
            }
            bytes += records.iter().map(|record| record.value.len()).sum::<usize>();
            for records in records.chunks(FOLDED_RECORDS) {
                if !time.is_zero() && chunk.records() > 0 {
                    let done = chunk.records() as f64 / most as f64;
                    tokio::time::sleep_until(began + time.min(CHUNK_TIME_MAX).mul_f64(done)).await;
                }
                for record in records {
                    let transition = self.apply(record).await?;
                    transitions.push(transition);
                }
                chunk.add(&transitions, self.fold.control(), &self.live);
                transitions.clear();
            }
        }
        let records = chunk.records() as u64;
        let mut chunk = chunk.finish(&mut self.live, self.atomic);
        chunk.writes.is_bulk = true;
        // Before they are written, for less is held then: after a failure nothing that is in memory is used any more.
        self.evict(self.next_offset() - 1);
        Ok((records, chunk.writes))
    }

    /// Writes a chunk after the one before: chunks are written one at a time and in order.
    async fn write(&mut self, begin: i64, records: u64, writes: WriteSet) -> Result<(), RebuildError> {
        self.settle().await?;
        let mut rebuilt = self.rebuilt;
        rebuilt.records += records;
        rebuilt.rows += writes.iter().count() as u64;
        rebuilt.chunks += 1;
        let (store, generation) = (self.views.store.clone(), self.views.generation);
        let spare = self.beside.as_ref().and_then(|beside| Some((beside, beside.turns.try_take()?)));
        let Some((beside, turn)) = spare else {
            store.write(generation, &writes).await?;
            self.rebuilt = rebuilt;
            return Ok(());
        };
        let written = beside.writes.spawn(async move {
            let written = store.write(generation, &writes).await;
            drop(writes);
            turn.end();
            written
        });
        let mut left = std::mem::take(&mut self.left);
        left.sort_unstable();
        let written = AbortOnDropHandle::new(written);
        self.pending = Some(Pending { written, next_offset: begin, rebuilt, left });
        Ok(())
    }

    /// Folds records without writing them, for whoever hands what they change to a projector; with Control after the
    /// last of them.
    ///
    /// # Errors
    /// See [`RebuildError`]. After one this must be opened anew.
    pub async fn fold(&mut self, records: &[Record]) -> Result<(Vec<Transition>, &Control), RebuildError> {
        let mut transitions = Vec::with_capacity(records.len());
        for record in records {
            transitions.push(self.apply(record).await?);
        }
        self.rebuilt.records += records.len() as u64;
        Ok((transitions, self.fold.control()))
    }

    async fn apply(&mut self, record: &Record) -> Result<Transition, RebuildError> {
        if let Some(run_id) = self.fold.wanted(record)
            && !mutation::is(Mutation::RebuildForgetsEvicted)
        {
            // It may have left memory for rows that are still on their way.
            if self.pending.as_ref().is_some_and(|pending| pending.left.binary_search(&run_id).is_ok()) {
                self.settle().await?;
            }
            if let Some(run) = self.rows.load_run(run_id).await? {
                self.fold.insert(run);
            }
        }
        let transition = self.fold.apply(record)?;
        if let Some(change) = &transition.run
            && change.after.status.is_finished()
        {
            self.finished.push(change.after.run_id);
        }
        Ok(transition)
    }

    /// Lets go of runs that the views hold, whose last offset is `applied`: those that ended, and of the others as many
    /// as are too many.
    pub fn evict(&mut self, applied: i64) {
        let (fold, left) = (&mut self.fold, &mut self.left);
        left.clear();
        self.finished.retain(|run_id| {
            let leaves = fold.evict(*run_id, applied);
            if leaves {
                left.push(*run_id);
            }
            !leaves && fold.run(*run_id).is_some()
        });
        if self.fold.runs().len() > self.options.runs_max {
            // Half of them, so that this is not done after every chunk.
            let mut runs: Vec<_> =
                self.fold.runs().values().map(|run| (run.header.applied_offset, run.header.run_id)).collect();
            runs.sort_unstable();
            let surplus = runs.len() - self.options.runs_max / 2;
            for (_, run_id) in runs.into_iter().take(surplus) {
                if self.fold.evict(run_id, applied) {
                    self.left.push(run_id);
                }
            }
        }
    }
}
