//! The owner: the tokio shell around `engine::Partition`. It reads and appends, loads and evicts, runs steps, fires
//! timers and delivers outboxes. No rule lives here.

mod appends;
pub mod checkpoint;
pub mod config;
pub mod create;
mod deliver;
mod duty;
mod owner;
mod steps;
pub mod views;

pub use appends::APPENDS_BYTES_MAX;
pub use checkpoint::CheckpointMismatch;
pub use config::{ConfigOptions, Configuration};
pub use create::{CreateError, create_log};
pub use duty::{Duties, Duty, DutySender};
pub use owner::{Owner, OwnerError, OwnerOptions, OwnerStatus, Owners};
pub use tidewheel_log::{Clock, SharedClock, SystemClock};
pub use views::{LocalViews, OpenWork, Resume, Views, ViewsError};
