//! The owner of a partition under crashes, zombies and interleaved externals.

mod rules;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use tidewheel_engine::{Rejection, RunStatus, Verdict};
use tidewheel_schemas::event::{RunCancelRequested, RunSignaled, RunTerminated};
use tidewheel_schemas::{Author, Entity, NewRecord, Payload, Record, RecordHeaders, RunId};

use world::{Process, World, name, workflows};

#[derive(Debug, Clone)]
enum Act {
    Start(u8),
    Pay(u8),
    Cancel(u8),
    Terminate(u8),
    Spawn,
    Crash(usize),
    Claim(usize),
    Read(usize, usize),
    Flush(usize, usize),
    Step(usize, usize, bool),
    Tick(usize, i64),
    Project(usize, usize),
    Spoil(usize, usize),
    Unpark(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let process = 0..6_usize;
    prop_oneof![
        2 => (0..6_u8).prop_map(Act::Start),
        2 => (0..6_u8).prop_map(Act::Pay),
        1 => (0..6_u8).prop_map(Act::Cancel),
        1 => (0..6_u8).prop_map(Act::Terminate),
        1 => Just(Act::Spawn),
        1 => process.clone().prop_map(Act::Crash),
        2 => process.clone().prop_map(Act::Claim),
        8 => (process.clone(), 1..6_usize).prop_map(|(process, records)| Act::Read(process, records)),
        8 => (process.clone(), 1..4_usize).prop_map(|(process, records)| Act::Flush(process, records)),
        6 => (process.clone(), 0..4_usize, prop::bool::weighted(0.8))
            .prop_map(|(process, which, succeed)| Act::Step(process, which, succeed)),
        4 => (process.clone(), 0..4_usize).prop_map(|(process, lag)| Act::Project(process, lag)),
        2 => (process.clone(), 0..3_usize).prop_map(|(process, which)| Act::Spoil(process, which)),
        3 => (0..6_u8).prop_map(Act::Unpark),
        2 => (process, 0..60_000_000_i64).prop_map(|(process, pass_us)| Act::Tick(process, pass_us)),
    ]
}

impl World {
    fn act(&mut self, act: &Act) {
        let count = self.processes.len();
        match act {
            Act::Start(number) => {
                self.start(*number);
            }
            Act::Pay(number) => {
                let run_id = RunId::keyed("default", 1, "order", &number.to_string());
                self.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
            }
            Act::Cancel(number) => {
                let run_id = RunId::keyed("default", 1, "order", &number.to_string());
                self.external(run_id, RunCancelRequested { reason: "changed my mind".to_owned() }.into());
            }
            Act::Terminate(number) => {
                let run_id = RunId::keyed("default", 1, "order", &number.to_string());
                self.external(run_id, RunTerminated { reason: "enough".to_owned() }.into());
            }
            Act::Spawn => {
                if count < 6 {
                    self.spawn();
                }
            }
            Act::Crash(index) => {
                // Everything in memory is gone; what was on its way is lost. A new process reads from zero.
                let index = index % count;
                self.processes[index] = Process::new(format!("again-{index}"), workflows(), self.active_max);
            }
            Act::Claim(index) => self.claim(index % count),
            Act::Read(index, records) => {
                self.read(index % count, *records);
            }
            Act::Flush(index, records) => self.flush(index % count, *records),
            Act::Step(index, which, succeed) => self.finish_step(index % count, *which, *succeed),
            Act::Tick(index, pass_us) => self.tick(index % count, *pass_us),
            Act::Project(index, lag) => self.project(index % count, *lag),
            Act::Spoil(index, which) => self.spoil(index % count, *which),
            Act::Unpark(number) => self.unpark(RunId::keyed("default", 1, "order", &number.to_string())),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_time: 60_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Owners crash, stall, evict, wake up as zombies, append whatever they still held and what nobody can read, at any
    /// moment, and runs are let go on without that: afterwards every run ends, no step has two results, nothing diverges, and the live state is the refold of the log.
    #[test]
    fn every_run_ends_once_whatever_owners_do(
        acts in prop::collection::vec(act(), 1..160),
        active_max in prop_oneof![1..4_usize, Just(usize::MAX)],
    ) {
        let mut world = World::new();
        world.active_max = active_max;
        world.processes[0].partition.limit_active(active_max);
        for act in &acts {
            world.act(act);
        }
        let live = world.recover();
        let refolded = world.refold();
        prop_assert_eq!(live.control(), refolded.control());
        prop_assert_eq!(live.runs(), refolded.runs());
        for ((run_id, location), count) in &world.transitions_of_accepted_steps {
            prop_assert_eq!(*count, 1, "run {} has {} results at {}", run_id, count, location);
        }
        for run in live.runs().values() {
            prop_assert!(run.header.status.is_finished(), "run {} is {:?}", run.header.run_id, run.header);
            prop_assert!(run.header.divergence.is_none());
            let from_parts = tidewheel_engine::Run::from_parts(
                Arc::clone(&run.header), run.history.clone(), run.unread.clone(), run.timers.clone(), run.remembered.clone(),
            );
            prop_assert_eq!(&from_parts, run);
        }
        // Rows may be further than the fold they are loaded into: it takes them as they were where it stands.
        let mut fold = tidewheel_engine::Fold::new(0);
        for (number, record) in world.log.iter().enumerate() {
            if number % (world.log.len() / 4).max(1) == 0 {
                let mut behind = tidewheel_engine::Fold::resume(fold.control().clone(), []);
                for run in refolded.runs().values() {
                    behind.insert(run.clone());
                }
                prop_assert_eq!(behind.runs(), fold.runs());
            }
            fold.apply(record).expect("folding is total");
        }
    }
}

/// A leader with one run under way.
fn led() -> (World, RunId) {
    let mut world = World::new();
    world.read(0, usize::MAX);
    world.claim(0);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    assert!(world.processes[0].partition.is_leader());
    let run_id = world.start(1);
    world.read(0, usize::MAX);
    (world, run_id)
}

#[test]
fn a_step_is_launched_only_after_its_cause_was_read_back() {
    let (mut world, run_id) = led();
    world.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
    world.read(0, usize::MAX);
    world.finish_step(0, 0, true);
    // StepCompleted and SignalReceived are decided and on their way; the charge waits for them.
    assert_eq!(world.processes[0].outgoing.len(), 2);
    assert!(world.processes[0].steps.is_empty());
    world.flush(0, 1);
    world.read(0, usize::MAX);
    assert!(world.processes[0].steps.is_empty());
    world.flush(0, 1);
    world.read(0, usize::MAX);
    assert_eq!(world.processes[0].steps.len(), 1);
}

#[test]
fn a_zombies_records_change_nothing() {
    let (mut world, run_id) = led();
    world.finish_step(0, 0, true);
    world.spawn();
    world.read(1, usize::MAX);
    world.claim(1);
    world.flush(1, usize::MAX);
    world.flush(0, usize::MAX);
    let zombie_from = world.log.len() - 2;
    world.read(1, zombie_from);
    let transitions = world.read(1, usize::MAX);
    assert!(transitions.iter().all(|transition| transition.verdict == Verdict::Stale), "{transitions:?}");
    let run = world.processes[1].partition.fold().run(run_id).expect("the run");
    assert_eq!(run.header.version, 1);
    world.read(0, usize::MAX);
    assert!(!world.processes[0].partition.is_leader(), "the zombie learns that it was deposed");
}

#[test]
fn runs_beyond_the_bound_wait_their_turn_with_nothing_but_their_ids_in_memory() {
    let (mut world, _) = led();
    world.processes[0].partition.limit_active(1);
    for number in 2..6 {
        world.start(number);
    }
    world.read(0, usize::MAX);
    world.project(0, 0);
    let partition = &world.processes[0].partition;
    assert_eq!((partition.active_runs(), partition.fold().runs().len()), (1, 1));
    assert_eq!(world.processes[0].steps.len(), 1, "only the first run reserves");

    // The first run waits for its payment: it leaves memory and the next one has its turn.
    world.finish_step(0, 0, true);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    world.project(0, 0);
    world.tick(0, 0);
    assert_eq!(world.processes[0].partition.active_runs(), 1);
    assert_eq!(world.processes[0].steps.len(), 1, "the second run reserves");
}

#[test]
fn of_two_claims_for_one_reign_the_first_wins() {
    let mut world = World::new();
    world.spawn();
    for index in 0..2 {
        world.read(index, usize::MAX);
        world.claim(index);
    }
    world.flush(1, usize::MAX);
    world.flush(0, usize::MAX);
    for index in 0..2 {
        world.read(index, usize::MAX);
    }
    assert!(!world.processes[0].partition.is_leader());
    assert!(world.processes[1].partition.is_leader());
}

#[test]
fn a_retried_signal_gets_its_first_outcome_even_after_the_run_ended() {
    let (mut world, run_id) = led();
    world.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
    let retry = world.log.last().cloned().expect("the signal");
    world.external(run_id, RunTerminated { reason: "enough".to_owned() }.into());
    let offset = i64::try_from(world.log.len()).expect("a short log");
    world.log.push(Record { offset, ..retry });
    world.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
    let verdicts: Vec<_> =
        world.read(0, usize::MAX).into_iter().map(|transition| transition.verdict).collect();
    assert_eq!(
        verdicts,
        [
            Verdict::Accepted,
            Verdict::Accepted,
            Verdict::Duplicate(Ok(())),
            Verdict::Rejected(Rejection::RunFinished)
        ]
    );
}

#[test]
fn starting_a_key_twice_is_a_duplicate_the_fold_sees() {
    let (mut world, run_id) = led();
    assert_eq!(world.start(1), run_id);
    let transitions = world.read(0, usize::MAX);
    assert_eq!(transitions[0].verdict, Verdict::Duplicate(Ok(())));
    assert_eq!(transitions[0].header().expect("the run as it stands").run_id, run_id);
}

#[test]
fn foreign_and_misplaced_records_are_rejected_at_their_place_and_freeze_nothing() {
    let (mut world, run_id) = led();
    let author = Author::Ingest { principal: "anonymous".into() };
    let signal = RunSignaled { name: name("payment"), payload: Payload::null() };
    let good = world.record(Entity::Run(run_id), Some(name("default")), author, signal.into());
    let foreign = NewRecord { headers: RecordHeaders::Foreign("no type".to_owned()), ..good.clone() };
    let garbage = NewRecord { value: vec![1, 2, 3].into(), ..good.clone() };
    let wrong_key = NewRecord { key: b"elsewhere".as_slice().into(), ..good.clone() };
    world.append(vec![foreign, garbage, wrong_key, good]);
    let verdicts: Vec<_> =
        world.read(0, usize::MAX).into_iter().map(|transition| transition.verdict).collect();
    assert_eq!(
        verdicts,
        [
            Verdict::Rejected(Rejection::Undecodable),
            Verdict::Rejected(Rejection::Undecodable),
            Verdict::Rejected(Rejection::WrongPartition),
            Verdict::Accepted
        ]
    );
}

#[test]
fn a_misplaced_record_brings_no_run_of_another_partition_into_memory() {
    let (mut world, _) = led();
    let elsewhere = RunId::keyed("default", 1, "order", "elsewhere");
    let author = Author::Ingest { principal: "anonymous".into() };
    let signal = RunSignaled { name: name("payment"), payload: Payload::null() };
    let good = world.record(Entity::Run(elsewhere), Some(name("default")), author, signal.into());
    let misplaced = NewRecord { key: b"elsewhere".as_slice().into(), ..good.clone() };
    world.append(vec![misplaced, good]);
    let from = world.log.len() - 2;
    let partition = &world.processes[0].partition;
    assert!(partition.wanted(&world.log[from..=from]).is_empty());
    assert!(partition.wanted(&world.log[from + 1..]).contains(&elsewhere));
}

#[test]
fn an_idle_run_leaves_memory_and_comes_back_where_it_was() {
    let (mut world, run_id) = led();
    world.finish_step(0, 0, true);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    let kept = world.processes[0].partition.fold().run(run_id).expect("the run").clone();
    assert_eq!(kept.header.status, RunStatus::Running);
    let last = i64::try_from(world.log.len()).expect("a short log") - 1;
    let partition = &mut world.processes[0].partition;
    assert_eq!(partition.evict(last - 1, i64::MAX), 0, "the view does not hold its last record yet");
    assert_eq!(partition.evict(last, i64::MAX), 1);
    assert_eq!(world.processes[0].partition.active_runs(), 0);

    world.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
    let wanted: BTreeSet<_> = world.processes[0].partition.wanted(&world.log[world.log.len() - 1..]);
    assert_eq!(wanted, BTreeSet::from([run_id]));
    world.processes[0].partition.insert(kept);
    world.read(0, usize::MAX);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    assert_eq!(world.processes[0].steps.len(), 1, "the charge");
}

/// The run of [`led`], asleep in memory only as far as a view would hold it: `due_us` is when its timer is due.
fn asleep() -> (World, RunId, tidewheel_engine::Run, i64) {
    let (mut world, run_id) = led();
    world.finish_step(0, 0, true);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    let kept = world.processes[0].partition.fold().run(run_id).expect("the run").clone();
    let due_us = kept.header.next_due_us.expect("the wait for the payment has a timeout");
    let last = i64::try_from(world.log.len()).expect("a short log") - 1;
    // The timer is beyond the horizon, so nothing of the run stays behind.
    assert_eq!(world.processes[0].partition.evict(last, i64::MIN), 1);
    assert_eq!(world.processes[0].partition.wake_at_us(), None);
    (world, run_id, kept, due_us)
}

#[test]
fn a_timer_that_came_due_before_the_takeover_fires_once_its_run_is_loaded() {
    let (mut world, _, kept, due_us) = asleep();
    world.now_us = due_us + 1;
    world.processes[0].partition.insert(kept);
    world.tick(0, 0);
    assert!(!world.processes[0].outgoing.is_empty(), "the timeout is decided");
}

#[test]
fn a_timer_fires_although_its_run_was_loaded_for_a_record_that_changed_nothing() {
    let (mut world, run_id, kept, due_us) = asleep();
    let author = Author::Ingest { principal: "anonymous".into() };
    let signal = RunSignaled { name: name("payment"), payload: Payload::null() };
    let stray = world.record(Entity::Run(run_id), Some(name("another")), author, signal.into());
    world.append(vec![stray]);
    world.processes[0].partition.insert(kept);
    let transitions = world.read(0, usize::MAX);
    assert_eq!(transitions[0].verdict, Verdict::Rejected(Rejection::WrongNamespace));
    assert_eq!(world.processes[0].partition.wake_at_us(), Some(due_us));
}

#[test]
fn a_run_loaded_for_a_record_that_changed_nothing_leaves_memory_again() {
    let (mut world, run_id, kept, _) = asleep();
    let author = Author::Ingest { principal: "anonymous".into() };
    let signal = RunSignaled { name: name("payment"), payload: Payload::null() };
    let stray = world.record(Entity::Run(run_id), Some(name("another")), author, signal.into());
    world.append(vec![stray]);
    world.processes[0].partition.insert(kept);
    world.read(0, usize::MAX);
    let last = i64::try_from(world.log.len()).expect("a short log") - 1;
    assert_eq!(world.processes[0].partition.evict(last, i64::MIN), 1);
    assert_eq!(world.processes[0].partition.wake_at_us(), None);
}

#[test]
fn a_wait_that_ended_in_time_leaves_no_wake_up_behind() {
    let (mut world, run_id) = led();
    world.finish_step(0, 0, true);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    assert!(world.processes[0].partition.wake_at_us().is_some(), "the payment may be late");
    world.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
    world.read(0, usize::MAX);
    world.flush(0, usize::MAX);
    world.read(0, usize::MAX);
    assert_eq!(world.processes[0].partition.wake_at_us(), None, "the timeout is no more due");
    world.external(run_id, RunTerminated { reason: "enough".to_owned() }.into());
    world.read(0, usize::MAX);
    assert_eq!(world.processes[0].partition.wake_at_us(), None);
}

#[test]
fn a_candidate_waits_for_its_claim_before_it_claims_again() {
    let mut world = World::new();
    world.read(0, usize::MAX);
    world.claim(0);
    world.claim(0);
    world.flush(0, 1);
    world.read(0, usize::MAX);
    assert!(world.processes[0].partition.is_leader(), "the first claim is as good as the second");
}

#[test]
fn a_step_whose_run_ends_before_it_was_begun_is_not_run() {
    let (mut world, run_id) = led();
    world.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
    world.read(0, usize::MAX);
    world.finish_step(0, 0, true);
    world.flush(0, usize::MAX);
    world.external(run_id, RunTerminated { reason: "enough".to_owned() }.into());
    // One batch: what lets the charge begin, and the end of the run.
    world.read(0, usize::MAX);
    assert!(world.processes[0].steps.is_empty(), "nobody waits for the charge");
}

#[test]
fn a_cancel_of_any_size_ends_its_run_and_freezes_nothing() {
    let (mut world, run_id) = led();
    let cancel = |length: usize| RunCancelRequested { reason: "x".repeat(length) };
    let author = || Author::Ingest { principal: "".into() };
    let small = world.record(Entity::Run(run_id), Some(name("default")), author(), cancel(1 << 19).into());
    let room = tidewheel_schemas::limit::RECORD_BYTES_MAX - small.key.len() - small.value.len();
    let largest = cancel((1 << 19) + room);
    let largest = world.record(Entity::Run(run_id), Some(name("default")), author(), largest.into());
    world.append(vec![largest]);
    for _ in 0..5 {
        world.read(0, usize::MAX);
        world.finish_step(0, 0, true);
        world.flush(0, usize::MAX);
    }
    world.read(0, usize::MAX);
    let partition = &world.processes[0].partition;
    assert!(partition.is_leader());
    assert_eq!(partition.fold().run(run_id).expect("the run").header.status, RunStatus::Cancelled);
}

#[test]
fn a_run_diverges_once_whatever_comes_in_before_that_is_read_back() {
    let mut world = World::new();
    world.workflows = world::workflows_with(Arc::new(world::Panics));
    world.spawn();
    world.read(1, usize::MAX);
    world.claim(1);
    world.flush(1, usize::MAX);
    world.read(1, usize::MAX);
    let run_id = world.start(1);
    world.read(1, usize::MAX);
    for _ in 0..3 {
        world.external(run_id, RunSignaled { name: name("payment"), payload: Payload::null() }.into());
    }
    world.read(1, usize::MAX);
    assert_eq!(world.processes[1].outgoing.len(), 1);
}
