//! The order of writes: what a reader, a crash or a zombie between any two of them may find.

use tidewheel_engine::{Control, Run};
use tidewheel_projector::Views;
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_projector::views::runs_by::{Entry, clustering_key};
use tidewheel_schemas::event::{RunCompleted, RunDiverged, RunResumed, RunSignaled, RunUnparked};
use tidewheel_schemas::{Location, Payload};
use tidewheel_store::{RowKey, WriteSet};

use crate::world::{GENERATION, World, block_on, memory, name, run_id};

fn parked(world: &mut World) {
    let location = Location::top(1);
    let diverged = RunDiverged { location, expected: "a".to_owned(), found: "b".to_owned() };
    world.engine(run_id(1), 0, false, diverged.into());
}

/// The writes of the records from `from` on up to `to`, as a store without batches gets them.
fn chunk(world: &World, live: &mut Live, from: usize, to: usize) -> WriteSet {
    let control = from.checked_sub(1).map_or_else(|| Control::new(0), |last| world.controls[last].clone());
    let mut chunk = Chunk::new(control);
    chunk.add(&world.transitions[from..to], &world.controls[to - 1], live);
    chunk.finish(live, false).writes
}

/// The stages of a write set, each as a set of its own, in their order.
fn stages(writes: WriteSet) -> [WriteSet; 4] {
    let WriteSet { source, inserts, entities, deletions, checkpoints, .. } = writes;
    let of = || WriteSet { source, ..WriteSet::default() };
    [
        WriteSet { inserts, ..of() },
        WriteSet { entities, ..of() },
        WriteSet { deletions, ..of() },
        WriteSet { checkpoints, ..of() },
    ]
}

async fn write(views: &Views, writes: &WriteSet) {
    views.store().write(GENERATION, writes).await.unwrap();
}

/// Whoever finds the run finds it in every index that its header speaks of.
async fn indexes_agree(views: &Views, when: &str) {
    let Some(stored) = views.header(run_id(1)).await.unwrap() else { return };
    let header = stored.header;
    for entry in [Entry::Namespace, Entry::Workflow, Entry::Status(header.status)] {
        let key = RowKey { partition: entry.key_of(&header, 0), clustering: Some(clustering_key(&header)) };
        let row = views.store().get(GENERATION, entry.table(), &key).await.unwrap();
        assert!(row.is_some(), "{when}: the run is {:?} and not in {entry:?}", header.status);
    }
}

#[test]
fn a_run_that_can_be_read_stands_in_its_indexes() {
    let mut world = World::new();
    world.start(run_id(1), "order", &[], 0);
    block_on(async {
        let (views, mut live) = (memory().await, Live::default());
        for (number, stage) in stages(chunk(&world, &mut live, 0, 3)).iter().enumerate() {
            write(&views, stage).await;
            indexes_agree(&views, &format!("after stage {number} of its start")).await;
        }
    });
}

#[test]
fn a_run_leaves_an_index_only_after_its_entity_says_so() {
    let mut world = World::new();
    world.start(run_id(1), "order", &[], 0);
    parked(&mut world);
    block_on(async {
        let (views, mut live) = (memory().await, Live::default());
        write(&views, &chunk(&world, &mut live, 0, 3)).await;
        for (number, stage) in stages(chunk(&world, &mut live, 3, 4)).iter().enumerate() {
            write(&views, stage).await;
            indexes_agree(&views, &format!("after stage {number} of its parking")).await;
        }
    });
}

#[test]
fn a_checkpoint_never_stands_past_a_row_that_is_not_written() {
    let mut world = World::new();
    world.start(run_id(1), "order", &[], 0);
    let signal = RunSignaled { name: name("go"), payload: Payload::null() };
    world.external(run_id(1), "default", signal.into());
    block_on(async {
        let (views, mut live) = (memory().await, Live::default());
        write(&views, &chunk(&world, &mut live, 0, 2)).await;
        for stage in stages(chunk(&world, &mut live, 2, 4)) {
            write(&views, &stage).await;
            let checkpoint = views.checkpoint(0).await.unwrap().expect("a checkpoint");
            if checkpoint.control.next_offset == 4 {
                let run = world.runs().next().cloned();
                assert_eq!(views.load_run(run_id(1)).await.unwrap(), run);
            } else {
                assert_eq!(checkpoint.control.next_offset, 2);
            }
        }
        assert_eq!(views.checkpoint(0).await.unwrap().expect("a checkpoint").control, *world.control());
    });
}

#[test]
fn a_row_of_a_cut_write_goes_although_the_chunk_after_it_never_had_it() {
    let mut world = World::new();
    world.start(run_id(1), "order", &[], 0);
    world.engine(run_id(1), 0, false, RunCompleted { output: Payload::null() }.into());
    block_on(async {
        let (views, mut live) = (memory().await, Live::default());
        let [inserts, ..] = stages(chunk(&world, &mut live, 0, 3));
        write(&views, &inserts).await;
        // The process ended there; the next one collects the start and the end of the run in one chunk.
        write(&views, &chunk(&world, &mut Live::default(), 0, 4)).await;
        let whole = memory().await;
        crate::world::project(&whole, &world, &[1, 1, 1, 1], false).await;
        assert_eq!(crate::world::contents(&views).await, crate::world::contents(&whole).await);
    });
}

#[test]
fn a_zombie_that_writes_older_rows_again_changes_nothing() {
    let mut world = World::new();
    world.start(run_id(1), "order", &[], 0);
    parked(&mut world);
    world.external(run_id(1), "default", RunResumed {}.into());
    let signal = RunSignaled { name: name("go"), payload: Payload::null() };
    world.external(run_id(1), "default", signal.into());
    block_on(async {
        let (views, mut live) = (memory().await, Live::default());
        let bounds = [0, 3, 4, 5, 6];
        let sets: Vec<_> = bounds.windows(2).map(|pair| chunk(&world, &mut live, pair[0], pair[1])).collect();
        for set in &sets {
            write(&views, set).await;
        }
        let expected = crate::world::all_rows(&views).await;
        indexes_agree(&views, "after every write").await;
        let run: Option<Run> = world.runs().next().cloned();
        assert_eq!(views.load_run(run_id(1)).await.unwrap(), run);
        for older in &sets {
            // Another writer than the one that wrote before.
            write(&views, &WriteSet { source: None, ..older.clone() }).await;
            assert_eq!(crate::world::all_rows(&views).await, expected);
        }
    });
}

#[test]
fn a_parked_run_is_listed_until_it_goes_on_and_what_is_read_of_it_is_what_the_fold_has() {
    let mut world = World::new();
    world.start(run_id(1), "order", &[], 0);
    world.unreadable(run_id(1));
    let signal = RunSignaled { name: name("go"), payload: Payload::null() };
    world.external(run_id(1), "default", signal.into());
    let unparked = RunUnparked { offset: 3, reason: "it is cut off".to_owned() };
    world.external(run_id(1), "default", unparked.into());
    block_on(async {
        // Each length of the first chunk is another place for a process to end and the next one to go on.
        for first in 3..=6 {
            let (views, mut live) = (memory().await, Live::default());
            write(&views, &chunk(&world, &mut live, 0, first)).await;
            let is_parked = first == 4 || first == 5;
            let listed = views.parked(0, None, 10).await.unwrap();
            let row = views.parked_run(0, run_id(1)).await.unwrap();
            assert_eq!(row.as_ref().map(|row| row.parked_at), is_parked.then_some(3));
            assert_eq!(listed, Vec::from_iter(row));
            let parked = views.load_run(run_id(1)).await.unwrap().expect("the run");
            assert_eq!(parked.header.parked_at, is_parked.then_some(3));
            let checkpoint = views.checkpoint(0).await.unwrap().expect("a checkpoint");
            let mut live = Live::load(&views, &checkpoint).await.unwrap();
            if first < 6 {
                write(&views, &chunk(&world, &mut live, first, 6)).await;
            }
            assert_eq!(views.load_run(run_id(1)).await.unwrap(), world.runs().next().cloned());
            assert_eq!(views.parked(0, None, 10).await.unwrap(), []);
        }
    });
}
