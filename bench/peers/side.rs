//! The two servers as processes: started, paused while the other one is measured, ended. No process is touched that
//! was not started here.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tidewheel_bench::http::Server;
use tidewheel_bench::node::{Node, PATIENCE, last_lines, send};
use tidewheel_bench::process::descendants;
use tidewheel_bench::target::Target;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::PeersError;

const END_TIMEOUT: Duration = Duration::from_secs(90);

/// A server.
pub struct Side {
    target: Target,
    process: Process,
}

enum Process {
    Node(Option<Node>),
    Restate(Restate),
}

/// The script that runs Restate and its worker. Both end with it, even when this is dropped.
struct Restate {
    script: Child,
    id: u32,
}

impl Side {
    /// A new node of Tidewheel.
    pub async fn tidewheel(program: &Path, folder: &Path, partitions: u32) -> Result<Self, PeersError> {
        std::fs::create_dir_all(folder).map_err(PeersError::io("a folder for the data"))?;
        let partitions = partitions.to_string();
        let arguments = ["--partitions", &partitions, "--durability", "fsync"];
        let node = Node::start(program, folder, &arguments).await?;
        let api = server(node.address())?;
        Ok(Self { target: Target::Tidewheel { api }, process: Process::Node(Some(node)) })
    }

    /// A new Restate with its worker.
    pub async fn restate(tools: &Path, folder: &Path, partitions: u32) -> Result<Self, PeersError> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/restate/start.sh");
        let log = folder.with_extension("log");
        let stderr = std::fs::File::create(&log).map_err(PeersError::io("a log for Restate"))?;
        let ports = free_ports().map_err(PeersError::io("no free ports"))?;
        let names = ["INGRESS_PORT", "ADMIN_PORT", "NODE_PORT", "WORKER_PORT", "AWAKEABLES_PORT"];
        let mut command = Command::new("bash");
        // Settings of a Restate that somebody has here must not change what is measured.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("RESTATE_") {
                command.env_remove(variable);
            }
        }
        // Where it runs tells which disk it writes to.
        let tools = std::path::absolute(tools).map_err(PeersError::io("the path of the tools"))?;
        let script = command
            .arg(path)
            .args([&tools, folder])
            .current_dir(folder.parent().unwrap_or(folder))
            .arg(partitions.to_string())
            .envs(names.iter().zip(ports.map(|port| port.to_string())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(PeersError::io("bash cannot be run"))?;
        let mut restate = Restate::new(script)?;
        let output = restate.script.stdout.take();
        let ready = timeout(PATIENCE, async { BufReader::new(output?).lines().next_line().await.ok()? });
        let Ok(Some(line)) = ready.await else {
            return Err(PeersError::Server(format!("Restate did not become ready\n{}", last_lines(&log))));
        };
        let [ingress, .., awakeables] = ports.map(|port| server(&format!("http://127.0.0.1:{port}")));
        if !line.starts_with("restate is ready on ") {
            return Err(PeersError::Server(format!("Restate said `{line}` instead of that it is ready")));
        }
        let target = Target::Restate { ingress: ingress?, awakeables: awakeables? };
        Ok(Self { target, process: Process::Restate(restate) })
    }

    /// What it is called.
    pub const fn name(&self) -> &'static str {
        match self.process {
            Process::Node(_) => "Tidewheel",
            Process::Restate(_) => "Restate",
        }
    }

    /// How it is spoken to.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The root of its processes.
    pub fn processes(&self) -> Vec<u32> {
        match &self.process {
            Process::Node(node) => node.iter().map(Node::id).collect(),
            Process::Restate(restate) => vec![restate.id],
        }
    }

    /// SIGSTOP to all of its processes.
    pub fn pause(&self) -> Result<(), PeersError> {
        self.send(Signal::STOP)
    }

    /// SIGCONT to all of its processes.
    pub fn resume(&self) -> Result<(), PeersError> {
        self.send(Signal::CONT)
    }

    fn send(&self, signal: Signal) -> Result<(), PeersError> {
        for root in self.processes() {
            for id in std::iter::once(root).chain(descendants(root)) {
                send(id, signal).map_err(PeersError::io(format!("{} ({id}) has ended", self.name())))?;
            }
        }
        Ok(())
    }

    /// Ends it; waits until it is gone.
    pub async fn end(mut self) -> Result<(), PeersError> {
        self.resume()?;
        match &mut self.process {
            Process::Node(node) => {
                if let Some(node) = node.take() {
                    node.stop().await?;
                }
            }
            Process::Restate(restate) => restate.end().await?,
        }
        Ok(())
    }
}

impl Restate {
    fn new(script: Child) -> Result<Self, PeersError> {
        let id = script.id().ok_or_else(|| PeersError::Server("Restate ended at once".to_owned()))?;
        Ok(Self { script, id })
    }

    async fn end(&mut self) -> Result<(), PeersError> {
        send(self.id, Signal::TERM).map_err(PeersError::io("Restate has ended by itself"))?;
        match timeout(END_TIMEOUT, self.script.wait()).await {
            Ok(ended) => ended.map(drop).map_err(PeersError::io("Restate cannot be waited for")),
            Err(_) => Err(PeersError::Server("Restate does not end; it is killed".to_owned())),
        }
    }
}

impl Drop for Restate {
    fn drop(&mut self) {
        if self.script.try_wait().is_ok_and(|ended| ended.is_none()) {
            for id in descendants(self.id).into_iter().chain([self.id]) {
                // It may have ended meanwhile.
                let _ = send(id, Signal::KILL);
            }
        }
    }
}

fn server(url: &str) -> Result<Server, PeersError> {
    Server::new(url).map_err(|error| PeersError::Usage(error.to_string()))
}

/// Bound together and let go together, so that they differ.
fn free_ports() -> io::Result<[u16; 5]> {
    let mut held = Vec::new();
    let mut ports = [0; 5];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
