//! `tidewheel-native up`: Kafka and a Cassandra with datacenters beside a terminal, until ctrl-c. For one machine and
//! for trying things; nothing here is meant to run in production.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use tidewheel_native::{Cassandra, CassandraOptions, Kafka, KafkaOptions, NativeError};
use tokio::signal::unix::{SignalKind, signal};

/// Real Kafka and Cassandra servers on loopback, without Docker.
#[derive(Debug, clap::Parser)]
#[command(name = "tidewheel-native", version)]
enum Arguments {
    /// Start the servers, print one line of JSON when they are ready, and run until SIGTERM or ctrl-c.
    Up(Up),
}

#[derive(Debug, clap::Args)]
struct Up {
    /// Where data and logs are kept; a temporary folder, removed in the end, if nothing is said.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Number of Kafka brokers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    kafka_brokers: u8,
    /// A datacenter with one Cassandra node; may be repeated. Alpha and beta if nothing is said.
    #[arg(long = "dc", value_name = "NAME")]
    datacenters: Vec<String>,
}

/// The line that is printed.
#[derive(Debug, serde::Serialize)]
struct Ready {
    kafka: ReadyKafka,
    cassandra: Vec<ReadyNode>,
}

#[derive(Debug, serde::Serialize)]
struct ReadyKafka {
    bootstrap: String,
    process_ids: Vec<u32>,
}

#[derive(Debug, serde::Serialize)]
struct ReadyNode {
    datacenter: String,
    address: String,
    process_id: Option<u32>,
}

fn main() -> ExitCode {
    let Arguments::Up(up) = Arguments::parse();
    match run(&up) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(up: &Up) -> Result<(), Box<dyn std::error::Error>> {
    let (kafka, cassandra) = start(up)?;
    println!("{}", serde_json::to_string(&describe(&kafka, &cassandra))?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::io::Result::Ok(())
    })?;
    if up.folder.is_some() {
        // What is kept is flushed; what is removed need not be.
        stop(&kafka, &cassandra)?;
    }
    Ok(())
}

/// Both at the same time.
fn start(up: &Up) -> Result<(Kafka, Cassandra), NativeError> {
    let toolchain = tidewheel_native::available()?;
    let mut names: Vec<_> = up.datacenters.iter().map(String::as_str).collect();
    if names.is_empty() {
        names = vec!["alpha", "beta"];
    }
    let mut kafka = KafkaOptions::default().brokers(up.kafka_brokers);
    let mut cassandra = CassandraOptions::datacenters(&names);
    if let Some(folder) = &up.folder {
        kafka = kafka.folder(folder.join("kafka"));
        cassandra = cassandra.folder(folder.join("cassandra"));
    }
    std::thread::scope(|scope| {
        let kafka = scope.spawn(|| Kafka::start(&toolchain, &kafka));
        let cassandra = Cassandra::start(&toolchain, &cassandra);
        let kafka = kafka.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((kafka?, cassandra?))
    })
}

fn stop(kafka: &Kafka, cassandra: &Cassandra) -> Result<(), NativeError> {
    std::thread::scope(|scope| {
        let nodes: Vec<_> =
            (0..cassandra.nodes()).map(|node| scope.spawn(move || cassandra.stop(node))).collect();
        // The last brokers of a quorum cannot hand over what they lead, so they go at once.
        let brokers: Vec<_> =
            (0..kafka.brokers()).map(|broker| scope.spawn(move || kafka.stop(broker))).collect();
        let mut all = nodes.into_iter().chain(brokers);
        all.try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn describe(kafka: &Kafka, cassandra: &Cassandra) -> Ready {
    let nodes = (0..cassandra.nodes()).filter_map(|node| {
        Some(ReadyNode {
            datacenter: cassandra.datacenter(node)?.to_owned(),
            address: cassandra.address(node)?.to_string(),
            process_id: cassandra.process_id(node),
        })
    });
    let process_ids = (0..kafka.brokers()).filter_map(|broker| kafka.process_id(broker)).collect();
    Ready {
        kafka: ReadyKafka { bootstrap: kafka.bootstrap().to_owned(), process_ids },
        cassandra: nodes.collect(),
    }
}
