//! A process of `tidewheel serve` that is measured.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tidewheel_cluster::nodes::Cluster;
use tokio::process::{Child, Command};

use crate::Failure;

const READY_WITHIN: Duration = Duration::from_secs(120);

/// Killed when dropped.
pub(crate) struct Serve {
    child: Child,
    pub(crate) id: u32,
    pub(crate) address: String,
}

impl Serve {
    /// Starts a process in `alpha` and waits until it is ready. `more` is added to its configuration.
    pub(crate) async fn start(
        cluster: &Cluster,
        program: &Path,
        name: &str,
        more: &str,
    ) -> Result<Self, Failure> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let listen = listener.local_addr()?.to_string();
        drop(listener);
        let file = cluster.configure(name, "alpha", &format!("node = '{name}'\n{more}"));
        let log = std::fs::File::create(file.with_extension("log"))?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .args(["--listen", &listen])
            .current_dir(file.parent().ok_or("a file in a folder")?)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().ok_or("it ended at once")?;
        let mut serve = Self { child, id, address: format!("http://{listen}") };
        let began = Instant::now();
        loop {
            if let Ok(answer) = reqwest::get(format!("{}/health/ready", serve.address)).await
                && answer.status().is_success()
            {
                return Ok(serve);
            }
            if began.elapsed() > READY_WITHIN || serve.child.try_wait()?.is_some() {
                let said = std::fs::read_to_string(file.with_extension("log"))?;
                return Err(format!("{name} does not become ready: {said}").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) -> Result<(), Failure> {
        self.child.start_kill()?;
        self.child.wait().await?;
        Ok(())
    }

    /// SIGTERM, then waits.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let id = Pid::from_raw(i32::try_from(self.id)?).ok_or("a process id")?;
        kill_process(id, Signal::TERM)?;
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }
}
