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
    RebuildError, RebuildOptions, Rebuilding, Share, SpeedSender, Standing, Turns, rebuild, verify,
};
use tidewheel_schemas::TopicPartition;
use tidewheel_store::suite::Intercepted;
use tidewheel_store::{MemoryStore, SharedStore, StateStore as _, StoreError};
use tokio_util::sync::CancellationToken;

use crate::world::{GENERATION, History, PARTITIONS, topic};

#[tokio::test]
async fn a_share_of_a_trimmed_log_names_what_is_missing_and_ends_at_once_when_asked_to() {
    let mut history = History::new().await;
    history.runs().await;
    let trimmed = BTreeMap::from([(TopicPartition::new(topic(), 0), 5)]);
    history.log.trim(&trimmed).await.unwrap();
    let store = Arc::new(MemoryStore::new());
    store.create_tables(GENERATION, TABLES).await.unwrap();
    let store = store as SharedStore;
    let options = ProjectorOptions { writes: false, ..ProjectorOptions::default() };
    let projector =
        Projector::start(Views::new(Arc::clone(&store), GENERATION), PARTITIONS, options).await.unwrap();
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
    let mut task = tokio::spawn(share.run(stop.clone()));
    while standing.failure().is_none() {
        assert!(!task.is_finished());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let failure = standing.failure().unwrap();
    assert!(failure.contains("0 to 4 were trimmed"), "{failure}");
    // It rests now, for longer than anybody who ends it should wait.
    tokio::time::sleep(Duration::from_millis(20)).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), &mut task).await.expect("it ends").unwrap();
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
    let options = ProjectorOptions { writes: false, ..ProjectorOptions::default() };
    let projector =
        Projector::start(Views::new(Arc::clone(&store), GENERATION), PARTITIONS, options).await.unwrap();
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
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), task).await.expect("it ends").unwrap();
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
    let options = ProjectorOptions { writes: false, ..ProjectorOptions::default() };
    let projector =
        Projector::start(Views::new(Arc::clone(&store), GENERATION), PARTITIONS, options).await.unwrap();
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
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), task).await.expect("it ends").unwrap();
    }
    projector.close().await;
    assert!(tries.load(Ordering::SeqCst) > 4, "the store refused nothing");
    assert_eq!(most.load(Ordering::SeqCst), 1, "chunks were written at once");
    let report = verify(&history.views_in(store), 10).await.unwrap();
    assert_eq!((report.difference_count, report.behind), (0, 0), "{:?}", report.differences);
}
