//! The projector's thread: nothing submitted is lost, readers wait for exactly what they ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tidewheel_projector::{Projector, ProjectorError, ProjectorOptions, Views};
use tidewheel_schemas::event::RunSignaled;
use tidewheel_schemas::{Failure, Payload};
use tidewheel_store::suite::Intercepted;
use tidewheel_store::{MemoryStore, StoreError};
use tokio::sync::Barrier;

use crate::world::{GENERATION, World, all_rows, block_on, contents, memory, name, project, run_id};

const LONG: Duration = Duration::from_secs(30);

fn world() -> World {
    let mut world = World::new();
    for number in 0..20 {
        world.start(run_id(number), "order", &[("n", "1")], i64::from(number));
        let signal = RunSignaled { name: name("go"), payload: Payload::null() };
        world.external(run_id(number), "default", signal.into());
    }
    world
}

async fn submit(projector: &Projector, world: &World, from: usize, to: usize) {
    let transitions = world.transitions[from..to].to_vec();
    projector.submit(0, transitions, &world.controls[to - 1]).await.unwrap();
}

#[test]
fn a_waiting_reader_closes_the_chunk() {
    block_on(async {
        let world = world();
        let views = memory().await;
        let options = ProjectorOptions { linger: Duration::from_secs(3_600), ..ProjectorOptions::default() };
        let projector = Projector::start(views.clone(), 1, options).await.unwrap();
        submit(&projector, &world, 0, 10).await;
        projector.wait_applied(0, 9, LONG).await.unwrap();
        assert_eq!(projector.applied_offset(0), 9);
        assert_eq!(views.checkpoint(0).await.unwrap().unwrap().control, world.controls[9]);

        // One who came before the record does as well.
        let waiting = {
            let projector = projector.clone();
            tokio::spawn(async move { projector.wait_applied(0, 15, LONG).await })
        };
        tokio::task::yield_now().await;
        submit(&projector, &world, 10, 20).await;
        waiting.await.unwrap().unwrap();

        let late = projector.wait_applied(0, 1_000, Duration::from_millis(10)).await;
        assert!(
            matches!(late, Err(ProjectorError::NotApplied { asked: 1_000, applied: 19, .. })),
            "{late:?}"
        );
        assert!(matches!(projector.wait_applied(7, 0, LONG).await, Err(ProjectorError::UnknownPartition(7))));
    });
}

#[test]
fn closing_writes_what_was_submitted_and_a_new_projector_goes_on_there() {
    block_on(async {
        let world = world();
        let views = memory().await;
        let projector = Projector::start(views.clone(), 1, ProjectorOptions::default()).await.unwrap();
        submit(&projector, &world, 0, 17).await;
        projector.close().await;
        assert!(projector.submit(0, world.transitions[17..].to_vec(), world.control()).await.is_err());
        assert!(matches!(projector.failed().await, ProjectorError::Closed));

        let projector = Projector::start(views.clone(), 1, ProjectorOptions::default()).await.unwrap();
        assert_eq!(projector.applied_offset(0), 16);
        // What the views hold already is skipped.
        submit(&projector, &world, 5, world.transitions.len()).await;
        projector.close().await;
        let expected = memory().await;
        project(&expected, &world, &[], true).await;
        assert_eq!(contents(&views).await, contents(&expected).await);
    });
}

#[test]
fn partitions_are_written_side_by_side_unless_the_store_takes_whole_chunks() {
    const PARTITIONS: u32 = 3;
    for (atomic, together) in [(false, PARTITIONS as usize), (true, 1)] {
        block_on(async {
            // Writes go on only when as many as told are there at once.
            let barrier = Arc::new(Barrier::new(together));
            let (writing, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let newest = Arc::clone(&most);
            let store = Intercepted::new(Arc::new(MemoryStore::new()), move |store, generation, writes| {
                let (barrier, writing, most) =
                    (Arc::clone(&barrier), Arc::clone(&writing), Arc::clone(&newest));
                async move {
                    most.fetch_max(writing.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    barrier.wait().await;
                    tokio::task::yield_now().await;
                    writing.fetch_sub(1, Ordering::SeqCst);
                    store.write(generation, &writes).await
                }
                .boxed()
            });
            let views = Views::new(Arc::new(store), GENERATION);
            let options = ProjectorOptions {
                linger: Duration::from_secs(3_600),
                atomic,
                ..ProjectorOptions::default()
            };
            let projector = Projector::start(views.clone(), PARTITIONS, options).await.unwrap();
            for partition in 0..PARTITIONS {
                let world = World::of_partition(partition);
                let transitions = world.transitions.clone();
                projector.submit(partition, transitions, world.control()).await.unwrap();
            }
            // One who waits for the first closes the chunks of all.
            projector.wait_applied(0, 1, LONG).await.unwrap();
            for partition in 0..PARTITIONS {
                projector.wait_applied(partition, 1, LONG).await.unwrap();
                let checkpoint = views.checkpoint(partition).await.unwrap().expect("a checkpoint");
                assert_eq!(checkpoint.control.next_offset, 2);
            }
            assert_eq!(most.load(Ordering::SeqCst), together);
            projector.close().await;
        });
    }
}

/// Views whose first writes fail.
fn flaky(failures: usize, error: StoreError) -> Views {
    let left = AtomicUsize::new(failures);
    let store = Intercepted::new(Arc::new(MemoryStore::new()), move |store, generation, writes| {
        let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let error = error.clone();
        async move { if fails { Err(error) } else { store.write(generation, &writes).await } }.boxed()
    });
    Views::new(Arc::new(store), GENERATION)
}

#[test]
fn an_unavailable_store_is_tried_again_and_loses_nothing() {
    block_on(async {
        let world = world();
        let views = flaky(3, StoreError::Unavailable("a test".to_owned()));
        let projector = Projector::start(views.clone(), 1, ProjectorOptions::default()).await.unwrap();
        submit(&projector, &world, 0, world.transitions.len()).await;
        projector.wait_applied(0, world.transitions.len() as i64 - 1, LONG).await.unwrap();
        let expected = memory().await;
        project(&expected, &world, &[], true).await;
        assert_eq!(all_rows(&views).await, all_rows(&expected).await);
    });
}

#[test]
fn an_unavailable_store_does_not_keep_the_projector_from_closing() {
    block_on(async {
        let world = world();
        let views = flaky(usize::MAX, StoreError::Unavailable("a test".to_owned()));
        let projector = Projector::start(views, 1, ProjectorOptions::default()).await.unwrap();
        submit(&projector, &world, 0, 5).await;
        // The write is being tried again by then.
        let waited = projector.wait_applied(0, 4, Duration::from_millis(200)).await;
        assert!(matches!(waited, Err(ProjectorError::NotApplied { .. })), "{waited:?}");
        tokio::time::timeout(LONG, projector.close()).await.unwrap();
        let reason = projector.failed().await;
        assert!(matches!(reason, ProjectorError::Store(StoreError::Unavailable(_))), "{reason:?}");
    });
}

#[test]
fn a_store_that_fails_for_good_stops_the_projector_and_tells_who_waits() {
    block_on(async {
        let world = world();
        let error = StoreError::Corrupt { table: "runs", what: "a test".to_owned() };
        let projector =
            Projector::start(flaky(usize::MAX, error), 1, ProjectorOptions::default()).await.unwrap();
        submit(&projector, &world, 0, 5).await;
        let waited = projector.wait_applied(0, 4, LONG).await;
        assert!(matches!(waited, Err(ProjectorError::Store(StoreError::Corrupt { .. }))), "{waited:?}");
        assert!(projector.submit(0, world.transitions[5..].to_vec(), world.control()).await.is_err());
    });
}

#[test]
fn a_run_whose_row_would_be_refused_is_parked_and_the_others_go_on() {
    block_on(async {
        let mut world = world();
        // Each record is within its limit; the header that holds tags and failure is not.
        let tags: Vec<_> = (0..16).map(|tag| (format!("t{tag}"), "v".repeat(256))).collect();
        let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        world.start(run_id(30), "order", &tags, 30);
        let failure = Failure { code: "c".to_owned(), message: "x".repeat(1_046_000) };
        world.engine(run_id(30), 0, false, tidewheel_schemas::event::RunFailed { failure }.into());
        let parked_at = world.transitions.len() as i64 - 1;
        for number in [30, 4] {
            let signal = RunSignaled { name: name("late"), payload: Payload::null() };
            world.external(run_id(number), "default", signal.into());
        }
        let views = memory().await;
        let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let options = ProjectorOptions {
            on_parked: Some(Arc::new(move |run_id, offset, _| tell.lock().push((run_id, offset)))),
            ..ProjectorOptions::default()
        };
        let projector = Projector::start(views.clone(), 1, options).await.unwrap();
        submit(&projector, &world, 0, world.transitions.len()).await;
        projector.close().await;
        assert_eq!(*told.lock(), vec![(run_id(30), parked_at)]);
        let parked = views.load_run(run_id(30)).await.unwrap().unwrap();
        assert_eq!(parked.header.parked_at, Some(parked_at));
        assert_eq!(parked.header.version, 1);
        let other = views.load_run(run_id(4)).await.unwrap().unwrap();
        assert_eq!(other.header.version, 3);
        assert_eq!(views.checkpoint(0).await.unwrap().unwrap().control, *world.control());
    });
}
