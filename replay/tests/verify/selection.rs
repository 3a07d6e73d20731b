//! Promises of selections, on logs made up from a seed, against the rule said in another way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidewheel_log::{EventLog as _, MemoryLog};
use tidewheel_schemas::event::{ReplayScope, RunCompleted, RunSignaled, RunStarted};
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Name, Payload, RunId, Topic, TopicPartition, codec,
};
use tidewheel_store::{Generation, MemoryStore};

use tidewheel_replay::selection::{Bounds, Found, RUNS_MAX, Slice};
use tidewheel_replay::verify::Stop;
use tidewheel_replay::{Selection, SelectionError, Views};
use tidewheel_schemas::partition::partition_for;

const PARTITIONS: u32 = 2;
const TIME_US: i64 = 1_760_000_000_000_000;

fn partition_of(run_id: RunId, partitions: u32) -> u32 {
    partition_for(run_id.to_string().as_bytes(), partitions)
}

/// `SplitMix64`.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.next(2) == 0).then(|| value(self))
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A record as the rule sees it.
struct Said {
    offset: i64,
    event_type: &'static str,
    at_us: i64,
    namespace: String,
}

#[derive(Default)]
struct Told {
    namespace: String,
    records: Vec<Said>,
}

struct World {
    views: Views,
    ends: Vec<i64>,
    runs: BTreeMap<RunId, Told>,
}

/// A log of some runs in three namespaces, with records that lie in one order and were written in another, signals of a
/// namespace that is not the run's, and runs that were never started.
async fn world(seeded: &mut Seeded) -> World {
    let (log, topic) = (MemoryLog::new(), Topic::new("tidewheel.local.workflow.events"));
    log.create_topic(&topic, PARTITIONS).await.unwrap();
    let mut runs: BTreeMap<RunId, Told> = BTreeMap::new();
    let mut ends = vec![0; PARTITIONS as usize];
    for number in 0..120_u32 {
        let key = seeded.next(25);
        let run_id = RunId::keyed("n", 0, "order", &key.to_string());
        let own = format!("n{}", key % 3);
        let is_new = !runs.contains_key(&run_id) && key != 7;
        let (namespace, event): (String, Event) = if is_new {
            let started = RunStarted {
                workflow: name("order"),
                key: None,
                input: Payload::null(),
                tags: BTreeMap::new(),
            };
            (own.clone(), started.into())
        } else if seeded.next(4) == 0 {
            (own.clone(), RunCompleted { output: Payload::null() }.into())
        } else {
            let other = if seeded.next(4) == 0 { format!("n{}", seeded.next(3)) } else { own.clone() };
            (other, RunSignaled { name: name("go"), payload: Payload::null() }.into())
        };
        let at_us = TIME_US + i64::try_from(seeded.next(100)).unwrap();
        let mut id = [9; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let envelope = Envelope {
            event_id: EventId::random(id),
            entity: Entity::Run(run_id),
            namespace: Some(name(&namespace)),
            recorded_at_us: at_us,
            cause: None,
            traceparent: None,
            author: Author::Ingest { principal: "anonymous".into() },
        };
        let partition = partition_of(run_id, PARTITIONS);
        let event_type = event.event_type().as_str();
        let record = codec::encode(&envelope, &event).unwrap();
        log.append(&TopicPartition::new(topic.clone(), partition), vec![record]).await.unwrap();
        let end = &mut ends[partition as usize];
        // One that was never started is in no namespace.
        let told = runs.entry(run_id).or_insert_with(|| Told {
            namespace: if is_new { own } else { String::new() },
            records: Vec::new(),
        });
        told.records.push(Said { offset: *end, event_type, at_us, namespace });
        *end += 1;
    }
    let views = Views {
        log: Arc::new(log),
        topic,
        partitions: PARTITIONS,
        store: Arc::new(MemoryStore::new()),
        generation: Generation(1),
    };
    World { views, ends, runs }
}

fn scope(seeded: &mut Seeded) -> ReplayScope {
    let window = |seeded: &mut Seeded| i64::try_from(seeded.next(70)).unwrap();
    let time = |seeded: &mut Seeded| TIME_US + i64::try_from(seeded.next(100)).unwrap();
    let runs = seeded.maybe(|seeded| {
        (0..seeded.next(4)).map(|_| RunId::keyed("n", 0, "order", &seeded.next(30).to_string())).collect()
    });
    ReplayScope {
        partitions: seeded.maybe(|seeded| vec![i32::try_from(seeded.next(2)).unwrap()]).unwrap_or_default(),
        runs: runs.unwrap_or_default(),
        namespaces: seeded.maybe(|seeded| vec![name(&format!("n{}", seeded.next(3)))]).unwrap_or_default(),
        event_types: seeded
            .maybe(|seeded| vec![["run-started", "run-completed"][seeded.next(2) as usize].to_owned()])
            .unwrap_or_default(),
        from_offset: seeded.maybe(window),
        until_offset: seeded.maybe(window),
        from_us: seeded.maybe(time),
        until_us: seeded.maybe(time),
    }
}

/// The rule: a run is in the scope if it is one of those named and its namespace is, and one record of it satisfies all
/// the rest; what another namespace sent it was refused, and counts for nothing.
fn expected(world: &World, scope: &ReplayScope, partition: u32) -> BTreeSet<RunId> {
    let is_in = |(run_id, told): &(&RunId, &Told)| {
        let is_within = |said: &Said| {
            said.offset < world.ends[partition as usize]
                && (scope.event_types.is_empty() || scope.event_types.iter().any(|of| of == said.event_type))
                && scope.from_offset.is_none_or(|from| said.offset >= from)
                && scope.until_offset.is_none_or(|until| said.offset < until)
                && scope.from_us.is_none_or(|from| said.at_us >= from)
                && scope.until_us.is_none_or(|until| said.at_us < until)
                && (scope.namespaces.is_empty()
                    || scope.namespaces.iter().any(|of| of.as_str() == said.namespace))
        };
        partition_of(**run_id, PARTITIONS) == partition
            && (scope.runs.is_empty() || scope.runs.contains(run_id))
            && (scope.namespaces.is_empty()
                || scope.namespaces.iter().any(|of| of.as_str() == told.namespace))
            && told.records.iter().any(is_within)
    };
    world.runs.iter().filter(is_in).map(|(run_id, _)| *run_id).collect()
}

async fn find(
    world: &World,
    scope: &ReplayScope,
    partition: u32,
    slice: Slice,
    bounds: Bounds,
) -> Result<Found, SelectionError> {
    let selection = Selection::new(Arc::new(scope.clone()), PARTITIONS).unwrap();
    let end = world.ends[partition as usize];
    selection.find(&world.views, partition, end, slice, bounds, &Stop::default()).await
}

#[tokio::test]
async fn a_run_is_selected_whole_if_one_record_of_it_is_within_the_scope() {
    let mut some = 0;
    for seed in 0..300 {
        let mut seeded = Seeded(seed);
        let world = world(&mut seeded).await;
        for _ in 0..10 {
            let scope = scope(&mut seeded);
            let selection = Selection::new(Arc::new(scope.clone()), PARTITIONS).unwrap();
            for partition in 0..PARTITIONS {
                let is_part = selection.parts().contains(&partition);
                let asked = scope.partitions.is_empty() || scope.partitions == [partition as i32];
                let expected = if asked { expected(&world, &scope, partition) } else { BTreeSet::new() };
                assert!(
                    is_part || expected.is_empty(),
                    "seed {seed}: {scope:?} leaves partition {partition} out"
                );
                if !is_part {
                    continue;
                }
                let found = find(&world, &scope, partition, Slice::WHOLE, Bounds::default()).await.unwrap();
                let runs: BTreeSet<_> = found.runs.iter().copied().collect();
                assert_eq!(runs, expected, "seed {seed}, partition {partition}: {scope:?}");
                assert!(found.is_whole);
                some += usize::from(!runs.is_empty() && runs.len() < 10);
                let mut sliced = BTreeSet::new();
                for index in 0..4 {
                    let slice = Slice { index, of: 4 };
                    let found = find(&world, &scope, partition, slice, Bounds::default()).await.unwrap();
                    assert!(found.runs.iter().all(|run_id| sliced.insert(*run_id)), "slices overlap");
                }
                assert_eq!(sliced, runs, "slices are everything");
            }
        }
    }
    assert!(some > 300, "only {some} selections were worth looking at");
}

#[tokio::test]
async fn what_is_held_and_read_is_bounded_and_said() {
    let world = world(&mut Seeded(1)).await;
    let scope = ReplayScope { from_offset: Some(0), ..ReplayScope::default() };
    let all = find(&world, &scope, 0, Slice::WHOLE, Bounds::default()).await.unwrap();
    assert!(all.runs.len() > 4 && all.is_whole);
    let few = Bounds { runs_max: all.runs.len() - 1, ..Bounds::default() };
    let refused = find(&world, &scope, 0, Slice::WHOLE, few).await;
    assert!(matches!(refused, Err(SelectionError::TooMany { partition: 0, .. })), "{refused:?}");
    let one = Bounds { enough: 1, ..Bounds::default() };
    assert_eq!(find(&world, &scope, 0, Slice::WHOLE, one).await.unwrap().runs.len(), 1);
    let none = Bounds { records_max: 0, ..Bounds::default() };
    let found = find(&world, &scope, 0, Slice::WHOLE, none).await.unwrap();
    assert_eq!((found.runs.len(), found.is_whole), (0, false));
    let stop = Stop::default();
    stop.stop();
    let selection = Selection::new(Arc::new(scope), PARTITIONS).unwrap();
    let stopped =
        selection.find(&world.views, 0, world.ends[0], Slice::WHOLE, Bounds::default(), &stop).await;
    assert!(matches!(stopped, Err(SelectionError::Stopped)), "{stopped:?}");
    assert_eq!(Bounds::default().runs_max, RUNS_MAX);
}

#[test]
fn a_scope_that_selects_no_runs_is_everything_and_one_of_names_alone_reads_nothing() {
    let selection = Selection::new(Arc::default(), PARTITIONS).unwrap();
    assert!(selection.is_everything() && !selection.looks_at_records());
    assert_eq!(selection.parts(), [0, 1]);
    let keyed = |key: u32| RunId::keyed("n", 0, "order", &key.to_string());
    let here: Vec<_> = (0..9).map(keyed).filter(|run_id| partition_of(*run_id, PARTITIONS) == 1).collect();
    let named = ReplayScope { runs: here, ..ReplayScope::default() };
    let selection = Selection::new(Arc::new(named.clone()), PARTITIONS).unwrap();
    assert_eq!((selection.is_everything(), selection.looks_at_records()), (false, false));
    assert_eq!(selection.parts(), [1]);
    let elsewhere = ReplayScope { partitions: vec![0], ..named };
    assert_eq!(Selection::new(Arc::new(elsewhere), PARTITIONS).unwrap().parts(), [0_u32; 0]);
    let newer = ReplayScope { event_types: vec!["run-dreamt".to_owned()], ..ReplayScope::default() };
    let refused = Selection::new(Arc::new(newer), PARTITIONS);
    assert!(matches!(refused, Err(SelectionError::UnknownEventType(name)) if name == "run-dreamt"));
}
