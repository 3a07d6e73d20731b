//! When the timers of runs are due: one wake-up a run, the earliest. Not what happens then.

use std::collections::{BTreeMap, BTreeSet};

use tidewheel_schemas::RunId;

/// The earliest timer of each run that has one, also of runs that are not in memory.
#[derive(Default)]
pub(super) struct Wakeups {
    by_time: BTreeSet<(i64, RunId)>,
    by_run: BTreeMap<RunId, i64>,
}

impl Wakeups {
    /// Wakes the run at `due_us`, microseconds since 1970, and no more at the time known before; `None` not at all.
    /// A timer that ended early must not stay: with long timeouts there would be one for every run of the past.
    pub(super) fn set(&mut self, run_id: RunId, due_us: Option<i64>) {
        let before = match due_us {
            Some(due_us) => self.by_run.insert(run_id, due_us),
            None => self.by_run.remove(&run_id),
        };
        if before == due_us {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, run_id));
        }
        if let Some(due_us) = due_us {
            self.by_time.insert((due_us, run_id));
        }
    }

    /// Forgets the run's wake-up if it is after `horizon_us`.
    pub(super) fn forget_after(&mut self, run_id: RunId, horizon_us: i64) {
        if self.by_run.get(&run_id).is_some_and(|due_us| *due_us > horizon_us) {
            self.set(run_id, None);
        }
    }

    /// The earliest time.
    pub(super) fn first_us(&self) -> Option<i64> {
        self.by_time.first().map(|(due_us, _)| *due_us)
    }

    /// Takes the earliest run that is due.
    pub(super) fn pop_due(&mut self, now_us: i64) -> Option<RunId> {
        let (_, run_id) = self.by_time.first().copied().filter(|(due_us, _)| *due_us <= now_us)?;
        self.set(run_id, None);
        Some(run_id)
    }

    /// The runs that are due, earliest first.
    pub(super) fn due(&self, now_us: i64) -> impl Iterator<Item = RunId> {
        self.by_time.iter().take_while(move |(due_us, _)| *due_us <= now_us).map(|(_, run_id)| *run_id)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.by_time.clear();
        self.by_run.clear();
    }
}
