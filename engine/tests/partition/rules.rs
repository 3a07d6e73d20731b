//! What an owner does with its own records, its memory and open work: one promise a test.

use tidewheel_engine::{Rejection, RunStatus, Verdict};
use tidewheel_schemas::event::RunSignaled;
use tidewheel_schemas::{Payload, RunId};

use super::led;
use super::world::name;

#[test]
fn an_owner_whose_record_was_dropped_stops_leading_and_begins_nothing() {
    let (mut world, run_id) = led();
    world.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
    world.read(0, usize::MAX);
    world.finish_step(0, 0, true);
    // The first of two records is lost on the way, and nobody says so.
    world.processes[0].outgoing.remove(0);
    world.flush(0, usize::MAX);
    let transitions = world.read(0, usize::MAX);
    assert_eq!(transitions[0].verdict, Verdict::Stale);
    assert!(!world.processes[0].partition.is_leader());
    assert!(world.processes[0].steps.is_empty(), "the charge was decided on a record that is not there");
}

#[test]
fn after_a_failed_append_the_owner_leads_no_more_and_decides_afresh() {
    let (mut world, run_id) = led();
    world.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
    world.read(0, usize::MAX);
    world.finish_step(0, 0, true);
    world.processes[0].outgoing.clear();
    world.processes[0].partition.depose();
    world.settle(0);
    assert!(!world.processes[0].partition.is_leader());
    world.claim(0);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    assert!(world.processes[0].partition.is_leader());
    assert_eq!(world.processes[0].steps.len(), 1, "the reservation, whose result is not in the log");
}

#[test]
fn a_run_with_a_step_under_way_stays_in_memory() {
    let (mut world, run_id) = led();
    let last = i64::try_from(world.log.len()).expect("a short log") - 1;
    assert_eq!(world.processes[0].steps.len(), 1);
    assert_eq!(world.processes[0].partition.evict(last, i64::MAX), 0);
    world.finish_step(0, 0, true);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    let run = world.processes[0].partition.fold().run(run_id).expect("the run");
    assert!(run.header.version > 1, "the result found its run");
}

#[test]
fn a_timer_within_the_horizon_outlives_its_run_in_memory() {
    let (mut world, run_id) = led();
    world.finish_step(0, 0, true);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    let due_us = world.processes[0].partition.wake_at_us().expect("the payment may be late");
    let last = i64::try_from(world.log.len()).expect("a short log") - 1;
    assert_eq!(world.processes[0].partition.evict(last, due_us), 1);
    assert_eq!(world.processes[0].partition.wake_at_us(), Some(due_us));
    assert_eq!(world.processes[0].partition.due_elsewhere(due_us), [run_id]);
}

#[test]
fn work_found_in_open_work_is_taken_up() {
    let (mut world, _) = led();
    let (now, later) = (RunId::keyed("default", 1, "order", "8"), RunId::keyed("default", 1, "order", "9"));
    let partition = &mut world.processes[0].partition;
    partition.defer(now);
    assert_eq!(partition.take_turns(usize::MAX), [now]);
    partition.expect(later, 5_000);
    assert_eq!(partition.wake_at_us(), Some(5_000));
    assert_eq!(partition.due_elsewhere(5_000), [later]);
}

/// A leader whose run has a step's result and the signal it took after it on their way, the `spoiled`-th of them
/// unreadable. The first is in the log, the run is let go on, and the other one comes after that.
fn let_go_on(spoiled: usize) -> (super::World, RunId) {
    let (mut world, run_id) = led();
    world.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
    world.read(0, usize::MAX);
    world.finish_step(0, 0, true);
    assert_eq!(world.processes[0].outgoing.len(), 2);
    world.spoil(0, spoiled);
    world.flush(0, 1 + spoiled);
    let transitions = world.read(0, usize::MAX);
    assert_eq!(transitions.last().map(|transition| transition.verdict), Some(Verdict::Parked));
    assert!(world.processes[0].steps.is_empty(), "nothing is begun for a parked run");
    world.unpark(run_id);
    world.flush(0, usize::MAX);
    (world, run_id)
}

/// Ends the run by another process, and says what it came to.
fn ends(mut world: super::World, run_id: RunId) {
    let live = world.recover();
    let run = live.run(run_id).expect("the run");
    assert_eq!(run.header.status, RunStatus::Completed, "{:?}", run.header);
    assert_eq!(world.refold().runs(), live.runs());
    assert!(world.transitions_of_accepted_steps.values().all(|count| *count == 1));
}

#[test]
fn what_was_on_its_way_when_a_run_was_let_go_on_is_decided_anew() {
    let (mut world, run_id) = let_go_on(0);
    let transitions = world.read(0, usize::MAX);
    let verdicts: Vec<_> = transitions.iter().map(|transition| transition.verdict).collect();
    // Taken on a result that is not there.
    assert_eq!(verdicts, [Verdict::Accepted, Verdict::Rejected(Rejection::RunParked)]);
    assert_eq!(world.processes[0].steps.len(), 1, "the step whose result is lost");
    world.finish_step(0, 0, true);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    ends(world, run_id);
}

#[test]
fn what_is_decided_anew_is_what_every_later_replay_expects() {
    let (mut world, run_id) = let_go_on(1);
    // The lost decision was made on the signal alone; the new one comes after the run was let go on.
    world.read(0, usize::MAX);
    world.flush(0, usize::MAX);
    let transitions = world.read(0, usize::MAX);
    assert_eq!(transitions.last().map(|transition| transition.verdict), Some(Verdict::Accepted));
    assert_eq!(world.processes[0].steps.len(), 1);
    world.finish_step(0, 0, true);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    ends(world, run_id);
}
