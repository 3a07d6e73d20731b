//! The workloads that are no load of many clients: timers, one hot run, kills, rebuilds, nodes that grow.

use std::path::PathBuf;

use tidewheel_bench::hot_run;
use tidewheel_bench::kill::{self, Kill};
use tidewheel_bench::rebuild::{self, RebuildBench};
use tidewheel_bench::runs::BenchError;
use tidewheel_bench::scale::{self, Scale};
use tidewheel_bench::timers::{self, Timers};
use tidewheel_replay::RebuildOptions;
use tidewheel_schemas::Topic;

use super::{reach, tell};
use crate::args::{KillArguments, LoadArguments, RebuildArguments, ScaleArguments, TimersArguments};
use crate::failure::Failure;

/// Signals per second to one run, unless said.
const HOT_RATE: f64 = 1_000.0;
/// Partitions of the node that is filled with runs.
const FILLED_PARTITIONS: u32 = 4;
/// Folder of the log below a data folder.
const LOG_FOLDER: &str = "log";

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

/// Resolves when the user has enough.
async fn stopped<T>() -> Result<T, Failure> {
    match tokio::signal::ctrl_c().await {
        Ok(()) => Err(Failure::Failed("stopped before the end; nothing was measured".to_owned())),
        Err(_) => std::future::pending().await,
    }
}

async fn until_stopped<T>(work: impl Future<Output = Result<T, BenchError>>) -> Result<T, Failure> {
    tokio::select! {
        done = work => done.map_err(failed),
        stopped = stopped() => stopped,
    }
}

/// W4.
pub(super) async fn timers(arguments: TimersArguments) -> Result<(), Failure> {
    let target = reach(&arguments.server, None).await?;
    let asked = Timers { count: arguments.count, lead: arguments.lead, spread: arguments.spread };
    let report = until_stopped(timers::run(target.server(), asked)).await?;
    tell(&report, arguments.json)?;
    if report.early > 0 {
        return Err(failed(format!("{} timers fired before they were due", report.early)));
    }
    Ok(())
}

/// W5.
pub(super) async fn hot_run(arguments: LoadArguments) -> Result<(), Failure> {
    let target = reach(&arguments.server, arguments.pid).await?;
    let mut plan = arguments.plan();
    plan.rate.get_or_insert(HOT_RATE);
    let report =
        until_stopped(hot_run::run(target.server(), &plan, arguments.payload_bytes as usize)).await?;
    tell(&report, arguments.json)?;
    match (report.lost(), report.failed) {
        (0, 0) => Ok(()),
        (0, refused) => Err(failed(format!("{refused} signals failed"))),
        (lost, _) => Err(failed(format!("{lost} acknowledged signals were not taken by the run"))),
    }
}

/// W6.
pub(super) async fn kill(arguments: KillArguments) -> Result<(), Failure> {
    let kill = Kill {
        program: program()?,
        arguments: vec!["--partitions".to_owned(), arguments.partitions.to_string()],
        rounds: arguments.rounds,
        payload_bytes: arguments.payload_bytes as usize,
    };
    let report = until_stopped(kill::run(&kill)).await?;
    tell(&report, arguments.json)?;
    match (report.lost.len(), report.doubled.len()) {
        (0, 0) => Ok(()),
        (lost, doubled) => Err(failed(format!("{lost} runs were lost, {doubled} happened twice"))),
    }
}

/// W7.
pub(super) async fn rebuild(arguments: RebuildArguments) -> Result<(), Failure> {
    let bench = RebuildBench {
        log_folder: arguments.data_dir.join(LOG_FOLDER),
        scratch: arguments.data_dir,
        topic: Topic::new(&arguments.topic),
        partitions: arguments.partitions,
        records: arguments.records,
        payload_bytes: arguments.payload_bytes as usize,
        options: RebuildOptions {
            chunk_records: arguments.chunk_records as usize,
            ..RebuildOptions::default()
        },
        verify: arguments.verify,
    };
    let report = tokio::select! {
        done = rebuild::run(&bench) => done.map_err(failed)?,
        stopped = stopped() => stopped?,
    };
    tell(&report, arguments.json)
}

/// Memory and speed as a node grows.
pub(super) async fn scale(arguments: ScaleArguments) -> Result<(), Failure> {
    if !arguments.runs.is_sorted() {
        return Err(Failure::Usage("--runs must ascend: the node is filled from one to the next".to_owned()));
    }
    let scale = Scale {
        program: program()?,
        scratch: arguments.scratch.unwrap_or_else(std::env::temp_dir),
        runs: arguments.runs.into_iter().filter(|runs| *runs > 0).collect(),
        partitions: arguments.partitions,
        filled_partitions: FILLED_PARTITIONS,
        clients: usize::from(arguments.clients),
        duration: arguments.duration,
        payload_bytes: arguments.payload_bytes as usize,
    };
    let report = until_stopped(scale::run(&scale)).await?;
    tell(&report, arguments.json)?;
    match report.failed() {
        0 => Ok(()),
        count => Err(failed(format!("{count} operations failed"))),
    }
}

/// This program, which the nodes are started from.
fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| failed(format!("this program's own file is not known: {error}")))
}
