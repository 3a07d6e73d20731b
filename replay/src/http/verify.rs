//! `POST /v1/replay/verify`: compares the views with the log, and mends them. The answer is told line by line while the
//! work is done, and the work ends with the request.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use tidewheel_api::{Code, JsonBody, Principal, Problem};
use tidewheel_schemas::RunId;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use super::scope::WantedScope;
use super::{Examine, select};
use crate::pace::Pace;
use crate::selection::Selection;
use crate::thread;
use crate::verified::Verified;
use crate::verify::meter::Meter;
use crate::verify::{Report, Runs, Stop, VerifyError, VerifyOptions, Views, verify_with};

/// Lines that wait for a slow reader; progress beyond that is not told.
const LINES_MAX: usize = 64;
/// Differences that may be described.
const DIFFERENCES_MAX: usize = 10_000;
/// Differences that are described unless the request says otherwise.
const DIFFERENCES: usize = 20;
/// Records that the first look folds into rows at a time.
pub(crate) const RECORDS_AT_ONCE: usize = 1_024;
/// Mebibytes of runs and rows that may be held.
const HELD_MIB_MIN: u32 = 1;

/// What to verify.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyViews {
    /// The build of the views; the one that is read unless said.
    generation: Option<u32>,
    /// Only these partitions.
    partitions: Option<Vec<u32>>,
    /// Only this run.
    #[schema(value_type = Option<String>, format = Uuid)]
    run_id: Option<RunId>,
    /// Only one run of so many, always the same ones.
    sample: Option<u64>,
    /// Differences to describe, up to 10,000; 20 unless said. All are counted.
    differences: Option<usize>,
    /// Mebibytes of runs and rows to hold at once; 256 unless said. With fewer the log is read more often.
    held_mib: Option<u32>,
    /// Threads to work on; one for each processor unless said.
    threads: Option<usize>,
    /// Only the runs of this scope, as a backfill selects them; the partitions are its own.
    scope: Option<WantedScope>,
    /// Most records to fold in a second; as many as can be if absent.
    records_per_second: Option<u64>,
    /// Mend what differs, where that can be done in place.
    #[serde(default)]
    mend: bool,
}

/// The last line of an answer.
#[derive(Debug, Serialize)]
struct Reported {
    generation: u32,
    #[serde(flatten)]
    report: Report,
}

/// Asks the work to stop when nobody reads its answer.
struct Reader {
    lines: ReceiverStream<Bytes>,
    stop: Stop,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// Compare the views with the log, and mend them.
///
/// The answer is one JSON object a line: `{"progress": …}` about once a second, and at last `{"report": …}` or
/// `{"problem": …}`. One verification at a time; it ends when the client goes away.
#[utoipa::path(
    post,
    path = "/v1/replay/verify",
    tag = "replays",
    operation_id = "verify_views",
    request_body = VerifyViews,
    responses(
        (status = 200, description = "Progress and the report, line by line", content_type = "application/x-ndjson"),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn verify_views(
    State(examine): State<Examine>,
    principal: Principal,
    body: JsonBody,
) -> Result<Response, Problem> {
    let asked: VerifyViews = body.parse()?;
    let views = examine.views(asked.generation)?;
    let selecting = examine.selecting(&asked).await?;
    let (mut options, mend) = examine.options(asked)?;
    options.held = examine.held(views.generation);
    let permit = Arc::clone(examine.verifications()).try_acquire_owned().map_err(|_| {
        let detail = "a verification is running in this process; wait until it is done, or end it";
        Problem::new(Code::VerificationRunning, detail).retry_after_ms(5_000)
    })?;
    let (sender, lines) = mpsc::channel(LINES_MAX);
    let progress = sender.clone();
    options.on_progress = Some(Arc::new(move |told| {
        // A reader that is slow misses some of it.
        let _ = progress.try_send(line("progress", &told));
    }));
    let stop = options.stop.clone();
    let stopping = examine.stopping().clone();
    let mend = mend.then(|| (examine.clone(), principal));
    let verified = examine.replaying().verified.clone();
    let work = Work { views, options, selecting, mend, sender, permit, verified };
    let stopped = stop.clone();
    let ended = tokio_util::sync::CancellationToken::new();
    let watched = ended.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => stopped.stop(),
            () = watched.cancelled() => {}
        }
    });
    work.start(ended.drop_guard())?;
    let reader = Reader { lines: ReceiverStream::new(lines), stop };
    let lines = futures::stream::unfold(reader, |mut reader| async move {
        let line = reader.lines.next().await?;
        Some((Ok::<_, Infallible>(line), reader))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// What selects the runs to verify, and where the log ended when that was asked for.
struct Selecting {
    selection: Selection,
    ends: Vec<i64>,
}

impl Examine {
    /// The scope of a verification, if it has one.
    async fn selecting(&self, asked: &VerifyViews) -> Result<Option<Selecting>, Problem> {
        let Some(scope) = &asked.scope else { return Ok(None) };
        if asked.partitions.is_some() || asked.run_id.is_some() || asked.sample.is_some() {
            let detail = "a scope says itself which partitions and runs it is about; leave the others out";
            return Err(Problem::new(Code::InvalidField, detail).field("scope"));
        }
        let replaying = self.replaying();
        let ends = replaying.ends().await.ok_or_else(|| {
            let detail = "the log does not say where it ends; try again";
            Problem::new(Code::LogUnavailable, detail).retry_after_ms(1_000)
        })?;
        let scope = Arc::new(replaying.scope(scope, &ends)?);
        let selection =
            Selection::new(scope, replaying.partitions).map_err(|error| select::problem(&error))?;
        Ok(Some(Selecting { selection, ends }))
    }

    /// The options of a verification, and whether it mends.
    fn options(&self, asked: VerifyViews) -> Result<(VerifyOptions, bool), Problem> {
        let invalid =
            |field: &'static str, detail: String| Err(Problem::new(Code::InvalidField, detail).field(field));
        let partitions = self.replaying().partitions;
        if let Some(partition) = asked.partitions.iter().flatten().find(|partition| **partition >= partitions)
        {
            let detail = format!("there is no partition {partition}; there are {partitions}, counted from 0");
            return invalid("partitions", detail);
        }
        if asked.partitions.as_ref().is_some_and(Vec::is_empty) {
            return invalid("partitions", "no partition is named; leave it out for all of them".to_owned());
        }
        let runs = match (asked.run_id, asked.sample) {
            (Some(_), Some(_)) => {
                return invalid(
                    "sample",
                    "a sample of one run makes no sense; leave out one of both".to_owned(),
                );
            }
            (Some(run_id), None) => Runs::One(run_id),
            (None, Some(0)) => return invalid("sample", "one run of so many: at least 1".to_owned()),
            (None, Some(sample)) => Runs::Sample(sample),
            (None, None) => Runs::Every,
        };
        let differences_max = asked.differences.unwrap_or(DIFFERENCES);
        if differences_max > DIFFERENCES_MAX {
            return invalid("differences", format!("at most {DIFFERENCES_MAX} are described"));
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let threads = asked.threads.unwrap_or(cores);
        if !(1..=cores).contains(&threads) {
            return invalid("threads", format!("this machine has {cores} processors; give 1 to {cores}"));
        }
        if asked.records_per_second == Some(0) {
            return invalid("records_per_second", "at 0 records in a second it never ends".to_owned());
        }
        let mut options = VerifyOptions {
            pace: asked.records_per_second.map(Pace::constant),
            differences_max,
            partitions: asked.partitions,
            runs,
            threads,
            records_at_once: RECORDS_AT_ONCE,
            ..VerifyOptions::default()
        };
        if let Some(mib) = asked.held_mib {
            if mib < HELD_MIB_MIN {
                return invalid("held_mib", format!("at least {HELD_MIB_MIN}"));
            }
            options.held_bytes_max = (mib as usize).saturating_mul(1024 * 1024);
        }
        Ok((options, asked.mend))
    }
}

/// A verification and who is told of it.
struct Work {
    views: Views,
    options: VerifyOptions,
    selecting: Option<Selecting>,
    /// Who numbers the mend, if one is asked for, and who asks.
    mend: Option<(Examine, Principal)>,
    sender: mpsc::Sender<Bytes>,
    permit: OwnedSemaphorePermit,
    verified: Verified,
}

impl Work {
    /// Begins on a thread of its own: folding is work for a processor, and requests need theirs.
    fn start(self, ended: tokio_util::sync::DropGuard) -> Result<(), Problem> {
        let failed = |error: std::io::Error| {
            Problem::new(Code::Internal, format!("no thread can be started: {error}")).retry_after_ms(1_000)
        };
        let Self { views, options, selecting, mend, sender, permit, verified: noted } = self;
        let run = async move {
            let generation = views.generation;
            let is_whole = options.is_whole() && selecting.is_none();
            let last = match verified(&views, options, selecting, mend).await {
                Ok(report) => {
                    if is_whole || !report.is_clean() {
                        noted.note(generation, &report);
                    }
                    line("report", &Reported { generation: generation.0, report })
                }
                Err(problem) => line("problem", &problem),
            };
            drop(permit);
            // Somebody who went away needs no report.
            let _ = sender.send(last).await;
            drop(ended);
        };
        thread::spawn("verify", run).map_err(failed)
    }
}

/// Verifies, and mends where there is something to mend: the numbers of mends are few.
async fn verified(
    views: &Views,
    mut options: VerifyOptions,
    selecting: Option<Selecting>,
    mend: Option<(Examine, Principal)>,
) -> Result<Report, Problem> {
    if let Some(Selecting { selection, ends }) = selecting {
        let meter = Meter::new(options.stop.clone(), options.on_progress.clone()).at(options.pace.clone());
        options.runs = selection.all(views, &ends, &meter).await.map_err(|error| select::problem(&error))?;
        options.partitions = Some(selection.parts());
        if matches!(&options.runs, Runs::Selected(runs) if runs.is_empty()) {
            let detail = "no run has a record within the scope";
            return Err(Problem::new(Code::NothingToReplay, detail).field("scope"));
        }
    }
    let report = verify_with(views, &options).await.map_err(|error| problem(&error))?;
    let Some((examine, principal)) = mend.filter(|_| report.mendable_count > 0) else {
        return Ok(report);
    };
    options.mend = Some(examine.mend(views.generation, principal).await?);
    verify_with(views, &options).await.map_err(|error| problem(&error))
}

fn line(kind: &str, what: &impl Serialize) -> Bytes {
    let what = serde_json::to_value(what).unwrap_or_default();
    Bytes::from(format!("{}\n", serde_json::json!({ kind: what })))
}

pub(super) fn problem(error: &VerifyError) -> Problem {
    let code = match error {
        VerifyError::Log(_) => Code::LogUnavailable,
        VerifyError::Store(_) => Code::ViewUnavailable,
        VerifyError::Trimmed { .. } | VerifyError::AheadOfLog { .. } => Code::LogTrimmed,
        VerifyError::UnknownPartition { .. } => Code::InvalidField,
        VerifyError::MendNumber { .. } => Code::TooManyMendings,
        VerifyError::Fold(_) | VerifyError::Stopped | VerifyError::Thread(_) => Code::Internal,
    };
    Problem::new(code, error.to_string())
}
