//! How far a verification is: counted where the work is done, told about once a second, and asked whether to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use super::VerifyError;
use crate::pace::Pace;

/// How often progress is told.
const EVERY: Duration = Duration::from_secs(1);
/// How soon whoever waits for its pace hears that it is to stop.
const HEARD_WITHIN: Duration = Duration::from_millis(100);

/// How far a verification is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// What is being done: `rows` (stored rows are read), `records` (the log is refolded), and the same once more for
    /// the part of the views in which something differs or moved on: `rows-again`, `records-again`.
    pub phase: &'static str,
    /// The partition of the record folded last, while records are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Where it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Rows or records done in this phase.
    pub done: u64,
    /// How many there are; not known for rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// The same as a share, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
    /// Rows or records a second, in this phase so far.
    pub per_second: u64,
}

/// Is told how far a verification is.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// Asks a verification to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to go on.
    pub(crate) fn check(&self) -> Result<(), ()> {
        if self.0.load(Ordering::Relaxed) { Err(()) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Phase {
    name: &'static str,
    of: Option<u64>,
    began: Instant,
    told: Instant,
}

impl Phase {
    fn progress(&self, done: u64, place: Option<(u32, i64)>) -> Progress {
        let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        Progress {
            phase: self.name,
            partition: place.map(|(partition, _)| partition),
            offset: place.map(|(_, offset)| offset),
            done,
            of: self.of,
            percent: self.of.map(|of| done.min(of).saturating_mul(100) / of.max(1)),
            per_second: done.saturating_mul(1_000) / elapsed_ms,
        }
    }
}

/// Counts.
pub(crate) struct Meter {
    stop: Stop,
    pace: Option<Pace>,
    on_progress: Option<OnProgress>,
    done: AtomicU64,
    phase: Mutex<Phase>,
}

impl Meter {
    pub(crate) fn new(stop: Stop, on_progress: Option<OnProgress>) -> Self {
        let now = Instant::now();
        let phase = Mutex::new(Phase { name: "rows", of: None, began: now, told: now });
        Self { stop, pace: None, on_progress, done: AtomicU64::new(0), phase }
    }

    /// The same, at this pace.
    #[must_use]
    pub(crate) fn at(self, pace: Option<Pace>) -> Self {
        Self { pace, ..self }
    }

    /// How many of at most `wanted` records may be read now, waiting until they may.
    pub(crate) async fn take(&self, wanted: usize) -> Result<usize, VerifyError> {
        self.check()?;
        let Some(pace) = &self.pace else { return Ok(wanted) };
        let taking = pace.take(wanted);
        tokio::pin!(taking);
        loop {
            tokio::select! {
                biased;
                records = &mut taking => return Ok(records),
                () = tokio::time::sleep(HEARD_WITHIN) => self.check()?,
            }
        }
    }

    /// Begins a phase of so many records.
    pub(crate) fn begin(&self, name: &'static str, of: Option<u64>) {
        let now = Instant::now();
        self.done.store(0, Ordering::Relaxed);
        *self.phase.lock() = Phase { name, of, began: now, told: now };
    }

    /// The phase takes another pass over so many records.
    pub(super) fn again(&self, records: u64) {
        if let Some(of) = &mut self.phase.lock().of {
            *of = of.saturating_add(records);
        }
    }

    /// Whether to go on.
    pub(crate) fn check(&self) -> Result<(), VerifyError> {
        self.stop.check().map_err(|()| VerifyError::Stopped)
    }

    /// More rows were read.
    pub(super) fn rows(&self, more: u64) {
        self.count(None, more);
    }

    /// More records of a partition were folded.
    pub(crate) fn records(&self, partition: u32, offset: i64, more: u64) {
        self.count(Some((partition, offset)), more);
    }

    fn count(&self, place: Option<(u32, i64)>, more: u64) {
        let done = self.done.fetch_add(more, Ordering::Relaxed) + more;
        let Some(on_progress) = &self.on_progress else { return };
        let progress = {
            let mut phase = self.phase.lock();
            if phase.told.elapsed() < EVERY {
                return;
            }
            phase.told = Instant::now();
            phase.progress(done, place)
        };
        on_progress(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_more_counts_as_records_to_be_done() {
        let meter = Meter::new(Stop::default(), None);
        meter.begin("records", Some(1_000));
        meter.again(600);
        meter.records(0, 1_199, 1_200);
        let progress = meter.phase.lock().progress(meter.done.load(Ordering::Relaxed), Some((0, 1_199)));
        assert_eq!((progress.done, progress.of, progress.percent), (1_200, Some(1_600), Some(75)));
    }
}
