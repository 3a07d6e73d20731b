//! The command line of parked runs. What each command does is in `commands/replay/parked`.

use clap::{Args, Subcommand};
use tidewheel_schemas::RunId;

use super::super::ServerArguments;

/// Lists parked runs, unless a command says more.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ParkedArguments {
    #[command(subcommand)]
    pub command: Option<ParkedCommand>,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// What is done with a parked run.
#[derive(Debug, Clone, Subcommand)]
pub enum ParkedCommand {
    /// Read its record again: if the server's build can read it now, the views are rebuilt with it and cut over to.
    Retry(RetryParkedArguments),
    /// Let it go on without the record: what was decided on that is decided anew, and steps may run again.
    Skip(SkipParkedArguments),
}

/// Names a parked run.
#[derive(Debug, Clone, Args)]
pub struct RetryParkedArguments {
    /// The run's id.
    pub run_id: RunId,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Names a parked run, and says why it is to go on.
#[derive(Debug, Clone, Args)]
pub struct SkipParkedArguments {
    /// The run's id.
    pub run_id: RunId,
    /// Why, for those who look at its history later.
    #[arg(long)]
    pub reason: String,
    /// Refuse unless it is parked at this offset; without it, where it is parked now.
    #[arg(long)]
    pub offset: Option<i64>,
    #[command(flatten)]
    pub server: ServerArguments,
}
