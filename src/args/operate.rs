//! The command line of what an operator does: look at a configuration, at a cluster, at the schemas.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tidewheel::config::{Layer, Sources};

use super::{AccessArguments, ServerArguments};

/// What to look at, and how to show it.
#[derive(Debug, Clone, Default, Args)]
pub struct CheckArguments {
    /// Configuration file; without it `tidewheel.toml` is read if it exists.
    #[arg(long, env = "TIDEWHEEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Look with the eyes of a process of this datacenter [default: the one configured].
    #[arg(long, value_name = "NAME")]
    pub datacenter: Option<String>,
    /// Print the findings as JSON.
    #[arg(long)]
    pub json: bool,
    /// Ask nobody; print the commands and statements an administrator runs to make what is needed.
    #[arg(long, conflicts_with = "json")]
    pub print: bool,
}

impl CheckArguments {
    /// The layers these flags lie on top of.
    pub fn sources(&self) -> Sources {
        let flags = Layer::new("the command line").with("datacenter", self.datacenter.clone());
        Sources { file: self.config.clone(), flags, ..Sources::of_process() }
    }
}

/// Which processes to ask, and how to show what they say.
#[derive(Debug, Clone, Default, Args)]
pub struct StatusArguments {
    /// A process to ask; may be repeated, also in several datacenters [default: http://127.0.0.1:7400].
    #[arg(long = "server", env = "TIDEWHEEL_SERVER", value_name = "URL", value_delimiter = ',')]
    pub servers: Vec<String>,
    /// Ask every datacenter of this configuration file at its `url`, too.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Fail with exit code 1 when something is marked: no leader, too much lag, a process that does not answer.
    #[arg(long)]
    pub check: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub access: AccessArguments,
}

/// Commands about the fold, the rules by which records are understood.
#[derive(Debug, Clone, Subcommand)]
pub enum FoldCommand {
    /// Raise the fold version of a datacenter, after every process of it was upgraded. There is no way back.
    Raise(RaiseArguments),
}

/// What to raise it to.
#[derive(Debug, Clone, Args)]
pub struct RaiseArguments {
    /// The fold version; `tidewheel status --json` shows what is in force (`fold`) and known (`fold_newest`).
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub version: u32,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Where to write schemas.
#[derive(Debug, Clone, Args)]
pub struct ExportArguments {
    /// The folder; it is made if it does not exist.
    pub folder: PathBuf,
    /// Configuration file whose topics are named; without it `tidewheel.toml` is read if it exists.
    #[arg(long, env = "TIDEWHEEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}
