//! The projector's worker, on a thread of its own or as a task: takes transitions from a bounded queue, closes chunks,
//! writes them, tells how far the views are. What a chunk's rows are is said in `chunk`.

mod progress;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tidewheel_engine::{Control, Transition};
use tidewheel_schemas::RunId;
use tidewheel_store::{Generation, StoreError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

pub use self::progress::Progress;
use self::work::Worker;
use crate::chunk::Live;
use crate::load::Views;
use crate::views::TABLES;
use crate::views::partition_control::Checkpoint;

/// Told of every run that was parked because the store would refuse a row: run, offset, why.
pub type OnParked = Arc<dyn Fn(RunId, i64, &str) + Send + Sync>;

/// How a projector works.
#[derive(Clone)]
pub struct ProjectorOptions {
    /// A chunk is closed this long after its first record, unless a reader waits for one of its records.
    pub linger: Duration,
    /// A chunk is closed at this many records.
    pub records_max: usize,
    /// Most KiB of records and payloads between [`Projector::submit`] and the store.
    pub queue_kib: usize,
    /// Whether it writes the views of its partitions from the start on; [`Projector::begin`] changes that for one.
    pub writes: bool,
    /// Whether the store writes a whole chunk as one batch (memory, embedded), rather than stage by stage.
    pub atomic: bool,
    /// Told of parked runs.
    pub on_parked: Option<OnParked>,
}

impl Default for ProjectorOptions {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(50),
            records_max: 8_192,
            queue_kib: 128 * 1024,
            writes: true,
            atomic: true,
            on_parked: None,
        }
    }
}

/// Why projecting stopped or a wait for it ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProjectorError {
    /// The store failed for good.
    #[error("the views cannot be written: {0}")]
    Store(#[from] StoreError),
    /// The projector was closed.
    #[error("the projector is closed")]
    Closed,
    /// The partition is not one of those projected here.
    #[error("partition {0} is not projected here")]
    UnknownPartition(u32),
    /// The views did not get there in time.
    #[error("the views of partition {partition} stand at offset {applied}, before {asked}; ask again later")]
    NotApplied {
        /// The partition.
        partition: u32,
        /// The offset asked for.
        asked: i64,
        /// Where the views stand.
        applied: i64,
    },
    /// The thread could not be started.
    #[error("the projector's thread cannot be started: {0}")]
    Thread(String),
}

enum Command {
    Batch { partition: u32, transitions: Vec<Transition>, control: Box<Control>, _room: OwnedSemaphorePermit },
    Begin { partition: u32, writes: bool, done: oneshot::Sender<Result<(), ProjectorError>> },
    Stop { done: oneshot::Sender<()> },
}

struct Shared {
    views: Views,
    commands: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    room_kib: u32,
    partitions: Vec<Arc<Progress>>,
    wake: Arc<Notify>,
    failure: watch::Receiver<Option<ProjectorError>>,
    stopping: watch::Sender<bool>,
}

/// The projector of a node. Cloning shares it; the thread ends after [`Projector::close`] or with the last clone.
#[derive(Clone)]
pub struct Projector(Arc<Shared>);

impl std::fmt::Debug for Projector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Projector").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

/// What a partition has when it is opened.
struct Opened {
    control: Control,
    /// None if another process writes its views.
    live: Option<Live>,
}

async fn open(views: &Views, partition: u32, writes: bool) -> Result<Opened, StoreError> {
    let Some(checkpoint) = views.checkpoint(partition).await? else {
        return Ok(Opened { control: Control::new(partition), live: writes.then(Live::default) });
    };
    let live = if writes { Some(Live::load(views, &checkpoint).await?) } else { None };
    Ok(Opened { control: checkpoint.control, live })
}

/// What a transition costs of the queue, in KiB.
fn cost_kib(transition: &Transition) -> usize {
    use tidewheel_schemas::Event;
    let payload = transition.run.as_deref().and_then(|change| change.entry.as_ref()).map_or(0, |entry| {
        match &*entry.event {
            Event::RunStarted(event) => event.input.data.len(),
            Event::RunSignaled(event) => event.payload.data.len(),
            Event::StepCompleted(event) => event.output.data.len(),
            Event::RunStateChanged(event) => event.state.data.len(),
            Event::SignalSent(event) => event.payload.data.len(),
            Event::RunCompleted(event) => event.output.data.len(),
            _ => 0,
        }
    });
    1 + payload / 1024
}

impl Projector {
    /// Creates the tables, reads where each of the partitions `0..partitions` stands, and starts the thread.
    ///
    /// # Errors
    /// When the store fails or a checkpoint cannot be read.
    pub async fn start(
        views: Views,
        partitions: u32,
        options: ProjectorOptions,
    ) -> Result<Self, ProjectorError> {
        let (projector, worker) = Self::open(views, partitions, options).await?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ProjectorError::Thread(error.to_string()))?;
        std::thread::Builder::new()
            .name("projector".to_owned())
            .spawn(move || runtime.block_on(worker))
            .map_err(|error| ProjectorError::Thread(error.to_string()))?;
        Ok(projector)
    }

    /// As [`Projector::start`], without a thread: the second value is the worker, which the caller runs wherever it
    /// likes. Dropping it before it ends is a crash between two writes.
    ///
    /// # Errors
    /// When the store fails or a checkpoint cannot be read.
    pub async fn open(
        views: Views,
        partitions: u32,
        options: ProjectorOptions,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), ProjectorError> {
        views.store().create_tables(views.generation(), TABLES).await?;
        let mut opened = Vec::new();
        for partition in 0..partitions {
            opened.push(open(&views, partition, options.writes).await?);
        }
        let progress: Vec<_> = (opened.iter())
            .map(|opened| Arc::new(Progress::new(opened.control.clone(), options.writes)))
            .collect();
        // Batches, not records: what bounds memory is the room below. Far more than it takes to fill that, since a
        // log that is followed closely comes in batches of few records.
        let (commands, queue) = mpsc::channel(16_384);
        let (failed, failure) = watch::channel(None);
        let (stopping, stopped) = watch::channel(false);
        let wake = Arc::new(Notify::new());
        let room_kib = u32::try_from(options.queue_kib.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(room_kib as usize));
        let worker =
            Worker::new(views.clone(), opened, progress.clone(), options, Arc::clone(&wake), failed, stopped);
        let projector = Self(Arc::new(Shared {
            views,
            commands,
            room,
            room_kib,
            partitions: progress,
            wake,
            failure,
            stopping,
        }));
        Ok((projector, worker.run(queue)))
    }

    /// The generation it writes.
    pub fn generation(&self) -> Generation {
        self.0.views.generation()
    }

    /// The views it writes.
    pub fn views(&self) -> &Views {
        &self.0.views
    }

    fn progress(&self, partition: u32) -> Result<&Arc<Progress>, ProjectorError> {
        self.0.partitions.get(partition as usize).ok_or(ProjectorError::UnknownPartition(partition))
    }

    fn failure(&self) -> ProjectorError {
        self.0.failure.borrow().clone().unwrap_or(ProjectorError::Closed)
    }

    /// Hands over what records of a partition changed, in the order of offsets, with Control after the last of
    /// them. Records the views hold already are skipped. Waits while the queue is full.
    ///
    /// # Errors
    /// When the projector stopped.
    pub async fn submit(
        &self,
        partition: u32,
        transitions: Vec<Transition>,
        control: &Control,
    ) -> Result<(), ProjectorError> {
        let progress = self.progress(partition)?;
        if transitions.is_empty() {
            return Ok(());
        }
        progress.note_submitted(control.next_offset - 1);
        let cost = transitions.iter().map(cost_kib).sum::<usize>();
        // One batch over the whole room must still pass, alone.
        let cost = u32::try_from(cost).unwrap_or(u32::MAX).min(self.0.room_kib);
        let room = Arc::clone(&self.0.room).acquire_many_owned(cost).await.map_err(|_| self.failure())?;
        let control = Box::new(control.clone());
        let batch = Command::Batch { partition, transitions, control, _room: room };
        self.0.commands.send(batch).await.map_err(|_| self.failure())
    }

    /// The offset of the last record of a partition that the views hold; -1 before the first, or if the partition
    /// is not projected here.
    pub fn applied_offset(&self, partition: u32) -> i64 {
        self.progress(partition).map_or(-1, |progress| progress.applied_offset())
    }

    /// Control as of the last record the views hold.
    pub fn control(&self, partition: u32) -> Option<Arc<Control>> {
        self.progress(partition).ok().map(|progress| progress.control())
    }

    /// How many partitions are projected.
    pub fn partitions(&self) -> u32 {
        self.0.partitions.len() as u32
    }

    /// Waits until the views hold the record at `offset` and asks for the chunk that holds it to be closed.
    ///
    /// # Errors
    /// [`ProjectorError::NotApplied`] when time is up; any other when the projector stopped.
    pub async fn wait_applied(
        &self,
        partition: u32,
        offset: i64,
        timeout: Duration,
    ) -> Result<(), ProjectorError> {
        let progress = self.progress(partition)?;
        if progress.applied_offset() >= offset {
            return Ok(());
        }
        let _wanted = progress.want(offset);
        self.0.wake.notify_one();
        self.wait_unhurried(partition, offset, timeout).await
    }

    /// As [`Self::wait_applied`], but leaves the chunk open until its time: for waits beside which something else is
    /// told sooner, so that many of them do not cut the projector's work into small pieces.
    ///
    /// # Errors
    /// As [`Self::wait_applied`].
    pub async fn wait_unhurried(
        &self,
        partition: u32,
        offset: i64,
        timeout: Duration,
    ) -> Result<(), ProjectorError> {
        let progress = self.progress(partition)?;
        let mut failure = self.0.failure.clone();
        tokio::select! {
            biased;
            () = progress.reached(offset) => Ok(()),
            _ = failure.wait_for(Option::is_some) => Err(self.failure()),
            () = tokio::time::sleep(timeout) => {
                Err(ProjectorError::NotApplied { partition, asked: offset, applied: progress.applied_offset() })
            }
        }
    }

    /// Waits until the views hold everything submitted so far for a partition.
    ///
    /// # Errors
    /// As [`Self::wait_applied`].
    pub async fn wait_submitted(&self, partition: u32, timeout: Duration) -> Result<(), ProjectorError> {
        let submitted = self.progress(partition)?.submitted_offset();
        self.wait_applied(partition, submitted, timeout).await
    }

    /// Resolves with the reason when the projector stops for good.
    pub async fn failed(&self) -> ProjectorError {
        let mut failure = self.0.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(ProjectorError::Closed),
            Err(_) => ProjectorError::Closed,
        }
    }

    /// From now on this process writes the views of a partition, or another one does. What was submitted before is
    /// written first. Whoever writes forgets what is kept in memory of the views and reads it again, since another
    /// process may have written them; whoever does not ignores what is submitted and learns from
    /// [`Projector::observe`] how far they are.
    ///
    /// # Errors
    /// When the store fails or the projector stopped.
    pub async fn begin(&self, partition: u32, writes: bool) -> Result<(), ProjectorError> {
        self.progress(partition)?;
        let (done, begun) = oneshot::channel();
        let begin = Command::Begin { partition, writes, done };
        self.0.commands.send(begin).await.map_err(|_| self.failure())?;
        begun.await.map_err(|_| self.failure())?
    }

    /// Looks how far another process has written the views of a partition, and tells those who wait for it. Does
    /// nothing for partitions that this process writes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn observe(&self, partition: u32) -> Result<(), ProjectorError> {
        let progress = self.progress(partition)?;
        if !progress.is_written_here()
            && let Some(checkpoint) = self.checkpoint(partition).await?
        {
            progress.publish(checkpoint.control);
        }
        Ok(())
    }

    /// Writes what was submitted and ends the thread. While the store is unavailable the views stay behind the log
    /// and catch up after the next start. Idempotent.
    pub async fn close(&self) {
        if self.0.stopping.send_replace(true) {
            return;
        }
        let (done, stopped) = oneshot::channel();
        if self.0.commands.send(Command::Stop { done }).await.is_ok() {
            // An error means the thread ended by itself, which is what was asked for.
            let _ = stopped.await;
        }
    }

    /// Where the views of a partition stand, read from the store.
    ///
    /// # Errors
    /// When the store fails or the row cannot be read.
    pub async fn checkpoint(&self, partition: u32) -> Result<Option<Checkpoint>, StoreError> {
        self.0.views.checkpoint(partition).await
    }
}

/// Counters of the projector; fetched once.
struct Meters {
    records: metrics::Counter,
    rows: metrics::Counter,
    chunks: metrics::Counter,
    retries: metrics::Counter,
    parked: metrics::Counter,
    seconds: metrics::Histogram,
    lag_seconds: metrics::Histogram,
}

impl Meters {
    fn new() -> Self {
        Self {
            records: metrics::counter!("tidewheel_projector_records_total"),
            rows: metrics::counter!("tidewheel_projector_rows_total"),
            chunks: metrics::counter!("tidewheel_projector_chunks_total"),
            retries: metrics::counter!("tidewheel_projector_retries_total"),
            parked: metrics::counter!("tidewheel_projector_parked_runs_total"),
            seconds: metrics::histogram!("tidewheel_projector_write_seconds"),
            lag_seconds: metrics::histogram!("tidewheel_projector_lag_seconds"),
        }
    }

    fn written(&self, records: usize, rows: usize, began: Instant, opened: Instant) {
        self.records.increment(records as u64);
        self.rows.increment(rows as u64);
        self.chunks.increment(1);
        self.seconds.record(began.elapsed());
        self.lag_seconds.record(opened.elapsed());
    }
}
