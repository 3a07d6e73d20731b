//! What an owner does with its own records, its memory and open work: one promise a test.

use tidewheel_engine::Verdict;
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
