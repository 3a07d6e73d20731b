//! A part of a backfill: the rows of the runs of a scope in one partition are made what the log says, beside whoever
//! writes them live. What is compared and how it is mended is said in `verify` and `mend`; who carries it out, and what
//! is recorded of it, is the node's to say.
//!
//! A part holds nothing that must outlive its process: done again from the start it finds less to do. Every row it writes
//! carries the timestamp of its record, raised by the number of the mending, so it loses against whatever a later record
//! writes, before or after.

use std::sync::Arc;

use futures::future::BoxFuture;
use tidewheel_log::LogError;
use tidewheel_schemas::TopicPartition;
use tidewheel_store::StoreError;

use crate::pace::Pace;
use crate::selection::{Selection, SelectionError, Slice};
use crate::share::Standing;
use crate::verify::meter::Meter;
use crate::verify::{
    Held, OnProgress, Progress, Report, Runs, Stop, VerifyError, VerifyOptions, Views, verify_with,
};

/// Records that the first look folds into rows at a time.
const RECORDS_AT_ONCE: usize = 1_024;
/// Bytes of runs and rows that are held at a time: less than a verification that somebody waits for.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Slices of a part after which it is given up: more runs than any partition holds.
const SLICES_MAX: u64 = 1 << 20;

/// Takes the number of the mending, 1 to 7: the same one for all parts of a backfill, whoever carries them out.
pub type Number = Arc<dyn Fn() -> BoxFuture<'static, Result<u8, String>> + Send + Sync>;

/// A part that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The runs could not be selected.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The rows could not be compared or mended.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// No number for the mending was to be had.
    #[error("no mending could be numbered: {0}")]
    Number(String),
    /// More of it differs, or moves on, than a comparison looks through.
    #[error(
        "{rows} rows within its scope of partition {partition} could not be compared, since more of it differs or moves \
         on than a comparison looks through; give a narrower scope, or rebuild the views: tidewheel replay run rebuild \
         --cutover"
    )]
    NotCompared {
        /// The partition.
        partition: u32,
        /// The rows.
        rows: u64,
    },
}

impl BackfillError {
    /// Whether it was asked to stop.
    pub const fn is_stop(&self) -> bool {
        matches!(self, Self::Selection(SelectionError::Stopped) | Self::Verify(VerifyError::Stopped))
    }

    /// Whether trying again may help soon.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Selection(SelectionError::Log(error)) | Self::Verify(VerifyError::Log(error)) => {
                LogError::is_transient(error)
            }
            Self::Verify(VerifyError::Store(error)) => matches!(error, StoreError::Unavailable(_)),
            Self::Number(_) => true,
            Self::Selection(_) | Self::Verify(_) | Self::NotCompared { .. } => false,
        }
    }
}

/// What a backfill is about.
#[derive(Clone)]
pub struct Backfill {
    /// The log, and the generation that is written.
    pub views: Views,
    /// What selects the runs.
    pub selection: Selection,
    /// How far views without a checkpoint are known to be.
    pub held: Option<Held>,
    /// How fast records may be read.
    pub pace: Option<Pace>,
}

/// One partition of it.
pub struct Part {
    /// The backfill.
    pub backfill: Backfill,
    /// The partition.
    pub partition: u32,
    /// Where its log ended when the backfill was started.
    pub end: i64,
    /// Asks it to stop.
    pub stop: Stop,
    /// Where it stands.
    pub standing: Standing,
}

/// What a part did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Rows that were written.
    pub rows: u64,
    /// Rows that are not what the log says and cannot be mended in place: a rebuild is what helps.
    pub left: u64,
}

/// The steps of a slice, which are taken to be equally long.
#[derive(Clone, Copy)]
enum Step {
    Select,
    Compare,
    Mend,
}

impl Part {
    /// Does all of it.
    ///
    /// # Errors
    /// See [`BackfillError`]. It can be done again from the start.
    pub async fn carry_out(&self, number: &Number) -> Result<Done, BackfillError> {
        let mut done = Done::default();
        let mut slice = Slice::WHOLE;
        while slice.index < slice.of {
            let runs = match self.select(slice).await {
                // What is held is bounded, not how much there is.
                Err(SelectionError::TooMany { .. }) if slice.of < SLICES_MAX => {
                    slice = Slice { index: slice.index * 2, of: slice.of * 2 };
                    continue;
                }
                runs => runs?,
            };
            let is_all = runs == Runs::Every;
            if !matches!(&runs, Runs::Selected(runs) if runs.is_empty()) {
                self.mend(slice, runs, number, &mut done).await?;
            }
            if is_all {
                break;
            }
            slice.index += 1;
        }
        self.standing.stands_at(Some(self.end), self.end.max(0).unsigned_abs());
        Ok(done)
    }

    async fn select(&self, slice: Slice) -> Result<Runs, SelectionError> {
        let Backfill { views, selection, pace, .. } = &self.backfill;
        let told = Some(self.told(slice, Step::Select));
        let meter = Meter::new(self.stop.clone(), told).at(pace.clone());
        // A log that was restored as of an earlier time ends before the place it had got to at the start.
        let place = TopicPartition::new(views.topic.clone(), self.partition);
        let end = self.end.min(views.log.bounds(&place).await?.end);
        selection.runs(views, self.partition, end, slice, &meter).await
    }

    /// Compares the rows of some runs, and mends them where there is something to mend: numbers of mendings are few.
    async fn mend(
        &self,
        slice: Slice,
        runs: Runs,
        number: &Number,
        done: &mut Done,
    ) -> Result<(), BackfillError> {
        let Backfill { views, held, pace, .. } = &self.backfill;
        let mut options = VerifyOptions {
            differences_max: 1,
            partitions: Some(vec![self.partition]),
            runs,
            held_bytes_max: HELD_BYTES_MAX,
            records_at_once: RECORDS_AT_ONCE,
            held: held.clone(),
            pace: pace.clone(),
            stop: self.stop.clone(),
            on_progress: Some(self.told(slice, Step::Compare)),
            ..VerifyOptions::default()
        };
        let mut report = verify_with(views, &options).await?;
        if report.mendable_count > 0 {
            let number = number().await.map_err(BackfillError::Number)?;
            options.mend = Some(number);
            options.on_progress = Some(self.told(slice, Step::Mend));
            loop {
                report = verify_with(views, &options).await?;
                let rows = report.mended.as_ref().map_or(0, |mended| mended.rows);
                done.rows += rows;
                self.standing.wrote(rows);
                // Where very much differs it is mended as much at a time as a verification looks through. What a row
                // of the database wins over is written in vain each time.
                let took = report.difference_count.saturating_sub(remaining(&report));
                if report.not_compared == 0 || took == 0 {
                    break;
                }
            }
        }
        if report.not_compared > 0 {
            return Err(BackfillError::NotCompared { partition: self.partition, rows: report.not_compared });
        }
        done.left += remaining(&report);
        self.report(&report);
        Ok(())
    }

    fn report(&self, report: &Report) {
        let left = remaining(report);
        if left > 0 {
            let (partition, generation) = (self.partition, self.backfill.views.generation.0);
            let first = report.differences.iter().find(|found| !found.is_mended);
            let (table, key) = first.map_or(("", ""), |found| (found.table, found.key.as_str()));
            tracing::warn!(
                partition,
                generation,
                left,
                table,
                key,
                "rows within the scope of a backfill are not what the log says and cannot be mended in place: rebuild \
                 the views"
            );
        }
    }

    /// Takes what is told of a step as how far the part is.
    fn told(&self, slice: Slice, step: Step) -> OnProgress {
        let selection = &self.backfill.selection;
        let (index, of) = match (step, selection.looks_at_records()) {
            (Step::Select, _) => (0, 3),
            (Step::Compare, true) => (1, 3),
            (Step::Mend, true) => (2, 3),
            (Step::Compare, false) => (0, 2),
            (Step::Mend, false) => (1, 2),
        };
        let (standing, end) = (self.standing.clone(), self.end.max(0) as f64);
        Arc::new(move |progress| {
            let step = (f64::from(index) + share(&progress)) / f64::from(of);
            let records = (slice.index as f64 + step) / slice.of.max(1) as f64 * end;
            standing.stands_at(progress.offset, records as u64);
        })
    }
}

/// Differences that are still there.
fn remaining(report: &Report) -> u64 {
    report.mended.as_ref().map_or(report.difference_count, |mended| mended.remaining)
}

/// How much of a step is done, 0 to 1. The closer look of a comparison is its second half.
fn share(progress: &Progress) -> f64 {
    let done = progress.percent.unwrap_or(0).min(100) as f64 / 100.0;
    match progress.phase {
        "selecting" => done,
        "records" => done / 2.0,
        "rows-again" => 0.5,
        "records-again" => f64::midpoint(1.0, done),
        _ => 0.0,
    }
}
