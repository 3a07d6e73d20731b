//! The node of the demonstration: this very executable as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tidewheel_bench::node::{last_lines, ready_address};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::client::Client;
use crate::failure::Failure;

/// How long a node may take to become ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// A node's process. Killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    id: u32,
    address: String,
    log: PathBuf,
}

impl Process {
    /// Starts a node on `folder` and waits until it says that it is ready. `name` names its log file.
    pub(super) async fn start(folder: &Path, name: &str) -> Result<Self, Failure> {
        let failed = |what: String| Failure::Failed(format!("the {name} node cannot be started: {what}"));
        let log = folder.join(format!("{name}.log"));
        let stderr = std::fs::File::create(&log).map_err(|error| failed(error.to_string()))?;
        let executable = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(executable);
        // Neither a configuration file here nor variables may change what is demonstrated.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("TIDEWHEEL_") {
                command.env_remove(variable);
            }
        }
        command
            .args(["dev", "--listen", "127.0.0.1:0", "--data-dir", "data"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("it has no output".to_owned()))?;
        let mut lines = BufReader::new(stdout).lines();
        let address = timeout(PATIENCE, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = ready_address(&line) {
                    return Some(address);
                }
            }
            None
        });
        let Ok(Some(address)) = address.await else {
            let what = format!("it did not become ready\n{}", last_lines(&log));
            return Err(failed(what));
        };
        let id = child.id().ok_or_else(|| failed("it ended at once".to_owned()))?;
        Ok(Self { child, id, address, log })
    }

    /// Its process id.
    pub(super) const fn id(&self) -> u32 {
        self.id
    }

    /// Its address, such as `http://127.0.0.1:40123`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A client of it.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.address)
    }

    /// SIGKILL, and waits until it is gone.
    pub(super) async fn kill(mut self) -> Result<(), Failure> {
        self.child.start_kill()?;
        self.child.wait().await?;
        Ok(())
    }

    /// SIGTERM; it must end by itself and without an error.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        let pid = i32::try_from(self.id).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::Failed(format!("{} is no process id", self.id)))?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| Failure::Failed(format!("the node {} cannot be stopped: {error}", self.id)))?;
        let ended: ExitStatus = timeout(PATIENCE, self.child.wait())
            .await
            .map_err(|_| Failure::Failed(format!("the node {} does not stop", self.id)))??;
        if ended.success() {
            return Ok(());
        }
        Err(Failure::Failed(format!("the node ended with {ended}\n{}", last_lines(&self.log))))
    }
}
