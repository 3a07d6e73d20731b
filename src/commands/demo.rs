//! `tidewheel demo`: orders, a SIGKILL half-way, and every view compared with the log. Its figures are measured
//! here and now: the traffic in `traffic`, the node's process in `node`, what each order must end as in `order`.

mod node;
mod order;
mod report;
mod traffic;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tidewheel::config::Config;
use tidewheel::node::GENERATION;
use tidewheel::wire;
use tidewheel_replay::{Report, Views, verify};
use tidewheel_schemas::TopicFamily;

use self::node::Process;
use self::report::{Figures, Shown};
use self::traffic::Traffic;
use crate::args::DemoArguments;
use crate::failure::Failure;
use crate::output::print;

/// Differences that are shown one by one.
const DIFFERENCES_MAX: usize = 20;

/// When the node was gone.
#[derive(Debug, Clone, Copy)]
struct Outage {
    killed_at: SystemTime,
    gone_at: SystemTime,
    down: Duration,
}

/// Runs the demonstration in a folder of its own.
pub async fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("tidewheel-demo-").tempdir()?;
    let folder = if arguments.keep {
        let path = folder.keep();
        eprintln!("keeping {}", path.display());
        Kept::Path(path)
    } else {
        Kept::Temporary(folder)
    };
    tokio::select! {
        outcome = demonstrate(arguments, folder.path()) => outcome,
        // Dropping the demonstration ends its node.
        () = interrupted() => Err(Failure::Failed("stopped before the end; nothing was proved".to_owned())),
    }
}

/// Resolves at SIGTERM or ctrl-c.
async fn interrupted() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let terminated = async {
        match terminate {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// The folder, removed on drop or not.
enum Kept {
    Temporary(tempfile::TempDir),
    Path(std::path::PathBuf),
}

impl Kept {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Path(path) => path,
        }
    }
}

async fn demonstrate(arguments: &DemoArguments, folder: &Path) -> Result<(), Failure> {
    let shown = Shown::new(u64::from(arguments.orders));
    let config = Config { data_dir: folder.join("data"), ..Config::default() };
    let first = Process::start(folder, "first").await?;
    shown.say(&format!(
        "node {} is ready on {}, durability {}",
        first.id(),
        first.address(),
        config.durability.as_str()
    ));
    let traffic = Arc::new(Traffic::new(arguments.orders, first.client()?, shown.clone()));
    let began = Instant::now();
    let sending = {
        let (traffic, clients) = (Arc::clone(&traffic), arguments.clients);
        tokio::spawn(async move { traffic.send(clients).await })
    };
    traffic.half_way().await;
    let (second, outage) = match replace(first, folder, &shown).await {
        Ok(replaced) => replaced,
        Err(failure) => {
            sending.abort();
            return Err(failure);
        }
    };
    traffic.go_on_with(second.client()?);
    sending.await.map_err(|error| Failure::Failed(format!("the clients stopped: {error}")))??;
    shown.say("every order and payment is acknowledged; waiting for the results");
    let results = Arc::clone(&traffic).results(arguments.clients).await?;
    let elapsed = began.elapsed();
    second.stop().await?;
    shown.say("the node is stopped; folding the log again from its first record");
    let report = compare(&config).await?;
    shown.finish();
    let figures = Figures::of(&traffic, &results, &report, elapsed, outage);
    print(&figures.table())?;
    conclude(&figures, &report)
}

/// Kills the node and starts another one on the same folder.
async fn replace(first: Process, folder: &Path, shown: &Shown) -> Result<(Process, Outage), Failure> {
    let id = first.id();
    let killed_at = SystemTime::now();
    let down_since = Instant::now();
    first.kill().await?;
    let gone_at = SystemTime::now();
    shown.say(&format!("half-way: node {id} was killed with SIGKILL; starting another on the same folder"));
    let second = Process::start(folder, "second").await?;
    let down = down_since.elapsed();
    shown.say(&format!(
        "node {} is ready on {} after {} ms",
        second.id(),
        second.address(),
        down.as_millis()
    ));
    Ok((second, Outage { killed_at, gone_at, down }))
}

async fn compare(config: &Config) -> Result<Report, Failure> {
    let opening = config.clone();
    let wiring = tokio::task::spawn_blocking(move || wire::open(&opening))
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let views = Views {
        log: Arc::clone(&wiring.log),
        topic: TopicFamily::WorkflowEvents.topic(&config.prefix, &config.datacenter),
        partitions: config.partitions,
        store: Arc::clone(&wiring.store),
        generation: GENERATION,
    };
    let report = verify(&views, DIFFERENCES_MAX).await.map_err(|error| Failure::Failed(error.to_string()));
    tokio::task::spawn_blocking(move || wiring.close())
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    report
}

fn conclude(figures: &Figures, report: &Report) -> Result<(), Failure> {
    for difference in &report.differences {
        eprintln!("{:?} in {}: {}: {}", difference.kind, difference.table, difference.key, difference.what);
    }
    for wrong in figures.wrong.iter().take(DIFFERENCES_MAX) {
        eprintln!("{wrong}");
    }
    let mut faults = Vec::new();
    if report.difference_count > 0 {
        faults.push(format!("{} rows differ from the log", report.difference_count));
    }
    if report.behind > 0 {
        faults.push(format!("the views end {} records before the log", report.behind));
    }
    if !figures.wrong.is_empty() {
        faults.push(format!("{} orders ended as they should not", figures.wrong.len()));
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Failed(faults.join("; "))) }
}
