//! The rules: what a fact does. Pure: no clock, no randomness, no IO, no tokio.
//!
//! Time and ids come in as data, effects go out as data. One fold; engine, projector and replay share it.

#![deny(clippy::wildcard_enum_match_arm)]

pub mod config;
pub mod control;
pub mod fold;
pub mod outbox;
pub mod partition;
pub mod remembered;
pub mod run;
pub mod transition;
pub mod verdict;
pub mod workflow;

pub use config::CONFIG_FOLD_VERSION;
pub use control::{Control, LogInfo};
pub use fold::{Fold, FoldError};
pub use run::{HistoryEntry, Run, RunHeader, RunStatus};
pub use transition::{OutboxChange, PartChange, RunChange, Transition};
pub use verdict::{Rejection, Verdict};
