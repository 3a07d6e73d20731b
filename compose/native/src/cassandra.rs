//! Apache Cassandra: nodes in named datacenters. What is in their settings is in `cassandra/yaml`, how they are asked
//! whether they are ready in `cassandra/probe`.

mod options;
mod probe;
mod yaml;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

pub use options::CassandraOptions;

use crate::address::{Network, check_free};
use crate::certificate::Certificate;
use crate::classes::Classes;
use crate::folder::Folder;
use crate::jars::{Jars, copy_files};
use crate::server::{Server, java_flags};
use crate::{NativeError, Toolchain};

const JARS: Jars =
    Jars { name: "cassandra-all-5.0.5", coordinates: &[("org.apache.cassandra", "cassandra-all", "5.0.5")] };
const STOP_WITHIN: Duration = Duration::from_secs(120);
/// The role that a cluster with authentication begins with; it may do all.
pub const SUPERUSER: &str = "cassandra";
/// Its password.
pub const SUPERUSER_PASSWORD: &str = "cassandra";

const CQL_PORT: u16 = 9042;
const STORAGE_PORT: u16 = 7000;

/// A Cassandra cluster. Nodes are numbered from 0, in the order of the options. Dropping it kills the nodes and removes
/// a temporary folder.
pub struct Cassandra {
    nodes: Vec<Node>,
    authenticated: bool,
    certificate: Option<PathBuf>,
    ready_within: Duration,
    // Last, because servers must be gone before their folder is.
    folder: Folder,
}

struct Node {
    datacenter: String,
    address: SocketAddr,
    storage: SocketAddr,
    server: Server,
}

impl Cassandra {
    /// Fetches the jars if they are not there, starts all nodes and waits until each of them knows all.
    ///
    /// # Errors
    /// Whatever kept it from becoming ready. The nodes are gone then and their logs are kept.
    pub fn start(toolchain: &Toolchain, options: &CassandraOptions) -> Result<Self, NativeError> {
        let (jars, classes) = Self::fetched(toolchain)?;
        let cassandra = Self::prepare(toolchain, options, &jars, &classes)?;
        let started = cassandra.start_all();
        if started.is_err() {
            cassandra.folder.keep_logs();
        }
        started.map(|()| cassandra)
    }

    /// Fetches the jars and archives their classes, as starting does when that was not done before.
    ///
    /// # Errors
    /// They could not be fetched.
    pub fn fetch(toolchain: &Toolchain) -> Result<(), NativeError> {
        Self::fetched(toolchain).map(drop)
    }

    fn fetched(toolchain: &Toolchain) -> Result<(PathBuf, Classes), NativeError> {
        let jars = JARS.fetch(toolchain, |_| Ok(()))?;
        let classes = Classes::of(&jars, toolchain, |classes| {
            let once = Self::prepare(toolchain, &CassandraOptions::datacenters(&["once"]), &jars, classes)?;
            once.start_all()?;
            once.stop(0)
        })?;
        Ok((jars, classes))
    }

    /// Copies the jars into `jars/` of a folder, for an image in which `home` will be the node's folder, and writes the
    /// files that `home` will need and Java's flags, `jvm.options`, beside them. Addresses and seeds have to be put in.
    ///
    /// # Errors
    /// They could not be fetched, copied or written.
    pub fn copy_jars(toolchain: &Toolchain, folder: &Path, home: &Path) -> Result<(), NativeError> {
        let jars = JARS.fetch(toolchain, |_| Ok(()))?;
        copy_files(&jars.join("jars"), &folder.join("jars"))?;
        let options = CassandraOptions::datacenters(&["datacenter"]);
        let addresses = [std::net::Ipv4Addr::LOCALHOST];
        let settings =
            yaml::Settings { options: &options, index: 0, addresses: &addresses, home, certificate: None };
        let flags = yaml::flags(home, 1).iter().map(|flag| format!("{flag}\n")).collect();
        for (file, text) in settings.files().into_iter().chain([("jvm.options", flags)]) {
            let path = folder.join(file);
            fs::write(&path, text).map_err(NativeError::io("write", &path))?;
        }
        Ok(())
    }

    fn prepare(
        toolchain: &Toolchain,
        options: &CassandraOptions,
        jars: &Path,
        classes: &Classes,
    ) -> Result<Self, NativeError> {
        let count = u8::try_from(options.nodes.len()).ok().filter(|count| (1..=9).contains(count));
        let count = count.ok_or(NativeError::Options("a Cassandra cluster has 1 to 9 nodes"))?;
        let folder = Folder::open(options.folder.as_deref())?;
        let network = Network::of_folder(&folder, "network", &[CQL_PORT, STORAGE_PORT])?;
        let addresses: Vec<_> = (1..=count).map(|number| network.address(number)).collect();
        let certificate = options
            .tls
            .then(|| Certificate::make(toolchain, folder.path(), addresses.iter().copied()))
            .transpose()?;
        let mut nodes = Vec::new();
        for (index, datacenter) in options.nodes.iter().enumerate() {
            let name = format!("node-{}-{datacenter}", index + 1);
            let home = folder.subfolder(&name)?;
            let settings = yaml::Settings {
                options,
                index,
                addresses: &addresses,
                home: &home,
                certificate: certificate.as_ref(),
            };
            for (file, text) in settings.files() {
                let path = home.join(file);
                fs::write(&path, text).map_err(NativeError::io("write", &path))?;
            }
            let mut arguments = java_flags(&home, classes, options.compiled)?;
            arguments.extend(yaml::flags(&home, count).into_iter().map(Into::into));
            let main_class = "org.apache.cassandra.service.CassandraDaemon";
            arguments.extend(["-cp".into(), jars.join("jars/*").into(), main_class.into()]);
            let log = folder.log(&name);
            nodes.push(Node {
                datacenter: datacenter.clone(),
                address: (addresses[index], CQL_PORT).into(),
                storage: (addresses[index], STORAGE_PORT).into(),
                server: Server::new(name, toolchain.java.clone(), arguments, home, log),
            });
        }
        let certificate = certificate.map(|certificate| certificate.certificate);
        let (authenticated, ready_within) = (options.authenticated, options.ready_within);
        Ok(Self { nodes, authenticated, certificate, ready_within, folder })
    }

    fn start_all(&self) -> Result<(), NativeError> {
        for node in &self.nodes {
            self.launch(node)?;
        }
        self.nodes.iter().try_for_each(|node| self.wait(node))
    }

    fn launch(&self, node: &Node) -> Result<(), NativeError> {
        [node.address, node.storage]
            .into_iter()
            .try_for_each(|address| check_free(node.server.name(), address))?;
        node.server.start(self.folder.watchdog())
    }

    /// Until the node lets clients in and knows every node that runs, with one schema.
    fn wait(&self, node: &Node) -> Result<(), NativeError> {
        let credentials = self.authenticated.then_some((SUPERUSER, SUPERUSER_PASSWORD));
        node.server.wait_until_ready(self.ready_within, || {
            let known = match probe::peers(node.address, credentials) {
                Ok(known) => known,
                Err(error) => return Some(format!("{} does not answer: {error}", node.address)),
            };
            let others = self.nodes.iter().filter(|other| other.address != node.address);
            let mut unknown = others
                .filter(|other| other.server.id().is_some())
                .filter(|other| !known.same_schema.contains(&other.address.ip()));
            unknown.next().map(|other| format!("it does not agree with {} yet", other.server.name()))
        })
    }

    /// How many nodes there are, running or not.
    pub const fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Where one node speaks CQL; `None` if there is no such node.
    pub fn address(&self, node: usize) -> Option<SocketAddr> {
        Some(self.nodes.get(node)?.address)
    }

    /// The datacenter of one node; `None` if there is no such node.
    pub fn datacenter(&self, node: usize) -> Option<&str> {
        Some(&self.nodes.get(node)?.datacenter)
    }

    /// The nodes of a datacenter.
    pub fn nodes_of(&self, datacenter: &str) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate().filter(|(_, node)| node.datacenter == datacenter);
        nodes.map(|(index, _)| index).collect()
    }

    /// Where the nodes of a datacenter speak CQL.
    pub fn contact_points(&self, datacenter: &str) -> Vec<SocketAddr> {
        let nodes = self.nodes.iter().filter(|node| node.datacenter == datacenter);
        nodes.map(|node| node.address).collect()
    }

    /// The certificate that clients trust who speak TLS, a PEM file; `None` without TLS in the options.
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_deref()
    }

    /// The process id of one node, while it runs or is paused.
    pub fn process_id(&self, node: usize) -> Option<u32> {
        self.nodes.get(node)?.server.id()
    }

    /// The folder with one subfolder per node and `logs/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// SIGKILL; returns when the process is gone. Nothing happens to a node that does not run.
    ///
    /// # Errors
    /// There is no such node.
    pub fn kill(&self, node: usize) -> Result<(), NativeError> {
        self.node(node)?.server.kill(self.folder.watchdog());
        Ok(())
    }

    /// SIGTERM, then waits until the node has flushed and ended.
    ///
    /// # Errors
    /// There is no such node; or it did not end in two minutes and was killed.
    pub fn stop(&self, node: usize) -> Result<(), NativeError> {
        self.node(node)?.server.stop(self.folder.watchdog(), STOP_WITHIN).map(drop)
    }

    /// Starts a node that was killed or stopped, with its data and at its address, and waits until it is ready.
    ///
    /// # Errors
    /// There is no such node, it runs already, or it did not become ready.
    pub fn start_again(&self, node: usize) -> Result<(), NativeError> {
        let node = self.node(node)?;
        self.launch(node).and_then(|()| self.wait(node)).inspect_err(|_| self.folder.keep_logs())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// There is no such node or it does not run.
    pub fn pause(&self, node: usize) -> Result<(), NativeError> {
        self.node(node)?.server.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// There is no such node or it does not run.
    pub fn resume(&self, node: usize) -> Result<(), NativeError> {
        self.node(node)?.server.signal(Signal::CONT)
    }

    fn node(&self, index: usize) -> Result<&Node, NativeError> {
        let server = || format!("node {index} of {}", self.nodes.len());
        self.nodes
            .get(index)
            .ok_or_else(|| NativeError::WrongState { server: server(), what: "does not exist" })
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        for node in &self.nodes {
            node.server.kill(self.folder.watchdog());
        }
    }
}
