//! What came of a seed.

use tidewheel_replay::step::Recorded;

use crate::fault::Fault;
use crate::world::Violation;

/// What came of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Hash of everything that happened: the same for the same seed.
    pub trace: u64,
    /// How many events that hash is of.
    pub events: u64,
    /// Records in the log at the end.
    pub records: u64,
    /// Runs that were asked for.
    pub runs: u64,
    /// Simulated time, milliseconds.
    pub simulated_ms: u64,
    /// Accesses to log and store.
    pub operations: u64,
    /// How often each kind of fault happened.
    pub faults: Vec<(Fault, u64)>,
    /// Invariants that did not hold, the first one first; none if all is well.
    pub violations: Vec<Violation>,
    /// The records of its runs, if they were asked for: what `tidewheel replay step --file` opens, one a line.
    pub recorded: Vec<Recorded>,
}

impl Outcome {
    /// Whether every invariant held.
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// The command that lives this world again and tells what happens in it.
    pub fn command(&self) -> String {
        format!("cargo run --release -p tidewheel-sim -- --seed {}", self.seed)
    }
}
