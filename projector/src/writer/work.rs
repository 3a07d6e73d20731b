//! The loop of the projector's thread.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tidewheel_engine::Control;
use tidewheel_store::{StoreError, WriteSet};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};
use tokio::time::Instant;

use super::{Command, Meters, Opened, Progress, ProjectorError, ProjectorOptions, open};
use crate::chunk::{Chunk, Live};
use crate::load::Views;

const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Partitions whose chunks are written at once on a store that waits for each stage to be acknowledged.
const WRITES_AT_ONCE: usize = 16;

struct Partition {
    control: Control,
    /// None while another process writes the views.
    live: Option<Live>,
    chunk: Option<Chunk>,
    progress: Arc<Progress>,
}

pub(super) struct Worker {
    views: Views,
    partitions: Vec<Partition>,
    options: ProjectorOptions,
    wake: Arc<Notify>,
    failed: watch::Sender<Option<ProjectorError>>,
    stopping: watch::Receiver<bool>,
    meters: Meters,
    /// When the oldest record of the open chunks came in.
    opened: Option<Instant>,
    records: usize,
    /// Room in the queue that what is in the open chunks takes up.
    room: Vec<OwnedSemaphorePermit>,
}

impl Worker {
    pub(super) fn new(
        views: Views,
        opened: Vec<Opened>,
        progress: Vec<Arc<Progress>>,
        options: ProjectorOptions,
        wake: Arc<Notify>,
        failed: watch::Sender<Option<ProjectorError>>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let partitions = opened
            .into_iter()
            .zip(progress)
            .map(|(Opened { control, live }, progress)| Partition { control, live, chunk: None, progress })
            .collect();
        let meters = Meters::new();
        Self {
            views,
            partitions,
            options,
            wake,
            failed,
            stopping,
            meters,
            opened: None,
            records: 0,
            room: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let ended = self.work(&mut commands).await;
        // Before anybody is told: what is submitted from here on must fail, not lie in a queue nobody reads.
        drop(commands);
        let reason = match ended {
            Ok(done) => {
                if let Some(done) = done {
                    let _ = done.send(());
                }
                ProjectorError::Closed
            }
            Err(error) => {
                tracing::error!(%error, "the projector stopped");
                error
            }
        };
        self.failed.send_replace(Some(reason));
    }

    async fn work(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<Option<tokio::sync::oneshot::Sender<()>>, ProjectorError> {
        loop {
            let closing = self.opened.map(|opened| opened + self.options.linger);
            tokio::select! {
                // In this order: commands that never pause must not keep a chunk from being closed.
                biased;
                () = sleep_until(closing) => {
                    self.write().await?;
                    continue;
                }
                () = self.wake.notified() => {}
                command = commands.recv() => match command {
                    Some(Command::Batch { partition, transitions, control, _room }) => {
                        self.take(partition, &transitions, &control, _room);
                    }
                    Some(Command::Begin { partition, writes, done }) => {
                        self.write().await?;
                        let begun = self.begin(partition, writes).await;
                        let _ = done.send(begun);
                        continue;
                    }
                    Some(Command::Stop { done }) => {
                        self.write().await?;
                        return Ok(Some(done));
                    }
                    None => {
                        self.write().await?;
                        return Ok(None);
                    }
                },
            }
            if self.records >= self.options.records_max || (commands.is_empty() && self.is_wanted()) {
                self.write().await?;
            }
        }
    }

    fn take(
        &mut self,
        partition: u32,
        transitions: &[tidewheel_engine::Transition],
        control: &Control,
        room: OwnedSemaphorePermit,
    ) {
        let Some(partition) = self.partitions.get_mut(partition as usize) else { return };
        let Some(live) = &partition.live else { return };
        let chunk = partition.chunk.get_or_insert_with(|| Chunk::new(partition.control.clone()));
        let before = chunk.records();
        chunk.add(transitions, control, live);
        self.records += chunk.records() - before;
        self.room.push(room);
        self.opened.get_or_insert_with(Instant::now);
    }

    fn is_wanted(&self) -> bool {
        self.partitions.iter().any(|partition| {
            partition.chunk.as_ref().is_some_and(|chunk| partition.progress.is_wanted(chunk.last_offset()))
        })
    }

    /// Closes the open chunks and writes them. A store that takes a chunk as one batch gets one after the other; on
    /// others, where the stages of a chunk are round trips, partitions need not wait for each other.
    async fn write(&mut self) -> Result<(), ProjectorError> {
        let Some(opened) = self.opened.take() else { return Ok(()) };
        self.records = 0;
        let Self { views, partitions, options, meters, stopping, .. } = self;
        let most = if options.atomic { 1 } else { WRITES_AT_ONCE };
        let round = Round { views, options, meters, opened };
        let mut waiting = partitions.iter_mut();
        let mut writing = FuturesUnordered::new();
        let mut written = Ok(());
        loop {
            // After a failure nothing new is begun, and what is on its way comes to its end.
            while written.is_ok() && writing.len() < most {
                let Some(partition) = waiting.next() else { break };
                writing.push(round.write(partition, stopping.clone()));
            }
            match writing.next().await {
                Some(ended) => written = written.and(ended),
                None => break,
            }
        }
        drop(writing);
        written?;
        self.room.clear();
        Ok(())
    }

    async fn begin(&mut self, number: u32, writes: bool) -> Result<(), ProjectorError> {
        let Opened { control, live } = open(&self.views, number, writes).await?;
        if let Some(partition) = self.partitions.get_mut(number as usize) {
            (partition.control, partition.live) = (control, live);
            partition.progress.begin(partition.control.clone(), writes);
        }
        Ok(())
    }
}

/// What the writes of a round share.
struct Round<'a> {
    views: &'a Views,
    options: &'a ProjectorOptions,
    meters: &'a Meters,
    opened: Instant,
}

impl Round<'_> {
    /// Writes the open chunk of a partition, if it has one, and tells how far its views are then.
    async fn write(
        &self,
        partition: &mut Partition,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<(), StoreError> {
        let (Some(chunk), Some(live)) = (partition.chunk.take(), &mut partition.live) else { return Ok(()) };
        if chunk.records() == 0 {
            return Ok(());
        }
        let finished = chunk.finish(live, self.options.atomic);
        let (began, rows) = (Instant::now(), finished.writes.iter().count());
        write_until_done(self.views, &finished.writes, self.meters, &mut stopping).await?;
        self.meters.written(finished.records, rows, began, self.opened);
        for row in &finished.parked {
            self.meters.parked.increment(1);
            if let Some(on_parked) = &self.options.on_parked {
                on_parked(row.run_id, row.parked_at, &row.cause);
            }
        }
        partition.control = finished.checkpoint.control;
        partition.progress.publish(partition.control.clone());
        Ok(())
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Writes, again and again while the store is unavailable: nothing may be skipped. A projector that is closing tries
/// once more and gives up, since a process that cannot end helps nobody and what is missing is still in the log.
async fn write_until_done(
    views: &Views,
    writes: &WriteSet,
    meters: &Meters,
    stopping: &mut watch::Receiver<bool>,
) -> Result<(), StoreError> {
    let mut backoff = BACKOFF_MIN;
    loop {
        let last = *stopping.borrow() || stopping.has_changed().is_err();
        match views.store().write(views.generation(), writes).await {
            Ok(()) => return Ok(()),
            Err(StoreError::Unavailable(reason)) if !last => {
                meters.retries.increment(1);
                tracing::warn!(reason, backoff_ms = backoff.as_millis() as u64, "the store is unavailable");
                // An error means that the last handle is gone, which is the end as well.
                let _ = tokio::time::timeout(backoff, stopping.wait_for(|stopping| *stopping)).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
            Err(error) => return Err(error),
        }
    }
}
