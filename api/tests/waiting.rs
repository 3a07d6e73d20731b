//! Who waits for the fold is told neither too little nor too much, held against transitions of the real fold.

use std::collections::BTreeMap;
use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tidewheel_api::Waiting;
use tidewheel_engine::{Fold, Rejection, RunStatus, Transition, Verdict};
use tidewheel_schemas::event::{
    LogCreated, PartitionClaimed, RunCompleted, RunDiverged, RunResumed, RunSignaled, RunStarted,
    RunStateChanged,
};
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Location, LogId, Name, Payload, Record, RunId, codec,
};

const PARTITION: u32 = 0;

/// One partition's log.
struct World {
    fold: Fold,
    offset: i64,
    seq: u64,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn run_id(number: u8) -> RunId {
    RunId::fresh(1, u64::from(number), [number; 8])
}

fn event_id(number: u8) -> EventId {
    EventId::random([number; 16])
}

impl World {
    fn new() -> Self {
        let mut world = Self { fold: Fold::new(PARTITION), offset: 0, seq: 0 };
        let created = LogCreated { log_id: LogId::random([7; 16]), epoch_us: 0, partitions: 1, fold: 1 };
        for (number, event) in [(250, created.into()), (251, PartitionClaimed { replaces: None }.into())] {
            let author = Author::Candidate { process: "test".into() };
            world.append(event_id(number), Entity::Partition(PARTITION), author, event);
        }
        world
    }

    fn append(&mut self, event_id: EventId, entity: Entity, author: Author, event: Event) -> Transition {
        let namespace = matches!(entity, Entity::Run(_)).then(|| name("default"));
        let envelope = Envelope {
            event_id,
            entity,
            namespace,
            recorded_at_us: 1_700_000_000_000_000,
            cause: None,
            traceparent: None,
            author,
        };
        let new = codec::encode(&envelope, &event).unwrap();
        let record = Record { offset: self.offset, key: new.key, headers: new.headers, value: new.value };
        self.offset += 1;
        self.fold.apply(&record).unwrap()
    }

    fn external(&mut self, id: u8, run: RunId, event: Event) -> Transition {
        let author = Author::Ingest { principal: "anonymous".into() };
        self.append(event_id(id), Entity::Run(run), author, event)
    }

    fn start(&mut self, id: u8, run: RunId) -> Transition {
        let (workflow, input, tags) = (name("order"), Payload::null(), BTreeMap::new());
        self.external(id, run, RunStarted { workflow, key: None, input, tags }.into())
    }

    fn engine(&mut self, run: RunId, event: Event) -> Transition {
        let seen = self.fold.run(run).map_or(0, |run| run.header.externals);
        let author = Author::Engine { claim: 1, seq: self.seq, seen, idle: false };
        self.seq += 1;
        let transition = self.append(event_id(252), Entity::Run(run), author, event);
        assert_eq!(transition.verdict, Verdict::Accepted);
        transition
    }

    fn complete(&mut self, run: RunId) -> Transition {
        self.engine(run, RunCompleted { output: Payload::json("1") }.into())
    }
}

/// What a future says without being waited for.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[test]
fn each_of_racing_requests_is_told_the_verdict_on_its_own_record() {
    let (waiting, mut world) = (Waiting::new(1), World::new());
    let (mut first, mut second) = (waiting.expect(event_id(1)), waiting.expect(event_id(1)));
    let mut other = waiting.expect(event_id(2));
    let (one, two) = (world.start(1, run_id(1)), world.start(1, run_id(1)));
    assert_eq!(now(first.at(one.offset)), None);
    waiting.publish(&[one.clone(), two.clone()]);
    let (first, second) = (now(first.at(one.offset)).unwrap(), now(second.at(two.offset)).unwrap());
    assert_eq!((first.offset, first.verdict), (one.offset, Verdict::Accepted));
    assert_eq!((second.offset, second.verdict), (two.offset, Verdict::Duplicate(Ok(()))));
    assert_eq!(second.run.unwrap().run_id, run_id(1));
    assert_eq!(now(other.at(0)), None);
}

#[test]
fn a_verdict_forgotten_among_very_many_is_told_by_the_next_record_of_the_same_event() {
    let (waiting, mut world) = (Waiting::new(1), World::new());
    let mut waiter = waiting.expect(event_id(1));
    let first = world.start(1, run_id(1));
    let own = first.offset;
    waiting.publish(&[first]);
    for _ in 0..100 {
        waiting.publish(&[world.start(1, run_id(1))]);
    }
    let outcome = now(waiter.at(own)).unwrap();
    assert!(outcome.offset > own);
    assert_eq!(outcome.verdict, Verdict::Duplicate(Ok(())));
}

#[test]
fn an_engine_record_is_nobodys_verdict() {
    let (waiting, mut world) = (Waiting::new(1), World::new());
    let mut waiter = waiting.expect(event_id(252));
    waiting.publish(&[world.start(1, run_id(1)), world.complete(run_id(1))]);
    assert_eq!(now(waiter.at(0)), None);
}

#[test]
fn the_end_is_told_with_its_output_whatever_is_refused_after_it() {
    let (waiting, mut world) = (Waiting::new(1), World::new());
    waiting.publish(&[world.start(1, run_id(1))]);
    let mut follower = waiting.follow(run_id(1));
    let end = world.complete(run_id(1));
    let signal = RunSignaled { name: name("go"), payload: Payload::null() };
    let refused = world.external(2, run_id(1), signal.into());
    assert_eq!(refused.verdict, Verdict::Rejected(Rejection::RunFinished));
    let again = world.start(1, run_id(1));
    waiting.publish(&[end.clone(), refused.clone(), again.clone()]);
    let standing = now(follower.settled()).unwrap();
    assert_eq!((standing.partition, standing.offset), (PARTITION, end.offset));
    assert_eq!(standing.run.status, RunStatus::Completed);
    assert_eq!(standing.output, Some(Payload::json("1")));
    // Who comes after the end is not told of it by records that cannot say what it was.
    let mut late = waiting.follow(run_id(1));
    waiting.publish(&[refused, again]);
    assert_eq!(now(late.settled()), None);
    assert_eq!(late.newest(), None);
}

#[test]
fn a_parked_run_settles_and_a_resumed_one_does_not() {
    let (waiting, mut world) = (Waiting::new(1), World::new());
    let mut follower = waiting.follow(run_id(1));
    waiting.publish(&[world.start(1, run_id(1))]);
    assert_eq!(now(follower.settled()), None);
    let (expected, found) = ("a timer".to_owned(), "a step".to_owned());
    let diverged = RunDiverged { location: Location::top(1), expected, found };
    waiting.publish(&[world.engine(run_id(1), diverged.into())]);
    assert_eq!(now(follower.settled()).unwrap().run.status, RunStatus::Parked);
    let resumed = world.external(2, run_id(1), RunResumed {}.into());
    assert_eq!(resumed.verdict, Verdict::Accepted);
    waiting.publish(&[resumed]);
    assert_eq!(now(follower.settled()), None);
    waiting.publish(&[world.complete(run_id(1))]);
    assert_eq!(now(follower.settled()).unwrap().output, Some(Payload::json("1")));
}

#[test]
fn a_slow_follower_is_told_the_newest_standing_once() {
    let (waiting, mut world) = (Waiting::new(1), World::new());
    let (mut one, mut other) = (waiting.follow(run_id(1)), waiting.follow(run_id(2)));
    waiting.publish(&[world.start(1, run_id(1))]);
    let mut newest = 0;
    for location in 1..=5 {
        let changed = RunStateChanged { location: Location::top(location), state: Payload::json("2") };
        let transition = world.engine(run_id(1), changed.into());
        newest = transition.offset;
        waiting.publish(&[transition]);
    }
    assert_eq!(now(one.next()).unwrap().offset, newest);
    assert_eq!(now(one.next()), None);
    waiting.publish(&[world.complete(run_id(1))]);
    assert_eq!(now(one.next()).unwrap().run.status, RunStatus::Completed);
    // A look does not use up the end.
    assert_eq!(now(one.settled()).unwrap().run.status, RunStatus::Completed);
    assert_eq!(now(other.next()), None);
}

#[test]
fn those_who_go_away_leave_nothing_behind() {
    let waiting = Waiting::new(1);
    let verdicts: Vec<_> = (0..50).map(|number| waiting.expect(event_id(number % 5))).collect();
    let followers: Vec<_> = (0..50).map(|number| waiting.follow(run_id(number % 5))).collect();
    assert_eq!(waiting.followers(), 50);
    drop(verdicts);
    assert!(!waiting.is_empty());
    drop(followers);
    assert!(waiting.is_empty());
    assert_eq!(waiting.followers(), 0);
}

#[test]
fn what_was_told_is_known_per_partition_and_never_falls_back() {
    let (waiting, mut world) = (Waiting::new(2), World::new());
    assert_eq!(waiting.published(0), -1);
    let (one, two) = (world.start(1, run_id(1)), world.complete(run_id(1)));
    let elsewhere = Transition { partition: 1, offset: 7, ..one.clone() };
    waiting.publish(&[one.clone(), elsewhere, two.clone()]);
    assert_eq!((waiting.published(0), waiting.published(1)), (two.offset, 7));
    // A new owner reads some records again.
    waiting.publish(std::slice::from_ref(&one));
    assert_eq!(waiting.published(0), two.offset);
    // A partition that the topic does not have is nobody's.
    waiting.publish(&[Transition { partition: 9, ..one }]);
    assert_eq!(waiting.published(9), -1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// An end is either told, or was told before: then the published offset says so.
    #[test]
    fn no_end_falls_between_following_and_reading_the_views(
        runs in 1..24_u8, spins in 0..4_000_u32, batch in 1..5_usize,
    ) {
        let waiting = Waiting::new(1);
        let mut world = World::new();
        let mut ends = Vec::new();
        for number in 0..runs {
            world.start(number, run_id(number));
            ends.push(world.complete(run_id(number)));
        }
        let offsets: Vec<i64> = ends.iter().map(|end| end.offset).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let lost = std::thread::scope(|scope| {
            let publisher = waiting.clone();
            scope.spawn(move || {
                for part in ends.chunks(batch) {
                    (0..spins).for_each(|_| std::hint::spin_loop());
                    publisher.publish(part);
                }
            });
            (0..runs).zip(&offsets).find_map(|(number, end)| {
                let mut follower = waiting.follow(run_id(number));
                if waiting.published(PARTITION) >= *end {
                    return None;
                }
                let told = runtime.block_on(async {
                    tokio::time::timeout(Duration::from_secs(60), follower.settled()).await
                });
                (told.ok().map(|standing| standing.offset) != Some(*end)).then_some(number)
            })
        });
        prop_assert_eq!(lost, None, "the run whose end was lost");
        prop_assert!(waiting.is_empty());
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// How often a future that waits is woken by what `meanwhile` does.
fn wakes(future: impl Future, meanwhile: impl FnOnce()) -> usize {
    let wakes = std::sync::Arc::new(Wakes::default());
    let waker = Waker::from(std::sync::Arc::clone(&wakes));
    assert!(std::pin::pin!(future).poll(&mut Context::from_waker(&waker)).is_pending());
    meanwhile();
    wakes.0.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn who_waits_for_the_end_is_woken_by_nothing_before_it() {
    let (waiting, mut world) = (Waiting::new(1), World::new());
    let (mut verdict, mut follower) = (waiting.expect(event_id(1)), waiting.follow(run_id(1)));
    let start = world.start(1, run_id(1));
    let accepted = || waiting.publish(std::slice::from_ref(&start));
    assert_eq!(wakes(verdict.at_unless_accepted(start.offset), accepted), 0);
    assert_eq!(now(verdict.at_unless_accepted(start.offset)), None);
    assert_eq!(now(verdict.at(start.offset)).unwrap().verdict, Verdict::Accepted);

    let state = RunStateChanged { location: Location::top(1), state: Payload::json("1") };
    let step = world.engine(run_id(1), state.into());
    let end = world.complete(run_id(1));
    assert_eq!(wakes(follower.settled(), || waiting.publish(&[step])), 0);
    assert_eq!(wakes(follower.settled(), || waiting.publish(&[end])), 1);
    assert_eq!(now(follower.settled()).unwrap().run.status, RunStatus::Completed);
}

#[test]
fn who_waits_for_the_end_is_woken_when_the_record_is_not_accepted() {
    let (waiting, mut world) = (Waiting::new(1), World::new());
    let first = world.start(1, run_id(1));
    waiting.publish(&[first]);
    let mut verdict = waiting.expect(event_id(1));
    let second = world.start(1, run_id(1));
    let offset = second.offset;
    assert_eq!(wakes(verdict.at_unless_accepted(offset), || waiting.publish(&[second])), 1);
    assert_eq!(now(verdict.at_unless_accepted(offset)).unwrap().verdict, Verdict::Duplicate(Ok(())));
}
