//! Histories in segments: however they were cut, whatever overlaps, each entry is read once.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tidewheel_engine::{Control, HistoryEntry};
use tidewheel_projector::Views;
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_projector::views::run_history::{self, GROUP_ENTRIES};
use tidewheel_schemas::event::{RunCompleted, RunFailed, RunSignaled, StepCompleted};
use tidewheel_schemas::payload::ContentType;
use tidewheel_schemas::{Failure, Location, Payload};
use tidewheel_store::{EmbeddedOptions, EmbeddedStore, Scan, Source, Write, WriteSet};

use crate::world::{GENERATION, World, block_on, memory, name, project, run_id, views};

/// A run with a record for each size, of a payload of that many bytes, and another run in between.
fn world(sizes: &[usize]) -> World {
    let mut world = World::new();
    for number in [1, 2] {
        world.start(run_id(number), "order", &[], 0);
    }
    for (place, size) in sizes.iter().enumerate() {
        let payload = Payload { content_type: ContentType::json(), data: vec![place as u8; *size].into() };
        world.external(
            run_id(1),
            "default",
            RunSignaled { name: name("go"), payload: payload.clone() }.into(),
        );
        if place % 3 == 0 {
            world.external(run_id(2), "default", RunSignaled { name: name("go"), payload }.into());
        }
    }
    world
}

/// The writes of a world in chunks that end at the given lengths, the last one at the end.
fn chunks(world: &World, lengths: &[usize]) -> Vec<WriteSet> {
    chunks_of(world, lengths, true)
}

fn chunks_of(world: &World, lengths: &[usize], atomic: bool) -> Vec<WriteSet> {
    let (mut live, mut control, mut at) = (Live::default(), Control::new(0), 0);
    let mut lengths = lengths.iter();
    let mut sets = Vec::new();
    while at < world.transitions.len() {
        let end =
            (at + lengths.next().map_or(usize::MAX - at, |length| *length)).min(world.transitions.len());
        let mut chunk = Chunk::new(control);
        chunk.add(&world.transitions[at..end], &world.controls[end - 1], &live);
        let finished = chunk.finish(&mut live, atomic);
        control = finished.checkpoint.control;
        sets.push(finished.writes);
        at = end;
    }
    sets
}

fn segments(sets: Vec<WriteSet>) -> Vec<Write> {
    let writes = sets.into_iter().flat_map(|set| set.inserts);
    writes.filter(|write| write.table.name == run_history::TABLE.name).collect()
}

async fn pages(views: &Views, from: u64, version: u64, limit: usize) -> Vec<(u64, HistoryEntry)> {
    let (mut read, mut next) = (Vec::new(), from);
    loop {
        let page = views.entries(run_id(1), next, version, limit).await.unwrap();
        assert!(page.len() <= limit);
        let Some((last, _)) = page.last() else { return read };
        next = last + 1;
        read.extend(page);
    }
}

/// Writes one history in two ways, the second in any order and in part twice, and reads it from every number.
async fn reads_back(
    views: &Views,
    world: &World,
    [first, second]: [&[usize]; 2],
    order: &[prop::sample::Index],
    limit: usize,
) -> Result<(), TestCaseError> {
    let expected = world.fold.run(run_id(1)).expect("a run").history.to_vec();
    let expected: Vec<_> = (1_u64..).zip(expected).collect();
    let version = expected.len() as u64;
    project(views, world, first, true).await;
    let mut others = segments(chunks(world, second));
    others.extend(segments(chunks(world, first)));
    for index in order {
        let insert = index.get(&others).clone();
        let set = WriteSet { source: Some(Source(0)), inserts: vec![insert], ..WriteSet::default() };
        views.store().write(GENERATION, &set).await.unwrap();
        let read = pages(views, 1, version, limit).await;
        prop_assert_eq!(&read, &expected);
    }
    for from in 1..=version + 1 {
        let read = pages(views, from, version, limit).await;
        prop_assert_eq!(&read[..], &expected[from as usize - 1..]);
    }
    prop_assert_eq!(&pages(views, 1, version + 1_000_000, limit).await, &expected);
    for version in 1..version {
        prop_assert_eq!(&pages(views, 1, version, limit).await[..], &expected[..version as usize]);
    }
    let loaded = views.load_run(run_id(1)).await.unwrap();
    prop_assert_eq!(loaded.as_ref(), world.fold.run(run_id(1)));
    Ok(())
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![6 => 0..100_usize, 2 => 10_000..30_000_usize, 1 => 60_000..80_000_usize];
    prop::collection::vec(size, 1..50)
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4_usize, 1..60_usize], 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_cut_in_two_ways_reads_back_from_every_number(
        sizes in sizes(),
        (first, second) in (lengths(), lengths()),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        limit in 1..40_usize,
    ) {
        let world = world(&sizes);
        block_on(async { reads_back(&memory().await, &world, [&first, &second], &order, limit).await })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_cut_in_two_ways_reads_back_from_the_embedded_store(
        sizes in sizes(),
        (first, second) in (lengths(), lengths()),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        limit in 1..40_usize,
    ) {
        let world = world(&sizes);
        let directory = tempfile::tempdir().unwrap();
        block_on(async {
            let store = EmbeddedStore::open(&EmbeddedOptions::new(directory.path().join("store"))).unwrap();
            let views = views(Arc::new(store)).await;
            reads_back(&views, &world, [&first, &second], &order, limit).await
        })?;
    }
}

/// The first numbers and lengths of the segments of a run.
async fn cut(views: &Views) -> Vec<(u64, usize)> {
    let partition = Some(run_history::partition_key(run_id(1), 0));
    let scan = Scan { partition, from: None, to: None, after: None, reverse: false, limit: 1_000 };
    let page = views.store().scan(GENERATION, &run_history::TABLE, &scan).await.unwrap();
    let split = page.rows.into_iter().map(|row| run_history::split(row).unwrap());
    split.map(|(first, entries)| (first, entries.len())).collect()
}

#[test]
fn a_chunk_writes_a_row_for_a_group_of_entries_and_live_records_one_each() {
    let group = GROUP_ENTRIES as usize;
    let world = world(&vec![10; 2 * group]);
    block_on(async {
        let (at_once, live) = (memory().await, memory().await);
        project(&at_once, &world, &[], true).await;
        assert_eq!(cut(&at_once).await, [(1, group), (group as u64 + 1, group), (2 * group as u64 + 1, 1)]);
        project(&live, &world, &vec![1; world.transitions.len()], true).await;
        let each: Vec<_> = (1..=2 * group as u64 + 1).map(|number| (number, 1)).collect();
        assert_eq!(cut(&live).await, each);
    });
}

#[test]
fn large_entries_end_a_segment_and_the_largest_are_alone() {
    // The run's start is entry 1.
    let world = world(&[10, 40_000, 40_000, 100_000, 10, 10, 65_300, 10]);
    block_on(async {
        let views = memory().await;
        project(&views, &world, &[], true).await;
        assert_eq!(cut(&views).await, [(1, 3), (4, 1), (5, 1), (6, 3), (9, 1)]);
    });
}

#[test]
fn an_entry_that_is_refused_ends_the_history_before_it() {
    // Each record is within its limit; the header that holds tags and failure is not.
    let tags: Vec<_> = (0..16).map(|tag| (format!("t{tag}"), "v".repeat(256))).collect();
    let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut world = World::new();
    world.start(run_id(1), "order", &tags, 0);
    for _ in 0..3 {
        let signal = RunSignaled { name: name("go"), payload: Payload::null() };
        world.external(run_id(1), "default", signal.into());
    }
    let failure = Failure { code: "c".to_owned(), message: "x".repeat(1_046_000) };
    world.engine(run_id(1), 3, false, RunFailed { failure }.into());
    let refused = world.transitions.len() - 1;
    world.external(run_id(1), "default", RunSignaled { name: name("late"), payload: Payload::null() }.into());
    for lengths in [vec![], vec![1; world.transitions.len()], vec![refused, 1]] {
        block_on(async {
            let views = memory().await;
            project(&views, &world, &lengths, true).await;
            let loaded = views.load_run(run_id(1)).await.unwrap().expect("a run");
            assert_eq!(loaded.header.version, 4);
            assert_eq!(loaded.header.parked_at, Some(refused as i64));
            let read = pages(&views, 1, 25_000, 100).await;
            let expected = world.fold.run(run_id(1)).expect("a run").history.iter().take(4);
            assert!(read.iter().map(|(_, entry)| entry).eq(expected), "{lengths:?}");
        });
    }
}

#[test]
fn a_run_of_three_steps_in_one_chunk_has_one_row_of_history() {
    let mut world = World::new();
    world.start(run_id(1), "order", &[], 0);
    for step in 1..=3 {
        let (location, output) = (Location::top(step), Payload::json("1"));
        let completed = StepCompleted { location, name: name("step"), attempt: 1, output };
        world.engine(run_id(1), 0, false, completed.into());
    }
    world.engine(run_id(1), 0, false, RunCompleted { output: Payload::json("2") }.into());
    let count = |lengths: &[usize], atomic: bool| {
        let writes = chunks_of(&world, lengths, atomic).into_iter();
        writes.fold(BTreeMap::<&str, usize>::new(), |mut counts, set| {
            for write in set.iter() {
                *counts.entry(write.table.name).or_default() += 1;
            }
            counts
        })
    };
    for atomic in [true, false] {
        let (at_once, live) = (count(&[2], atomic), count(&[2, 1, 1, 1, 1, 1], atomic));
        assert_eq!((at_once["run_history"], live["run_history"]), (1, 5));
        // All of the run's rows but those that stand for many runs.
        let shared = ["index_days", "open_work_buckets", "partition_control"];
        let own = at_once.iter().filter(|(table, _)| !shared.contains(table)).map(|(_, count)| count);
        assert_eq!(own.sum::<usize>(), if atomic { 5 } else { 7 });
    }
}
