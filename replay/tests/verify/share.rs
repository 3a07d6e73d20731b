//! A share of a generation that cannot be filled says why, and holds up nobody who ends it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidewheel_log::EventLog as _;
use tidewheel_projector::views::TABLES;
use tidewheel_projector::{Projector, ProjectorOptions, Views};
use tidewheel_replay::{
    RebuildError, RebuildOptions, Rebuilding, Share, SpeedSender, Standing, Turns, rebuild,
};
use tidewheel_schemas::TopicPartition;
use tidewheel_store::{MemoryStore, SharedStore, StateStore as _};
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
        has_threads: true,
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
