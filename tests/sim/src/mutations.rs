//! Every switch against the simulator: which seed notices that a rule is off, and by which invariant.
//! What the switches are is said in `tidewheel_schemas::mutation`, what the rules are in docs/reliability.md.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tidewheel_schemas::mutation::{Mutation, with};
use tidewheel_sim::{Settings, run_seed};

/// Switches the simulator cannot notice, and why; their named tests do.
const ELSEWHERE: &[(Mutation, &str)] = &[
    (Mutation::AcknowledgedBeforeSync, SEGMENTS),
    (Mutation::LastGroupBelieved, SEGMENTS),
    (Mutation::DamageTruncated, SEGMENTS),
    (Mutation::TornGroupKept, SEGMENTS),
    (
        Mutation::SecondResultCounts,
        "second line of defence: owners that keep the other rules propose no second result",
    ),
    (
        Mutation::OutboxAcceptsGaps,
        "second line of defence: a deliverer has one batch on its way and asks again after a failure",
    ),
    (Mutation::ParkedGoesOn, NEWER_BUILDS),
    (Mutation::EvictsParked, NEWER_BUILDS),
    (Mutation::DivergenceIgnored, "nobody edits a workflow in the simulator"),
];
const SEGMENTS: &str = "segment files: the simulated log is in memory";
const NEWER_BUILDS: &str = "no simulated owner writes what another build cannot read";

/// How many seeds are tried before a switch is given up.
const SEEDS: u64 = 500;

/// The seed that is known to notice a switch: a short check begins with it. Any change of the product may move it;
/// then the others are tried, from the first one on.
const KNOWN: &[(Mutation, u64)] = &[
    (Mutation::EvictedTakenForNew, 1),
    (Mutation::ClaimUnchecked, 77),
    (Mutation::ClaimReplacesAny, 2),
    (Mutation::SequenceUnchecked, 5),
    (Mutation::DroppedRecordIgnored, 280),
    (Mutation::OutcomeChangesControl, 11),
    (Mutation::AuthorUnchecked, 13),
    (Mutation::SecondLogCreatedCounts, 2),
    (Mutation::FoldRaisedIgnored, 3),
    (Mutation::PartitionUnchecked, 3),
    (Mutation::NamespaceUnchecked, 3),
    (Mutation::DedupAfterFinished, 1),
    (Mutation::DedupForgetsEarly, 1),
    (Mutation::SecondStartCounts, 1),
    (Mutation::UnreadForgotten, 1),
    (Mutation::RowsAheadSkipped, 16),
    (Mutation::AppliedOffsetIgnored, 1),
    (Mutation::EffectsBeforeAccepted, 2),
    (Mutation::SeenIgnored, 115),
    (Mutation::LeadsAfterFailedAppend, 490),
    (Mutation::EvictsTooEarly, 1),
    (Mutation::EvictsBusy, 2),
    (Mutation::EvictedTimersForgotten, 4),
    (Mutation::OpenWorkIgnored, 11),
    (Mutation::CheckpointUnverified, 1),
    (Mutation::OutboxAcceptsOlder, 5),
    (Mutation::OutboxNotAsked, 1),
    (Mutation::OutboxTrimmedEarly, 7),
    (Mutation::CheckpointBeforeRows, 3),
    (Mutation::IndexAfterEntity, 10),
    (Mutation::OldIndexFirst, 16),
    (Mutation::IntermediateKeysKept, 3),
    (Mutation::TimestampUnordered, 1),
    (Mutation::TornLoadAccepted, 91),
    (Mutation::OlderWriteWins, 7),
    (Mutation::ReadsMoveBehind, 35),
    (Mutation::RebuildForgetsEvicted, 1),
];

/// What became of one switch.
enum Noticed {
    Elsewhere(&'static str),
    By {
        seed: u64,
        invariant: &'static str,
        tried: u64,
    },
    Never {
        tried: u64,
    },
    /// The seed does not hold with every rule in force either.
    Broken {
        seed: u64,
        invariant: &'static str,
    },
}

fn first_violation(seed: u64, mutation: Option<Mutation>) -> Option<&'static str> {
    let settings = Settings::default();
    let live = || run_seed(seed, &settings);
    let outcome = mutation.map_or_else(live, |mutation| with(mutation, live));
    outcome.violations.first().map(|violation| violation.invariant)
}

fn notice(mutation: Mutation, seeds: u64, is_short: bool) -> Noticed {
    if let Some((_, why)) = ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == mutation) {
        return Noticed::Elsewhere(why);
    }
    let known = KNOWN.iter().find(|(known, _)| is_short && *known == mutation).map(|(_, seed)| *seed);
    let others = (1..=seeds).filter(|seed| Some(*seed) != known);
    let mut tried = 0;
    for seed in known.into_iter().chain(others) {
        tried += 1;
        let Some(invariant) = first_violation(seed, Some(mutation)) else { continue };
        return match first_violation(seed, None) {
            None => Noticed::By { seed, invariant, tried },
            Some(invariant) => Noticed::Broken { seed, invariant },
        };
    }
    Noticed::Never { tried }
}

/// `mutations [--seeds N] [--short] [SWITCH...]`: switches each rule off and lives seeds until one does not hold.
pub fn main(mut words: impl Iterator<Item = String>) -> ExitCode {
    let (mut seeds, mut is_short, mut asked) = (SEEDS, false, Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--short" => is_short = true,
            "--seeds" => match words.next().and_then(|count| count.parse().ok()) {
                Some(count) => seeds = count,
                None => return refuse("--seeds needs a number"),
            },
            name => match Mutation::from_name(name) {
                Some(mutation) => asked.push(mutation),
                None => return refuse(&format!("`{name}` is neither a switch nor an option of this check")),
            },
        }
    }
    if asked.is_empty() {
        asked.extend(Mutation::ALL);
    }
    let began = Instant::now();
    let (next, unnoticed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    // Switches are a thread's own, and so is a simulated world.
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(asked.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(mutation) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let noticed = notice(*mutation, seeds, is_short);
                    tell(*mutation, &noticed);
                    if matches!(noticed, Noticed::Never { .. } | Noticed::Broken { .. }) {
                        unnoticed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(*mutation);
                    }
                }
            });
        }
    });
    let mut unnoticed = unnoticed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    unnoticed.sort_unstable();
    println!("{} switches in {:.1} s", asked.len(), began.elapsed().as_secs_f64());
    if unnoticed.is_empty() {
        return ExitCode::SUCCESS;
    }
    let names: Vec<_> = unnoticed.iter().map(|mutation| mutation.name()).collect();
    println!("not noticed: {}", names.join(" "));
    ExitCode::FAILURE
}

fn tell(mutation: Mutation, noticed: &Noticed) {
    match noticed {
        Noticed::Elsewhere(why) => println!("| `{mutation}` | - | {why} |"),
        Noticed::By { seed, invariant, tried } => {
            println!("| `{mutation}` | {seed} | {invariant} | ({tried} tried)");
        }
        Noticed::Never { tried } => println!("{mutation}: none of {tried} seeds notices"),
        Noticed::Broken { seed, invariant } => {
            println!("{mutation}: seed {seed} breaks {invariant} with every rule in force");
        }
    }
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(2)
}
