//! What a load measured, before it is put into words.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Plan, Sample, Wrong};
use crate::histogram::Latencies;
use crate::process::Usage;

/// Failures of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failed {
    /// How many there were, in the warm-up too.
    pub count: u64,
    /// What the first one was.
    pub first: String,
}

impl Failed {
    pub(super) fn add(&mut self, wrong: &Wrong) {
        self.count += 1;
        if self.count == 1 {
            self.first = wrong.to_string();
        }
    }
}

/// How an open loop went.
#[derive(Debug, Clone, Default)]
pub struct OpenLoop {
    /// Operations that should have been sent within the measurement.
    pub intended: u64,
    /// Those of them that were not, because every client was busy and the queue full: the rate is beyond the server
    /// (or needs more clients).
    pub unsent: u64,
    /// How late the generator itself was to hand out an operation.
    pub lateness: Latencies,
}

/// What a load measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Clients.
    pub clients: usize,
    /// Length of the measurement.
    pub duration: Duration,
    /// Operations that ended well within the measurement.
    pub operations: u64,
    /// What they were worth; more than the operations for batches.
    pub units: u64,
    /// Latencies of the operations that began within the measurement and ended well; of an open loop, since the
    /// time they should have been sent.
    pub latencies: Latencies,
    /// Failed operations by kind: the HTTP status, `timeout`, `connection` or `wrong answer`.
    pub failed: BTreeMap<String, Failed>,
    /// How the open loop went; absent for a closed one.
    pub open_loop: Option<OpenLoop>,
    /// What the server and its children used; absent if not asked for, or not known here.
    pub server: Option<Usage>,
    /// What the generator used.
    pub generator: Option<Usage>,
}

impl Measured {
    pub(super) fn new(
        plan: &Plan,
        latencies: Latencies,
        (operations, units): (u64, u64),
        failed: BTreeMap<String, Failed>,
        open_loop: Option<OpenLoop>,
        [before, after]: [Sample; 2],
    ) -> Self {
        // The samples are taken a little after the ends of the measurement; what was used is scaled to its length.
        let sampled = after.at.saturating_duration_since(before.at).as_secs_f64();
        let share = if sampled > 0.0 { plan.duration.as_secs_f64() / sampled } else { 1.0 };
        let used = |before: Option<Usage>, after: Option<Usage>| Some(scaled(after?.since(before?), share));
        Self {
            clients: plan.clients,
            duration: plan.duration,
            operations,
            units,
            latencies,
            failed,
            open_loop,
            server: used(before.server, after.server),
            generator: used(before.generator, after.generator),
        }
    }

    /// Units per second.
    #[expect(clippy::cast_precision_loss, reason = "a count of operations fits")]
    pub fn rate(&self) -> f64 {
        self.units as f64 / self.duration.as_secs_f64()
    }

    /// Failed operations of every kind.
    pub fn failed_count(&self) -> u64 {
        self.failed.values().map(|failed| failed.count).sum()
    }

    /// The latencies of a closed loop, corrected for what its clients did not send while they waited. The expected
    /// interval is the mean time between two operations of one client.
    pub fn corrected(&self) -> Option<Latencies> {
        if self.open_loop.is_some() || self.operations == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of clients and operations fit")]
        let interval_s = self.duration.as_secs_f64() * self.clients as f64 / self.operations as f64;
        Some(self.latencies.corrected(Duration::from_secs_f64(interval_s)))
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what was used in a measurement fits"
)]
fn scaled(usage: Usage, share: f64) -> Usage {
    let scale = |value: u64| (value as f64 * share).round() as u64;
    Usage {
        cpu_us: scale(usage.cpu_us),
        written_bytes: scale(usage.written_bytes),
        disk_written_bytes: scale(usage.disk_written_bytes),
        resident_bytes: usage.resident_bytes,
    }
}
