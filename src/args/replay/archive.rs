//! The command line of the archive.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use tidewheel::config::{Layer, Sources};

use crate::args::ServerArguments;

/// Commands about the archive.
#[derive(Debug, Clone, Subcommand)]
pub enum ArchiveCommand {
    /// Seal everything from where the archive ends to where the log ends. Stopped and run again, it goes on.
    Export(ExportArchiveArguments),
    /// Show what archive and log hold of each partition, and what is in neither.
    List(ListArchiveArguments),
    /// Read every file back and compare it with the log where the log still has its records.
    Verify(VerifyArchiveArguments),
    /// Remove from the log what is archived, read back by this very command, and needed by nobody.
    Trim(TrimArchiveArguments),
    /// Make a clone: the archived records in an empty log. No node may run on it meanwhile.
    Import(ImportArchiveArguments),
    /// Write the archive as Parquet, one file for each sealed range, for whoever asks it questions with SQL. Files that
    /// are there are left.
    Parquet(ParquetArchiveArguments),
}

/// What to seal.
#[derive(Debug, Clone, Args)]
pub struct ExportArchiveArguments {
    /// Only what lies before the first record at or after this time, such as 2026-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// Ask no node, but open the log itself: every process that writes to it is stopped. What was written since the last
    /// export of a running node is then in the archive too.
    #[arg(long)]
    pub offline: bool,
    /// Configuration file, with --offline; without it `tidewheel.toml` is read if it exists.
    #[arg(long, env = "TIDEWHEEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the log, with --offline [default: .tidewheel].
    #[arg(long, value_name = "FOLDER", requires = "offline")]
    pub data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Whose archive.
#[derive(Debug, Clone, Args)]
pub struct ListArchiveArguments {
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Whose archive.
#[derive(Debug, Clone, Args)]
pub struct VerifyArchiveArguments {
    #[command(flatten)]
    pub server: ServerArguments,
}

/// What to trim.
#[derive(Debug, Clone, Args)]
pub struct TrimArchiveArguments {
    /// Keep in the log what lies at or behind the first record of this time, such as 2026-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub before: Option<Timestamp>,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// What to make a clone of, and where.
#[derive(Debug, Clone, Args)]
pub struct ImportArchiveArguments {
    /// The archive, such as file:///var/archive or s3://bucket/prefix.
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// Only the past up to this time, such as 2026-01-31T00:00:00Z, or up to the record at this position.
    #[arg(long, value_name = "TIME|POSITION")]
    pub as_of: Option<String>,
    /// Keep the ids of the archived log: only for replacing a log that is lost for good, whose positions clients hold.
    #[arg(long, conflicts_with = "as_of")]
    pub same_log: bool,
    /// Configuration file of the clone; without it `tidewheel.toml` is read if it exists.
    #[arg(long, env = "TIDEWHEEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the clone's log and views [default: .tidewheel].
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Partitions of the clone: as many as were archived, or a whole multiple of them, each of which becomes several
    /// [default: as configured].
    #[arg(long, value_name = "NUMBER")]
    pub partitions: Option<u32>,
    /// Print what was imported as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What to write as columns, and where.
#[derive(Debug, Clone, Args)]
pub struct ParquetArchiveArguments {
    /// Where the files go, such as file:///var/columns or s3://bucket/prefix.
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// The archive [default: the one that is configured].
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// Add a column with the bytes of the values.
    #[arg(long)]
    pub raw: bool,
    /// Configuration file; without it `tidewheel.toml` is read if it exists.
    #[arg(long, env = "TIDEWHEEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print a line of JSON for each file as it is written.
    #[arg(long)]
    pub json: bool,
}

impl ParquetArchiveArguments {
    /// The layers these flags lie on top of.
    pub fn sources(&self) -> Sources {
        let flags = Layer::new("the command line").with("archive", self.from.clone());
        Sources { file: self.config.clone(), flags, ..Sources::of_process() }
    }
}

impl ExportArchiveArguments {
    /// The layers these flags lie on top of.
    pub fn sources(&self) -> Sources {
        let folder = self.data_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
        let flags = Layer::new("the command line").with("data_dir", folder);
        Sources { file: self.config.clone(), flags, ..Sources::of_process() }
    }
}

impl ImportArchiveArguments {
    /// The layers these flags lie on top of.
    pub fn sources(&self) -> Sources {
        let folder = self.data_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
        let flags =
            Layer::new("the command line").with("data_dir", folder).with("partitions", self.partitions);
        Sources { file: self.config.clone(), flags, ..Sources::of_process() }
    }
}
