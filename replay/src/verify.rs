//! Verification: refolds a topic from its first record and compares every row of every view with what is stored, also
//! while the views are written.
//!
//! A first look sums up what the log leads to and what is stored, in buckets of runs (`survey`, `stored`); a closer one
//! compares row by row where the sums differ or rows moved on meanwhile (`detail`). A stored row is right when it is one
//! of the versions that the log gives it between the checkpoint read before and the end of the log read after it, so no
//! row needs to stand still. Memory is bounded by what may be held, not by how much there is: the first look holds runs
//! that have not ended, the closer one a few buckets at a time.
//!
//! The closer look makes the expected rows record by record, never in the chunks the projector wrote, so that a
//! difference also shows where collecting several records into one row went wrong; the first look does so unless it is
//! to be fast (`records_at_once`).

pub(crate) mod compare;
pub(crate) mod detail;
mod digest;
pub(crate) mod ground;
pub(crate) mod meter;
pub(crate) mod owner;
mod refold;
mod report;
mod rounds;
mod scope;
mod shared;
mod stored;
mod survey;
mod threads;

use std::sync::Arc;
use std::time::Instant;

use tidewheel_log::SharedLog;
use tidewheel_projector::Projector;
use tidewheel_schemas::Topic;
use tidewheel_store::{Generation, SharedStore};

use self::ground::Ground;
use self::meter::Meter;
pub use self::meter::{OnProgress, Progress, Stop};
pub use self::report::{Difference, Divergent, Kind, Mended, Remedy, Report, VerifyError};
use self::rounds::Findings;
use self::scope::{Chosen, Scope};
pub use self::scope::{RunSet, Runs};
use self::survey::Survey;
use self::threads::Work;
use crate::mend::MENDS_MAX;
use crate::pace::Pace;

/// Bytes held unless said otherwise.
pub const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What is compared: the views of one topic.
#[derive(Clone)]
pub struct Views {
    /// The log.
    pub log: SharedLog,
    /// The topic.
    pub topic: Topic,
    /// How many partitions it has.
    pub partitions: u32,
    /// The store.
    pub store: SharedStore,
    /// The generation of the views.
    pub generation: Generation,
}

/// Tells how far views that are being written are known to be, by partition: one past the last record they hold, 0 before
/// the first.
pub type Held = Arc<dyn Fn(u32) -> i64 + Send + Sync>;

/// As far as a projector knows the views it writes, or whose writing it observes, to be.
pub fn held(projector: Projector) -> Held {
    Arc::new(move |partition| projector.applied_offset(partition) + 1)
}

/// How to verify, and how much of the views.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Differences that are described; all are counted.
    pub differences_max: usize,
    /// The partitions; all unless said.
    pub partitions: Option<Vec<u32>>,
    /// The runs.
    pub runs: Runs,
    /// Bytes that may be held of runs and rows, about; the largest run is held all the same.
    pub held_bytes_max: usize,
    /// Threads to work on; one or none: where the caller is.
    pub threads: usize,
    /// Records that the first look folds into rows at a time: with 1, as the closer look always does, collecting several
    /// records into one row is not taken on trust, but every row of every record is made.
    pub records_at_once: usize,
    /// How far a partition without a checkpoint is. Unless said, it is to hold everything: views that have just begun to
    /// be written would lack all of it.
    pub held: Option<Held>,
    /// Mend what differs, as this mend of the generation: 1 to 7, each higher than those before.
    pub mend: Option<u8>,
    /// How fast records may be folded; as fast as can be unless said.
    pub pace: Option<Pace>,
    /// Asks it to stop.
    pub stop: Stop,
    /// Is told how far it is.
    pub on_progress: Option<OnProgress>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            differences_max: 20,
            partitions: None,
            runs: Runs::Every,
            held_bytes_max: HELD_BYTES_MAX,
            threads: 1,
            records_at_once: 1,
            held: None,
            mend: None,
            pace: None,
            stop: Stop::default(),
            on_progress: None,
        }
    }
}

impl VerifyOptions {
    /// Whether everything is compared.
    pub const fn is_whole(&self) -> bool {
        self.partitions.is_none() && matches!(self.runs, Runs::Every)
    }
}

/// What the parts of a verification share.
struct Job {
    views: Views,
    scope: Scope,
    partitions: Vec<u32>,
    threads: usize,
    records_at_once: usize,
    differences_max: usize,
    held_bytes_max: usize,
    held: Option<Held>,
    mend: Option<u8>,
    meter: Meter,
}

impl Job {
    /// The place of a partition among those verified.
    fn place_of(&self, partition: u32) -> Option<usize> {
        self.partitions.binary_search(&partition).ok()
    }

    /// Whether everything is verified.
    fn is_whole(&self) -> bool {
        self.scope.is_whole() && self.partitions.len() == self.views.partitions as usize
    }
}

/// Refolds every partition from offset 0 up to its stored checkpoint (to the end where there is none) and compares
/// every row of every view: keys, columns and write timestamps. At most `differences_max` differences are described;
/// all are counted. The views may be written meanwhile.
///
/// # Errors
/// When log or store cannot be read, or when the log does not hold what the views were made from.
pub async fn verify(views: &Views, differences_max: usize) -> Result<Report, VerifyError> {
    verify_with(views, &VerifyOptions { differences_max, ..VerifyOptions::default() }).await
}

/// As [`verify`], as the options say.
///
/// # Errors
/// As [`verify`]; also for options that name what is not there, and when it is stopped.
pub async fn verify_with(views: &Views, options: &VerifyOptions) -> Result<Report, VerifyError> {
    let began = Instant::now();
    if let Some(number) = options.mend.filter(|number| !(1..=MENDS_MAX).contains(number)) {
        return Err(VerifyError::MendNumber { number });
    }
    let partitions = partitions(views, options)?;
    let meter = Meter::new(options.stop.clone(), options.on_progress.clone()).at(options.pace.clone());
    let mut grounds = Vec::new();
    for partition in &partitions {
        grounds.push(Ground::of(views, *partition, options.held.as_ref()).await?);
    }
    let records = grounds.iter().map(|ground| ground.until.unsigned_abs()).max().unwrap_or(0);
    let job = Arc::new(Job {
        views: views.clone(),
        scope: Scope::new(options.runs.clone(), records),
        partitions,
        threads: options.threads.max(1),
        records_at_once: options.records_at_once.max(1),
        differences_max: options.differences_max,
        held_bytes_max: options.held_bytes_max,
        held: options.held.clone(),
        mend: options.mend,
        meter,
    });
    let mut report = Report {
        records: grounds.iter().map(|ground| ground.until.unsigned_abs()).sum(),
        behind: grounds.iter().map(|ground| (ground.end - ground.until).unsigned_abs()).sum(),
        ..Report::default()
    };
    let mut findings = Findings::default();
    if let Runs::One(run_id) = options.runs {
        let mut chosen = Chosen::default();
        chosen.extend(job.scope.bucket(owner::Owner::Run(run_id)));
        report.rows_by_table = findings.look(&job, vec![chosen], None).await?;
    } else {
        survey(&job, grounds, &mut report, &mut findings).await?;
    }
    findings.finish(&job, &mut report).await?;
    report.elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

fn partitions(views: &Views, options: &VerifyOptions) -> Result<Vec<u32>, VerifyError> {
    let mut partitions = match (&options.runs, &options.partitions) {
        (Runs::One(run_id), _) => vec![owner::partition_of(*run_id, views.partitions)],
        (_, Some(partitions)) => partitions.clone(),
        (_, None) => (0..views.partitions).collect(),
    };
    partitions.sort_unstable();
    partitions.dedup();
    match partitions.iter().find(|partition| **partition >= views.partitions) {
        Some(partition) => {
            Err(VerifyError::UnknownPartition { partition: *partition, partitions: views.partitions })
        }
        None => Ok(partitions),
    }
}

/// The first look, and a closer one where it says so.
async fn survey(
    job: &Arc<Job>,
    mut grounds: Vec<Ground>,
    report: &mut Report,
    findings: &mut Findings,
) -> Result<(), VerifyError> {
    job.meter.begin("rows", None);
    let summed = stored::sum_up(job, &Arc::new(grounds.clone())).await?;
    for ground in &mut grounds {
        ground.close(&job.views).await?;
    }
    report.rows_by_table.clone_from(&summed.rows_by_table);
    let records: i64 = grounds.iter().map(|ground| ground.end).sum();
    job.meter.begin("records", Some(records.unsigned_abs()));
    let share = job.held_bytes_max / job.threads.min(grounds.len()).max(1);
    let work = grounds.iter().map(|ground| -> Work<survey::Surveyed> {
        let stands_at = shared::stands_at(&summed.shared, ground);
        let survey = Survey::new(&job.views, job.scope.clone(), ground.clone(), stands_at, share);
        let job = Arc::clone(job);
        Box::pin(async move { survey.run(&job.views, job.records_at_once, &job.meter).await })
    });
    let surveyed = threads::each(job.threads, work.collect()).await?;
    report.passes = surveyed.iter().map(|surveyed| surveyed.passes).max().unwrap_or(0);
    findings.strays(summed.strays, summed.stray_count);
    findings.differing(job, &grounds, &summed.sums, surveyed, summed.shared).await
}
