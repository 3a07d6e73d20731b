//! The time machine: what the log says about the views. Judges with the engine's fold and the projector's rows alone.

pub mod backfill;
pub mod http;
pub mod inspect;
pub mod keeper;
pub mod lag;
pub mod mend;
pub mod pace;
pub mod rebuild;
pub mod selection;
pub mod share;
pub mod step;
pub mod thread;
pub mod turns;
pub mod verified;
pub mod verify;

pub use backfill::{Backfill, BackfillError, Done, Part};
pub use keeper::Keeper;
pub use pace::{Pace, Speed, SpeedSender};
pub use rebuild::{Beside, RebuildError, RebuildOptions, Rebuilding, Rebuilt, rebuild};
pub use selection::{Selection, SelectionError};
pub use share::{Share, ShareError, Standing, Standings};
pub use turns::{Turn, Turns};
pub use verified::Verified;
pub use verify::{
    Difference, Kind, Remedy, Report, Runs, VerifyError, VerifyOptions, Views, verify, verify_with,
};
