//! The command line of replays. What each command does is in `commands/replay`.

mod archive;
mod examine;
mod parked;
mod scope;

use clap::{Args, Subcommand, ValueEnum};

pub use self::archive::{
    ArchiveCommand, ExportArchiveArguments, ImportArchiveArguments, ParquetArchiveArguments,
};
pub use self::examine::{DiffArguments, InspectArguments, StepArguments, VerifyArguments};
pub use self::parked::{ParkedArguments, ParkedCommand, RetryParkedArguments, SkipParkedArguments};
pub use self::scope::ScopeArguments;

use tidewheel_schemas::Name;

use super::ServerArguments;

/// Commands about the views: fill them again from the log, and choose which generation of them is read.
#[derive(Debug, Clone, Subcommand)]
pub enum ReplayCommand {
    /// Show what a replay would read and write, or why it would be refused.
    Plan(PlanArguments),
    /// Start a replay and follow it until it is done; a backfill is compared with the log at its end.
    Run(RunReplayArguments),
    /// Show the generations of the views, and replays with how far they are.
    Status(ReplayStatusArguments),
    /// Let a replay rest until it is resumed.
    Pause(ReplayArguments),
    /// Let a paused replay go on.
    Resume(ReplayArguments),
    /// Make a replay faster or slower while it runs.
    Rate(RateArguments),
    /// End a replay before its time. The generation that a rebuild was filling is dropped.
    Cancel(CancelReplayArguments),
    /// Move every read to another generation, once that is as far as the log.
    Cutover(CutoverArguments),
    /// Move every read back to the generation that was read before.
    Rollback(ServerArguments),
    /// Stop writing a generation that is not read, and remove its tables.
    Drop(GenerationArguments),
    /// List the runs that wait because a record of them could not be applied, why, and the record; let one go on.
    Parked(ParkedArguments),
    /// Compare every row of the views with what the log says, and mend what differs.
    Verify(VerifyArguments),
    /// Keep old records in a folder or an object store, read them back, trim the log, make a clone.
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Show a run, or a list of runs, as they stood at a time or a place of the log.
    Inspect(InspectArguments),
    /// Show what changed in a run between two places of the log.
    Diff(DiffArguments),
    /// Step through a run record by record, forward and back, with breakpoints.
    Step(StepArguments),
}

/// What a replay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReplayKindArgument {
    /// Fill a new generation of every view.
    Rebuild,
    /// Write the rows of a scope that are not what the log says again, where they are.
    Backfill,
}

/// What to plan.
#[derive(Debug, Clone, Args)]
pub struct PlanArguments {
    /// What it does.
    #[arg(value_enum)]
    pub kind: ReplayKindArgument,
    /// Most records a second, over all partitions and processes.
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// The generation that a backfill writes [default: the one that is read].
    #[arg(long, value_name = "NUMBER")]
    pub generation: Option<u32>,
    /// The datacenter whose views are meant; another one than the server's is refused.
    #[arg(long, value_name = "NAME")]
    pub datacenter: Option<Name>,
    /// Refused: the rows of a run are written in all views together.
    #[arg(long = "view", value_name = "NAME")]
    pub views: Vec<String>,
    /// Start nothing and write nothing: fold the log now and show which rows differ from what it says.
    #[arg(long)]
    pub dry_run: bool,
    /// Rows to describe of a dry run; all are counted.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub differences: u32,
    #[command(flatten)]
    pub scope: ScopeArguments,
    #[command(flatten)]
    pub server: ServerArguments,
}

impl PlanArguments {
    /// A rebuild, as fast as it can be.
    pub fn rebuild(server: ServerArguments) -> Self {
        Self {
            kind: ReplayKindArgument::Rebuild,
            rate: None,
            generation: None,
            datacenter: None,
            views: Vec::new(),
            dry_run: false,
            differences: 20,
            scope: ScopeArguments::default(),
            server,
        }
    }
}

/// What to start.
#[derive(Debug, Clone, Args)]
pub struct RunReplayArguments {
    #[command(flatten)]
    pub plan: PlanArguments,
    /// When it is done, compare its generation with the log and, if no row differs, move every read there.
    #[arg(long)]
    pub cutover: bool,
    /// Return as soon as it is started; `tidewheel replay status --follow` shows it.
    #[arg(long)]
    pub detach: bool,
}

/// What to show.
#[derive(Debug, Clone, Args)]
pub struct ReplayStatusArguments {
    /// Follow the replay that runs until it has ended.
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// A replay.
#[derive(Debug, Clone, Args)]
pub struct ReplayArguments {
    /// Its number.
    pub replay: u32,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// A replay and a speed.
#[derive(Debug, Clone, Args)]
pub struct RateArguments {
    /// Its number.
    pub replay: u32,
    /// Most records a second; without it as many as it can.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub records: Option<u64>,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// A replay and a reason.
#[derive(Debug, Clone, Args)]
pub struct CancelReplayArguments {
    /// Its number.
    pub replay: u32,
    /// Why, for those who look later.
    #[arg(long, default_value = "")]
    pub reason: String,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// A generation that is to be read.
#[derive(Debug, Clone, Args)]
pub struct CutoverArguments {
    /// Its number.
    pub generation: u32,
    /// Do not compare it with the log before.
    #[arg(long)]
    pub unverified: bool,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// A generation.
#[derive(Debug, Clone, Args)]
pub struct GenerationArguments {
    /// Its number.
    pub generation: u32,
    #[command(flatten)]
    pub server: ServerArguments,
}
