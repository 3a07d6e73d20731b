//! How many runs a scope selects, before anything is started: a look through the log, as far as it may go.

use std::sync::Arc;

use tidewheel_api::{Code, Problem};
use tidewheel_schemas::event::ReplayScope;
use tidewheel_store::{Generation, SharedStore};
use tokio::sync::oneshot;

use super::Replaying;
use crate::selection::{Bounds, RUNS_MAX, Selection, SelectionError, Slice};
use crate::thread;
use crate::verify::{Stop, Views};

/// Records that a plan looks at: what it can tell of a longer log is a lower bound.
const RECORDS_MAX: u64 = 10_000_000;

/// The runs of a scope, as far as they were looked for.
pub(super) struct Selected {
    pub(super) scope: ReplayScope,
    /// The partitions that hold them.
    pub(super) parts: Vec<u32>,
    /// How many there are; `None` where no run is left out.
    pub(super) runs: Option<u64>,
    /// Whether there may be more.
    pub(super) more: bool,
    /// Records that must be read to select them, at least.
    pub(super) looked_at: u64,
}

/// Asks a look to stop when nobody waits for it.
struct Asking(Stop);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Replaying {
    /// What a scope selects of a log that ends at `ends`; refused if that is nothing. With `counts` the runs are counted;
    /// otherwise one is enough.
    pub(super) async fn selected(
        &self,
        scope: ReplayScope,
        generation: u32,
        ends: &[i64],
        counts: bool,
    ) -> Result<Selected, Problem> {
        let scope = Arc::new(scope);
        let selection =
            Selection::new(Arc::clone(&scope), self.partitions).map_err(|error| problem(&error))?;
        let parts = selection.parts();
        if parts.is_empty() {
            return Err(nothing("no run of the scope lies in one of its partitions"));
        }
        let looked_at = if selection.looks_at_records() { window(&scope, &parts, ends) } else { 0 };
        let mut selected =
            Selected { scope: ReplayScope::clone(&scope), parts, runs: None, more: false, looked_at };
        if selection.is_everything() {
            return Ok(selected);
        }
        let views = self.views_of(generation)?;
        let stop = Stop::default();
        let asking = Asking(stop.clone());
        let (sender, looked) = oneshot::channel();
        let (parts, ends) = (selected.parts.clone(), ends.to_vec());
        let look = async move {
            // Whoever went away needs no answer.
            let _ = sender.send(count(&selection, &views, &parts, &ends, counts, stop).await);
        };
        let failed = |what: String| Problem::new(Code::Internal, what).retry_after_ms(1_000);
        thread::spawn("select", look)
            .map_err(|error| failed(format!("no thread can be started: {error}")))?;
        let counted = looked.await.map_err(|_| failed("the look ended without an answer".to_owned()))?;
        let (runs, more) = counted.map_err(|error| problem(&error))?;
        drop(asking);
        if runs == 0 && !more {
            return Err(nothing("no run has a record within the scope"));
        }
        (selected.runs, selected.more) = (counts.then_some(runs), more);
        Ok(selected)
    }

    /// The views of a generation of this process.
    fn views_of(&self, generation: u32) -> Result<Views, Problem> {
        let projector = self.generations.get(Generation(generation)).ok_or_else(|| {
            let detail = format!("generation {generation} is not open in this process yet; try again");
            Problem::new(Code::NotReady, detail).retry_after_ms(1_000)
        })?;
        Ok(Views {
            log: Arc::clone(&self.log),
            topic: self.topic.clone(),
            partitions: self.partitions,
            store: SharedStore::clone(projector.views().store()),
            generation: projector.generation(),
        })
    }
}

/// How many runs there are, and whether there may be more.
async fn count(
    selection: &Selection,
    views: &Views,
    parts: &[u32],
    ends: &[i64],
    counts: bool,
    stop: Stop,
) -> Result<(u64, bool), SelectionError> {
    let (mut runs, mut records_max) = (0, RECORDS_MAX);
    for partition in parts {
        let end = ends.get(*partition as usize).copied().unwrap_or(0);
        let enough = if counts { usize::MAX } else { 1 };
        let bounds = Bounds { runs_max: RUNS_MAX, enough, records_max };
        let found = match selection.find(views, *partition, end, Slice::WHOLE, bounds, &stop).await {
            Err(SelectionError::TooMany { most, .. }) => return Ok((runs + most as u64, true)),
            found => found?,
        };
        runs += found.runs.len() as u64;
        records_max = records_max.saturating_sub(found.records);
        if !found.is_whole {
            return Ok((runs, true));
        }
        if !counts && runs > 0 {
            break;
        }
    }
    Ok((runs, false))
}

/// Records of the window of offsets, over the parts.
fn window(scope: &ReplayScope, parts: &[u32], ends: &[i64]) -> u64 {
    let from = scope.from_offset.unwrap_or(0);
    let of = |partition: &u32| {
        let end = ends.get(*partition as usize).copied().unwrap_or(0);
        let until = scope.until_offset.map_or(end, |until| until.min(end));
        until.saturating_sub(from).max(0).unsigned_abs()
    };
    parts.iter().map(of).sum()
}

fn nothing(detail: &str) -> Problem {
    Problem::new(Code::NothingToReplay, detail.to_owned()).field("scope")
}

pub(super) fn problem(error: &SelectionError) -> Problem {
    match error {
        SelectionError::Log(error) => super::plan::log_problem(error),
        SelectionError::UnknownEventType(_) => {
            Problem::new(Code::InvalidField, error.to_string()).field("scope")
        }
        SelectionError::TooMany { .. } => Problem::new(Code::OverLimit, error.to_string()).field("scope"),
        SelectionError::Ended { .. } => Problem::new(Code::LogTrimmed, error.to_string()),
        SelectionError::Stopped => Problem::new(Code::Internal, error.to_string()),
    }
}
