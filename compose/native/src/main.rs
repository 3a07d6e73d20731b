//! `tidewheel-native`: Kafka and Cassandra beside a terminal, alone or under a Tidewheel cluster. For one machine and
//! for trying things; nothing here is meant to run in production.

mod commands;

use std::process::ExitCode;

use clap::Parser as _;

/// Real Kafka and Cassandra servers on loopback, without Docker.
#[derive(Debug, clap::Parser)]
#[command(name = "tidewheel-native", version)]
enum Arguments {
    /// Start the servers, print one line of JSON when they are ready, and run until SIGTERM or ctrl-c.
    Up(commands::up::Up),
    /// Start the servers and a Tidewheel process in every datacenter, print one line of JSON when all are ready, and run
    /// until SIGTERM or ctrl-c.
    Cluster(commands::cluster::Cluster),
    /// Fetch the servers' jars into the cache, so that nobody has to wait for them later.
    Fetch(commands::fetch::Fetch),
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Up(up) => up.run(),
        Arguments::Cluster(cluster) => cluster.run(),
        Arguments::Fetch(fetch) => fetch.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
