//! What a process remembers of its verifications: which generations it compared whole and found no difference in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidewheel_store::Generation;

use crate::verify::Report;

/// How long a verification counts.
const COUNTS_FOR: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Clone, Copy)]
struct Clean {
    compared_rows: u64,
    at: Instant,
}

/// The generations that were found to be what the log says. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Verified(Arc<Mutex<BTreeMap<u32, Clean>>>);

impl Verified {
    /// Notes the outcome of a verification of everything.
    pub fn note(&self, generation: Generation, report: &Report) {
        let mut known = self.0.lock();
        if report.is_clean() {
            let compared_rows = report.compared_rows();
            known.insert(generation.0, Clean { compared_rows, at: Instant::now() });
        } else {
            known.remove(&generation.0);
        }
    }

    /// How many rows of a generation were compared without a difference of late; `None` if that was not done.
    pub fn rows(&self, generation: Generation) -> Option<u64> {
        let clean = self.0.lock().get(&generation.0).copied()?;
        (clean.at.elapsed() < COUNTS_FOR).then_some(clean.compared_rows)
    }
}
