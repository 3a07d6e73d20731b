//! The command line of what looks at views and log: verify, inspect, diff, step.

use std::path::PathBuf;

use clap::Args;
use tidewheel_schemas::{Name, RunId};

use crate::args::{NamespaceArguments, ServerArguments};

/// What to compare, and what to do about differences.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit codes: 0 everything is as the log says, or was mended; 1 there are differences; 2 the \
                        command line is wrong; 3 no server answers."
)]
pub struct VerifyArguments {
    /// The build of the views [default: the one that is read].
    #[arg(long, value_name = "NUMBER")]
    pub generation: Option<u32>,
    /// Only this partition; may be repeated.
    #[arg(long = "partition", value_name = "NUMBER")]
    pub partitions: Vec<u32>,
    /// Only this run. Rows that stand for several runs are not compared.
    #[arg(long, value_name = "RUN_ID", conflicts_with_all = ["sample", "partitions"])]
    pub entity: Option<RunId>,
    /// Only one run of so many, always the same ones. Rows that stand for several runs are not compared.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub sample: Option<u64>,
    /// Differences to describe; all are counted.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub differences: u32,
    /// Mebibytes the server may hold for it; with fewer it reads the log more often [default: 256].
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub held_mib: Option<u32>,
    /// Threads the server works on [default: one for each processor].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,
    /// Write the rows that differ as the log says, where that can be done in place.
    #[arg(long)]
    pub mend: bool,
    #[command(flatten)]
    pub server: ServerArguments,
}

impl VerifyArguments {
    /// Everything of one generation.
    pub fn of(generation: u32, server: &ServerArguments) -> Self {
        Self {
            generation: Some(generation),
            partitions: Vec::new(),
            entity: None,
            sample: None,
            differences: 20,
            held_mib: None,
            threads: None,
            mend: false,
            server: server.clone(),
        }
    }
}

/// What to look at, and as of when.
#[derive(Debug, Clone, Args)]
pub struct InspectArguments {
    /// The run; without one, runs are listed.
    #[arg(conflicts_with_all = ["workflow", "status"])]
    pub run_id: Option<RunId>,
    /// A time such as `2026-11-22T03:00:00Z`, a position as an answer gave it, or an offset of the run's partition
    /// [default: now].
    #[arg(long, value_name = "TIME|POSITION|OFFSET")]
    pub as_of: Option<String>,
    /// List only runs of this workflow.
    #[arg(long)]
    pub workflow: Option<Name>,
    /// List only runs that had this status: running, completed, failed, cancelled, terminated, parked.
    #[arg(long)]
    pub status: Option<String>,
    /// Most runs, or entries of a history, to show.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: Option<u32>,
    #[command(flatten)]
    pub at: NamespaceArguments,
}

/// Between which places to look.
#[derive(Debug, Clone, Args)]
pub struct DiffArguments {
    /// The run.
    pub run_id: RunId,
    /// The earlier place: a time, a position or an offset of the run's partition.
    pub from: String,
    /// The later one [default: now].
    pub to: Option<String>,
    #[command(flatten)]
    pub at: NamespaceArguments,
}

/// What to step through.
#[derive(Debug, Clone, Args)]
pub struct StepArguments {
    /// The run; with `--file` it may be left out where the file is of one.
    #[arg(required_unless_present = "file")]
    pub run_id: Option<RunId>,
    /// Records from a file instead of a server: what a server or the simulator told, one a line.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Commands from a file instead of standard input.
    #[arg(long, value_name = "FILE")]
    pub commands: Option<PathBuf>,
    /// Write the records to a file, for `--file`.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    pub at: NamespaceArguments,
}
