//! Stepping through a run: its records as they lie in the log, folded one by one with the engine's own code, forward and
//! back. Where the records come from is said by who steps: a server, or a file.

pub mod command;
pub mod recording;
pub mod session;

pub use self::command::{Breakpoint, Command, ParseCommandError};
pub use self::recording::{Recorded, RecordingError};
pub use self::session::{Reply, Session, StepError};
