//! How a node changes with what it holds: memory, throughput and latency at more and more finished runs, and with
//! more and more partitions.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::histogram::Quantiles;
use crate::load::{Plan, Wrong};
use crate::node::Node;
use crate::process::Usage;
use crate::report::milliseconds;
use crate::runs::{BenchError, Runs};
use crate::target::Target;
use crate::workload::Workload;

/// Steps of a measured run.
const STEPS: u32 = 3;
/// Runs started before it is waited until they have ended.
const FILL_PART: u64 = 20_000;
/// How long filled runs may take to end.
const PATIENCE: Duration = Duration::from_secs(300);
/// Rest before memory is read, so that what is written in the background is written.
const REST: Duration = Duration::from_secs(5);

/// What is measured.
#[derive(Debug, Clone)]
pub struct Scale {
    /// The program of the node.
    pub program: PathBuf,
    /// Where the nodes' folders are made, and removed afterwards.
    pub scratch: PathBuf,
    /// Numbers of runs to measure at, ascending.
    pub runs: Vec<u64>,
    /// Numbers of partitions to measure with, each on a node of its own.
    pub partitions: Vec<u32>,
    /// Partitions of the node that is filled.
    pub filled_partitions: u32,
    /// Clients.
    pub clients: usize,
    /// Length of each measurement.
    pub duration: Duration,
    /// Size of a payload.
    pub payload_bytes: usize,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// Finished runs the node held before.
    pub runs: u64,
    /// Its partitions.
    pub partitions: u32,
    /// Its memory at rest, before the load.
    pub resident_bytes: u64,
    /// Runs per second.
    pub rate: f64,
    /// Start to result.
    pub latency: Quantiles,
    /// Failed operations.
    pub failed: u64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct ScaleReport {
    /// Steps of a run.
    pub steps: u32,
    /// Clients.
    pub clients: usize,
    /// By existing runs.
    pub by_runs: Vec<Point>,
    /// By partitions.
    pub by_partitions: Vec<Point>,
}

/// Measures.
///
/// # Errors
/// When a node cannot be started, or does not take the load.
pub async fn run(scale: &Scale) -> Result<ScaleReport, BenchError> {
    let mut report =
        ScaleReport { steps: STEPS, clients: scale.clients, by_runs: Vec::new(), by_partitions: Vec::new() };
    if !scale.runs.is_empty() {
        let folder = folder(&scale.scratch)?;
        let node = start(scale, folder.path(), scale.filled_partitions).await?;
        let mut held = 0;
        for runs in &scale.runs {
            fill(&node, runs.saturating_sub(held), scale.payload_bytes).await?;
            held = held.max(*runs);
            let (point, done) = measure(scale, &node, held, scale.filled_partitions).await?;
            report.by_runs.push(point);
            // What was measured with is there now too.
            held += done;
        }
        node.stop().await?;
    }
    for partitions in &scale.partitions {
        let folder = folder(&scale.scratch)?;
        let node = start(scale, folder.path(), *partitions).await?;
        let (point, _) = measure(scale, &node, 0, *partitions).await?;
        report.by_partitions.push(point);
        node.stop().await?;
    }
    Ok(report)
}

fn folder(scratch: &Path) -> Result<tempfile::TempDir, BenchError> {
    Ok(tempfile::Builder::new().prefix("scale-").tempdir_in(scratch)?)
}

async fn start(scale: &Scale, folder: &Path, partitions: u32) -> Result<Node, BenchError> {
    let arguments = ["--partitions".to_owned(), partitions.to_string()];
    Ok(Node::start(&scale.program, folder, &arguments).await?)
}

/// Lets the node run `runs` runs to their end.
async fn fill(node: &Node, runs: u64, payload_bytes: usize) -> Result<(), BenchError> {
    let target = Target::tidewheel(node.address()).map_err(Wrong::from)?;
    let mut api = Runs::new(target.server());
    let input = json!({"steps": STEPS, "payload": crate::payload::payload(payload_bytes, 7)});
    let mut left = runs;
    while left > 0 {
        let part = left.min(FILL_PART);
        let inputs = vec![input.clone(); usize::try_from(part).unwrap_or(0)];
        api.start_all("steps", &inputs).await?;
        api.settled(PATIENCE).await?;
        left -= part;
    }
    Ok(())
}

/// Memory at rest, then the load; also how many runs the load was.
async fn measure(scale: &Scale, node: &Node, runs: u64, partitions: u32) -> Result<(Point, u64), BenchError> {
    let target = Target::tidewheel(node.address()).map_err(Wrong::from)?;
    let rested = Instant::now() + REST;
    Runs::new(target.server()).settled(PATIENCE).await?;
    tokio::time::sleep_until(rested.into()).await;
    let resident_bytes = Usage::of_process(node.id()).map_or(0, |usage| usage.resident_bytes);
    let plan = Plan {
        clients: scale.clients,
        warm_up: Duration::from_secs(2),
        duration: scale.duration,
        rate: None,
        processes: Vec::new(),
    };
    let report = Workload::Steps { steps: STEPS }.run(&target, plan, scale.payload_bytes).await?;
    let failed = report.error_count();
    let point =
        Point { runs, partitions, resident_bytes, rate: report.rate, latency: report.latency, failed };
    Ok((point, report.operations))
}

impl ScaleReport {
    /// Failed operations of every measurement.
    pub fn failed(&self) -> u64 {
        self.by_runs.iter().chain(&self.by_partitions).map(|point| point.failed).sum()
    }
}

impl fmt::Display for ScaleReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "workload    W2 {} steps, {} clients", self.steps, self.clients)?;
        writeln!(
            out,
            "{:>10} {:>10} {:>12} {:>10} {:>9} {:>9} {:>9} {:>7}",
            "runs", "partitions", "resident MiB", "runs/s", "p50 ms", "p99 ms", "p99.9 ms", "failed"
        )?;
        for point in self.by_runs.iter().chain(&self.by_partitions) {
            writeln!(
                out,
                "{:>10} {:>10} {:>12} {:>10.0} {:>9} {:>9} {:>9} {:>7}",
                point.runs,
                point.partitions,
                point.resident_bytes / (1024 * 1024),
                point.rate,
                milliseconds(point.latency.p50_us),
                milliseconds(point.latency.p99_us),
                milliseconds(point.latency.p99_9_us),
                point.failed
            )?;
        }
        Ok(())
    }
}
