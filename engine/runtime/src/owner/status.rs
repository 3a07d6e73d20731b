//! What an owner tells of itself.

use std::sync::Arc;

/// Where an owner stands, for status and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerStatus {
    /// The partition.
    pub partition: u32,
    /// Whether this process leads it.
    pub leading: bool,
    /// The claim in force.
    pub claim: Option<i64>,
    /// The process that made it.
    pub claimed_by: Option<Arc<str>>,
    /// The fold version in force; 0 before the log was created.
    pub fold: u32,
    /// The offset to be folded next.
    pub next_offset: i64,
    /// The partition's log, once created.
    pub log: Option<tidewheel_engine::LogInfo>,
    /// Runs in memory.
    pub resident_runs: usize,
    /// Steps in flight.
    pub steps_in_flight: usize,
    /// Whether everything that was in the log at start has been folded.
    pub caught_up: bool,
}

impl OwnerStatus {
    /// An owner that has not begun.
    pub(super) const fn of(partition: u32) -> Self {
        Self {
            partition,
            leading: false,
            claim: None,
            claimed_by: None,
            fold: 0,
            next_offset: 0,
            log: None,
            resident_runs: 0,
            steps_in_flight: 0,
            caught_up: false,
        }
    }
}
