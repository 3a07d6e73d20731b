//! Runs at a record that nobody can read: what they take in meanwhile, how they go on, and that all readers agree.

use proptest::prelude::*;
use tidewheel_engine::{Fold, Rejection, RunStatus, Transition, Verdict};
use tidewheel_schemas::event::{
    FoldRaised, RunCancelRequested, RunCompleted, RunDiverged, RunResumed, RunTerminated, RunUnparked,
    SignalSent, TimerStarted,
};
use tidewheel_schemas::{Author, Entity, Event, EventId, NewRecord, Payload, Record};

use crate::world::{World, location, name, run_id, signal, step_completed};

fn started() -> World {
    let mut world = World::folding(1, 2);
    assert_eq!(world.start(1).verdict, Verdict::Accepted);
    world
}

/// A record of the owner that nobody can read.
fn unreadable(world: &mut World) -> Transition {
    let record = world.engine_record(world.claim, world.seq, step_completed(1));
    world.seq += 1;
    world.append(NewRecord { value: b"cut off".as_slice().into(), ..record })
}

fn unparked(offset: i64) -> Event {
    RunUnparked { offset, reason: "its value is cut off".to_owned() }.into()
}

#[test]
fn a_parked_run_takes_in_what_comes_from_outside_and_nothing_that_was_decided_after() {
    let mut world = started();
    assert_eq!(unreadable(&mut world).verdict, Verdict::Parked);
    assert_eq!(world.run().header.parked_at, Some(3));
    assert_eq!(world.run().header.work_due_us(), None);
    assert_eq!(world.engine(step_completed(2)).verdict, Verdict::Rejected(Rejection::RunParked));
    assert_eq!(unreadable(&mut world).verdict, Verdict::Rejected(Rejection::RunParked));
    let event_id = world.id();
    assert_eq!(world.external_as(event_id, run_id(1), "default", signal()).verdict, Verdict::Accepted);
    assert_eq!(
        world.external_as(event_id, run_id(1), "default", signal()).verdict,
        Verdict::Duplicate(Ok(()))
    );
    assert_eq!((world.run().header.version, world.run().unread.len()), (2, 1));
    assert_eq!(world.run().header.parked_at, Some(3), "the first one");
    assert_eq!(world.fold.control().next_seq, 3, "the other runs of the partition go on");
    assert_eq!(world.start(2).verdict, Verdict::Accepted);
}

#[test]
fn a_run_goes_on_without_the_record_that_parked_it_and_with_what_came_meanwhile() {
    let mut world = started();
    unreadable(&mut world);
    world.external(run_id(1), signal());
    assert_eq!(world.external(run_id(1), unparked(4)).verdict, Verdict::Rejected(Rejection::NotParked));
    let event_id = world.id();
    let transition = world.external_as(event_id, run_id(1), "default", unparked(3));
    assert_eq!(transition.verdict, Verdict::Accepted);
    let entry = transition.run.and_then(|change| change.entry).expect("it is part of the history");
    assert_eq!(*entry.event, unparked(3));
    let header = &world.run().header;
    assert_eq!((header.parked_at, header.work_due_us()), (None, Some(i64::MIN)));
    assert_eq!((header.externals, world.run().unread.len()), (2, 1));
    let again = world.external_as(event_id, run_id(1), "default", unparked(3));
    assert_eq!(again.verdict, Verdict::Duplicate(Ok(())));
    assert_eq!(world.external(run_id(1), unparked(3)).verdict, Verdict::Rejected(Rejection::NotParked));
    // What was on its way was decided on the lost record; what has seen the unparking was not.
    assert_eq!(world.engine(step_completed(2)).verdict, Verdict::Rejected(Rejection::RunParked));
    let decided = world.engine_record_seen(2, RunCompleted { output: Payload::null() }.into());
    assert_eq!(world.append(decided).verdict, Verdict::Accepted);
    assert_eq!(world.run().header.status, RunStatus::Completed);
}

#[test]
fn a_parked_run_can_be_terminated_and_is_parked_no_more_to_those_who_look() {
    let mut world = started();
    unreadable(&mut world);
    let terminated = RunTerminated { reason: "enough".to_owned() };
    assert_eq!(world.external(run_id(1), terminated.into()).verdict, Verdict::Accepted);
    assert_eq!(world.run().header.status, RunStatus::Terminated);
    assert_eq!(unreadable(&mut world).verdict, Verdict::Rejected(Rejection::RunFinished));
    assert_eq!(world.external(run_id(1), unparked(3)).verdict, Verdict::Rejected(Rejection::RunFinished));
    assert!(world.fold.evict(run_id(1), i64::MAX));
}

#[test]
fn a_parked_run_leaves_memory_since_its_rows_say_all_of_it() {
    let mut world = started();
    unreadable(&mut world);
    assert!(!world.fold.evict(run_id(1), 2));
    assert!(world.fold.evict(run_id(1), 3));
}

#[test]
fn below_its_fold_version_a_run_is_not_unparked_and_nothing_is_applied_to_it_any_more() {
    let mut world = World::started();
    assert_eq!(unreadable(&mut world).verdict, Verdict::Parked);
    assert_eq!(world.external(run_id(1), unparked(3)).verdict, Verdict::Rejected(Rejection::NotInFold));
    assert_eq!(world.external(run_id(1), signal()).verdict, Verdict::Parked);
    let (event_id, author) = (world.id(), Author::Ingest { principal: "operator".into() });
    let raised = world.record(event_id, Entity::Partition(0), None, author, &FoldRaised { fold: 2 }.into());
    assert_eq!(world.append(raised).verdict, Verdict::Accepted);
    // What came in between is in no reader's state: to go on would lose it.
    assert!(world.run().header.is_frozen());
    assert_eq!(world.external(run_id(1), unparked(3)).verdict, Verdict::Parked);
    assert!(!world.fold.evict(run_id(1), i64::MAX));
    // Other runs fold by the new version.
    world.start(2);
    assert_eq!(world.fold.control().fold, 2);
}

#[test]
fn a_reader_that_accepted_the_record_stands_still_where_the_others_went_on_without_it() {
    let mut world = started();
    let offset = unreadable(&mut world).offset;
    world.external(run_id(1), signal());
    world.external(run_id(1), unparked(offset));
    let mut other = World::folding(1, 2);
    // The same log, as a build would see it that can read the record.
    let mut reads = Fold::new(0);
    let readable = other.engine_record(world.claim, 0, step_completed(1));
    let mut last = None;
    for record in &world.log {
        let record = if record.offset == offset {
            let NewRecord { key, headers, value } = readable.clone();
            Record { offset, key, headers, value }
        } else {
            record.clone()
        };
        last = Some(reads.apply(&record).expect("folding is total"));
    }
    assert_eq!(last.map(|transition| transition.verdict), Some(Verdict::Parked));
    let run = reads.run(run_id(1)).expect("run 1");
    let unparked_at = world.log.last().map(|record| record.offset);
    assert_eq!(run.header.parked_at, unparked_at, "it is listed with the record that it cannot follow");
    assert_eq!(run.header.work_due_us(), None);

    // Somebody let it go on; a retry of the record that it could not follow tells its outcome and halts nothing.
    let retried = world.log.last().expect("the record").clone();
    world.external(run_id(1), unparked(retried.offset));
    let mut follows = world.log.last().expect("the record").clone();
    follows.offset = retried.offset + 1;
    assert_eq!(reads.apply(&follows).expect("folding is total").verdict, Verdict::Accepted);
    let retried = Record { offset: follows.offset + 1, ..retried };
    let again = reads.apply(&retried).expect("folding is total").verdict;
    assert_eq!(again, Verdict::Duplicate(Err(Rejection::NotParked)));
    assert_eq!(reads.run(run_id(1)).expect("run 1").header.parked_at, None);
}

#[test]
fn what_nobody_can_read_of_those_that_were_on_their_way_does_not_park_the_run_again() {
    let mut world = started();
    let offset = unreadable(&mut world).offset;
    assert_eq!(world.external(run_id(1), unparked(offset)).verdict, Verdict::Accepted);
    assert_eq!(unreadable(&mut world).verdict, Verdict::Rejected(Rejection::RunParked));
    assert_eq!(world.run().header.parked_at, None);
    // One that has seen the unparking was decided without the first.
    let record = world.engine_record_seen(1, step_completed(1));
    let transition = world.append(NewRecord { value: b"cut off".as_slice().into(), ..record });
    assert_eq!(transition.verdict, Verdict::Parked);
    assert_eq!(world.run().header.parked_at, Some(transition.offset));
}

#[test]
fn a_divergence_that_was_on_its_way_does_not_count_for_a_run_that_was_let_go_on() {
    let mut world = started();
    let offset = unreadable(&mut world).offset;
    world.external(run_id(1), unparked(offset));
    let diverged = || -> Event {
        let (expected, found) = ("a sleep".to_owned(), "a step".to_owned());
        RunDiverged { location: location(1), expected, found }.into()
    };
    assert_eq!(world.engine(diverged()).verdict, Verdict::Rejected(Rejection::RunParked));
    assert_eq!(world.run().header.status, RunStatus::Running);
    let judged = world.engine_record_seen(1, diverged());
    assert_eq!(world.append(judged).verdict, Verdict::Accepted);
    assert_eq!(world.run().header.status, RunStatus::Parked);
}

#[derive(Debug, Clone)]
enum Act {
    Signal,
    Again,
    Cancel,
    Resume,
    Terminate,
    Unparked,
    UnparkedElsewhere,
    Unreadable,
    Step(u32),
    Sleep(u32),
    Send(u32),
    Diverge,
    Complete,
    Pass,
}

fn act() -> impl Strategy<Value = Act> {
    let place = 1..12_u32;
    prop_oneof![
        4 => Just(Act::Signal),
        1 => Just(Act::Again),
        1 => Just(Act::Cancel),
        1 => Just(Act::Resume),
        1 => prop::bool::weighted(0.2).prop_map(|ends| if ends { Act::Terminate } else { Act::Pass }),
        5 => Just(Act::Unparked),
        1 => Just(Act::UnparkedElsewhere),
        4 => Just(Act::Unreadable),
        6 => place.clone().prop_map(Act::Step),
        2 => place.clone().prop_map(Act::Sleep),
        2 => place.prop_map(Act::Send),
        1 => Just(Act::Diverge),
        1 => prop::bool::weighted(0.2).prop_map(|ends| if ends { Act::Complete } else { Act::Pass }),
    ]
}

impl World {
    /// A record of the owner about run 1, next in its sequence, that was decided on so many externals.
    fn engine_record_seen(&mut self, seen: u64, event: Event) -> NewRecord {
        let (event_id, claim, seq) = (self.id(), self.claim, self.seq);
        self.seq += 1;
        let author = Author::Engine { claim, seq, seen, idle: seq.is_multiple_of(2) };
        self.record(event_id, Entity::Run(run_id(1)), Some("default"), author, &event)
    }

    fn decided(&mut self, event: Event) {
        let seen = self.run().header.externals;
        let record = self.engine_record_seen(seen, event);
        self.append(record);
    }

    fn act(&mut self, act: &Act, last: &mut Option<EventId>) {
        let newest = self.run().history.last().map_or(2, |entry| entry.offset);
        let parked_at = self.run().header.parked_at.unwrap_or(newest);
        let external = match act {
            Act::Signal | Act::Again => signal(),
            Act::Cancel => RunCancelRequested { reason: "no more".to_owned() }.into(),
            Act::Resume => RunResumed {}.into(),
            Act::Terminate => RunTerminated { reason: "enough".to_owned() }.into(),
            Act::Unparked => unparked(parked_at),
            Act::UnparkedElsewhere => unparked(parked_at + 1),
            Act::Unreadable => {
                unreadable(self);
                return;
            }
            Act::Step(place) => return self.decided(step_completed(*place)),
            Act::Sleep(place) => {
                let due_us = self.now_us + i64::from(*place);
                return self.decided(TimerStarted { location: location(*place), due_us }.into());
            }
            Act::Send(place) => {
                let (location, target) = (location(*place), run_id(2));
                let sent = SignalSent { location, target, name: name("go"), payload: Payload::null() };
                return self.decided(sent.into());
            }
            Act::Diverge => {
                let (expected, found) = ("a sleep".to_owned(), "a step".to_owned());
                return self.decided(RunDiverged { location: location(1), expected, found }.into());
            }
            Act::Complete => return self.decided(RunCompleted { output: Payload::null() }.into()),
            Act::Pass => {
                self.now_us += 1_000;
                return;
            }
        };
        let known = last.filter(|_| matches!(act, Act::Again));
        let event_id = known.unwrap_or_else(|| self.id());
        *last = Some(event_id);
        self.external_as(event_id, run_id(1), "default", external);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever cannot be read and is skipped, wherever a reader begins, and however far the rows are that it loads: it
    /// says of every record what a fold from the first one says, and ends with the same run.
    #[test]
    fn all_readers_agree_on_runs_that_park_and_go_on(
        acts in prop::collection::vec(act(), 1..50),
        begins in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 6),
    ) {
        let (mut world, mut last) = (started(), None);
        for act in &acts {
            world.act(act, &mut last);
        }
        // What a fold from the first record said and how it stood, record by record.
        let mut fold = Fold::new(0);
        let mut stood = Vec::new();
        for record in &world.log {
            let before = fold.clone();
            stood.push((before, fold.apply(record).expect("folding is total")));
        }
        prop_assert_eq!(fold.runs(), world.fold.runs());
        let ends: Vec<&Fold> = stood.iter().skip(1).map(|(fold, _)| fold).chain([&fold]).collect();
        for (from, rows) in begins {
            let from = from.index(stood.len());
            let rows = from + rows.index(stood.len() - from);
            let (at, _) = &stood[from];
            let mut reader = Fold::resume(at.control().clone(), at.outbox().values().cloned());
            // The rows hold the records up to `rows`, which may be more than the reader has folded.
            if let Some(run) = ends[rows].run(run_id(1)) {
                let known = tidewheel_engine::Run::from_parts(
                    std::sync::Arc::clone(&run.header), run.history.clone(), run.unread.clone(), run.timers.clone(),
                    run.remembered.clone(),
                );
                prop_assert_eq!(&known, run);
                prop_assert_eq!(reader.insert(known), at.run(run_id(1)).is_some());
            }
            prop_assert_eq!(reader.run(run_id(1)), at.run(run_id(1)), "as of {}, rows as of {}", from, rows);
            for (record, (_, expected)) in world.log.iter().zip(&stood).skip(from) {
                let told = reader.apply(record).expect("folding is total");
                prop_assert_eq!(&told, expected);
            }
            prop_assert_eq!(reader.run(run_id(1)), fold.run(run_id(1)));
            prop_assert_eq!(reader.outbox(), fold.outbox());
        }
    }
}
