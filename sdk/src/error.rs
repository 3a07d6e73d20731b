//! How steps and workflows fail. Any error converts with `?`; cancels pass through untouched.

use std::fmt;

use tidewheel_engine::workflow as engine;
use tidewheel_schemas::Failure;

/// What a workflow function returns.
pub type WorkflowResult<T> = Result<T, WorkflowError>;

/// What a step's closure returns.
pub type StepResult<T> = Result<T, StepError>;

/// The code of errors that came in through `?` and said nothing better.
const CODE_OTHER: &str = "error";

/// Why an await or a workflow ended without a result: it failed, or the run was asked to cancel.
///
/// Returned from a workflow it ends the run as `failed`, or as `cancelled`. Like most catch-all error types it is no
/// [`std::error::Error`] itself, so that every error converts into it.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkflowError(engine::WorkflowError);

impl WorkflowError {
    /// A failure with a stable code to branch on, such as `payment-declined`, and a message for people.
    pub fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::from_failure(Failure::new(code, message))
    }

    /// Whether the run was asked to cancel. Clean up and return the error.
    pub fn is_cancelled(&self) -> bool {
        self.0 == engine::WorkflowError::Cancelled
    }

    /// The failure's code; none for a cancel.
    pub fn code(&self) -> Option<&str> {
        match &self.0 {
            engine::WorkflowError::Failed(failure) => Some(&failure.code),
            engine::WorkflowError::Cancelled => None,
        }
    }

    /// The failure's message; none for a cancel.
    pub fn message(&self) -> Option<&str> {
        match &self.0 {
            engine::WorkflowError::Failed(failure) => Some(&failure.message),
            engine::WorkflowError::Cancelled => None,
        }
    }

    pub(crate) fn from_failure(failure: Failure) -> Self {
        Self(engine::WorkflowError::Failed(failure))
    }

    pub(crate) fn from_engine(error: engine::WorkflowError) -> Self {
        Self(error)
    }

    pub(crate) fn into_engine(self) -> engine::WorkflowError {
        self.0
    }
}

impl fmt::Debug for WorkflowError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for WorkflowError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl<E: std::error::Error> From<E> for WorkflowError {
    fn from(error: E) -> Self {
        Self::failed(CODE_OTHER, chain(&error))
    }
}

/// Why an attempt of a step failed, and whether another may succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepError {
    failure: Failure,
    retryable: bool,
}

impl StepError {
    /// A failure that another attempt may mend; the step's policy says when.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { failure: Failure::new(code, message), retryable: true }
    }

    /// A failure that no further attempt can mend: the step fails for good.
    pub fn fatal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { failure: Failure::new(code, message), retryable: false }
    }

    pub(crate) fn into_engine(self) -> engine::StepFailure {
        engine::StepFailure { failure: self.failure, retryable: self.retryable }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.failure.code, self.failure.message)
    }
}

impl<E: std::error::Error> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::new(CODE_OTHER, chain(&error))
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
