//! Measures a cluster on real servers, beside what the same machine does with the same records and less: an HTTP server
//! whose handler only appends (W1), librdkafka alone (batches), and how long the others stand still when an owner is
//! killed.
//!
//! `cargo build --release && cargo run --release -p tidewheel-cluster --example speed -- target/release/tidewheel`;
//! behind the binary, the parts to measure instead of all: `starts`, `batches`, `whole`, `failover`.

#[path = "speed/failover.rs"]
mod failover;
#[path = "speed/raw.rs"]
mod raw;
#[path = "speed/shell.rs"]
mod shell;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tidewheel_bench::load::Plan;
use tidewheel_bench::report::Report;
use tidewheel_bench::target::Target;
use tidewheel_bench::workload::Workload;
use tidewheel_cluster::nodes::{Cluster, Process, Servers};
use tidewheel_native::KafkaOptions;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

const PAYLOAD_BYTES: usize = 256;
const BATCH_LINES: usize = 1_000;
const BATCHES: usize = 16;
const ROUNDS: usize = 3;
const PARTS: [&str; 4] = ["starts", "batches", "whole", "failover"];

async fn load(
    workload: &Workload,
    address: &str,
    clients: usize,
    pid: Option<u32>,
) -> Result<Report, Failure> {
    let plan = Plan {
        clients,
        warm_up: Duration::from_secs(1),
        duration: Duration::from_secs(4),
        rate: None,
        processes: pid.into_iter().collect(),
    };
    let report = workload.run(&Target::tidewheel(address)?, plan, PAYLOAD_BYTES).await?;
    if report.errors.is_empty() { Ok(report) } else { Err(format!("operations failed: {report}").into()) }
}

fn line(what: &str, clients: usize, report: &Report) {
    println!(
        "{what:<34} {clients:>4} clients {:>8.0}/s  p50 {:>7.2}  p99 {:>7.2} ms{}",
        report.rate,
        report.latency.p50_us as f64 / 1e3,
        report.latency.p99_us as f64 / 1e3,
        report.server_cpu_us.map_or(String::new(), |cpu| format!("  {cpu:>6.0} µs of processor time")),
    );
}

/// What a process that takes requests makes of a start, while nobody else works: owners and databases are on machines
/// of their own where speed matters, here they would take the processors of what is measured.
async fn edge(cluster: &Cluster, program: &Path) -> Process {
    // It creates the topics, tables and logs, and goes.
    cluster.serve(program, "creator", "alpha", "").await.stop().await;
    cluster.serve(program, "ingest", "alpha", "roles = ['ingest']\nmax_lag = 100000000").await
}

async fn starts(cluster: &Cluster, program: &Path) -> Result<(), Failure> {
    let ingest = edge(cluster, program).await;
    let shell = shell::start(cluster).await?;
    for clients in [1, 64, 256] {
        let (mut by_shell, mut by_ingest, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let shell = load(&Workload::Start, &shell, clients, None).await?;
            let ours = load(&Workload::Start, &ingest.address, clients, Some(ingest.id())).await?;
            ratios.push(ours.rate / shell.rate);
            by_shell.push(shell);
            by_ingest.push(ours);
        }
        line("W1, a handler that only produces", clients, &by_shell[ROUNDS - 1]);
        line("W1, serve --role ingest", clients, &by_ingest[ROUNDS - 1]);
        println!("W1, share of the shell: {:.0} % (median of {ROUNDS})", 100.0 * median(ratios));
    }
    ingest.stop().await;
    Ok(())
}

async fn batches(cluster: &Cluster, servers: &Servers, program: &Path) -> Result<(), Failure> {
    let ingest = edge(cluster, program).await;
    let (mut ratios, batch) = (Vec::new(), Workload::Batch { lines: BATCH_LINES });
    // Records to copy.
    load(&batch, &ingest.address, BATCHES, None).await?;
    let raw = raw::Raw::of(cluster, servers).await?;
    for _ in 0..ROUNDS {
        let by_raw = raw.produce()?;
        let ours = load(&batch, &ingest.address, BATCHES, Some(ingest.id())).await?;
        ratios.push(ours.rate / by_raw);
        println!("batches: librdkafka alone {by_raw:.0}/s");
        line("W1b, serve --role ingest", BATCHES, &ours);
    }
    println!("W1b, share of librdkafka alone: {:.0} % (median of {ROUNDS})", 100.0 * median(ratios));
    ingest.stop().await;
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let program =
        std::env::args().nth(1).map(PathBuf::from).ok_or("which binary? target/release/tidewheel")?;
    let program = program.canonicalize()?;
    let parts: Vec<String> = std::env::args().skip(2).collect();
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(format!("`{unknown}` is not one of the parts: {}", PARTS.join(", ")).into());
    }
    let is_asked = |part: &str| parts.is_empty() || parts.iter().any(|asked| asked == part);
    let Some(servers) = Servers::own("speed", KafkaOptions::default().compiled()).await else {
        return Ok(());
    };
    if is_asked("starts") {
        starts(&Cluster::new(&servers, "starts"), &program).await?;
    }
    if is_asked("batches") {
        batches(&Cluster::new(&servers, "batches"), &servers, &program).await?;
    }
    let cluster = Cluster::new(&servers, "whole");
    if is_asked("whole") {
        whole(&cluster, &program).await?;
    }
    if is_asked("failover") {
        failover::measure(&cluster, &program).await?;
    }
    Ok(())
}

async fn whole(cluster: &Cluster, program: &Path) -> Result<(), Failure> {
    let whole = cluster.serve(program, "whole", "alpha", "").await;
    for clients in [1, 64] {
        line(
            "W1, one process",
            clients,
            &load(&Workload::Start, &whole.address, clients, Some(whole.id())).await?,
        );
        let steps = Workload::Steps { steps: 3 };
        line(
            "W2 3 steps, one process",
            clients,
            &load(&steps, &whole.address, clients, Some(whole.id())).await?,
        );
        let signal = load(&Workload::Signal, &whole.address, clients, Some(whole.id())).await?;
        line("W3, one process", clients, &signal);
    }
    whole.stop().await;
    Ok(())
}
