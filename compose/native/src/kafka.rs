//! Apache Kafka in KRaft mode: one or more processes, each broker and controller. What is in their settings is in
//! `kafka/properties`, how they are asked whether they are ready in `kafka/probe`.

mod options;
mod probe;
mod properties;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;

pub use options::KafkaOptions;

use crate::address::{Network, check_free};
use crate::certificate::{Certificate, run};
use crate::classes::Classes;
use crate::folder::Folder;
use crate::jars::{Jars, copy_files};
use crate::server::{Server, java_flags};
use crate::{NativeError, Toolchain};
use properties::Properties;

const JARS: Jars = Jars {
    name: "kafka_2.13-4.1.0-slf4j-simple-1.7.36",
    coordinates: &[("org.apache.kafka", "kafka_2.13", "4.1.0"), ("org.slf4j", "slf4j-simple", "1.7.36")],
};
/// An empty formatted data folder, kept beside the jars: formatting takes as long as starting.
const TEMPLATE: &str = "formatted";
const TEMPLATE_CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const STOP_WITHIN: Duration = Duration::from_secs(120);

/// A Kafka cluster. Brokers are numbered from 0 here; their `node.id` is one more. Dropping it kills the brokers and
/// removes a temporary folder.
pub struct Kafka {
    brokers: Vec<Broker>,
    bootstrap: String,
    certificate: Option<PathBuf>,
    ready_within: Duration,
    // Last, because servers must be gone before their folder is.
    folder: Folder,
}

struct Broker {
    server: Server,
    listeners: Listeners,
}

/// Where one broker listens.
#[derive(Debug, Clone, Copy)]
struct Listeners {
    plain: SocketAddr,
    controller: SocketAddr,
    sasl: SocketAddr,
    tls: SocketAddr,
}

impl Listeners {
    const PLAIN: u16 = 9092;
    const CONTROLLER: u16 = 9093;
    const SASL: u16 = 9094;
    const TLS: u16 = 9095;
    const ALL: [u16; 4] = [Self::PLAIN, Self::CONTROLLER, Self::SASL, Self::TLS];

    fn of(network: Network, broker: u8) -> Self {
        let at = |port| SocketAddr::from((network.address(broker + 1), port));
        let [plain, controller, sasl, tls] = Self::ALL.map(at);
        Self { plain, controller, sasl, tls }
    }
}

impl Kafka {
    /// Fetches the jars if they are not there, starts all brokers and waits until each of them knows all.
    ///
    /// # Errors
    /// Whatever kept it from becoming ready. The brokers are gone then and their logs are kept.
    pub fn start(toolchain: &Toolchain, options: &KafkaOptions) -> Result<Self, NativeError> {
        let (jars, classes) = Self::fetched(toolchain)?;
        let kafka = Self::prepare(toolchain, options, &jars, &classes)?;
        let started = kafka.start_all();
        if started.is_err() {
            kafka.folder.keep_logs();
        }
        started.map(|()| kafka)
    }

    /// Fetches the jars and archives their classes, as starting does when that was not done before.
    ///
    /// # Errors
    /// They could not be fetched.
    pub fn fetch(toolchain: &Toolchain) -> Result<(), NativeError> {
        Self::fetched(toolchain).map(drop)
    }

    fn fetched(toolchain: &Toolchain) -> Result<(PathBuf, Classes), NativeError> {
        let jars = JARS.fetch(toolchain, |folder| format_template(toolchain, folder))?;
        let classes = Classes::of(&jars, toolchain, |classes| {
            let once = Self::prepare(toolchain, &KafkaOptions::default(), &jars, classes)?;
            once.start_all()?;
            once.stop(0)
        })?;
        Ok((jars, classes))
    }

    /// Copies the jars into `jars/` of a folder, for an image.
    ///
    /// # Errors
    /// They could not be fetched or copied.
    pub fn copy_jars(toolchain: &Toolchain, folder: &Path) -> Result<(), NativeError> {
        let jars = JARS.fetch(toolchain, |folder| format_template(toolchain, folder))?;
        copy_files(&jars.join("jars"), &folder.join("jars"))
    }

    fn prepare(
        toolchain: &Toolchain,
        options: &KafkaOptions,
        jars: &Path,
        classes: &Classes,
    ) -> Result<Self, NativeError> {
        let count = options.brokers;
        if count == 0 || count > 9 {
            return Err(NativeError::Options("a Kafka cluster has 1 to 9 brokers"));
        }
        let folder = Folder::open(options.folder.as_deref())?;
        let network = Network::of_folder(&folder, "network", &Listeners::ALL)?;
        let listeners: Vec<_> = (0..count).map(|broker| Listeners::of(network, broker)).collect();
        let addresses = (0..count).map(|broker| network.address(broker + 1));
        let certificate =
            options.tls.then(|| Certificate::make(toolchain, folder.path(), addresses)).transpose()?;
        let cluster_id = cluster_id(&folder)?;
        let mut brokers = Vec::new();
        for (index, own) in listeners.iter().enumerate() {
            let name = format!("broker-{}", index + 1);
            let home = folder.subfolder(&name)?;
            let data = home.join("data");
            if !data.exists() {
                copy_template(&jars.join(TEMPLATE), &data, &cluster_id, index + 1)?;
            }
            let settings = home.join("server.properties");
            let properties = Properties {
                options,
                index,
                listeners: &listeners,
                data: &data,
                certificate: certificate.as_ref(),
            };
            fs::write(&settings, properties.text()).map_err(NativeError::io("write", &settings))?;
            let mut arguments = java_flags(&home, classes, options.compiled)?;
            arguments.extend(LOG_FLAGS.map(Into::into));
            arguments.extend([
                "-cp".into(),
                jars.join("jars/*").into(),
                "kafka.Kafka".into(),
                settings.into(),
            ]);
            let log = folder.log(&name);
            let server = Server::new(name, toolchain.java.clone(), arguments, home, log);
            brokers.push(Broker { server, listeners: *own });
        }
        let bootstrap = join(brokers.iter().map(|broker| broker.listeners.plain));
        let certificate = certificate.map(|certificate| certificate.certificate);
        Ok(Self { brokers, bootstrap, certificate, ready_within: options.ready_within, folder })
    }

    fn start_all(&self) -> Result<(), NativeError> {
        for broker in &self.brokers {
            self.launch(broker)?;
        }
        self.brokers.iter().try_for_each(|broker| self.wait(broker))
    }

    fn launch(&self, broker: &Broker) -> Result<(), NativeError> {
        let Listeners { plain, controller, .. } = broker.listeners;
        [plain, controller].into_iter().try_for_each(|address| check_free(broker.server.name(), address))?;
        broker.server.start(self.folder.watchdog())
    }

    /// Until the broker's metadata names every broker that runs.
    fn wait(&self, broker: &Broker) -> Result<(), NativeError> {
        broker.server.wait_until_ready(self.ready_within, || {
            let known = match probe::brokers(broker.listeners.plain) {
                Ok(known) => known,
                Err(error) => return Some(format!("{} does not answer: {error}", broker.listeners.plain)),
            };
            let running = self.brokers.iter().filter(|other| other.server.id().is_some());
            let mut unknown = running.filter(|other| !known.contains(&other.listeners.plain));
            unknown.next().map(|other| format!("it does not know {} yet", other.server.name()))
        })
    }

    /// `host:port` of every broker's listener without encryption and credentials, with commas between.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The same for the listeners that ask for SASL/PLAIN credentials; there are none without users in the options.
    pub fn sasl_bootstrap(&self) -> String {
        join(self.brokers.iter().map(|broker| broker.listeners.sasl))
    }

    /// The same for the listeners with TLS; there are none unless the options ask for them.
    pub fn tls_bootstrap(&self) -> String {
        join(self.brokers.iter().map(|broker| broker.listeners.tls))
    }

    /// The certificate that clients of the TLS listeners trust, a PEM file; `None` without TLS in the options.
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_deref()
    }

    /// How many brokers there are, running or not.
    pub const fn brokers(&self) -> usize {
        self.brokers.len()
    }

    /// The address of one broker's listener without encryption and credentials; `None` if there is no such broker.
    pub fn address(&self, broker: usize) -> Option<SocketAddr> {
        Some(self.brokers.get(broker)?.listeners.plain)
    }

    /// The process id of one broker, while it runs or is paused.
    pub fn process_id(&self, broker: usize) -> Option<u32> {
        self.brokers.get(broker)?.server.id()
    }

    /// The folder with one subfolder per broker and `logs/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// SIGKILL; returns when the process is gone. Nothing happens to a broker that does not run.
    ///
    /// # Errors
    /// There is no such broker.
    pub fn kill(&self, broker: usize) -> Result<(), NativeError> {
        self.broker(broker)?.server.kill(self.folder.watchdog());
        Ok(())
    }

    /// SIGTERM, then waits for the end of the controlled shutdown.
    ///
    /// # Errors
    /// There is no such broker; or it did not end in two minutes, as it does without a quorum, and was killed.
    pub fn stop(&self, broker: usize) -> Result<(), NativeError> {
        self.broker(broker)?.server.stop(self.folder.watchdog(), STOP_WITHIN).map(drop)
    }

    /// Starts a broker that was killed or stopped, with its data and at its addresses, and waits until it is ready.
    ///
    /// # Errors
    /// There is no such broker, it runs already, or it did not become ready.
    pub fn start_again(&self, broker: usize) -> Result<(), NativeError> {
        let broker = self.broker(broker)?;
        self.launch(broker).and_then(|()| self.wait(broker)).inspect_err(|_| self.folder.keep_logs())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// There is no such broker or it does not run.
    pub fn pause(&self, broker: usize) -> Result<(), NativeError> {
        self.broker(broker)?.server.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// There is no such broker or it does not run.
    pub fn resume(&self, broker: usize) -> Result<(), NativeError> {
        self.broker(broker)?.server.signal(Signal::CONT)
    }

    fn broker(&self, index: usize) -> Result<&Broker, NativeError> {
        let server = || format!("broker {index} of {}", self.brokers.len());
        self.brokers
            .get(index)
            .ok_or_else(|| NativeError::WrongState { server: server(), what: "does not exist" })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for broker in &self.brokers {
            broker.server.kill(self.folder.watchdog());
        }
    }
}

const LOG_FLAGS: [&str; 3] = [
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    // Pages of settings at every start.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
];

fn join(addresses: impl Iterator<Item = SocketAddr>) -> String {
    addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(",")
}

/// Formats a data folder with Kafka's own tool, which writes the features that a new cluster has.
fn format_template(toolchain: &Toolchain, folder: &Path) -> Result<(), NativeError> {
    let template = folder.join(TEMPLATE);
    let settings = folder.join("format.properties");
    let text = properties::for_formatting(&template);
    fs::write(&settings, text).map_err(NativeError::io("write", &settings))?;
    let mut format = Command::new(&toolchain.java);
    format.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", "jars/*", "kafka.tools.StorageTool"]);
    format.args(["format", "-t", TEMPLATE_CLUSTER_ID, "-c"]).arg(&settings).current_dir(folder);
    run(format, "Kafka's StorageTool format")
}

/// Gives a copy of the formatted folder the identity of one broker.
fn copy_template(template: &Path, data: &Path, cluster_id: &str, node: usize) -> Result<(), NativeError> {
    let partial = data.with_extension("partial");
    fs::create_dir_all(&partial).map_err(NativeError::io("create the folder", &partial))?;
    for entry in fs::read_dir(template).map_err(NativeError::io("list", template))? {
        let from = entry.map_err(NativeError::io("list", template))?.path();
        let to = partial.join(from.file_name().unwrap_or_default());
        if from.ends_with("meta.properties") {
            let text = fs::read_to_string(&from).map_err(NativeError::io("read", &from))?;
            let mut own = String::new();
            for line in text.lines() {
                match line.split_once('=').map_or(line, |(key, _)| key) {
                    "node.id" => own += &format!("node.id={node}\n"),
                    "directory.id" => own += &format!("directory.id={}\n", random_id()),
                    "cluster.id" => own += &format!("cluster.id={cluster_id}\n"),
                    _ => own += &format!("{line}\n"),
                }
            }
            fs::write(&to, own).map_err(NativeError::io("write", &to))?;
        } else {
            fs::copy(&from, &to).map_err(NativeError::io("copy", &from))?;
        }
    }
    fs::rename(&partial, data).map_err(NativeError::io("rename", &partial))
}

/// The one the folder remembers, or a new one.
fn cluster_id(folder: &Folder) -> Result<String, NativeError> {
    let path = folder.path().join("cluster-id");
    if let Ok(remembered) = fs::read_to_string(&path) {
        return Ok(remembered.trim().to_owned());
    }
    let id = random_id();
    fs::write(&path, &id).map_err(NativeError::io("write", &path))?;
    Ok(id)
}

/// Sixteen random bytes as Kafka writes ids; one that begins with a dash would look like an option to its tools.
fn random_id() -> String {
    URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes()).replacen('-', "A", 1)
}
