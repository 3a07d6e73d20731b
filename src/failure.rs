//! How a command fails: the words for people and the exit code for scripts.

use std::process::ExitCode;

use tidewheel::config::ConfigError;

/// A command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// It was tried and failed.
    #[error("{0}")]
    Failed(String),
    /// The server refused: a problem of its API.
    #[error("{text}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The problem's code.
        code: String,
        /// What happened and what to do.
        text: String,
    },
    /// No server answers.
    #[error("{0}")]
    Unreachable(String),
}

impl Failure {
    /// The exit code: 1 failed, 2 usage or configuration, 3 unreachable, 4 not found.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Refused { status, .. } => {
                if *status == 404 {
                    4
                } else {
                    1
                }
            }
        })
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
