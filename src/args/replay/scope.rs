//! The command line of a backfill's scope.

use clap::Args;
use tidewheel_schemas::{Name, RunId};

/// What a backfill is about: the runs that have one record for which everything given holds, each of them whole. Without
/// any of it, everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Scope of a backfill")]
pub struct ScopeArguments {
    /// Only this run; may be repeated.
    #[arg(long = "entity", value_name = "RUN_ID")]
    pub entities: Vec<RunId>,
    /// Only runs of this partition; may be repeated.
    #[arg(long = "partition", value_name = "NUMBER")]
    pub partitions: Vec<u32>,
    /// Only runs of this namespace; may be repeated.
    #[arg(long = "namespace", value_name = "NAME")]
    pub namespaces: Vec<Name>,
    /// Only runs that have an event of this type, such as `run-failed`; may be repeated.
    #[arg(long = "type", value_name = "EVENT")]
    pub event_types: Vec<String>,
    /// Only runs that have a record at or after this offset of their partition.
    #[arg(long, value_name = "OFFSET")]
    pub from_offset: Option<u64>,
    /// Only runs that have a record before this offset of their partition.
    #[arg(long, value_name = "OFFSET")]
    pub until_offset: Option<u64>,
    /// Only runs that have a record written at or after this time, such as `2026-11-22T03:00:00Z`.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only runs that have a record written before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}
