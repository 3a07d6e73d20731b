//! The command line of `bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tidewheel_bench::load::Plan;

/// Workloads. W numbers are those of docs/benchmarks.md.
#[derive(Debug, Clone, Subcommand)]
pub enum BenchCommand {
    /// W1: start a run until the start is durable and judged; the run is left waiting for a signal.
    Start(LoadArguments),
    /// W1b: start many runs with one request; the rate is of runs.
    Batch {
        /// Runs of a request.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        lines: u32,
        #[command(flatten)]
        load: LoadArguments,
    },
    /// W2: start a run of steps that do nothing, and wait for its result.
    Steps {
        /// Steps of a run; the comparison with peers uses 1, 3 and 9.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1_000))]
        steps: u32,
        #[command(flatten)]
        load: LoadArguments,
    },
    /// W3: signal a waiting run, until its result reaches a client that waits for it already; the rate is of whole
    /// rounds, which start the run first.
    Signal(LoadArguments),
    /// W4: timers due within one second; how late they fire. Samples `sleep`.
    Timers(TimersArguments),
    /// W5: one run that is signalled at a fixed rate (`--rate`, 1000 unless said); whether it keeps up. Sample `count`.
    HotRun(LoadArguments),
    /// W6: a node of its own in a temporary folder, killed with SIGKILL at half of its load, again and again. Fails if
    /// anything that was acknowledged is lost or happened twice.
    Kill(KillArguments),
    /// W7: views built from the log alone, without a node; nothing but a scratch folder is written.
    Rebuild(RebuildArguments),
    /// Memory, throughput and latency of nodes of its own with more and more finished runs, and with more and more
    /// partitions.
    Scale(ScaleArguments),
    /// `GET` of a path of any HTTP server: what the load generator costs and can do at most.
    Probe {
        /// The path.
        #[arg(long, default_value = "/health/live", value_parser = path)]
        path: String,
        #[command(flatten)]
        load: LoadArguments,
    },
}

/// How to load which server.
#[derive(Debug, Clone, Args)]
pub struct LoadArguments {
    /// The server.
    #[arg(long, env = "TIDEWHEEL_SERVER", default_value = "http://127.0.0.1:7400", value_name = "URL")]
    pub server: String,
    /// Clients, each with a connection and one operation at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub clients: u16,
    /// Length of the measurement, such as `10s`.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Load before it, which is not measured.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub warm_up: Duration,
    /// Size of a payload.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=262_144))]
    pub payload_bytes: u32,
    /// Operations per second, sent whatever the server does (open loop: latencies count from when an operation
    /// should have been sent). Without it each client asks again when it is answered (closed loop).
    #[arg(long, value_name = "NUMBER")]
    pub rate: Option<f64>,
    /// The server's process on this machine: its processor time, bytes written and memory are reported too. Linux.
    #[arg(long, value_name = "ID")]
    pub pid: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// How many timers.
#[derive(Debug, Clone, Args)]
pub struct TimersArguments {
    /// The server.
    #[arg(long, env = "TIDEWHEEL_SERVER", default_value = "http://127.0.0.1:7400", value_name = "URL")]
    pub server: String,
    /// Timers.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// They are due evenly over so long; `0s` means all at the same instant.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub spread: Duration,
    /// Rest between the start of the last run and the first timer.
    #[arg(long, default_value = "3s", value_parser = duration)]
    pub lead: Duration,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// How often a node is killed.
#[derive(Debug, Clone, Args)]
pub struct KillArguments {
    /// Kills.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// Partitions of the node.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub partitions: u32,
    /// Size of a payload.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(64..=65_536))]
    pub payload_bytes: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Which log is rebuilt.
#[derive(Debug, Clone, Args)]
pub struct RebuildArguments {
    /// Data folder of a node that does not run, or an empty one, in which a sample log is made first.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// Records of a sample log.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub records: u64,
    /// Partitions of a sample log.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub partitions: u32,
    /// Size of a payload in a sample log.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub payload_bytes: u32,
    /// Records of a chunk; there is one in memory for each processor.
    #[arg(long, default_value_t = 32_768, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub chunk_records: u32,
    /// The topic, if the node's was not the default one.
    #[arg(long, default_value = "tidewheel.local.workflow.events")]
    pub topic: String,
    /// Compare the views with the log afterwards, and measure that too.
    #[arg(long)]
    pub verify: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What nodes are measured with.
#[derive(Debug, Clone, Args)]
pub struct ScaleArguments {
    /// Numbers of finished runs to measure at, ascending; `0` alone for none.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000])]
    pub runs: Vec<u64>,
    /// Numbers of partitions to measure with.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16], value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub partitions: Vec<u32>,
    /// Clients.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub clients: u16,
    /// Length of each measurement, such as `10s`.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Size of a payload.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub payload_bytes: u32,
    /// Where the nodes' folders are made, and removed afterwards; the folder for temporary files if absent.
    #[arg(long, value_name = "FOLDER")]
    pub scratch: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl LoadArguments {
    /// The load that is asked for.
    pub fn plan(&self) -> Plan {
        Plan {
            clients: usize::from(self.clients),
            warm_up: self.warm_up,
            duration: self.duration,
            rate: self.rate,
            processes: self.pid.into_iter().collect(),
        }
    }
}

/// A length of time of at most an hour, as the API writes them.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no length of time; give one such as 500ms, 10s or 2m");
    let (number, unit_ms) = match text {
        _ if text.ends_with("ms") => (text.trim_end_matches("ms"), 1),
        _ if text.ends_with('s') => (text.trim_end_matches('s'), 1_000),
        _ if text.ends_with('m') => (text.trim_end_matches('m'), 60_000),
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = number.checked_mul(unit_ms).filter(|milliseconds| *milliseconds <= 3_600_000);
    Ok(Duration::from_millis(milliseconds.ok_or("at most an hour, 60m")?))
}

fn path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path {
        Ok(text.to_owned())
    } else {
        Err(format!("{text} is no path; give one such as /health/live"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "10", "s", "-1s", "1h", "61m", "18446744073709551615m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_cannot_smuggle_a_header_in() {
        assert!(path("/a?b=c").is_ok());
        assert!(path("a").is_err());
        assert!(path("/a\r\nx: y").is_err());
    }
}
