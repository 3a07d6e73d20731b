//! `tidewheel-native up`: the servers alone.

use std::path::PathBuf;

use serde::Serialize;
use tidewheel_native::{Cassandra, CassandraOptions, Kafka, KafkaOptions, NativeError};

use super::{Failure, join, wait_for_the_end};

#[derive(Debug, clap::Args)]
pub struct Up {
    /// Where data and logs are kept; a temporary folder, removed in the end, if nothing is said.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Number of Kafka brokers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    kafka_brokers: u8,
    /// A datacenter with one Cassandra node; may be repeated.
    #[arg(long = "dc", value_name = "NAME", default_values = ["alpha", "beta"])]
    datacenters: Vec<String>,
}

impl Up {
    pub fn run(&self) -> Result<(), Failure> {
        let servers = Servers::start(self.folder.clone(), self.kafka_brokers, &self.datacenters)?;
        println!("{}", serde_json::to_string(&servers.ready())?);
        wait_for_the_end()?;
        Ok(servers.stop()?)
    }
}

/// Kafka and Cassandra together.
pub struct Servers {
    pub kafka: Kafka,
    pub cassandra: Cassandra,
    is_kept: bool,
}

/// What is printed of them.
#[derive(Debug, Serialize)]
pub struct Ready {
    kafka: ReadyKafka,
    cassandra: Vec<ReadyNode>,
}

#[derive(Debug, Serialize)]
struct ReadyKafka {
    bootstrap: String,
    process_ids: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct ReadyNode {
    datacenter: String,
    address: String,
    process_id: Option<u32>,
}

impl Servers {
    /// All at the same time.
    pub fn start(folder: Option<PathBuf>, brokers: u8, datacenters: &[String]) -> Result<Self, NativeError> {
        let toolchain = tidewheel_native::available()?;
        let names: Vec<_> = datacenters.iter().map(String::as_str).collect();
        let mut kafka = KafkaOptions::default().brokers(brokers);
        let mut cassandra = CassandraOptions::datacenters(&names);
        let is_kept = folder.is_some();
        if let Some(folder) = folder {
            kafka = kafka.folder(folder.join("kafka"));
            cassandra = cassandra.folder(folder.join("cassandra"));
        }
        std::thread::scope(|scope| {
            let kafka = scope.spawn(|| Kafka::start(&toolchain, &kafka));
            let cassandra = Cassandra::start(&toolchain, &cassandra);
            Ok(Self { kafka: join(kafka)?, cassandra: cassandra?, is_kept })
        })
    }

    /// Flushes what is kept; what is removed need not be.
    pub fn stop(&self) -> Result<(), NativeError> {
        if !self.is_kept {
            return Ok(());
        }
        let Self { kafka, cassandra, .. } = self;
        std::thread::scope(|scope| {
            let nodes: Vec<_> =
                (0..cassandra.nodes()).map(|node| scope.spawn(move || cassandra.stop(node))).collect();
            // The last brokers of a quorum cannot hand over what they lead, so they go at once.
            let brokers: Vec<_> =
                (0..kafka.brokers()).map(|broker| scope.spawn(move || kafka.stop(broker))).collect();
            nodes.into_iter().chain(brokers).try_for_each(join)
        })
    }

    pub fn ready(&self) -> Ready {
        let nodes = (0..self.cassandra.nodes()).filter_map(|node| {
            Some(ReadyNode {
                datacenter: self.cassandra.datacenter(node)?.to_owned(),
                address: self.cassandra.address(node)?.to_string(),
                process_id: self.cassandra.process_id(node),
            })
        });
        let process_ids = (0..self.kafka.brokers()).filter_map(|broker| self.kafka.process_id(broker));
        Ready {
            kafka: ReadyKafka {
                bootstrap: self.kafka.bootstrap().to_owned(),
                process_ids: process_ids.collect(),
            },
            cassandra: nodes.collect(),
        }
    }
}
