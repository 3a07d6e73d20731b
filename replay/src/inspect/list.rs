//! The runs of a namespace as they stood at a time, newest first.

use std::collections::{BTreeMap, HashSet};

use tidewheel_engine::run::RunHeader;
use tidewheel_engine::{Fold, Run};
use tidewheel_schemas::{Name, Record, RunId};

use super::state::RunState;
use super::{LookError, Past, READ_RECORDS, recorded_at_us};
use crate::verify::Stop;
use crate::verify::owner::{self, Owner};

/// Runs that had not ended and are held while the log is read.
const HELD_RUNS_MAX: usize = 200_000;

/// Which runs to list.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Their namespace.
    pub namespace: Name,
    /// Their workflow.
    pub workflow: Option<Name>,
    /// Their status as it is shown.
    pub status: Option<String>,
    /// Before the first record that was written later than this, microseconds since 1970.
    pub time_us: i64,
    /// Most runs to list.
    pub limit: usize,
}

/// A run of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The partition its records lie in.
    pub partition: u32,
    /// Offset of the last record that had changed it.
    pub applied_offset: i64,
    /// The run.
    pub run: RunState,
}

/// A list, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedRuns {
    /// The runs, newest first.
    pub runs: Vec<Listed>,
    /// Records read.
    pub records_read: u64,
}

/// Newest last: time of creation, partition, offset of the start.
type Newest = BTreeMap<(i64, u32, i64), Listed>;

/// Lists them. Reads every partition from its beginning.
///
/// # Errors
/// When the log cannot be read or folded, or too many runs had not ended.
pub async fn list(past: &Past, wanted: &Wanted, stop: &Stop) -> Result<ListedRuns, LookError> {
    let mut newest = Newest::new();
    let mut records_read = 0;
    for partition in 0..past.partitions {
        let (place, end) = past.place(partition).await?;
        let mut listing = Listing {
            past,
            wanted,
            partition,
            fold: Fold::new(partition),
            let_go: HashSet::new(),
            newest: &mut newest,
        };
        let mut offset = 0;
        'partition: while offset < end {
            stop.check().map_err(|()| LookError::Stopped)?;
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let records = past.log.read(&place, offset, READ_RECORDS.min(left)).await?;
            let Some(last) = records.last() else { break };
            offset = last.offset + 1;
            for record in &records {
                if recorded_at_us(record) > wanted.time_us {
                    break 'partition;
                }
                listing.fold(record)?;
                records_read += 1;
            }
        }
        listing.finish();
    }
    Ok(ListedRuns { runs: newest.into_values().rev().collect(), records_read })
}

struct Listing<'a> {
    past: &'a Past,
    wanted: &'a Wanted,
    partition: u32,
    fold: Fold,
    /// Runs that had ended, or are not wanted: whatever comes for them changes nothing that is shown.
    let_go: HashSet<RunId>,
    newest: &'a mut Newest,
}

impl Listing<'_> {
    fn fold(&mut self, record: &Record) -> Result<(), LookError> {
        let owner = owner::of_record(record, self.partition, self.past.partitions);
        let Owner::Run(run_id) = owner else {
            self.fold.pass_over(record)?;
            return Ok(());
        };
        if self.let_go.contains(&run_id) {
            self.fold.pass_over(record)?;
            return Ok(());
        }
        let transition = self.fold.apply(record)?;
        let Some(change) = &transition.run else { return Ok(()) };
        let header = &change.after;
        if !self.may_be_wanted(header) {
            self.fold.forget(run_id);
            self.let_go.insert(run_id);
        } else if header.status.is_finished() {
            if let Some(run) = self.fold.run(run_id).cloned() {
                self.add(&run);
            }
            self.fold.forget(run_id);
            self.let_go.insert(run_id);
        }
        if self.fold.runs().len() > HELD_RUNS_MAX {
            return Err(LookError::TooMany(HELD_RUNS_MAX));
        }
        Ok(())
    }

    fn may_be_wanted(&self, header: &RunHeader) -> bool {
        let workflow = self.wanted.workflow.as_ref();
        header.namespace == self.wanted.namespace
            && workflow.is_none_or(|workflow| *workflow == header.workflow)
    }

    fn finish(mut self) {
        let runs: Vec<Run> = self.fold.runs().values().cloned().collect();
        for run in &runs {
            self.add(run);
        }
    }

    fn add(&mut self, run: &Run) {
        let state = RunState::of(run);
        if self.wanted.status.as_ref().is_some_and(|status| status != state.status) {
            return;
        }
        let header = &run.header;
        let name = (header.created_at_us, self.partition, header.started_offset);
        let listed = Listed { partition: self.partition, applied_offset: header.applied_offset, run: state };
        self.newest.insert(name, listed);
        if self.newest.len() > self.wanted.limit {
            self.newest.pop_first();
        }
    }
}
