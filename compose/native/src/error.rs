//! What can go wrong between a coordinate in Maven's registry and a server that answers.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::Missing;

/// Why a server could not be fetched, started or told something.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// This machine lacks Java or Maven.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// Maven could not fetch the jars.
    #[error(
        "Maven could not download {what}: check the network and Maven's settings. It said:\n{last_lines}"
    )]
    Download {
        /// Name of the cached folder, with the versions.
        what: &'static str,
        /// The end of Maven's output.
        last_lines: LastLines,
    },
    /// A tool of the toolchain ended with an error.
    #[error("{tool} failed with {status}. It said:\n{last_lines}")]
    Tool {
        /// The tool and what it was asked to do.
        tool: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The end of its output.
        last_lines: LastLines,
    },
    /// Somebody else listens where a server should.
    #[error(
        "{server} cannot listen on {address}: {source}. End whoever listens there, or use another folder"
    )]
    PortTaken {
        /// Which server.
        server: String,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// No loopback network was free, in many random tries.
    #[error("no free loopback address was found: {source}. Only Linux answers on all of 127.0.0.0/8")]
    NoAddress {
        /// What the system said at the last try.
        source: std::io::Error,
    },
    /// A server ended while it was waited for.
    #[error("{server} ended with {status} before it was ready; log: {}\n{last_lines}", log.display())]
    Ended {
        /// Which server.
        server: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log, which is kept.
        log: PathBuf,
        /// The end of its log.
        last_lines: LastLines,
    },
    /// A server did not answer in time.
    #[error("{server} was not ready within {seconds} s: {what}; log: {}\n{last_lines}", log.display())]
    NotReady {
        /// Which server.
        server: String,
        /// How long it was waited for. Seconds.
        seconds: u64,
        /// What was still missing.
        what: String,
        /// Its log, which is kept.
        log: PathBuf,
        /// The end of its log.
        last_lines: LastLines,
    },
    /// A server did not end in time after it was asked to; it was killed.
    #[error("{server} did not stop within {seconds} s and was killed; log: {}\n{last_lines}", log.display())]
    NotStopped {
        /// Which server.
        server: String,
        /// How long it was waited for. Seconds.
        seconds: u64,
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        last_lines: LastLines,
    },
    /// There is no such server, or it is not in the state that the call needs.
    #[error("{server} {what}")]
    WrongState {
        /// Which server.
        server: String,
        /// What is the matter.
        what: &'static str,
    },
    /// Options that no cluster can be made of.
    #[error("{0}")]
    Options(&'static str),
    /// Somebody else runs servers in this folder.
    #[error("{} is used by another process: stop it first, or name another folder", .0.display())]
    FolderTaken(PathBuf),
    /// The system refused something.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file, folder or program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl NativeError {
    /// For `map_err`: what was tried, on which path.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}

/// The end of a text, for an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastLines(String);

impl LastLines {
    const LINES: usize = 20;
    const LINE_BYTES: usize = 400;

    /// Of a text.
    pub(crate) fn of(text: &str) -> Self {
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(Self::LINES)..];
        let shown = last.iter().map(|line| {
            let end = (0..=Self::LINE_BYTES.min(line.len())).rev().find(|end| line.is_char_boundary(*end));
            format!("  | {}", &line[..end.unwrap_or_default()])
        });
        Self(shown.collect::<Vec<_>>().join("\n"))
    }

    /// Of a file; empty when it cannot be read, because another error is being told.
    pub(crate) fn of_file(path: &Path) -> Self {
        const BYTES: u64 = 16 * 1024;
        use std::io::{Read as _, Seek as _, SeekFrom};
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = std::fs::File::open(path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
            let mut bytes = Vec::new();
            file.take(BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        Self::of(&String::from_utf8_lossy(&read().unwrap_or_default()))
    }
}

impl fmt::Display for LastLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "  | (nothing)" } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_end_of_a_text_within_limits() {
        let long = format!("{}é", "x".repeat(LastLines::LINE_BYTES - 1));
        let text: String = (0..100).map(|number| format!("line {number}\n\n")).collect::<String>() + &long;
        let shown = LastLines::of(&text).to_string();
        assert_eq!(shown.lines().count(), LastLines::LINES);
        assert!(shown.starts_with("  | line 81\n") && shown.ends_with("xxx"), "{shown}");
        assert_eq!(LastLines::of("").to_string(), "  | (nothing)");
    }
}
