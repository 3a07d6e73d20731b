//! A node and a command line to test with: the built binary on a free port, in a folder of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use serde_json::Value;

/// The binary, told nothing by the environment.
pub fn tidewheel(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewheel"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("TIDEWHEEL_") {
            command.env_remove(variable);
        }
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// A running node; killed when dropped.
pub struct Node {
    child: Child,
    /// Held open: a node must not fail because nobody reads what it says.
    _stdout: BufReader<ChildStdout>,
    /// Such as `http://127.0.0.1:40123`.
    pub address: String,
    /// What it said when it was ready.
    pub ready_line: String,
}

impl Node {
    /// Starts one in `folder` and waits until it is ready.
    pub fn start(folder: &Path, words: &[&str]) -> Self {
        let mut child = tidewheel(folder)
            .args(["dev", "--listen", "127.0.0.1:0"])
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let said = std::thread::spawn(move || {
            let mut said = String::new();
            let _ = stderr.read_to_string(&mut said);
            said
        });
        let mut ready_line = String::new();
        stdout.read_line(&mut ready_line).expect("stdout is readable");
        let address = ready_line.split_whitespace().find(|word| word.starts_with("http://"));
        let Some(address) = address.map(str::to_owned) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the node is not ready: {ready_line}{}", said.join().unwrap_or_default());
        };
        Self { child, _stdout: stdout, address, ready_line }
    }

    /// Sends SIGKILL and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("the node can be killed");
        self.child.wait().expect("the node is waited for");
    }

    /// Sends SIGTERM.
    pub fn ask_to_stop(&self) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        let id = rustix::process::Pid::from_raw(id).expect("a process id");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("the node is signalled");
    }

    /// Waits for its end.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("the node is waited for")
    }

    /// Runs a client command against it.
    pub fn run(&self, folder: &Path, words: &[&str]) -> Output {
        tidewheel(folder).args(words).args(["--server", &self.address]).output().expect("the command runs")
    }

    /// What a client command prints with `--json`; the command must succeed.
    pub fn json(&self, folder: &Path, words: &[&str]) -> Value {
        let output = self.run(folder, &[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON value")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
