//! The rules: what a fact does. Pure: no clock, no randomness, no IO, no tokio.
//!
//! Time and ids come in as data, effects go out as data. One fold; engine, projector and replay share it.

pub mod outbox;
pub mod run;
pub mod transition;
pub mod verdict;

pub use run::{HistoryEntry, Run, RunHeader, RunStatus};
pub use transition::{OutboxChange, PartChange, RunChange, Transition};
pub use verdict::{Rejection, Verdict};
