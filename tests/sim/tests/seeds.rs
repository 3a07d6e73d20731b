//! Some seeds in every test run, and that a seed is the same world every time, in one process and in two.

use std::process::Command;

use tidewheel_sim::{Fault, Outcome, Settings, run_seed};

fn told(outcome: &Outcome) -> String {
    format!("seed {}: {:#?}\nagain: {}", outcome.seed, outcome.violations, outcome.command())
}

fn lived(seeds: std::ops::RangeInclusive<u64>) -> Vec<Outcome> {
    let outcomes: Vec<_> = seeds.map(|seed| run_seed(seed, &Settings::default())).collect();
    for outcome in &outcomes {
        assert!(outcome.holds(), "{}", told(outcome));
    }
    outcomes
}

#[test]
fn the_invariants_hold_in_every_seed_and_no_kind_of_fault_is_idle() {
    let outcomes = lived(1..=60);
    for fault in Fault::ALL {
        let count: u64 = outcomes
            .iter()
            .flat_map(|outcome| &outcome.faults)
            .filter(|(kind, _)| kind == fault)
            .map(|(_, count)| count)
            .sum();
        assert!(count > 0, "no seed had this fault: {}", fault.name());
    }
}

/// A signal in the wrong partition had its run loaded and decided on there.
#[test]
fn a_misplaced_record_keeps_no_partition_from_coming_to_rest() {
    lived(8..=8);
    lived(216..=216);
}

#[test]
fn a_seed_is_the_same_world_twice_in_one_process() {
    for seed in [3, 17, 1_001, 1_002] {
        let (first, second) = (run_seed(seed, &Settings::default()), run_seed(seed, &Settings::default()));
        assert_eq!(first, second);
        assert!(first.events > 100, "seed {seed} is empty");
    }
}

fn trace_of_another_process(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidewheel-sim"))
        .args(["--seed", &seed.to_string(), "--quiet"])
        .output()
        .expect("the simulator starts");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().find(|line| line.starts_with("trace ")).expect("a trace").to_owned()
}

#[test]
fn a_seed_is_the_same_world_in_two_processes() {
    for seed in [5, 1_003] {
        let here = run_seed(seed, &Settings::default());
        let here = format!("trace {:016x} of {} events", here.trace, here.events);
        assert_eq!(trace_of_another_process(seed), here);
        assert_eq!(trace_of_another_process(seed), here);
    }
}

#[test]
fn two_seeds_are_two_worlds() {
    let (first, second) = (run_seed(8, &Settings::default()), run_seed(9, &Settings::default()));
    assert_ne!(first.trace, second.trace);
}
