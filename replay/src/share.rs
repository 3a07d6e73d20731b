//! One process's share in a generation of the views: a partition that is filled from the log and, once it is there,
//! follows it. It works beside what is live and holds nothing of it up.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidewheel_log::LogError;
use tidewheel_projector::{Projector, ProjectorError};
use tidewheel_schemas::{Record, RecordHeaders, RunId};
use tidewheel_store::StoreError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pace::Pace;
use crate::rebuild::{Beside, RebuildError, RebuildOptions, Rebuilding};
use crate::thread::Background;
use crate::turns::{Turn, Turns};
use crate::verify::Views;

/// Most records that are followed at once.
const FOLLOWED_MAX: usize = 1_024;
/// The longest time that a chunk of a slowed filling is folded over: it does not hear of a pause meanwhile.
const FOLDED_OVER_MAX: Duration = Duration::from_millis(200);
/// How long a share rests after a failure that may pass, at first and at most.
const REST: Duration = Duration::from_millis(200);
const REST_MAX: Duration = Duration::from_secs(10);
/// How long it rests after a failure that waiting does not mend.
const REST_FOR_GOOD: Duration = Duration::from_secs(30);

/// Where the shares of a process stand, by generation and partition.
pub type Standings = Arc<Mutex<BTreeMap<(u32, u32), Standing>>>;

/// Where a share stands, for those who watch it. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    next_offset: AtomicI64,
    records: AtomicU64,
    rows: AtomicU64,
    follows: AtomicBool,
    run_id: Mutex<Option<RunId>>,
    moved_at: Mutex<Instant>,
    failure: Mutex<Option<String>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            next_offset: AtomicI64::new(0),
            records: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            follows: AtomicBool::new(false),
            run_id: Mutex::new(None),
            moved_at: Mutex::new(Instant::now()),
            failure: Mutex::new(None),
        }
    }
}

impl Standing {
    /// The offset of the first record whose rows are not written yet, and of the one that comes next where it follows.
    pub fn next_offset(&self) -> i64 {
        self.0.next_offset.load(Ordering::Relaxed)
    }

    /// Records folded since the process took the share, those of a chunk once it is written.
    pub fn records(&self) -> u64 {
        self.0.records.load(Ordering::Relaxed)
    }

    /// Rows written while it was filled, since the process took the share.
    pub fn rows(&self) -> u64 {
        self.0.rows.load(Ordering::Relaxed)
    }

    /// Whether it was filled and follows the log.
    pub fn follows(&self) -> bool {
        self.0.follows.load(Ordering::Relaxed)
    }

    /// The run whose record it is at, if it is one's.
    pub fn run_id(&self) -> Option<RunId> {
        *self.0.run_id.lock()
    }

    /// For how long it has not come further.
    pub fn still_for(&self) -> Duration {
        self.0.moved_at.lock().elapsed()
    }

    /// Why it does not come further, as far as it knows.
    pub fn failure(&self) -> Option<String> {
        self.0.failure.lock().clone()
    }

    fn moved(&self, rebuilding: &Rebuilding) {
        self.0.next_offset.store(rebuilding.written_offset(), Ordering::Relaxed);
        self.0.records.store(rebuilding.rebuilt().records, Ordering::Relaxed);
        self.0.rows.store(rebuilding.rebuilt().rows, Ordering::Relaxed);
        *self.0.run_id.lock() = None;
        *self.0.moved_at.lock() = Instant::now();
        self.0.failure.lock().take();
    }

    /// Work that is no filling stands at this offset, and has done so much of it.
    pub(crate) fn stands_at(&self, next_offset: Option<i64>, records: u64) {
        if let Some(next_offset) = next_offset {
            self.0.next_offset.store(next_offset, Ordering::Relaxed);
        }
        self.0.records.fetch_max(records, Ordering::Relaxed);
        *self.0.moved_at.lock() = Instant::now();
        self.0.failure.lock().take();
    }

    /// More rows were written.
    pub(crate) fn wrote(&self, rows: u64) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// It does not come further, and why.
    pub fn fails(&self, why: String) {
        *self.0.failure.lock() = Some(why);
    }

    /// It has nothing to do, which is no stall.
    pub fn rests(&self) {
        *self.0.moved_at.lock() = Instant::now();
    }
}

/// A share that cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ShareError {
    /// The views cannot be written on.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The projector of the generation stopped.
    #[error(transparent)]
    Projector(#[from] ProjectorError),
    /// The thread that made a chunk ended early.
    #[error("the thread that made a chunk of rows ended early: {0}")]
    Thread(String),
}

impl ShareError {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rebuild(RebuildError::Log(error)) | Self::Log(error) => error.is_transient(),
            Self::Rebuild(RebuildError::Store(error)) | Self::Projector(ProjectorError::Store(error)) => {
                matches!(error, StoreError::Unavailable(_))
            }
            Self::Rebuild(RebuildError::Load(error)) => error.is_transient(),
            Self::Rebuild(
                RebuildError::Fold(_)
                | RebuildError::Checkpoint(_)
                | RebuildError::Trimmed { .. }
                | RebuildError::Ended { .. }
                | RebuildError::Task(_),
            )
            | Self::Projector(_)
            | Self::Thread(_) => false,
        }
    }
}

/// A partition of a generation that this process fills.
pub struct Share {
    /// The log and the generation, whose tables exist.
    pub views: Views,
    /// The partition.
    pub partition: u32,
    /// The generation's projector, which takes over once the share follows.
    pub projector: Projector,
    /// How much is held in memory.
    pub options: RebuildOptions,
    /// Whether the store writes a chunk as one batch.
    pub atomic: bool,
    /// How fast it may be filled. Following is as fast as the log.
    pub pace: Pace,
    /// How many chunks this process has in memory at once.
    pub turns: Turns,
    /// Where chunks are made, apart from what serves requests; in place unless there is one.
    pub background: Option<Arc<Background>>,
    /// Where it stands.
    pub standing: Standing,
}

impl Share {
    /// Fills and follows until `stop`. A log or store that is away is waited for; what waiting has not mended is reported
    /// and tried again after a longer rest, for it may be mended elsewhere: an archive configured, rows written by
    /// another process.
    ///
    /// Nothing is written any more when this has ended: on a store that writes a chunk as one batch there is one writer.
    pub async fn run(self, stop: CancellationToken) {
        let chunks = TaskTracker::new();
        self.run_until(&stop, &chunks).await;
        chunks.close();
        chunks.wait().await;
    }

    async fn run_until(&self, stop: &CancellationToken, chunks: &TaskTracker) {
        let mut rest = REST;
        loop {
            let before = self.standing.next_offset();
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                ended = self.work(chunks) => ended,
            };
            let error = match ended {
                Ok(never) => match never {},
                Err(error) => error,
            };
            *self.standing.0.failure.lock() = Some(error.to_string());
            // What a chunk had begun to write when its thread ended: one writer at a time.
            chunks.close();
            chunks.wait().await;
            chunks.reopen();
            if self.standing.next_offset() > before {
                rest = REST;
            }
            let (partition, generation) = (self.partition, self.views.generation.0);
            if error.is_transient() {
                let rest_ms = rest.as_millis() as u64;
                tracing::warn!(
                    partition, generation, rest_ms, %error, "the views cannot be filled for now, trying again"
                );
            } else {
                rest = REST_FOR_GOOD;
                tracing::error!(partition, generation, %error, "a generation of the views cannot be filled");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
            rest = (rest * 2).min(REST_MAX);
        }
    }

    async fn work(&self, chunks: &TaskTracker) -> Result<Infallible, ShareError> {
        let mut rebuilding =
            Rebuilding::open(self.views.clone(), self.partition, self.options, self.atomic).await?;
        if self.background.is_some() {
            let beside = Beside { turns: self.turns.clone(), writes: chunks.clone() };
            rebuilding = rebuilding.writes_beside(beside);
        }
        self.standing.moved(&rebuilding);
        let rebuilding = self.fill(rebuilding, chunks).await?;
        self.follow(rebuilding).await
    }

    async fn fill(&self, mut rebuilding: Rebuilding, chunks: &TaskTracker) -> Result<Rebuilding, ShareError> {
        let mut beside = Duration::ZERO;
        loop {
            let end = self.views.log.bounds(rebuilding.place()).await?.end;
            if end - rebuilding.next_offset() <= self.options.near {
                self.settle(&mut rebuilding).await?;
                return Ok(rebuilding);
            }
            let taking = async {
                loop {
                    let records = self.pace.take(self.options.chunk_records).await;
                    let turn = self.turns.take().await;
                    // It may have been told to rest while it waited for its turn.
                    if !self.pace.is_paused() {
                        return (records, turn);
                    }
                }
            };
            tokio::pin!(taking);
            let mut rests = false;
            let (records, turn) = loop {
                tokio::select! {
                    biased;
                    taken = &mut taking => break taken,
                    settled = self.settle(&mut rebuilding), if rests => {
                        settled?;
                        rests = false;
                    }
                    () = tokio::time::sleep(Duration::from_secs(1)), if !rests => rests = true,
                }
            };
            // What the chunk before took beside that time this one will take, too: the rate is kept.
            let time = self.pace.time_for(records).saturating_sub(beside).min(FOLDED_OVER_MAX);
            let began = Instant::now();
            rebuilding = self.chunk(rebuilding, end, records, time, turn, chunks).await?;
            self.standing.moved(&rebuilding);
            // Others see how far the generation is by its checkpoint; here nobody needs to read that again.
            self.projector.observe(self.partition).await?;
            beside = began.elapsed().saturating_sub(time);
        }
    }

    /// Nothing more is folded for now: what was is written, and it stands where it says.
    async fn settle(&self, rebuilding: &mut Rebuilding) -> Result<(), ShareError> {
        if rebuilding.written_offset() < rebuilding.next_offset() {
            rebuilding.settle().await?;
            self.standing.moved(rebuilding);
            self.projector.observe(self.partition).await?;
        }
        self.standing.rests();
        Ok(())
    }

    /// Makes a chunk. One that is made in the background may still be at it when this was dropped; `chunks` knows when it
    /// has ended.
    async fn chunk(
        &self,
        rebuilding: Rebuilding,
        end: i64,
        records: usize,
        time: Duration,
        turn: Turn,
        chunks: &TaskTracker,
    ) -> Result<Rebuilding, ShareError> {
        let chunk = rebuilding.chunk_in_turn(end, records, time, turn);
        match &self.background {
            Some(background) => {
                let chunk = chunks.track_future(chunk);
                Ok(background.run(chunk).await.map_err(|error| ShareError::Thread(error.to_string()))??)
            }
            None => Ok(chunk.await?),
        }
    }

    async fn follow(&self, mut rebuilding: Rebuilding) -> Result<Infallible, ShareError> {
        self.projector.begin(self.partition, true).await?;
        let mut tail = self.views.log.tail(rebuilding.place(), rebuilding.next_offset()).await?;
        self.standing.0.follows.store(true, Ordering::Relaxed);
        loop {
            let records = tokio::select! {
                biased;
                records = tail.next(FOLLOWED_MAX) => records?,
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    self.standing.rests();
                    continue;
                }
            };
            *self.standing.0.run_id.lock() = records.first().and_then(run_of);
            let (transitions, control) = rebuilding.fold(&records).await?;
            self.projector.submit(self.partition, transitions, control).await?;
            rebuilding.evict(self.projector.applied_offset(self.partition));
            self.standing.moved(&rebuilding);
        }
    }
}

fn run_of(record: &Record) -> Option<RunId> {
    match &record.headers {
        RecordHeaders::Known(headers) => headers.entity.run_id(),
        RecordHeaders::Foreign(_) => None,
    }
}
