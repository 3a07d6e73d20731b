//! Compares Tidewheel with Restate on this machine: the same workloads against both, alternating, in one run. What is
//! run and in which order is here; the processes are in `side`, the table in `table`.

mod disk;
mod side;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tidewheel_bench::load::{LoadError, Plan};
use tidewheel_bench::node::NodeError;
use tidewheel_bench::report::Report;
use tidewheel_bench::workload::Workload;

use self::side::Side;
use self::table::Cell;

/// The server that is not measured goes on for this long after its load before it is stopped, so that what it still
/// has to do is not put off to its next turn.
const SETTLE: Duration = Duration::from_secs(1);
/// Load that must succeed before a measurement, and how often it is tried.
const RECOVERY: Duration = Duration::from_secs(1);
const RECOVERY_ATTEMPTS_MAX: u32 = 60;

/// Compares Tidewheel with Restate: W1, W2 with 1, 3 and 9 steps, and W3, alternating between both.
///
/// Starts and ends both servers, on free ports and in new folders. While one is measured, the other is stopped with
/// SIGSTOP. Needs npm and the network once, for Restate's server, and cargo for its worker.
#[derive(Debug, Parser)]
struct Arguments {
    /// Length of one measurement, in seconds.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Load before each measurement, in seconds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_up_seconds: u64,
    /// Measurements of each workload with each server; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256")]
    clients: Vec<usize>,
    /// Workloads: w1, w1b (Tidewheel only), w2.1, w2.3, w2.9, w3.
    #[arg(long, value_delimiter = ',', default_value = "w1,w2.1,w2.3,w2.9,w3,w1b")]
    workloads: Vec<String>,
    /// Size of a payload.
    #[arg(long, default_value_t = 256)]
    payload_bytes: usize,
    /// Partitions of both.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// The program of Tidewheel; built from this repository unless given.
    #[arg(long, value_name = "FILE")]
    tidewheel: Option<PathBuf>,
    /// Where Restate's server and the built worker are kept between runs; beside this program unless given.
    #[arg(long, value_name = "FOLDER")]
    tools: Option<PathBuf>,
    /// Where both keep their data while they run; should be on the disk that is meant.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Every report as JSON instead of the table.
    #[arg(long)]
    json: bool,
}

/// A comparison that was not made.
#[derive(Debug, thiserror::Error)]
enum PeersError {
    /// The command line asks for something unknown.
    #[error("{0}")]
    Usage(String),
    /// Something cannot be run.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Tidewheel does not start or end.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A server does not start, answer or end.
    #[error("{0}")]
    Server(String),
    /// A load cannot be made.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Asked to stop.
    #[error("stopped before the end")]
    Interrupted,
}

impl PeersError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::select! {
        outcome = compare(&arguments) => outcome,
        // Dropping the comparison ends what it started.
        () = interrupted() => Err(PeersError::Interrupted),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, PeersError::Usage(_)) { 2 } else { 1 })
        }
    }
}

async fn interrupted() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let terminated = async {
        match terminate {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn workload(name: &str) -> Result<Workload, PeersError> {
    match name {
        "w1" => Ok(Workload::Start),
        "w1b" => Ok(Workload::Batch { lines: 1_000 }),
        "w2.1" => Ok(Workload::Steps { steps: 1 }),
        "w2.3" => Ok(Workload::Steps { steps: 3 }),
        "w2.9" => Ok(Workload::Steps { steps: 9 }),
        "w3" => Ok(Workload::Signal),
        other => Err(PeersError::Usage(format!(
            "{other} is no workload; --workloads takes w1, w1b, w2.1, w2.3, w2.9 and w3"
        ))),
    }
}

async fn compare(arguments: &Arguments) -> Result<(), PeersError> {
    let workloads: Vec<Workload> =
        arguments.workloads.iter().map(|name| workload(name)).collect::<Result<_, _>>()?;
    if arguments.clients.contains(&0) {
        return Err(PeersError::Usage("--clients takes numbers above 0".to_owned()));
    }
    let program = match &arguments.tidewheel {
        Some(program) => std::path::absolute(program).map_err(PeersError::io("the path of Tidewheel"))?,
        None => build().await?,
    };
    let tools = match &arguments.tools {
        Some(folder) => folder.clone(),
        None => own_folder()?.join("peers-tools"),
    };
    let data = match &arguments.data {
        Some(folder) => std::path::absolute(folder).and_then(tempfile::tempdir_in),
        None => tempfile::tempdir(),
    };
    let data = data.map_err(PeersError::io("a folder for the data"))?;
    eprintln!(
        "{}",
        table::machine(disk::sync_us(data.path()).map_err(PeersError::io("a test of the disk"))?)
    );
    let mut cells = Vec::new();
    for (number, workload) in workloads.iter().enumerate() {
        // New servers for each workload, so that none is measured on what another one left.
        let folder = data.path().join(number.to_string());
        let ours = Side::tidewheel(&program, &folder.join("tidewheel"), arguments.partitions).await?;
        let mut sides = vec![ours];
        if !matches!(workload, Workload::Batch { .. }) {
            sides.push(Side::restate(&tools, &folder.join("restate"), arguments.partitions).await?);
        }
        for side in &sides {
            side.pause()?;
        }
        for clients in &arguments.clients {
            cells.push(alternate(arguments, workload, *clients, &sides).await?);
        }
        for side in sides {
            side.end().await?;
        }
        std::fs::remove_dir_all(&folder).map_err(PeersError::io("the data cannot be removed"))?;
    }
    if arguments.json {
        for cell in &cells {
            println!("{}", cell.json());
        }
    } else {
        println!("{}", table::table(&cells));
    }
    Ok(())
}

/// Every round measures one after the other; each is paused while the other one works.
async fn alternate(
    arguments: &Arguments,
    workload: &Workload,
    clients: usize,
    sides: &[Side],
) -> Result<Cell, PeersError> {
    let mut reports: Vec<Vec<Report>> = sides.iter().map(|_| Vec::new()).collect();
    for round in 1..=arguments.rounds {
        for (side, reports) in sides.iter().zip(&mut reports) {
            side.resume()?;
            recover(side).await?;
            let plan = Plan {
                clients,
                warm_up: Duration::from_secs(arguments.warm_up_seconds),
                duration: Duration::from_secs(arguments.seconds),
                rate: None,
                processes: side.processes(),
            };
            let report = workload.run(side.target(), plan, arguments.payload_bytes).await?;
            eprintln!(
                "{}, {clients} clients, round {round}, {}: {}",
                workload.name(),
                side.name(),
                table::line(&report)
            );
            for (kind, first) in &report.first_errors {
                eprintln!("  {} x {kind}, first: {first}", report.errors.get(kind).unwrap_or(&0));
            }
            reports.push(report);
            tokio::time::sleep(SETTLE).await;
            side.pause()?;
        }
    }
    let mut reports = reports.into_iter();
    let ours = reports.next().unwrap_or_default();
    Ok(Cell { workload: workload.name(), clients, ours, peer: reports.next().unwrap_or_default() })
}

/// Waits until a server answers again after its pause: its own timeouts have passed meanwhile, and what it does about
/// them is not what is measured.
async fn recover(side: &Side) -> Result<(), PeersError> {
    for _ in 0..RECOVERY_ATTEMPTS_MAX {
        let plan = Plan {
            clients: 1,
            warm_up: Duration::ZERO,
            duration: RECOVERY,
            rate: None,
            processes: Vec::new(),
        };
        let report = Workload::Steps { steps: 1 }.run(side.target(), plan, 16).await?;
        if report.operations > 0 && report.error_count() == 0 {
            return Ok(());
        }
    }
    Err(PeersError::Server(format!("{} does not answer any more after a pause", side.name())))
}

/// Builds Tidewheel as it is released.
async fn build() -> Result<PathBuf, PeersError> {
    let program = own_folder()?.join("tidewheel");
    if cfg!(debug_assertions) {
        let what =
            "figures of a debug build say nothing; run it with `cargo run --release`, or give --tidewheel";
        return Err(PeersError::Usage(what.to_owned()));
    }
    eprintln!("building Tidewheel");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = tokio::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--quiet", "--package", "tidewheel", "--bin", "tidewheel"])
        .current_dir(workspace)
        .status()
        .await
        .map_err(PeersError::io("cargo cannot be run"))?;
    if status.success() && program.exists() {
        return Ok(program);
    }
    Err(PeersError::Usage(format!(
        "cargo did not build {}; build Tidewheel yourself and name it with --tidewheel",
        program.display()
    )))
}

fn own_folder() -> Result<PathBuf, PeersError> {
    let mut path = std::env::current_exe().map_err(PeersError::io("the path of this program"))?;
    path.pop();
    Ok(path)
}
