//! The command line. What each command does is in `commands`.

mod access;
mod bench;
mod operate;
mod replay;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tidewheel::config::{Layer, Sources};
use tidewheel_schemas::{Name, RunId};

pub use self::access::{
    AccessArguments, BootstrapArguments, CreateNamespaceArguments, CreateTokenArguments, ListTokensArguments,
    NamespaceCommand, RevokeTokenArguments, RotateTokenArguments, TokenCommand,
};
pub use self::bench::{
    BenchCommand, KillArguments, LoadArguments, RebuildArguments, ScaleArguments, TimersArguments,
};
pub use self::operate::{CheckArguments, ExportArguments, FoldCommand, RaiseArguments, StatusArguments};
pub use self::replay::{
    ArchiveCommand, CancelReplayArguments, CutoverArguments, DiffArguments, ExportArchiveArguments,
    GenerationArguments, ImportArchiveArguments, InspectArguments, ParkedArguments, ParkedCommand,
    ParquetArchiveArguments, PlanArguments, RateArguments, ReplayArguments, ReplayCommand,
    ReplayKindArgument, ReplayStatusArguments, RetryParkedArguments, RunReplayArguments, ScopeArguments,
    SkipParkedArguments, StepArguments, VerifyArguments,
};

const EXIT_CODES: &str = "Exit codes: 0 it was done; 1 it failed, or the run it is about did; 2 the command line or \
                          the configuration is wrong; 3 no server answers; 4 there is no such thing.";

/// Durable workflows whose only source of truth is a message log.
#[derive(Debug, Parser)]
#[command(name = "tidewheel", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node with sample workflows (`order`, `steps`, `wait`, `sleep`, `count`) on this machine; needs no other server.
    Dev(ConfigArguments),
    /// Run a process of a cluster, on Kafka and a database that speaks CQL; its configuration names them.
    Serve(ServeArguments),
    /// Prove the promise: run orders, kill the node half-way, and compare every view with the log.
    Demo(DemoArguments),
    /// Start, read and steer runs on a server.
    #[command(subcommand)]
    Run(RunCommand),
    /// Look at everything a configuration needs, brokers, topics, permissions, database, clocks, and create nothing.
    Check(CheckArguments),
    /// Show partitions, their leaders and how far the views are behind the log, of one process or of a cluster.
    Status(StatusArguments),
    /// Create, list, rotate and revoke access tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Create and list namespaces.
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Ask whether a server is ready; for the health check of a container.
    Health(ServerArguments),
    /// Raise the version of the rules by which records are understood, after an upgrade.
    #[command(subcommand)]
    Fold(FoldCommand),
    /// Fill the views again from the log, and choose which generation of them is read.
    #[command(subcommand)]
    Replay(ReplayCommand),
    /// Show the schemas of the records in the log.
    #[command(subcommand)]
    Schemas(SchemasCommand),
    /// Load a server and report rate, latencies and what it cost.
    #[command(subcommand)]
    Bench(BenchCommand),
}

/// The configuration, as far as flags give it. Every setting can also be in the file or the environment.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArguments {
    /// Configuration file; without it `tidewheel.toml` is read if it exists.
    #[arg(long, env = "TIDEWHEEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the log and the views [default: .tidewheel].
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Address of the HTTP API, on loopback unless tokens are required; port 0 takes a free one
    /// [default: 127.0.0.1:7400].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Keep everything in memory and nothing on disk.
    #[arg(long)]
    pub ephemeral: bool,
    /// Partitions of a log that is created [default: 4].
    #[arg(long, value_name = "NUMBER")]
    pub partitions: Option<u32>,
    /// What an acknowledged append survives: `fsync` (a loss of power) or `os` (the end of the process only)
    /// [default: fsync].
    #[arg(long, value_name = "fsync|os")]
    pub durability: Option<String>,
    /// What is logged, such as `info,tidewheel_ingest=debug`.
    #[arg(long, value_name = "DIRECTIVES")]
    pub log_filter: Option<String>,
    /// How it is logged, to standard error: `text` or `json` [default: text].
    #[arg(long, value_name = "text|json")]
    pub log_format: Option<String>,
}

impl ConfigArguments {
    /// The layers these flags lie on top of.
    pub fn sources(self) -> Sources {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let flags = Layer::new("the command line")
            .with("data_dir", self.data_dir.map(text))
            .with("listen", self.listen.map(|address| address.to_string()))
            .with("ephemeral", self.ephemeral.then_some(true))
            .with("partitions", self.partitions)
            .with("durability", self.durability)
            .with("log_filter", self.log_filter)
            .with("log_format", self.log_format);
        Sources { file: self.config, flags, ..Sources::of_process() }
    }
}

/// The configuration of a process of a cluster, as far as flags give it.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArguments {
    /// Configuration file; without it `tidewheel.toml` is read if it exists.
    #[arg(long, env = "TIDEWHEEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What this process does: `ingest`, `engine`, `projector` [default: all of them].
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
    pub roles: Vec<String>,
    /// Name of this process among those of its datacenter: one that comes back under its name keeps its partitions.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The datacenter this process is in.
    #[arg(long, value_name = "NAME")]
    pub datacenter: Option<String>,
    /// Address of the HTTP API; port 0 takes a free one [default: 127.0.0.1:7400].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// What is logged, such as `info,tidewheel_ingest=debug`.
    #[arg(long, value_name = "DIRECTIVES")]
    pub log_filter: Option<String>,
    /// How it is logged, to standard error: `text` or `json` [default: text].
    #[arg(long, value_name = "text|json")]
    pub log_format: Option<String>,
}

impl ServeArguments {
    /// The layers these flags lie on top of.
    pub fn sources(self) -> Sources {
        let flags = Layer::new("the command line")
            .with("roles", (!self.roles.is_empty()).then_some(self.roles))
            .with("node", self.node)
            .with("datacenter", self.datacenter)
            .with("listen", self.listen.map(|address| address.to_string()))
            .with("log_filter", self.log_filter)
            .with("log_format", self.log_format);
        Sources { file: self.config, flags, ..Sources::of_process() }
    }
}

/// Where the server is and how to show what it says.
#[derive(Debug, Clone, Args)]
pub struct ServerArguments {
    /// The server.
    #[arg(long, env = "TIDEWHEEL_SERVER", default_value = "http://127.0.0.1:7400", value_name = "URL")]
    pub server: String,
    /// Print the server's JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub access: AccessArguments,
}

/// A server and one of its namespaces.
#[derive(Debug, Clone, Args)]
pub struct NamespaceArguments {
    /// The server.
    #[command(flatten)]
    pub server: ServerArguments,
    /// The namespace.
    #[arg(long, env = "TIDEWHEEL_NAMESPACE", default_value = "default")]
    pub namespace: Name,
}

/// Commands about runs.
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// Start a run, or many from a file.
    Start(StartArguments),
    /// List runs, newest first.
    List(ListArguments),
    /// Show a run.
    Show(OneRun),
    /// Show what happened to a run, event by event.
    History(OneRun),
    /// Send a run a signal.
    Signal(SignalArguments),
    /// Ask a run to stop: its compensations run.
    Cancel(EndArguments),
    /// End a run at once; no workflow code runs.
    Terminate(EndArguments),
    /// Try a parked run again with the code now deployed.
    Resume(OneRun),
    /// Wait for a run's end and print what it returned.
    Result(ResultArguments),
}

/// Names one run.
#[derive(Debug, Clone, Args)]
pub struct OneRun {
    /// The run's id.
    pub run_id: RunId,
    #[command(flatten)]
    pub at: NamespaceArguments,
}

/// What to start.
#[derive(Debug, Clone, Args)]
pub struct StartArguments {
    /// The workflow; with `--from` it may be left to the lines of the file.
    #[arg(required_unless_present = "from")]
    pub workflow: Option<Name>,
    /// The input, as JSON.
    #[arg(long, value_name = "JSON")]
    pub input: Option<String>,
    /// A key of your own: it decides the run's id, so that starting it twice is the same run.
    #[arg(long)]
    pub key: Option<String>,
    /// A tag, such as `shop:berlin`; may be repeated.
    #[arg(long = "tag", value_name = "NAME:VALUE")]
    pub tags: Vec<String>,
    /// The datacenter the run shall live in; with `--from` and without a workflow each line says its own.
    #[arg(long, value_name = "NAME")]
    pub datacenter: Option<Name>,
    /// Wait this long for the result, such as `30s`.
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<String>,
    /// Makes retries of this command the same start.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// A file of JSON lines, `-` for standard input: with a workflow each line is an input, without one each line
    /// is `{"workflow", "key"?, "input"?, "tags"?, "datacenter"?}`. Repeated with the same `--idempotency-key`, it
    /// starts nothing twice.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "key", "wait"])]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub at: NamespaceArguments,
}

/// Which runs to list.
#[derive(Debug, Clone, Args)]
pub struct ListArguments {
    /// Only runs of this workflow.
    #[arg(long)]
    pub workflow: Option<Name>,
    /// Only runs with this status: running, completed, failed, cancelled, terminated, parked.
    #[arg(long)]
    pub status: Option<String>,
    /// Only runs with this tag, such as `shop:berlin`.
    #[arg(long, value_name = "NAME:VALUE")]
    pub tag: Option<String>,
    /// The datacenter whose runs to list; that of the server unless said.
    #[arg(long, value_name = "NAME")]
    pub datacenter: Option<Name>,
    /// Most runs to show.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// Go on where an earlier list ended.
    #[arg(long)]
    pub cursor: Option<String>,
    #[command(flatten)]
    pub at: NamespaceArguments,
}

/// A signal.
#[derive(Debug, Clone, Args)]
pub struct SignalArguments {
    #[command(flatten)]
    pub run: OneRun,
    /// The signal's name.
    pub name: Name,
    /// Its payload, as JSON.
    #[arg(default_value = "null")]
    pub payload: String,
    /// Makes retries of this command the same signal.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// An end asked for.
#[derive(Debug, Clone, Args)]
pub struct EndArguments {
    #[command(flatten)]
    pub run: OneRun,
    /// Why, for whoever reads the history.
    #[arg(long)]
    pub reason: Option<String>,
}

/// How long to wait for a result.
#[derive(Debug, Clone, Args)]
pub struct ResultArguments {
    #[command(flatten)]
    pub run: OneRun,
    /// Give up after this long, such as `30s`.
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub timeout: String,
}

/// Commands about schemas.
#[derive(Debug, Subcommand)]
pub enum SchemasCommand {
    /// List the schemas and the topics whose records they describe.
    List,
    /// Print an Avro schema.
    Show {
        /// Its id, as records carry it.
        id: u32,
    },
    /// Write every schema, and which topics and event types they describe, to a folder.
    Export(ExportArguments),
}

/// The size of the demonstration.
#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    /// Orders to run.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    pub orders: u32,
    /// Requests on their way at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub clients: u16,
    /// Keep the node's folder and say where it is.
    #[arg(long)]
    pub keep: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_declared_without_contradictions() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_lie_on_top_of_the_other_layers() {
        let arguments =
            Arguments::try_parse_from(["tidewheel", "dev", "--listen", "127.0.0.1:0", "--ephemeral"]);
        let Ok(Arguments { command: Command::Dev(flags) }) = arguments else { panic!("{arguments:?}") };
        let environment = vec![("TIDEWHEEL_LISTEN".into(), "127.0.0.1:1".into())];
        let config = tidewheel::config::Config::load(Sources { environment, ..flags.sources() }).unwrap();
        assert_eq!((config.listen.port(), config.ephemeral, config.partitions), (0, true, 4));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for words in [
            &["run", "start"][..],
            &["run", "start", "order", "--from", "x", "--input", "1"],
            &["run", "start", "no spaces"],
            &["run", "show"],
            &["demo", "--orders", "0"],
            &["dev", "--listen", "here"],
            &["serve", "--listen", "here"],
            &["check", "--print", "--json"],
            &["schemas", "export"],
            &["fold", "raise"],
            &["fold", "raise", "0"],
        ] {
            let words = ["tidewheel"].iter().chain(words);
            assert!(Arguments::try_parse_from(words.clone()).is_err(), "{words:?}");
        }
    }
}
