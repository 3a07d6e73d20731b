//! The keeper of the generations of this process's views: has them as the configuration says, which exist, which is
//! read, who fills them. What a replay may do is said in `engine`.

mod backfill;
mod ending;
mod recorder;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidewheel_engine::config::ConfigSnapshot;
use tidewheel_engine::config::views::{ReplayKind, ReplayState, ReplayStatus, ViewsState};
use tidewheel_log::{SharedClock, SharedLog};
use tidewheel_projector::{Generations, Projector, ProjectorError, ProjectorOptions, Views};
use tidewheel_runtime::{Configuration, Duties};
use tidewheel_schemas::{Name, Topic};
use tidewheel_store::{Generation, SharedStore, StoreError};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::pace::{Pace, Speed, SpeedSender};
use crate::rebuild::RebuildOptions;
use crate::share::{Share, Standing, Standings};
use crate::thread::Background;
use crate::turns::Turns;
use crate::verify;

/// How often duties, generations and reads are looked at.
const LOOKED_EVERY: Duration = Duration::from_millis(100);
/// How long the tables of a dropped generation stay: requests that began before, here or in a process that has not
/// read of it yet, go on reading them.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// A share that is behind and has not moved for this long is reported.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// How long a generation that could not be opened or removed is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// What the shares of a generation hold together at most: bytes of values in chunks, and runs that have not ended.
const CHUNKS_BYTES: usize = 64 * 1024 * 1024;
const RUNS: usize = 100_000;
/// Queue of a projector beside the one that owners feed, in KiB.
const QUEUE_KIB: usize = 32 * 1024;

/// What generations are made of.
#[derive(Clone)]
pub struct Materials {
    /// The log.
    pub log: SharedLog,
    /// Where the rows are kept.
    pub store: SharedStore,
    /// The topic whose views these are.
    pub topic: Topic,
    /// How many partitions it has.
    pub partitions: u32,
    /// The datacenter whose views these are.
    pub datacenter: Name,
    /// How its projectors write; whether a partition is written from the start on is said for each.
    pub options: ProjectorOptions,
    /// Whether other processes write these views too.
    pub is_cluster: bool,
    /// Whether long work has threads of its own. In a simulated process nothing has.
    pub has_threads: bool,
}

impl Materials {
    /// Opens a generation for writing. `writes` says whether this process writes it from the start on, `queue_kib` how
    /// much may wait to be written, the projector's own measure unless said.
    ///
    /// # Errors
    /// When the store fails or a checkpoint cannot be read.
    pub async fn projector(
        &self,
        generation: u32,
        writes: bool,
        queue_kib: Option<usize>,
    ) -> Result<Projector, ProjectorError> {
        let views = Views::new(SharedStore::clone(&self.store), Generation(generation));
        let queue_kib = queue_kib.unwrap_or(self.options.queue_kib);
        let options = ProjectorOptions { writes, queue_kib, ..self.options.clone() };
        if self.has_threads {
            return Projector::start(views, self.partitions, options).await;
        }
        let (projector, worker) = Projector::open(views, self.partitions, options).await?;
        tokio::spawn(worker);
        Ok(projector)
    }

    fn views(&self, generation: u32) -> verify::Views {
        verify::Views {
            log: SharedLog::clone(&self.log),
            topic: self.topic.clone(),
            partitions: self.partitions,
            store: SharedStore::clone(&self.store),
            generation: Generation(generation),
        }
    }
}

/// A share at work.
struct Working {
    stop: CancellationToken,
    task: JoinHandle<()>,
    standing: Standing,
    reported: bool,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Keeps the generations as the configuration says.
pub struct Keeper {
    /// What generations are made of.
    pub materials: Materials,
    /// The generations of this process.
    pub generations: Generations,
    /// What this process does for each partition.
    pub duties: Duties,
    /// The configuration, which says what there is to be.
    pub configuration: Configuration,
    /// Where it takes time and randomness from.
    pub clock: SharedClock,
    /// The name of this process, for people.
    pub process: Arc<str>,
    /// Where it shows how far its shares are.
    pub standings: Standings,
    /// Where it shows how far its parts of backfills are, by replay and partition.
    pub parts: Standings,
    /// How many records a partition of a generation may be behind its log when it becomes the active one by itself.
    pub lag_max: u64,
    /// How much a share of its holds at most; all of them together are bounded too.
    pub rebuild: RebuildOptions,
}

/// What a keeper keeps.
struct Kept {
    shares: BTreeMap<(u32, u32), Working>,
    /// The speed of each generation's replay.
    speeds: BTreeMap<u32, (SpeedSender, Pace)>,
    /// How many chunks are folded or written at the same time.
    turns: Turns,
    /// Where that is done, once there is a share.
    background: Option<Arc<Background>>,
    /// Dropped generations, and when their tables go.
    dropped: BTreeMap<u32, Instant>,
    closing: JoinSet<()>,
    /// Generations that could not be opened, and when that is tried again.
    unopened: BTreeMap<u32, Instant>,
    /// The verification of the generation that is to become active by itself.
    verifying: Option<ending::Verifying>,
    /// The part of a backfill that this process is at.
    backfill: Option<backfill::Working>,
    snapshots: watch::Receiver<Arc<ConfigSnapshot>>,
}

impl Keeper {
    /// Keeps them until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let mut kept = Kept {
            shares: BTreeMap::new(),
            speeds: BTreeMap::new(),
            turns: self.turns(),
            background: None,
            dropped: self.dropped_before(),
            closing: JoinSet::new(),
            unopened: BTreeMap::new(),
            verifying: None,
            backfill: None,
            snapshots: self.configuration.snapshots(),
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.look_always(&mut kept) => {}
            () = self.observe_always() => {}
        }
        kept.verifying = None;
        for working in kept.shares.values() {
            working.stop.cancel();
        }
        if let Some(working) = kept.backfill.take() {
            working.end().await;
        }
        for working in kept.shares.values_mut() {
            // A share reports its failure itself.
            let _ = (&mut working.task).await;
        }
        while kept.closing.join_next().await.is_some() {}
        let active = self.generations.active().generation();
        for projector in self.generations.all() {
            if projector.generation() != active {
                projector.close().await;
            }
        }
    }

    /// Generations that a process was to remove which ended before it had.
    fn dropped_before(&self) -> BTreeMap<u32, Instant> {
        let views = self.configuration.snapshot().views(&self.materials.datacenter);
        (1..=views.generation_last)
            .filter(|generation| !views.generations.contains_key(generation))
            .map(|generation| (generation, Instant::now()))
            .collect()
    }

    async fn look_always(&self, kept: &mut Kept) {
        loop {
            self.look(kept).await;
            tokio::select! {
                biased;
                changed = kept.snapshots.changed() => {
                    if changed.is_err() {
                        tokio::time::sleep(LOOKED_EVERY).await;
                    }
                }
                () = tokio::time::sleep(LOOKED_EVERY) => {}
            }
        }
    }

    async fn look(&self, kept: &mut Kept) {
        let views = kept.snapshots.borrow_and_update().views(&self.materials.datacenter);
        self.add_new(&views, kept).await;
        self.activate(views.active);
        self.set_speeds(&views, kept);
        self.work(&views, kept).await;
        self.backfill(&views, kept);
        self.finish(&views).await;
        self.activate_by_itself(&views, kept).await;
        self.remove_dropped(&views, kept).await;
    }

    async fn add_new(&self, views: &ViewsState, kept: &mut Kept) {
        for generation in views.generations.keys() {
            let is_known = self.generations.get(Generation(*generation)).is_some();
            if is_known || kept.unopened.get(generation).is_some_and(|at| *at > Instant::now()) {
                continue;
            }
            match self.materials.projector(*generation, false, Some(QUEUE_KIB)).await {
                Ok(projector) => {
                    tracing::info!(generation, "another generation of the views is written from now on");
                    self.generations.add(projector);
                    kept.unopened.remove(generation);
                }
                Err(error) => {
                    kept.unopened.insert(*generation, Instant::now() + AGAIN_AFTER);
                    tracing::warn!(generation, %error, "a generation of the views cannot be opened yet");
                }
            }
        }
    }

    /// Looks how far other processes have written what this one does not write. Reads wait for it, so it waits for
    /// nothing else.
    async fn observe_always(&self) {
        if !self.materials.is_cluster {
            return std::future::pending().await;
        }
        loop {
            for projector in self.generations.all() {
                let looks = (0..self.materials.partitions).map(|partition| projector.observe(partition));
                let failed = futures::future::join_all(looks).await.into_iter().find_map(Result::err);
                if let Some(error) = failed {
                    tracing::debug!(%error, "it cannot be told how far the views are");
                }
            }
            tokio::time::sleep(LOOKED_EVERY).await;
        }
    }

    fn activate(&self, active: u32) {
        let before = self.generations.active().generation().0;
        if before == active {
            return;
        }
        match self.generations.activate(Generation(active)) {
            Ok(()) => tracing::info!(
                before,
                generation = active,
                "another generation of the views is read from now on"
            ),
            Err(behind) => tracing::debug!(%behind, "reads stay where they are until it is as far"),
        }
    }

    fn set_speeds(&self, views: &ViewsState, kept: &mut Kept) {
        for generation in views.generations.keys() {
            let speed = filling(views, *generation).map(|replay| self.speed(replay)).unwrap_or_default();
            let (sender, _) = kept.speeds.entry(*generation).or_insert_with(|| {
                let sender = SpeedSender::new();
                let pace = sender.pace();
                (sender, pace)
            });
            sender.set(speed);
        }
        kept.speeds.retain(|generation, _| views.generations.contains_key(generation));
    }

    /// How fast this process may go. A rate is over all processes: each takes as much of it as it has of the partitions.
    fn speed(&self, replay: &ReplayState) -> Speed {
        let all = u64::from(self.materials.partitions.max(1));
        let ours = (0..self.materials.partitions)
            .filter(|partition| self.duties.of(*partition).projects)
            .count() as u64;
        let of_ours = |rate: u64| (rate.saturating_mul(ours) / all).max(1);
        Speed {
            paused: replay.status == ReplayStatus::Paused,
            records_per_second: replay.records_per_second.map(of_ours),
        }
    }

    /// Begins the shares that are this process's, ends those that are not, and says which have stalled.
    async fn work(&self, views: &ViewsState, kept: &mut Kept) {
        let is_ours = |generation: u32, partition: u32| {
            views.generations.contains_key(&generation)
                && self.duties.of(partition).projects
                && !self.generations.is_fed(partition, Generation(generation))
        };
        let over: Vec<_> = kept
            .shares
            .iter()
            .filter(|((generation, partition), working)| {
                !is_ours(*generation, *partition) || working.task.is_finished()
            })
            .map(|(place, _)| *place)
            .collect();
        for place in over {
            self.end(place, kept).await;
        }
        for projector in self.generations.all() {
            let generation = projector.generation().0;
            let Some(pace) = kept.speeds.get(&generation).map(|(_, pace)| pace.clone()) else { continue };
            let ours: Vec<_> =
                (0..self.materials.partitions).filter(|partition| is_ours(generation, *partition)).collect();
            for partition in ours {
                let place = (generation, partition);
                if kept.shares.contains_key(&place) || !self.generations.has_owner(partition) {
                    continue;
                }
                let share = Share {
                    views: self.materials.views(generation),
                    partition,
                    projector: projector.clone(),
                    options: self.share_options(kept.turns.at_once()),
                    atomic: self.materials.options.atomic,
                    pace: pace.clone(),
                    turns: kept.turns.clone(),
                    background: self.background(kept),
                    standing: Standing::default(),
                };
                kept.shares.insert(place, begin(share));
            }
        }
        let mut standings = self.standings.lock();
        *standings = kept.shares.iter().map(|(place, working)| (*place, working.standing.clone())).collect();
        drop(standings);
        report_stalls(views, kept);
    }

    fn background(&self, kept: &mut Kept) -> Option<Arc<Background>> {
        if self.materials.has_threads && kept.background.is_none() {
            // Beyond a network most of a chunk's time is waiting, so that a few threads serve all turns.
            let threads = Turns::for_store(true).at_once();
            kept.background = match Background::new("fill", threads) {
                Ok(background) => Some(Arc::new(background)),
                Err(error) => {
                    tracing::warn!(%error, "generations are filled by the threads that serve requests");
                    None
                }
            };
        }
        kept.background.clone()
    }

    /// A simulated process has as many turns wherever it is simulated.
    fn turns(&self) -> Turns {
        if self.materials.has_threads {
            Turns::for_store(self.materials.options.atomic)
        } else {
            Turns::new(2)
        }
    }

    /// What a share may hold, so that all of them together hold as much however many partitions there are: at most
    /// `at_once` chunks.
    fn share_options(&self, at_once: usize) -> RebuildOptions {
        let partitions = self.materials.partitions.max(1) as usize;
        // One that is folded and one that is written.
        let chunks = at_once.min(2 * partitions).max(1);
        RebuildOptions {
            chunk_bytes: (CHUNKS_BYTES / chunks).max(256 * 1024).min(self.rebuild.chunk_bytes),
            runs_max: (RUNS / partitions).max(100).min(self.rebuild.runs_max),
            ..self.rebuild
        }
    }

    async fn end(&self, place: (u32, u32), kept: &mut Kept) {
        let Some(working) = kept.shares.get_mut(&place) else { return };
        working.stop.cancel();
        // A share reports its failure itself.
        let _ = (&mut working.task).await;
        kept.shares.remove(&place);
        let (generation, partition) = place;
        let Some(projector) = self.generations.get(Generation(generation)) else { return };
        // Its owner writes it now, or another process does.
        if !self.generations.is_fed(partition, Generation(generation))
            && let Err(error) = projector.begin(partition, false).await
        {
            tracing::warn!(generation, partition, %error, "a share of the views was not handed over cleanly");
        }
    }

    async fn remove_dropped(&self, views: &ViewsState, kept: &mut Kept) {
        for projector in self.generations.all() {
            let generation = projector.generation();
            if views.generations.contains_key(&generation.0) {
                continue;
            }
            // The active one stays until reads have left it.
            if let Some(projector) = self.generations.remove(generation) {
                tracing::info!(generation = generation.0, "a generation of the views is written no more");
                kept.closing.spawn(async move { projector.close().await });
                kept.dropped.insert(generation.0, Instant::now() + KEPT_FOR);
            }
        }
        while kept.closing.try_join_next().is_some() {}
        let due: Vec<_> = kept
            .dropped
            .iter()
            .filter(|(_, at)| **at <= Instant::now())
            .map(|(generation, _)| *generation)
            .collect();
        for generation in due {
            match self.materials.store.drop_generation(Generation(generation)).await {
                Ok(()) => {
                    kept.dropped.remove(&generation);
                }
                Err(error @ StoreError::Forbidden { .. }) => {
                    tracing::warn!(generation, %error, "the tables of a dropped generation are an administrator's to remove");
                    kept.dropped.remove(&generation);
                }
                Err(error) => {
                    tracing::warn!(generation, %error, "the tables of a dropped generation cannot be removed yet");
                    kept.dropped.insert(generation, Instant::now() + KEPT_FOR);
                }
            }
        }
    }
}

fn begin(share: Share) -> Working {
    let (stop, standing) = (CancellationToken::new(), share.standing.clone());
    let task = tokio::spawn(share.run(stop.clone()));
    Working { stop, task, standing, reported: false }
}

/// The replay that fills a generation.
fn filling(views: &ViewsState, generation: u32) -> Option<&ReplayState> {
    views.running().filter(|replay| replay.kind == ReplayKind::Rebuild && replay.generation == generation)
}

fn report_stalls(views: &ViewsState, kept: &mut Kept) {
    for ((generation, partition), working) in &mut kept.shares {
        let is_paused =
            filling(views, *generation).is_some_and(|replay| replay.status == ReplayStatus::Paused);
        let still_for = working.standing.still_for();
        if still_for < STALLED_AFTER || is_paused {
            working.reported = false;
        } else if !std::mem::replace(&mut working.reported, true) {
            tracing::warn!(
                generation, partition, offset = working.standing.next_offset(),
                run_id = ?working.standing.run_id(), still_for_s = still_for.as_secs(),
                reason = working.standing.failure(), "filling a generation of the views has stalled"
            );
        }
    }
}
