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

#[test]
fn the_runs_of_a_seed_can_be_stepped_through() {
    use tidewheel_replay::step::{Command as Step, Recorded, Session};

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("seed.jsonl");
    let status = Command::new(env!("CARGO_BIN_EXE_tidewheel-sim"))
        .args(["--seed", "5", "--quiet", "--records"])
        .arg(&file)
        .stdout(std::process::Stdio::null())
        .status()
        .expect("the simulator starts");
    assert!(status.success());
    let text = std::fs::read_to_string(&file).expect("the file is written");
    let recorded: Vec<Recorded> =
        text.lines().map(|line| serde_json::from_str(line).expect("a record a line")).collect();
    let mut runs: Vec<_> = recorded
        .iter()
        .filter_map(|recorded| match recorded.record().expect("a record").headers {
            tidewheel_schemas::RecordHeaders::Known(headers) => headers.entity.run_id(),
            tidewheel_schemas::RecordHeaders::Foreign(_) => None,
        })
        .collect();
    runs.sort_unstable();
    runs.dedup();
    assert!(runs.len() > 1, "{runs:?}");
    let mut ended = 0;
    for run_id in runs {
        let mut session = Session::new(recorded.clone(), Some(run_id)).expect("a session");
        let end = session.execute(&Step::Run).expect("a run to the end").expect("a reply");
        let status = end.json["status"].as_str().unwrap_or_default();
        ended += usize::from(status == "completed");
    }
    assert!(ended > 0, "at rest, runs have completed, and stepping says so");
}
