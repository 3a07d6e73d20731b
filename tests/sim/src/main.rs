//! `cargo run --release -p tidewheel-sim -- --seeds 1..300`: lives seeds, tells which faults happened and the first seed
//! whose invariants did not hold.

#[cfg(feature = "mutation")]
mod mutations;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use tidewheel_sim::{Fault, Outcome, Settings, run_seed};

const USAGE: &str =
    "usage: tidewheel-sim [--seeds FIRST..LAST] [--seed SEED] [--mutation NAME] [--keep-going] [--quiet]
  --seeds 1..300   lives these seeds, both ends included, and stops at the first that does not hold
  --seed 123       lives one seed and tells every event on standard error
  --mutation NAME  with the rule NAME switched off (needs --features mutation)
  --records FILE   writes the records of the last seed's runs, for `tidewheel replay step --file FILE`
  --keep-going     goes on after a seed that does not hold
  --quiet          tells no events of a single seed";

struct Arguments {
    first: u64,
    last: u64,
    print: bool,
    keep_going: bool,
    mutation: Option<String>,
    records: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed =
        Arguments { first: 1, last: 300, print: false, keep_going: false, mutation: None, records: None };
    let mut words = std::env::args().skip(1);
    let mut quiet = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seeds" => {
                let range = value()?;
                let (first, last) = range.split_once("..").ok_or("--seeds needs FIRST..LAST")?;
                parsed.first = first.parse().map_err(|error| format!("--seeds {range}: {error}"))?;
                let last = last.trim_start_matches('=');
                parsed.last = last.parse().map_err(|error| format!("--seeds {range}: {error}"))?;
            }
            "--seed" => {
                let seed = value()?.parse().map_err(|error| format!("--seed: {error}"))?;
                (parsed.first, parsed.last, parsed.print) = (seed, seed, true);
            }
            "--records" => parsed.records = Some(value()?.into()),
            "--mutation" => parsed.mutation = Some(value()?),
            "--keep-going" => parsed.keep_going = true,
            "--quiet" => quiet = true,
            _ => return Err(format!("`{word}` is no argument of this program\n{USAGE}")),
        }
    }
    parsed.print &= !quiet;
    Ok(parsed)
}

#[cfg(feature = "mutation")]
fn live(seed: u64, settings: &Settings, mutation: Option<&str>) -> Result<Outcome, String> {
    use tidewheel_schemas::mutation::{Mutation, with};
    match mutation {
        Some(name) => {
            let mutation = Mutation::from_name(name).ok_or_else(|| {
                let known: Vec<_> = Mutation::ALL.iter().map(|mutation| mutation.name()).collect();
                format!("no mutation has the name `{name}`; known are {known:?}")
            })?;
            Ok(with(mutation, || run_seed(seed, settings)))
        }
        None => Ok(run_seed(seed, settings)),
    }
}

#[cfg(not(feature = "mutation"))]
fn live(seed: u64, settings: &Settings, mutation: Option<&str>) -> Result<Outcome, String> {
    match mutation {
        Some(_) => Err("rules can be switched off only in a build with --features mutation".to_owned()),
        None => Ok(run_seed(seed, settings)),
    }
}

fn tell(outcome: &Outcome, mutation: Option<&str>) {
    println!("seed {} does not hold:", outcome.seed);
    for violation in &outcome.violations {
        let what: String = violation.what.chars().take(1_500).collect();
        println!("  {}: {what}", violation.invariant);
    }
    let again = outcome.command();
    let again = match mutation {
        None => again,
        Some(name) => {
            let again = again.replacen(" -- ", " --features mutation -- ", 1);
            format!("{again} --mutation {name}")
        }
    };
    println!("  again: {again}");
    let file = format!("seed-{}.jsonl", outcome.seed);
    println!("  step through its runs: {again} --records {file}; tidewheel replay step --file {file}");
}

/// One record a line.
fn write_records(path: &Path, outcome: &Outcome) -> std::io::Result<()> {
    let mut text = String::new();
    for recorded in &outcome.recorded {
        text += &serde_json::to_string(recorded)?;
        text.push('\n');
    }
    std::fs::write(path, text)
}

fn main() -> ExitCode {
    #[cfg(feature = "mutation")]
    if std::env::args().nth(1).as_deref() == Some("mutations") {
        return mutations::main(std::env::args().skip(2));
    }
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let settings = Settings { print: arguments.print, records: arguments.records.is_some() };
    let began = Instant::now();
    let (mut lived, mut failed, mut slowest_ms) = (0_u64, Vec::new(), (0, 0));
    let (mut records, mut runs, mut simulated_ms, mut operations) = (0, 0, 0, 0);
    let mut faults: Vec<(Fault, u64)> = Fault::ALL.iter().map(|fault| (*fault, 0)).collect();
    for seed in arguments.first..=arguments.last {
        let seed_began = Instant::now();
        let outcome = match live(seed, &settings, arguments.mutation.as_deref()) {
            Ok(outcome) => outcome,
            Err(message) => {
                eprintln!("{message}");
                return ExitCode::from(2);
            }
        };
        slowest_ms = slowest_ms.max((seed_began.elapsed().as_millis(), seed));
        lived += 1;
        (records, runs) = (records + outcome.records, runs + outcome.runs);
        (simulated_ms, operations) = (simulated_ms + outcome.simulated_ms, operations + outcome.operations);
        for ((_, count), (_, more)) in faults.iter_mut().zip(&outcome.faults) {
            *count += more;
        }
        if arguments.first == arguments.last {
            println!("trace {:016x} of {} events", outcome.trace, outcome.events);
        }
        if let Some(path) = &arguments.records
            && let Err(error) = write_records(path, &outcome)
        {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
        if !outcome.holds() {
            tell(&outcome, arguments.mutation.as_deref());
            failed.push(seed);
            if !arguments.keep_going {
                break;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{lived} seeds in {seconds:.1} s: {:.1} seeds/s, {:.1} ms each, slowest {} ms (seed {})",
        lived as f64 / seconds,
        seconds * 1_000.0 / lived as f64,
        slowest_ms.0,
        slowest_ms.1
    );
    println!("{runs} runs, {records} records, {operations} accesses, {} s simulated", simulated_ms / 1_000);
    for (fault, count) in &faults {
        println!("{count:>10}  {}", fault.name());
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{} of {lived} seeds do not hold: {failed:?}", failed.len());
    ExitCode::FAILURE
}
