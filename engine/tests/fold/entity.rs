//! What a run makes of the records Control let through: dedup, namespaces, results, parking, skipping.

use tidewheel_engine::{Fold, Rejection, RunStatus, Verdict};
use tidewheel_schemas::event::{RunCompleted, RunTerminated, SignalSent, StepFailed};
use tidewheel_schemas::limit::SIGNALS_WAITING_MAX;
use tidewheel_schemas::{Event, Failure, NewRecord, Payload};

use super::world::{World, location, name, run_id, signal, step_completed};

/// What is promised, not what the code says.
const REMEMBERED_MIN: usize = 1_000;
const REMEMBERED_MIN_US: i64 = 15 * 60 * 1_000_000;

fn taken(ordinal: i64) -> Event {
    let signals = vec![ordinal];
    let location = location(u32::try_from(ordinal).expect("small"));
    tidewheel_schemas::event::SignalReceived { location, name: name("go"), signals }.into()
}

#[test]
fn an_event_id_is_forgotten_only_after_1000_newer_ones_and_15_minutes() {
    let mut world = World::started();
    // Log time begins with the owner's first record.
    world.engine(step_completed(99_999));
    let first = world.id();
    let retry = |world: &mut World| world.external_as(first, run_id(1), "default", signal()).verdict;
    assert_eq!(retry(&mut world), Verdict::Accepted);
    // Many newer ones, but no time.
    for ordinal in 1..=REMEMBERED_MIN + 10 {
        world.engine(taken(i64::try_from(ordinal).expect("small")));
        world.external(run_id(1), signal());
    }
    assert_eq!(retry(&mut world), Verdict::Duplicate(Ok(())));
    // Only now is it old as well.
    world.now_us += REMEMBERED_MIN_US;
    world.engine(step_completed(100_000));
    assert_eq!(retry(&mut world), Verdict::Duplicate(Ok(())));
    world.external(run_id(1), signal());
    assert_eq!(retry(&mut world), Verdict::Accepted);
    assert!(world.run().remembered.len() <= REMEMBERED_MIN);
}

#[test]
fn few_event_ids_are_remembered_for_ever() {
    let mut world = World::started();
    let first = world.id();
    world.external_as(first, run_id(1), "default", signal());
    for _ in 0..20 {
        world.now_us += REMEMBERED_MIN_US;
        world.engine(step_completed(u32::try_from(world.log.len()).expect("small")));
        world.external(run_id(1), signal());
    }
    let again = world.external_as(first, run_id(1), "default", signal());
    assert_eq!(again.verdict, Verdict::Duplicate(Ok(())));
}

#[test]
fn a_retry_gets_the_first_outcome_also_if_that_was_a_refusal() {
    let mut world = World::started();
    for _ in 0..SIGNALS_WAITING_MAX {
        world.external(run_id(1), signal());
    }
    let refused = world.id();
    let retry = |world: &mut World| world.external_as(refused, run_id(1), "default", signal()).verdict;
    assert_eq!(retry(&mut world), Verdict::Rejected(Rejection::TooManySignals));
    world.engine(taken(1));
    assert_eq!(retry(&mut world), Verdict::Duplicate(Err(Rejection::TooManySignals)));
}

#[test]
fn a_record_of_another_namespace_changes_nothing() {
    let mut world = World::started();
    let before = world.run().clone();
    let event_id = world.id();
    let foreign = world.external_as(event_id, run_id(1), "another", signal());
    assert_eq!(foreign.verdict, Verdict::Rejected(Rejection::WrongNamespace));
    assert!(foreign.run.is_none(), "nothing of the run is shown to the other namespace");
    assert_eq!(*world.run(), before);
}

#[test]
fn signals_that_the_end_of_a_run_leaves_unread_are_listed() {
    let mut world = World::started();
    world.external(run_id(1), signal());
    world.external(run_id(1), signal());
    world.engine(taken(1));
    let end = world.engine(RunCompleted { output: Payload::null() }.into());
    let change = end.run.expect("the run ends");
    let left: Vec<_> = change.left_unread.iter().map(|signal| (signal.ordinal, signal.offset)).collect();
    assert_eq!(left, [(2, 4)]);
    assert!(world.run().unread.is_empty());

    let mut world = World::started();
    world.external(run_id(1), signal());
    let end = world.external(run_id(1), RunTerminated { reason: "enough".to_owned() }.into());
    assert_eq!(end.run.expect("the run ends").left_unread.len(), 1);
}

#[test]
fn a_location_has_one_result() {
    let mut world = World::started();
    assert_eq!(world.engine(step_completed(1)).verdict, Verdict::Accepted);
    let before = world.run().clone();
    assert_eq!(world.engine(step_completed(1)).verdict, Verdict::Rejected(Rejection::LocationTaken));
    let failed = StepFailed {
        location: location(1),
        name: name("step"),
        attempt: 2,
        failure: Failure::new("late", "the other attempt"),
        retry_at_us: Some(5),
    };
    assert_eq!(world.engine(failed.into()).verdict, Verdict::Rejected(Rejection::LocationTaken));
    assert_eq!(*world.run(), before);
}

#[test]
fn nothing_is_applied_after_the_record_that_parked_a_run() {
    let mut world = World::started();
    let unreadable = world.engine_record(1, 0, step_completed(1));
    let unreadable = NewRecord { value: b"of a newer build".as_slice().into(), ..unreadable };
    assert_eq!(world.append(unreadable).verdict, Verdict::Parked);
    assert_eq!(world.run().header.parked_at, Some(3));
    world.seq = 1;
    assert_eq!(world.engine(step_completed(2)).verdict, Verdict::Parked);
    assert_eq!(world.external(run_id(1), signal()).verdict, Verdict::Parked);
    assert_eq!(world.run().header.version, 1);
    assert_eq!(world.fold.control().next_seq, 2, "the other runs of the partition go on");
    assert_eq!(world.start(2).verdict, Verdict::Accepted);
}

#[test]
fn a_parked_run_is_not_evicted() {
    let mut world = World::started();
    let unreadable = world.engine_record(1, 0, step_completed(1));
    world.append(NewRecord { value: b"of a newer build".as_slice().into(), ..unreadable });
    assert!(!world.fold.evict(run_id(1), i64::MAX));
    assert!(world.fold.run(run_id(1)).is_some());
}

#[test]
fn a_run_leaves_memory_only_when_the_view_holds_its_last_record() {
    let mut world = World::started();
    world.external(run_id(1), signal());
    assert!(!world.fold.evict(run_id(1), 2));
    assert!(world.fold.evict(run_id(1), 3));
}

#[test]
fn a_run_whose_rows_are_ahead_is_taken_back_and_each_record_counts_once() {
    let mut world = World::started();
    world.external(run_id(1), signal());
    world.engine(step_completed(1));
    world.external(run_id(1), signal());
    let target = run_id(2);
    let sent = SignalSent { location: location(2), target, name: name("go"), payload: Payload::null() };
    world.engine(sent.into());
    // The rows hold everything, the checkpoint stands after the start: a crash came between the two.
    let (mut reference, mut resumed) = (Fold::new(0), None);
    for record in &world.log {
        let expected = reference.apply(record).expect("folding is total");
        if record.offset == 2 {
            let mut fold = Fold::resume(reference.control().clone(), []);
            assert!(fold.insert(world.run().clone()));
            resumed = Some(fold);
        } else if let Some(fold) = &mut resumed {
            assert_eq!(fold.apply(record).expect("folding is total"), expected);
        }
    }
    let resumed = resumed.expect("it was resumed");
    assert_eq!(resumed.run(run_id(1)), Some(world.run()));
    assert_eq!(resumed.control(), world.fold.control());
    assert_eq!(resumed.outbox(), world.fold.outbox());
    assert_eq!(resumed.outbox().len(), 1, "the message is there again");
}

#[test]
fn a_finished_run_takes_nothing_more() {
    let mut world = World::started();
    world.engine(RunCompleted { output: Payload::null() }.into());
    assert_eq!(world.run().header.status, RunStatus::Completed);
    let before = world.run().clone();
    assert_eq!(world.external(run_id(1), signal()).verdict, Verdict::Rejected(Rejection::RunFinished));
    assert_eq!(world.engine(step_completed(1)).verdict, Verdict::Rejected(Rejection::RunFinished));
    assert_eq!(*world.run(), before);
}

#[test]
fn foreign_records_are_rejected_at_their_place_and_freeze_nothing() {
    let mut world = World::started();
    let headers = tidewheel_schemas::RecordHeaders::Foreign("no type".to_owned());
    let foreign = NewRecord { key: "x".into(), headers, value: "y".into() };
    assert_eq!(world.append(foreign).verdict, Verdict::Rejected(Rejection::Undecodable));
    assert_eq!(world.external(run_id(1), signal()).verdict, Verdict::Accepted);
}
