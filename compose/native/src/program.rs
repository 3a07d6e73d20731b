//! Another program beside the servers, such as a process of Tidewheel: started, watched and ended as they are.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::NativeError;
use crate::address::check_free;
use crate::folder::Folder;
use crate::server::Server;

/// A program that listens and says over HTTP when it is ready. Dropping it kills it.
pub struct Program {
    server: Server,
    address: SocketAddr,
    ready_within: Duration,
    // Last, because the program must be gone before its folder is.
    folder: Folder,
}

/// How a program is started.
#[derive(Debug, Clone)]
pub struct ProgramOptions {
    /// Names it in errors and names its log.
    pub name: String,
    /// The file.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where it will listen.
    pub address: SocketAddr,
    /// Its working folder, which is kept; a temporary one if there is none.
    pub folder: Option<PathBuf>,
    /// How long it may take until `/health/ready` answers 200.
    pub ready_within: Duration,
}

impl Program {
    /// Starts the program and returns at once: [`ready`](Self::ready) waits.
    ///
    /// # Errors
    /// Somebody else listens where it would, or it cannot be started.
    pub fn start(options: ProgramOptions) -> Result<Self, NativeError> {
        let ProgramOptions { name, program, arguments, address, folder, ready_within } = options;
        let folder = Folder::open(folder.as_deref())?;
        let log = folder.log(&name);
        let server = Server::new(name, program, arguments, folder.path().to_owned(), log);
        check_free(server.name(), address)?;
        server.start(folder.watchdog())?;
        Ok(Self { server, address, ready_within, folder })
    }

    /// Waits until `/health/ready` answers 200.
    ///
    /// # Errors
    /// It ended, or time is up; its log is kept.
    pub fn ready(&self) -> Result<(), NativeError> {
        let ready = self.server.wait_until_ready(self.ready_within, || match is_ready(self.address) {
            Ok(true) => None,
            Ok(false) => Some(format!("{} says it is not", self.address)),
            Err(error) => Some(format!("{} does not answer: {error}", self.address)),
        });
        ready.inspect_err(|_| self.folder.keep_logs())
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id, while it runs or is paused.
    pub fn process_id(&self) -> Option<u32> {
        self.server.id()
    }

    /// Its working folder, with its log in `logs/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&self) {
        self.server.kill(self.folder.watchdog());
    }

    /// SIGTERM, then waits.
    ///
    /// # Errors
    /// It did not end within a minute and was killed.
    pub fn stop(&self) -> Result<(), NativeError> {
        self.server.stop(self.folder.watchdog(), Duration::from_secs(60)).map(drop)
    }

    /// Starts it after it was killed or stopped, with the same arguments; [`ready`](Self::ready) waits.
    ///
    /// # Errors
    /// It runs, or its address is taken.
    pub fn start_again(&self) -> Result<(), NativeError> {
        check_free(self.server.name(), self.address)?;
        self.server.start(self.folder.watchdog())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<(), NativeError> {
        self.server.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<(), NativeError> {
        self.server.signal(Signal::CONT)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_ready(address: SocketAddr) -> std::io::Result<bool> {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.ends_with(b" 200"))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn readiness_is_what_the_program_says() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"];
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for answer in answers {
                    let (mut stream, _) = listener.accept().unwrap();
                    // All of it: a connection that is closed with something unread breaks under whoever still writes.
                    let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
                    assert_eq!(lines.next().unwrap(), "GET /health/ready HTTP/1.1");
                    assert!(lines.any(|line| line.is_empty()));
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            });
            assert!(!is_ready(address).unwrap());
            assert!(is_ready(address).unwrap());
        });
    }
}
