//! A share of a generation that cannot be filled says why, holds up nobody who ends it, and has ended when it says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use tidewheel_log::EventLog as _;
use tidewheel_projector::views::TABLES;
use tidewheel_projector::{Projector, ProjectorOptions, Views};
use tidewheel_replay::thread::Background;
use tidewheel_replay::{
    Beside, RebuildError, RebuildOptions, Rebuilding, Share, Speed, SpeedSender, Standing, Turns, rebuild,
    verify,
};
use tidewheel_schemas::TopicPartition;
use tidewheel_store::suite::Intercepted;
use tidewheel_store::{MemoryStore, SharedStore, StateStore as _, StoreError};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::world::{GENERATION, History, PARTITIONS, topic};

/// What takes over from a share that has filled its partition.
async fn projector(store: &SharedStore) -> Projector {
    let options = ProjectorOptions { writes: false, ..ProjectorOptions::default() };
    Projector::start(Views::new(Arc::clone(store), GENERATION), PARTITIONS, options).await.unwrap()
}

/// Ends a share, which it does not put off.
async fn end(stop: &CancellationToken, task: JoinHandle<()>) {
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), task).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_share_of_a_trimmed_log_names_what_is_missing_and_ends_at_once_when_asked_to() {
    let mut history = History::new().await;
    history.runs().await;
    let trimmed = BTreeMap::from([(TopicPartition::new(topic(), 0), 5)]);
    history.log.trim(&trimmed).await.unwrap();
    let store = Arc::new(MemoryStore::new());
    store.create_tables(GENERATION, TABLES).await.unwrap();
    let store = store as SharedStore;
    let projector = projector(&store).await;
    let (speed, standing) = (SpeedSender::new(), Standing::default());
    let share = Share {
        views: history.views_in(store),
        partition: 0,
        projector: projector.clone(),
        options: RebuildOptions::default(),
        atomic: true,
        pace: speed.pace(),
        turns: Turns::new(1),
        background: Some(Arc::new(Background::new("fill", 1).unwrap())),
        standing: standing.clone(),
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(share.run(stop.clone()));
    while standing.failure().is_none() {
        assert!(!task.is_finished());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let failure = standing.failure().unwrap();
    assert!(failure.contains("0 to 4 were trimmed"), "{failure}");
    // It rests now, for longer than anybody who ends it should wait.
    tokio::time::sleep(Duration::from_millis(20)).await;
    end(&stop, task).await;
    projector.close().await;
}

#[tokio::test]
async fn views_of_a_log_that_lost_its_end_are_filled_no_further() {
    let mut history = History::new().await;
    history.runs().await;
    let store = Arc::new(MemoryStore::new()) as SharedStore;
    for partition in 0..PARTITIONS {
        let views = history.views_in(Arc::clone(&store));
        rebuild(&views, partition, &RebuildOptions::default(), &Turns::new(1)).await.unwrap();
    }
    // The log was restored from an older copy and went on: as long as before, and another one.
    let mut other = History::new().await;
    other.next = 1_000_000;
    other.runs().await;
    let views = other.views_in(store);
    let refused = Rebuilding::open(views, 0, RebuildOptions::default(), true).await.err();
    assert!(matches!(refused, Some(RebuildError::Checkpoint(_))), "{refused:?}");
}

#[tokio::test]
async fn a_share_that_has_ended_writes_no_more() {
    let mut history = History::new().await;
    history.runs().await;
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let store = {
        let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
        Intercepted::new(Arc::new(MemoryStore::new()), move |store, generation, writes| {
            begun.fetch_add(1, Ordering::SeqCst);
            let ended = Arc::clone(&ended);
            async move {
                // A store that blocks, as the embedded one does: it cannot be cut short.
                std::thread::sleep(Duration::from_millis(30));
                let written = store.write(generation, &writes).await;
                ended.fetch_add(1, Ordering::SeqCst);
                written
            }
            .boxed()
        })
    };
    store.create_tables(GENERATION, TABLES).await.unwrap();
    let store = Arc::new(store) as SharedStore;
    let projector = projector(&store).await;
    let background = Arc::new(Background::new("fill", 2).unwrap());
    for round in 1..=4 {
        let share = Share {
            views: history.views_in(Arc::clone(&store)),
            partition: 0,
            projector: projector.clone(),
            options: RebuildOptions { chunk_records: 1, near: 0, ..RebuildOptions::default() },
            atomic: true,
            pace: SpeedSender::new().pace(),
            // One that is folded and one that is written, in every other round.
            turns: Turns::new(1 + round % 2),
            background: Some(Arc::clone(&background)),
            standing: Standing::default(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(share.run(stop.clone()));
        while begun.load(Ordering::SeqCst) < round * 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        end(&stop, task).await;
        let count = begun.load(Ordering::SeqCst);
        assert_eq!(ended.load(Ordering::SeqCst), count, "a chunk is still being written");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(begun.load(Ordering::SeqCst), count, "another chunk was begun");
    }
    projector.close().await;
}

#[tokio::test]
async fn chunks_are_written_one_at_a_time_whatever_the_store_refuses_and_the_views_are_right() {
    let mut history = History::new().await;
    history.runs().await;
    let (writing, most, tries) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let store = {
        let (writing, most, tries) = (Arc::clone(&writing), Arc::clone(&most), Arc::clone(&tries));
        Intercepted::new(Arc::new(MemoryStore::new()), move |store, generation, writes| {
            let (writing, most) = (Arc::clone(&writing), Arc::clone(&most));
            let fails = tries.fetch_add(1, Ordering::SeqCst) % 4 == 1;
            async move {
                most.fetch_max(writing.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                let written = if fails {
                    Err(StoreError::Unavailable("it is away".to_owned()))
                } else {
                    store.write(generation, &writes).await
                };
                writing.fetch_sub(1, Ordering::SeqCst);
                written
            }
            .boxed()
        })
    };
    store.create_tables(GENERATION, TABLES).await.unwrap();
    let store = Arc::new(store) as SharedStore;
    let projector = projector(&store).await;
    let (background, turns) = (Arc::new(Background::new("fill", 2).unwrap()), Turns::new(2));
    for partition in 0..PARTITIONS {
        let standing = Standing::default();
        let share = Share {
            views: history.views_in(Arc::clone(&store)),
            partition,
            projector: projector.clone(),
            // Runs leave memory at once, and are read back from rows that may still be on their way.
            options: RebuildOptions { chunk_records: 3, runs_max: 0, near: 0, ..RebuildOptions::default() },
            atomic: true,
            pace: SpeedSender::new().pace(),
            turns: turns.clone(),
            background: Some(Arc::clone(&background)),
            standing: standing.clone(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(share.run(stop.clone()));
        while !standing.follows() {
            assert!(!task.is_finished());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        end(&stop, task).await;
    }
    projector.close().await;
    assert!(tries.load(Ordering::SeqCst) > 4, "the store refused nothing");
    assert_eq!(most.load(Ordering::SeqCst), 1, "chunks were written at once");
    let report = verify(&history.views_in(store), 10).await.unwrap();
    assert_eq!((report.difference_count, report.behind), (0, 0), "{:?}", report.differences);
}

/// A store whose writes wait for a permit each, and are counted when they are done.
async fn gated(gate: &Arc<Semaphore>, written: &Arc<AtomicUsize>) -> SharedStore {
    let (gate, written) = (Arc::clone(gate), Arc::clone(written));
    let store = Intercepted::new(Arc::new(MemoryStore::new()), move |store, generation, writes| {
        let (gate, written) = (Arc::clone(&gate), Arc::clone(&written));
        async move {
            gate.acquire().await.expect("nobody closes it").forget();
            store.write(generation, &writes).await?;
            written.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        .boxed()
    });
    store.create_tables(GENERATION, TABLES).await.unwrap();
    Arc::new(store)
}

#[tokio::test]
async fn a_chunk_is_folded_while_the_one_before_is_written_and_nothing_is_said_to_be_done_before_it_is() {
    let mut history = History::new().await;
    history.runs().await;
    let (gate, written) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let views = history.views_in(gated(&gate, &written).await);
    let turns = Turns::new(2);
    let beside = Beside { turns: turns.clone(), writes: TaskTracker::new() };
    let rebuilding = Rebuilding::open(views, 0, RebuildOptions::default(), true).await.unwrap();
    let mut rebuilding = rebuilding.writes_beside(beside);
    let turn = turns.take().await;
    // The store has written nothing when the first chunk is done with.
    rebuilding.chunk(1_000, 3).await.unwrap();
    assert_eq!((rebuilding.written_offset(), rebuilding.next_offset()), (0, 3));
    assert_eq!((rebuilding.rebuilt().records, written.load(Ordering::SeqCst)), (0, 0));
    assert!(turns.try_take().is_none(), "what is being written has a turn");
    // Waiting for it may be given up, and is not done with then.
    assert!(rebuilding.settle().now_or_never().is_none());
    assert_eq!(rebuilding.written_offset(), 0);
    gate.add_permits(1);
    rebuilding.settle().await.unwrap();
    assert_eq!((rebuilding.written_offset(), rebuilding.rebuilt().records), (3, 3));
    assert_eq!(written.load(Ordering::SeqCst), 1);
    // Without a turn to spare it is written before the next one.
    let spare = turns.take().await;
    gate.add_permits(1);
    rebuilding.chunk(1_000, 3).await.unwrap();
    assert_eq!((rebuilding.written_offset(), written.load(Ordering::SeqCst)), (6, 2));
    spare.end();
    turn.end();
}

#[tokio::test]
async fn a_chunk_that_cannot_be_folded_fails_once_the_one_before_is_written() {
    let mut history = History::new().await;
    history.go_past_this_build(0).await;
    history.runs().await;
    let (gate, written) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let views = history.views_in(gated(&gate, &written).await);
    let beside = Beside { turns: Turns::new(2), writes: TaskTracker::new() };
    let rebuilding = Rebuilding::open(views.clone(), 0, RebuildOptions::default(), true).await.unwrap();
    let mut rebuilding = rebuilding.writes_beside(beside);
    rebuilding.chunk(10, 2).await.unwrap();
    {
        let mut chunk = std::pin::pin!(rebuilding.chunk(10, 8));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut chunk).await;
        assert!(early.is_err(), "another one may begin while this one still writes: {early:?}");
        gate.add_permits(1);
        let failed = chunk.await;
        assert!(matches!(failed, Err(RebuildError::Fold(_))), "{failed:?}");
    }
    assert_eq!(written.load(Ordering::SeqCst), 1);
    let again = Rebuilding::open(views, 0, RebuildOptions::default(), true).await.unwrap();
    assert_eq!(again.next_offset(), 2);
}

#[tokio::test]
async fn a_share_stands_where_its_rows_are_written_also_while_it_is_paused() {
    let mut history = History::new().await;
    history.runs().await;
    let (gate, written) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let store = gated(&gate, &written).await;
    let projector = projector(&store).await;
    let (speed, standing, turns) = (SpeedSender::new(), Standing::default(), Turns::new(2));
    let share = Share {
        views: history.views_in(store),
        partition: 0,
        projector: projector.clone(),
        options: RebuildOptions { chunk_records: 3, near: 0, ..RebuildOptions::default() },
        atomic: true,
        pace: speed.pace(),
        turns: turns.clone(),
        background: Some(Arc::new(Background::new("fill", 2).unwrap())),
        standing: standing.clone(),
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(share.run(stop.clone()));
    // Time for the first chunk to be folded, and for the next one, which is more than is needed.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((standing.next_offset(), written.load(Ordering::SeqCst)), (0, 0));
    speed.set(Speed { paused: true, records_per_second: None });
    gate.add_permits(100);
    // What was begun before the pause is written; all turns are free then.
    while turns.try_take().zip(turns.try_take()).is_none() || written.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let chunks = i64::try_from(written.load(Ordering::SeqCst)).unwrap();
    let arrives = async {
        while standing.next_offset() != chunks * 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrives).await.expect("it stands where it has written");
    end(&stop, task).await;
    projector.close().await;
}
