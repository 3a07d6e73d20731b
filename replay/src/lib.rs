//! The time machine: what the log says about the views. Judges with the engine's fold and the projector's rows alone.

pub mod rebuild;
pub mod verify;

pub use rebuild::{RebuildError, RebuildOptions, Rebuilt, rebuild};
pub use verify::{Difference, Kind, Report, VerifyError, Views, verify};
