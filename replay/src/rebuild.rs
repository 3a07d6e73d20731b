//! Rebuilding: writes the views of a topic into an empty generation from the log alone, with the projector's own
//! chunks. Live traffic, and moving readers to the new generation, are not its business.

use tidewheel_engine::{Fold, FoldError};
use tidewheel_log::LogError;
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_projector::load::{self, LoadError};
use tidewheel_projector::views::TABLES;
use tidewheel_schemas::{Record, RunId, TopicPartition};
use tidewheel_store::{Generation, StoreError};

use crate::verify::Views;

/// Records read at once.
const READ_RECORDS: usize = 2_048;

/// How much is held in memory.
#[derive(Debug, Clone, Copy)]
pub struct RebuildOptions {
    /// Records of a chunk: the more, the fewer rows are written that a later record changes again.
    pub chunk_records: usize,
    /// Bytes of values after which a chunk ends before it has that many records.
    pub chunk_bytes: usize,
    /// Unfinished runs kept in memory after a chunk; those untouched for longest leave it and are loaded again.
    pub runs_max: usize,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self { chunk_records: 16_384, chunk_bytes: 16 * 1024 * 1024, runs_max: 50_000 }
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

/// A rebuild that could not be finished. What it wrote is of no use: drop the generation.
#[derive(Debug, thiserror::Error)]
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
    /// The log does not begin at its beginning.
    #[error("{partition} begins at offset {start}: what was trimmed cannot be rebuilt from the log")]
    Trimmed {
        /// The partition.
        partition: TopicPartition,
        /// Its first offset.
        start: i64,
    },
    /// The generation holds rows.
    #[error("{partition}: generation {} holds its views before offset {next_offset}; rebuild into an empty one", .generation.0)]
    NotEmpty {
        /// The partition.
        partition: TopicPartition,
        /// The generation.
        generation: Generation,
        /// Where its views stand.
        next_offset: i64,
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
}

/// Rebuilds the views of one partition up to where its log ends when it begins. Partitions may be rebuilt at once,
/// each in a task of its own.
///
/// # Errors
/// See [`RebuildError`].
pub async fn rebuild(
    views: &Views,
    partition: u32,
    options: &RebuildOptions,
) -> Result<Rebuilt, RebuildError> {
    let place = TopicPartition::new(views.topic.clone(), partition);
    let bounds = views.log.bounds(&place).await?;
    if bounds.start > 0 {
        return Err(RebuildError::Trimmed { partition: place, start: bounds.start });
    }
    views.store.create_tables(views.generation, TABLES).await?;
    let rows = load::Views::new(views.store.clone(), views.generation);
    if let Some(checkpoint) = rows.checkpoint(partition).await? {
        let next_offset = checkpoint.control.next_offset;
        return Err(RebuildError::NotEmpty { partition: place, generation: views.generation, next_offset });
    }
    let mut work = Work {
        views,
        rows,
        options,
        fold: Fold::new(partition),
        live: Live::default(),
        finished: Vec::new(),
        rebuilt: Rebuilt::default(),
    };
    let mut offset = 0;
    while offset < bounds.end {
        let mut chunk = Chunk::new(work.fold.control().clone());
        let mut bytes = 0;
        while chunk.records() < options.chunk_records.max(1)
            && bytes < options.chunk_bytes
            && offset < bounds.end
        {
            let left = usize::try_from(bounds.end - offset).unwrap_or(usize::MAX);
            let most = READ_RECORDS.min(left).min(options.chunk_records.max(1));
            let records = views.log.read(&place, offset, most).await?;
            let Some(last) = records.last() else {
                return Err(RebuildError::Ended { partition: place, end: offset, expected: bounds.end });
            };
            offset = last.offset + 1;
            bytes += records.iter().map(|record| record.value.len()).sum::<usize>();
            work.fold(&records, &mut chunk).await?;
        }
        work.write(chunk).await?;
    }
    Ok(work.rebuilt)
}

struct Work<'a> {
    views: &'a Views,
    rows: load::Views,
    options: &'a RebuildOptions,
    fold: Fold,
    live: Live,
    /// Runs that ended in the chunk.
    finished: Vec<RunId>,
    rebuilt: Rebuilt,
}

impl Work<'_> {
    async fn fold(&mut self, records: &[Record], chunk: &mut Chunk) -> Result<(), RebuildError> {
        for record in records {
            if let Some(run_id) = self.fold.wanted(record)
                && let Some(run) = self.rows.load_run(run_id).await?
            {
                self.fold.insert(run);
            }
            let transition = self.fold.apply(record)?;
            if let Some(change) = &transition.run
                && change.after.status.is_finished()
            {
                self.finished.push(change.after.run_id);
            }
            chunk.add(std::slice::from_ref(&transition), self.fold.control(), &self.live);
        }
        self.rebuilt.records += records.len() as u64;
        Ok(())
    }

    async fn write(&mut self, chunk: Chunk) -> Result<(), RebuildError> {
        let chunk = chunk.finish(&mut self.live, true);
        self.views.store.write(self.views.generation, &chunk.writes).await?;
        self.rebuilt.rows += chunk.writes.iter().count() as u64;
        self.rebuilt.chunks += 1;
        let applied = self.fold.control().next_offset - 1;
        for run_id in self.finished.drain(..) {
            self.fold.evict(run_id, applied);
        }
        if self.fold.runs().len() > self.options.runs_max {
            // Half of them, so that this is not done after every chunk.
            let mut runs: Vec<_> =
                self.fold.runs().values().map(|run| (run.header.applied_offset, run.header.run_id)).collect();
            runs.sort_unstable();
            let surplus = runs.len() - self.options.runs_max / 2;
            for (_, run_id) in runs.into_iter().take(surplus) {
                self.fold.evict(run_id, applied);
            }
        }
        Ok(())
    }
}
