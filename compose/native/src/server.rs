//! One server process: started, asked whether it is ready, killed, stopped, paused. Which server it is, others know.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use crate::NativeError;
use crate::classes::Classes;
use crate::error::LastLines;
use crate::watchdog::Watchdog;

/// Waits for a line before it becomes the server, so that no server ever runs that the watchdog does not know.
const SCRIPT: &str = r#"read -r go && exec "$@" </dev/null"#;
const POLL: Duration = Duration::from_millis(50);

pub(crate) struct Server {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    folder: PathBuf,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Server {
    /// A server that is not running yet. `folder` is its working folder.
    pub(crate) const fn new(
        name: String,
        program: PathBuf,
        arguments: Vec<OsString>,
        folder: PathBuf,
        log: PathBuf,
    ) -> Self {
        Self { name, program, arguments, folder, log, child: Mutex::new(None) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, while it runs (also while it is paused).
    pub(crate) fn id(&self) -> Option<u32> {
        let mut child = self.child.lock();
        let child = child.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    pub(crate) fn start(&self, watchdog: &Watchdog) -> Result<(), NativeError> {
        let mut running = self.child.lock();
        if let Some(child) = &mut *running {
            if matches!(child.try_wait(), Ok(None)) {
                return Err(self.wrong_state("is running already"));
            }
            watchdog.forget(child.id());
            *running = None;
        }
        let open = || File::options().create(true).append(true).open(&self.log);
        let log = open().map_err(NativeError::io("open", &self.log))?;
        let error_log = open().map_err(NativeError::io("open", &self.log))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "tidewheel-native"])
            .arg(&self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env_remove("CLASSPATH")
            .env_remove("JAVA_TOOL_OPTIONS")
            .env_remove("_JAVA_OPTIONS")
            .env_remove("JDK_JAVA_OPTIONS")
            // Ctrl-C in a terminal is for who started the servers, who then stops them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(error_log)
            .spawn()
            .map_err(NativeError::io("start", &self.program))?;
        let go = watchdog.watch(child.id()).and_then(|()| match child.stdin.take() {
            Some(mut input) => input.write_all(b"go\n").map_err(NativeError::io("start", &self.program)),
            None => Err(self.wrong_state("has no input")),
        });
        if let Err(error) = go {
            let _ = child.kill();
            let _ = child.wait();
            watchdog.forget(child.id());
            return Err(error);
        }
        *running = Some(child);
        Ok(())
    }

    /// Asks `missing` again and again until it answers `None`; what it answers otherwise is what is still missing.
    pub(crate) fn wait_until_ready(
        &self,
        within: Duration,
        mut missing: impl FnMut() -> Option<String>,
    ) -> Result<(), NativeError> {
        let deadline = Instant::now() + within;
        loop {
            let status = match &mut *self.child.lock() {
                Some(child) => child.try_wait().map_err(NativeError::io("wait for", &self.program))?,
                None => return Err(self.wrong_state("does not run")),
            };
            if let Some(status) = status {
                let (server, log) = (self.name.clone(), self.log.clone());
                return Err(NativeError::Ended { server, status, last_lines: LastLines::of_file(&log), log });
            }
            let Some(what) = missing() else { return Ok(()) };
            if Instant::now() >= deadline {
                let (server, log, seconds) = (self.name.clone(), self.log.clone(), within.as_secs());
                let last_lines = LastLines::of_file(&log);
                return Err(NativeError::NotReady { server, seconds, what, log, last_lines });
            }
            std::thread::sleep(POLL);
        }
    }

    /// SIGKILL; returns when the process is gone. Nothing happens to one that does not run.
    pub(crate) fn kill(&self, watchdog: &Watchdog) {
        if let Some(mut child) = self.child.lock().take() {
            let _ = child.kill();
            // It is our child and was killed, so waiting can only tell how it ended.
            let _ = child.wait();
            watchdog.forget(child.id());
        }
    }

    /// SIGTERM, then waits; a server that does not end is killed and an error.
    pub(crate) fn stop(
        &self,
        watchdog: &Watchdog,
        within: Duration,
    ) -> Result<Option<ExitStatus>, NativeError> {
        if self.id().is_none() {
            return Ok(None);
        }
        self.signal(Signal::TERM)?;
        // A paused server takes the signal when it goes on.
        self.signal(Signal::CONT)?;
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            let ended = match &mut *self.child.lock() {
                Some(child) => child.try_wait().map_err(NativeError::io("wait for", &self.program))?,
                None => return Ok(None),
            };
            if ended.is_some() {
                self.kill(watchdog);
                return Ok(ended);
            }
            std::thread::sleep(POLL);
        }
        self.kill(watchdog);
        let (server, log, seconds) = (self.name.clone(), self.log.clone(), within.as_secs());
        Err(NativeError::NotStopped { server, seconds, last_lines: LastLines::of_file(&log), log })
    }

    /// SIGSTOP or SIGCONT or another; an error if it does not run.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), NativeError> {
        // Under the lock nobody waits for the child, so its id cannot become somebody else's.
        let child = self.child.lock();
        let id = child.as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?));
        let id = id.ok_or_else(|| self.wrong_state("does not run"))?;
        kill_process(id, signal).map_err(|error| NativeError::io("signal", &self.program)(error.into()))
    }

    fn wrong_state(&self, what: &'static str) -> NativeError {
        NativeError::WrongState { server: self.name.clone(), what }
    }
}

/// Flags of every server's Java: quick to start, small, and without files outside its folder. `compiled` is for
/// measurements: the second compiler costs start-up time and gives speed.
pub(crate) fn java_flags(
    folder: &Path,
    classes: &Classes,
    compiled: bool,
) -> Result<Vec<OsString>, NativeError> {
    let temporary = folder.join("tmp");
    fs::create_dir_all(&temporary).map_err(NativeError::io("create the folder", &temporary))?;
    let mut flags: Vec<OsString> = vec![
        // Growing the heap at start-up takes longer than starting.
        "-Xms512M".into(),
        "-Xmx512M".into(),
        "-Xmn192M".into(),
        "-Xshare:auto".into(),
        "-XX:+UseSerialGC".into(),
        "-XX:-UsePerfData".into(),
        "-XX:+ExitOnOutOfMemoryError".into(),
        "-Djava.awt.headless=true".into(),
        "-Dfile.encoding=UTF-8".into(),
    ];
    let mut flag = OsString::from("-Djava.io.tmpdir=");
    flag.push(temporary);
    flags.push(flag);
    flags.extend(classes.flag());
    if !compiled {
        flags.push("-XX:TieredStopAtLevel=1".into());
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    fn shell(folder: &Folder, script: &str) -> Server {
        let arguments = ["-c", script].map(OsString::from).to_vec();
        let log = folder.log("thing");
        Server::new("thing".into(), "/bin/sh".into(), arguments, folder.path().to_owned(), log)
    }

    #[test]
    fn a_server_that_ends_or_never_answers_is_told_with_the_end_of_its_log() {
        let folder = Folder::open(None).unwrap();
        let ends = shell(&folder, "echo cannot; exit 3");
        ends.start(folder.watchdog()).unwrap();
        let error = ends.wait_until_ready(Duration::from_secs(60), || Some("an answer".into())).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, NativeError::Ended { .. }) && text.contains("| cannot"), "{text}");

        let silent = shell(&folder, "echo busy; exec sleep 600");
        silent.start(folder.watchdog()).unwrap();
        let error = silent.wait_until_ready(Duration::ZERO, || Some("no answer".into())).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, NativeError::NotReady { .. }) && text.contains("no answer"), "{text}");
        assert!(matches!(silent.start(folder.watchdog()), Err(NativeError::WrongState { .. })));
        silent.kill(folder.watchdog());
        assert_eq!(silent.id(), None);
        assert!(matches!(silent.signal(Signal::STOP), Err(NativeError::WrongState { .. })));
    }

    #[test]
    fn a_server_is_stopped_also_while_paused_and_killed_when_it_refuses() {
        let folder = Folder::open(None).unwrap();
        let watchdog = folder.watchdog();
        let polite = shell(&folder, "exec sleep 600");
        polite.start(watchdog).unwrap();
        polite.signal(Signal::STOP).unwrap();
        assert!(polite.stop(watchdog, Duration::from_secs(60)).unwrap().is_some());
        assert_eq!(polite.stop(watchdog, Duration::from_secs(60)).unwrap(), None);

        let stubborn = shell(&folder, "trap '' TERM; echo deaf; while :; do sleep 0.05; done");
        stubborn.start(watchdog).unwrap();
        let log = folder.log("thing");
        let deaf = || fs::read_to_string(&log).is_ok_and(|text| text.contains("deaf"));
        stubborn.wait_until_ready(Duration::from_secs(60), || (!deaf()).then(String::new)).unwrap();
        let error = stubborn.stop(watchdog, Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, NativeError::NotStopped { .. }), "{error}");
        assert_eq!(stubborn.id(), None);
    }
}
