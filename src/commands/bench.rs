//! `tidewheel bench`: load, and what was measured. The load itself is in `bench/`.

mod single;

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tidewheel_bench::http::{Connection, HttpError};
use tidewheel_bench::load::LoadError;
use tidewheel_bench::process::Usage;
use tidewheel_bench::target::Target;
use tidewheel_bench::workload::Workload;

use crate::args::{BenchCommand, LoadArguments};
use crate::client::token_of_environment;
use crate::failure::Failure;
use crate::output::print;

/// Measures. Fails, after the report, if anything failed.
pub async fn run(command: BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Start(arguments) => load(Workload::Start, arguments).await,
        BenchCommand::Batch { lines, load: arguments } => {
            load(Workload::Batch { lines: lines as usize }, arguments).await
        }
        BenchCommand::Steps { steps, load: arguments } => load(Workload::Steps { steps }, arguments).await,
        BenchCommand::Signal(arguments) => load(Workload::Signal, arguments).await,
        BenchCommand::Probe { path, load: arguments } => load(Workload::Probe { path }, arguments).await,
        BenchCommand::Timers(arguments) => single::timers(arguments).await,
        BenchCommand::HotRun(arguments) => single::hot_run(arguments).await,
        BenchCommand::Kill(arguments) => single::kill(arguments).await,
        BenchCommand::Rebuild(arguments) => single::rebuild(arguments).await,
        BenchCommand::Scale(arguments) => single::scale(arguments).await,
    }
}

/// Applies a load of many clients.
async fn load(workload: Workload, arguments: LoadArguments) -> Result<(), Failure> {
    let target = reach(&arguments.server, arguments.pid).await?;
    let loading = workload.run(&target, arguments.plan(), arguments.payload_bytes as usize);
    let report = tokio::select! {
        report = loading => report.map_err(failure)?,
        never = show(arguments.warm_up + arguments.duration) => match never {},
        _ = tokio::signal::ctrl_c() => {
            return Err(Failure::Failed("stopped before the end; nothing was measured".to_owned()));
        }
    };
    tell(&report, arguments.json)?;
    match report.error_count() {
        0 if report.operations > 0 => Ok(()),
        0 => Err(Failure::Failed("no operation ended within the measurement; make it longer".to_owned())),
        failed => Err(Failure::Failed(format!("{failed} operations failed"))),
    }
}

/// Prints a report.
fn tell(report: &(impl Serialize + Display), json: bool) -> Result<(), Failure> {
    if json {
        print(&serde_json::to_string(report).map_err(|error| Failure::Failed(error.to_string()))?)?;
    } else {
        print(report.to_string().trim_end())?;
    }
    Ok(())
}

/// A server that is not there must be told at once, not counted.
async fn reach(server: &str, process: Option<u32>) -> Result<Target, Failure> {
    if let Some(id) = process
        && Usage::of_process(id).is_none()
    {
        return Err(Failure::Usage(format!("--pid {id}: there is no such process, or this is not Linux")));
    }
    let target = Target::tidewheel(server).map_err(|error| Failure::Usage(error.to_string()))?;
    let target = match token_of_environment() {
        Some(token) => target.with_token(&token),
        None => target,
    };
    match Connection::new(target.server()).send(&target.server().get("/health/ready")).await {
        Ok(_) => Ok(target),
        Err(error @ (HttpError::Connection { .. } | HttpError::Timeout { .. })) => {
            Err(Failure::Unreachable(format!(
                "{server} does not answer ({error}); start a node with `tidewheel dev` or name another with --server"
            )))
        }
        Err(error @ (HttpError::Malformed { .. } | HttpError::Address { .. })) => {
            Err(Failure::Failed(error.to_string()))
        }
    }
}

fn failure(error: LoadError) -> Failure {
    match error {
        LoadError::Plan(what) => Failure::Usage(what),
        LoadError::Start(_) | LoadError::Ended => Failure::Failed(error.to_string()),
    }
}

/// Shows on a terminal how far the load is; never ends.
async fn show(length: Duration) -> Infallible {
    if !io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let bar = ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {elapsed}") {
        bar.set_style(style);
    }
    // Dropped with this future, it leaves the line empty.
    let bar = Cleared(bar);
    let mut second = tokio::time::interval(Duration::from_millis(500));
    loop {
        second.tick().await;
        bar.0.inc(500);
    }
}

struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
