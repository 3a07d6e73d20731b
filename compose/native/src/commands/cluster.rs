//! `tidewheel-native cluster`: the servers and a Tidewheel process in each of two datacenters.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tidewheel_native::{Program, ProgramOptions};

use super::up::{Ready, Servers};
use super::{Failure, wait_for_the_end};

const DATACENTERS: [&str; 2] = ["alpha", "beta"];

#[derive(Debug, clap::Args)]
pub struct Cluster {
    /// Where data and logs are kept; started there again, the cluster goes on.
    #[arg(long, default_value = ".tidewheel/cluster")]
    folder: PathBuf,
    /// Number of Kafka brokers; with fewer than two, topics are accepted that lose records with their only broker.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    kafka_brokers: u8,
    /// The program `tidewheel`; the one beside this program if nothing is said.
    #[arg(long)]
    tidewheel: Option<PathBuf>,
    /// Port of the first datacenter's API on 127.0.0.1; the next one has the next.
    #[arg(long, default_value_t = 7401)]
    port: u16,
}

#[derive(Debug, Serialize)]
struct ReadyCluster {
    #[serde(flatten)]
    servers: Ready,
    tidewheel: Vec<ReadyProcess>,
}

#[derive(Debug, Serialize)]
struct ReadyProcess {
    datacenter: &'static str,
    url: String,
    process_id: Option<u32>,
}

impl Cluster {
    pub fn run(&self) -> Result<(), Failure> {
        let program = self.program()?;
        eprintln!("starting {} Kafka brokers and Cassandra in alpha and beta", self.kafka_brokers);
        let names = DATACENTERS.map(str::to_owned);
        let servers = Servers::start(Some(self.folder.clone()), self.kafka_brokers, &names)?;
        let configuration = self.folder.canonicalize()?.join("tidewheel.toml");
        fs::write(&configuration, self.configuration(&servers))?;
        eprintln!("starting Tidewheel in alpha and beta");
        let mut processes = Vec::new();
        for (index, datacenter) in DATACENTERS.into_iter().enumerate() {
            processes.push(self.start(&program, &configuration, index, datacenter)?);
        }
        processes.iter().try_for_each(Program::ready)?;
        let described = DATACENTERS.into_iter().zip(&processes).map(|(datacenter, process)| ReadyProcess {
            datacenter,
            url: format!("http://{}", process.address()),
            process_id: process.process_id(),
        });
        let ready = ReadyCluster { servers: servers.ready(), tidewheel: described.collect() };
        println!("{}", serde_json::to_string(&ready)?);
        wait_for_the_end()?;
        eprintln!("stopping");
        processes.iter().try_for_each(Program::stop)?;
        Ok(servers.stop()?)
    }

    fn program(&self) -> Result<PathBuf, Failure> {
        let program = match &self.tidewheel {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("tidewheel"),
        };
        program.canonicalize().map_err(|error| {
            format!(
                "there is no program {}: {error}; build it or name it with --tidewheel",
                program.display()
            )
            .into()
        })
    }

    fn start(
        &self,
        program: &Path,
        configuration: &Path,
        index: usize,
        datacenter: &str,
    ) -> Result<Program, Failure> {
        let address = self.address(index);
        let mut arguments = vec!["serve".into(), "--config".into(), configuration.into()];
        arguments.extend(["--datacenter", datacenter, "--node", datacenter, "--listen"].map(Into::into));
        arguments.push(address.to_string().into());
        Ok(Program::start(ProgramOptions {
            name: format!("tidewheel-{datacenter}"),
            program: program.to_owned(),
            arguments,
            address,
            folder: Some(self.folder.join(format!("tidewheel-{datacenter}"))),
            ready_within: Duration::from_secs(120),
        })?)
    }

    fn address(&self, index: usize) -> SocketAddr {
        let offset = u16::try_from(index).unwrap_or(u16::MAX);
        (Ipv4Addr::LOCALHOST, self.port.saturating_add(offset)).into()
    }

    /// The file that both processes read.
    fn configuration(&self, servers: &Servers) -> String {
        let replicas = self.kafka_brokers.min(3);
        // On loopback, for whoever sits at this machine: as `tidewheel dev`, it asks nobody for a token.
        let mut text = format!(
            "config_datacenter = \"alpha\"\ntokens_required = false\n\n[kafka]\nreplication_factor = {replicas}\n"
        );
        if replicas < 2 {
            text += "allow = [\"allow-single-replica\"]\n";
        }
        text += "\n[database]\nreplication_factor = 1\n";
        for (index, datacenter) in DATACENTERS.into_iter().enumerate() {
            let nodes = servers.cassandra.contact_points(datacenter);
            let nodes: Vec<_> = nodes.iter().map(|node| format!("\"{node}\"")).collect();
            let (brokers, address) = (servers.kafka.bootstrap(), self.address(index));
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n[datacenters.{datacenter}]\nlabel = {}\nbrokers = \"{brokers}\"\ndatabase = [{}]\n\
                 url = \"http://{address}\"\n",
                index + 1,
                nodes.join(", ")
            );
        }
        text
    }
}
