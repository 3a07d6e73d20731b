//! A Tidewheel node as a process of its own, for workloads that start, stop or kill one.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a node may take to become ready, or to stop.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// Lines of a node's log that are shown when it fails.
const SHOWN_LINES: usize = 20;

/// A node that does not do as it is told.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// There is no such program, or it cannot write where it should.
    #[error("{} cannot be started: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended, or never said that it is ready.
    #[error("the node did not become ready; its log ends with\n{log}")]
    NotReady {
        /// The end of its log.
        log: String,
    },
    /// It could not be ended.
    #[error("the node {id} cannot be ended: {what}")]
    End {
        /// Its process id.
        id: u32,
        /// Why.
        what: String,
    },
}

/// A node's process. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    id: u32,
    address: String,
    log: PathBuf,
}

impl Node {
    /// Starts `program dev` with its data in `folder`/data and its log in `folder`/node.log, on a free port, and
    /// waits until it is ready. `arguments` are more of `dev`'s, such as `--partitions 16`.
    ///
    /// # Errors
    /// When it cannot be started or does not become ready.
    pub async fn start<A: AsRef<OsStr>>(
        program: &Path,
        folder: &Path,
        arguments: &[A],
    ) -> Result<Self, NodeError> {
        let failed = |source| NodeError::Start { program: program.to_owned(), source };
        let log = folder.join("node.log");
        let stderr = std::fs::File::options().create(true).append(true).open(&log).map_err(failed)?;
        let mut command = Command::new(program);
        // Neither a configuration file nor variables may change what is measured.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("TIDEWHEEL_") {
                command.env_remove(variable);
            }
        }
        command
            .args(["dev", "--listen", "127.0.0.1:0", "--data-dir", "data"])
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let stdout = child.stdout.take();
        let address = timeout(PATIENCE, async {
            let mut lines = BufReader::new(stdout?).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = ready_address(&line) {
                    return Some(address);
                }
            }
            None
        });
        match (address.await, child.id()) {
            (Ok(Some(address)), Some(id)) => Ok(Self { child, id, address, log }),
            _ => Err(NodeError::NotReady { log: last_lines(&log) }),
        }
    }

    /// Its process id.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Its address, such as `http://127.0.0.1:40123`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub async fn kill(mut self) -> Result<(), NodeError> {
        let failed = |error: io::Error| NodeError::End { id: self.id, what: error.to_string() };
        self.child.start_kill().map_err(failed)?;
        self.child.wait().await.map_err(failed)?;
        Ok(())
    }

    /// SIGTERM; it must end by itself and without an error.
    ///
    /// # Errors
    /// When it does not.
    pub async fn stop(mut self) -> Result<(), NodeError> {
        let failed = |what: String| NodeError::End { id: self.id, what };
        send(self.id, Signal::TERM).map_err(|error| failed(error.to_string()))?;
        let ended: ExitStatus = timeout(PATIENCE, self.child.wait())
            .await
            .map_err(|_| failed("it does not stop".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        if ended.success() {
            return Ok(());
        }
        Err(failed(format!("it ended with {ended}\n{}", last_lines(&self.log))))
    }
}

/// Sends a signal to a process.
///
/// # Errors
/// When there is no such process.
pub fn send(id: u32, signal: Signal) -> io::Result<()> {
    let none = || io::Error::new(io::ErrorKind::InvalidInput, format!("{id} is no process id"));
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or_else(none)?;
    Ok(kill_process(pid, signal)?)
}

/// The address in the line that a node says when it is ready, such as `http://127.0.0.1:40123`; none in any other.
pub fn ready_address(line: &str) -> Option<String> {
    let rest = line.strip_prefix("tidewheel is ready on ")?;
    Some(rest.split_whitespace().next()?.to_owned())
}

/// The end of a log file; empty if there is none.
pub fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_ready_line() {
        let line = "tidewheel is ready on http://127.0.0.1:40123 (durability: fsync)";
        assert_eq!(ready_address(line).as_deref(), Some("http://127.0.0.1:40123"));
        assert_eq!(ready_address("tidewheel is starting"), None);
    }

    #[tokio::test]
    async fn a_program_that_is_no_node_is_said_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let error = Node::start(Path::new("/bin/false"), folder.path(), &[""; 0]).await.unwrap_err();
        assert!(matches!(error, NodeError::NotReady { .. }), "{error}");
        let error = Node::start(Path::new("/no/such/program"), folder.path(), &[""; 0]).await.unwrap_err();
        assert!(matches!(error, NodeError::Start { .. }), "{error}");
    }
}
