//! Programs at random.

use tidewheel_schemas::RunId;

use super::{Op, Program, WORKFLOW, Work};
use crate::random::Random;

/// A run that a producer is going to ask for.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The run.
    pub run_id: RunId,
    /// The key its id derives from, if it has one.
    pub key: Option<String>,
    /// What it is to do.
    pub program: Program,
}

/// Plans this many runs. They know each other, so that some signal others.
pub fn plan(random: &Random, count: usize) -> Vec<Planned> {
    let names: Vec<_> = (0..count)
        .map(|number| {
            if random.chance(700) {
                let key = format!("key-{number}-{}", random.below(1_000));
                (RunId::keyed("default", 1, WORKFLOW, &key), Some(key))
            } else {
                // Producers' clocks differ, so that ids do not come in the order of their times.
                let unix_ms = 1_750_000_000_000 + random.below(4 * count as u64);
                (RunId::fresh(1, unix_ms, random.next().to_be_bytes()), None)
            }
        })
        .collect();
    let targets: Vec<_> = names.iter().map(|(run_id, _)| *run_id).collect();
    let planned = |(run_id, key)| {
        let program = Program { ops: ops(random, &targets, 6, 2) };
        Planned { run_id, key, program }
    };
    names.into_iter().map(planned).collect()
}

fn ops(random: &Random, targets: &[RunId], most: u64, depth: u32) -> Vec<Op> {
    (0..random.between(1, most)).map(|_| op(random, targets, depth)).collect()
}

fn limit(random: &Random) -> Option<u64> {
    random.chance(400).then(|| random.between(1, 4_000))
}

fn bytes(random: &Random) -> usize {
    let most = match random.below(100) {
        0 => 40_000,
        1..10 => 3_000,
        _ => 40,
    };
    random.below(most) as usize
}

fn op(random: &Random, targets: &[RunId], depth: u32) -> Op {
    let signal = random.below(2) as usize;
    match random.below(if depth > 0 { 22 } else { 19 }) {
        0..7 => Op::Step(work(random)),
        7 | 8 => Op::Sleep(random.between(0, 5_000)),
        9..12 => Op::Signal(signal, limit(random)),
        12 => Op::Signals(signal, limit(random)),
        13..16 => match random.pick(targets) {
            Some(target) => Op::Send(*target, signal, bytes(random)),
            None => Op::State(1),
        },
        16 => Op::State(bytes(random)),
        17 => Op::Tag(random.below(100) as u32),
        18 if random.chance(200) => Op::Fail,
        18 => Op::Step(work(random)),
        19 | 20 => Op::Join(ops(random, targets, 3, depth - 1), ops(random, targets, 3, depth - 1)),
        _ => Op::Race(Box::new(op(random, targets, 0)), Box::new(op(random, targets, 0))),
    }
}

fn work(random: &Random) -> Work {
    let fails = if random.chance(300) { random.between(1, 3) as u32 } else { 0 };
    let work_ms = if random.chance(500) { 0 } else { random.between(1, 80) };
    let timeout_ms = random.chance(150).then(|| random.between(1, 60));
    Work {
        fails,
        panics: random.chance(300),
        work_ms,
        timeout_ms,
        attempts_max: random.between(1, 6) as u32,
        backoff_ms: random.between(1, 200),
        bytes: if random.chance(3) { 530_000 } else { bytes(random) },
    }
}
