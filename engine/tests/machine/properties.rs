//! Random programs in a random world: every prefix of what they leave in the log replays, and leads on to an end.

use proptest::prelude::*;
use tidewheel_engine::run::{HistoryEntry, Origin};
use tidewheel_schemas::Event;

use super::script::{Script, scripts};
use super::world::{World, machine, start};

pub fn live(script: &Script, happenings: &[u16]) -> Vec<HistoryEntry> {
    let mut world = World::new(script, vec![start()]).unwrap();
    for what in happenings {
        world.happen(*what);
    }
    world.drain();
    world.log
}

pub fn happenings() -> impl Strategy<Value = Vec<u16>> {
    proptest::collection::vec(any::<u16>(), 0..60)
}

fn is_result(event: &Event) -> bool {
    match event {
        Event::StepCompleted(_) | Event::StepFailed(_) | Event::TimerFired(_) => true,
        Event::SignalReceived(event) => event.signals.is_empty(),
        _ => false,
    }
}

/// What the engine decided next in `rest` without learning anything new, or `None` if it then had seen less than the
/// prefix holds.
fn next_decisions(rest: &[HistoryEntry], externals: u64) -> Option<Vec<Event>> {
    let mut decisions = Vec::new();
    for entry in rest {
        let Origin::Engine { seen, .. } = entry.origin else { continue };
        if seen < externals {
            return None;
        }
        if seen > externals || is_result(&entry.event) {
            break;
        }
        decisions.push((*entry.event).clone());
    }
    Some(decisions)
}

fn externals(log: &[HistoryEntry]) -> u64 {
    log.iter().filter(|entry| matches!(entry.origin, Origin::External { ordinal } if ordinal > 0)).count()
        as u64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_finished_history_replays_to_the_same_end_and_proposes_nothing(
        script in scripts(), happenings in happenings(),
    ) {
        let log = live(&script, &happenings);
        let mut machine = machine(&script, &log).unwrap();
        let output = machine.take_output();
        prop_assert!(machine.is_finished());
        prop_assert!(output.proposals.is_empty(), "{:?}", output.proposals);
        prop_assert!(output.launches.is_empty() && output.aborts.is_empty());
        // Crashes in between must not make a step lose count of its attempts.
        let mut attempts = std::collections::BTreeMap::new();
        for entry in &log {
            let (location, attempt) = match &*entry.event {
                Event::StepFailed(event) => (&event.location, event.attempt),
                Event::StepCompleted(event) => (&event.location, event.attempt),
                _ => continue,
            };
            let before = attempts.insert(location.clone(), attempt).unwrap_or(0);
            prop_assert_eq!(attempt, before + 1, "{:?}", entry);
        }
    }

    #[test]
    fn every_prefix_of_a_history_replays_and_goes_on_as_it_did(script in scripts(), happenings in happenings()) {
        let log = live(&script, &happenings);
        for length in 1..=log.len() {
            let (prefix, rest) = log.split_at(length);
            let mut machine = machine(&script, prefix).unwrap();
            let output = machine.take_output();
            if let Some(expected) = next_decisions(rest, externals(prefix)) {
                let decided: Vec<_> = output.proposals.iter().map(|proposal| proposal.event.clone()).collect();
                prop_assert_eq!(decided, expected, "after {} of {:#?}", length, &log);
            }
        }
    }

    #[test]
    fn what_a_replay_proposes_is_what_the_next_replay_expects(script in scripts(), happenings in happenings()) {
        let log = live(&script, &happenings);
        for length in 1..=log.len() {
            let mut world = World::new(&script, log[..length].to_vec()).unwrap();
            world.write(usize::MAX);
            let mut again = machine(&script, &world.log).unwrap();
            let output = again.take_output();
            prop_assert!(output.proposals.is_empty(), "{:?}", output.proposals);
            prop_assert_eq!(again.open_locations(), world.machine.open_locations());
            prop_assert_eq!(again.open_steps(), world.machine.open_steps());
            prop_assert_eq!(again.is_finished(), world.machine.is_finished());
            prop_assert_eq!(again.is_idle(), world.machine.is_idle());
        }
    }

    #[test]
    fn a_run_taken_over_after_any_prefix_reaches_an_end(
        script in scripts(), happenings in happenings(), later in happenings(), cut in any::<prop::sample::Index>(),
    ) {
        let log = live(&script, &happenings);
        let length = 1 + cut.index(log.len());
        let mut world = World::new(&script, log[..length].to_vec()).unwrap();
        for what in &later {
            world.happen(*what);
        }
        world.drain();
        let mut machine = machine(&script, &world.log).unwrap();
        prop_assert!(machine.is_finished());
        prop_assert!(machine.take_output().proposals.is_empty());
    }
}
