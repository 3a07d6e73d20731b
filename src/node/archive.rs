//! The routes of the archive: the node has the log open, so the node does the work and reports line by line.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidewheel_api::{Code, JsonBody, Problem, json};
use tidewheel_archive::{ArchiveError, Coverage, ExportOptions, JoinedLog, coverage, export, trim, verify};
use tidewheel_engine::config::ConfigSnapshot;
use tidewheel_log::SharedClock;
use tidewheel_projector::Views;
use tidewheel_schemas::{Name, Topic, TopicPartition};
use tidewheel_store::{Generation, SharedStore};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How often somebody who listens is told that work goes on.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
/// Lines on their way to who listens.
const LINES_MAX: usize = 64;

/// What the routes work on.
#[derive(Clone)]
pub(super) struct Archiving {
    pub(super) joined: Option<JoinedLog>,
    pub(super) store: SharedStore,
    pub(super) topic: Topic,
    pub(super) partitions: u32,
    pub(super) config_topic: Topic,
    pub(super) datacenter: Name,
    pub(super) configuration: watch::Receiver<std::sync::Arc<ConfigSnapshot>>,
    pub(super) clock: SharedClock,
    pub(super) stopping: CancellationToken,
}

/// What to seal.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SealUntil {
    /// Only what lies before the first record at or after this time; everything without it.
    #[schema(value_type = Option<String>, example = "2026-01-31T00:00:00Z")]
    #[serde(default)]
    until: Option<Timestamp>,
}

/// What to verify.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyArchive {}

/// What to trim.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrimBefore {
    /// Keep what lies at or behind the first record of this time; keep no more than is needed without it.
    #[schema(value_type = Option<String>, example = "2026-01-31T00:00:00Z")]
    #[serde(default)]
    before: Option<Timestamp>,
}

/// What archive and log hold together.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ArchiveAnswer {
    /// Where the archive is.
    archive: String,
    /// Every partition of this datacenter and of the configuration.
    #[schema(value_type = Vec<Object>)]
    partitions: Vec<Coverage>,
}

/// A line of a report.
#[derive(Debug, Serialize)]
struct Line<T> {
    kind: &'static str,
    #[serde(flatten)]
    what: T,
}

#[derive(Debug, Serialize)]
struct Nothing {}

#[derive(Debug, Serialize)]
struct FailedLine<'a> {
    problem: &'a tidewheel_api::problem::ProblemDetails,
}

pub(super) fn router(archiving: Archiving) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(show, seal))
        .routes(routes!(check))
        .routes(routes!(cut))
        .with_state(archiving)
}

fn problem(error: &ArchiveError) -> Problem {
    let code = if error.is_transient() {
        Code::ArchiveUnavailable
    } else if matches!(error, ArchiveError::Log(_)) {
        Code::LogUnavailable
    } else {
        Code::ArchiveUnusable
    };
    Problem::new(code, error.to_string())
}

impl Archiving {
    fn joined(&self) -> Result<JoinedLog, Problem> {
        self.joined.clone().ok_or_else(|| {
            Problem::new(
                Code::NoArchive,
                "this process has no archive; set `archive` to a folder or bucket, such as file:///var/archive, \
                 for every process",
            )
        })
    }

    /// Every partition of this datacenter.
    fn own(&self) -> Vec<TopicPartition> {
        (0..self.partitions).map(|partition| TopicPartition::new(self.topic.clone(), partition)).collect()
    }

    /// Those, and the configuration's.
    async fn places(&self, joined: &JoinedLog) -> Result<Vec<TopicPartition>, ArchiveError> {
        let count = joined.log().partitions(&self.config_topic).await?.unwrap_or(0);
        let config = (0..count).map(|partition| TopicPartition::new(self.config_topic.clone(), partition));
        Ok(self.own().into_iter().chain(config).collect())
    }

    /// Below what offset nobody needs the log itself: every generation's views have gone on, and whoever resumes them
    /// finds the record they stand on.
    async fn free_below(&self, place: &TopicPartition) -> Result<i64, Problem> {
        let generations: Vec<u32> =
            self.configuration.borrow().views(&self.datacenter).generations.keys().copied().collect();
        let mut free = i64::MAX;
        for generation in generations {
            let views = Views::new(std::sync::Arc::clone(&self.store), Generation(generation));
            let checkpoint = views.checkpoint(place.partition).await.map_err(|error| {
                Problem::new(Code::ViewUnavailable, format!("how far the views are cannot be read: {error}"))
            })?;
            free = free.min(checkpoint.map_or(0, |checkpoint| checkpoint.control.next_offset - 1));
        }
        Ok(free.max(0))
    }
}

/// Shows what archive and log hold.
#[utoipa::path(
    get,
    path = "/v1/replay/archive",
    tag = "node",
    operation_id = "show_archive",
    responses(
        (status = 200, description = "Every partition", body = ArchiveAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show(State(archiving): State<Archiving>) -> Result<Response, Problem> {
    let joined = archiving.joined()?;
    let mut partitions = Vec::new();
    for place in archiving.places(&joined).await.map_err(|error| problem(&error))? {
        let found = coverage(&**joined.log(), joined.archive(), &place).await;
        partitions.push(found.map_err(|error| problem(&error))?);
    }
    Ok(json(StatusCode::OK, &ArchiveAnswer { archive: joined.archive().to_string(), partitions }))
}

/// Seal what the archive does not have yet.
///
/// The answer is NDJSON: a line `sealed` for each range, `exported` for each partition, then `done`, or `failed` with
/// the problem. Empty lines say that work goes on. It ends with the connection; asked again, it goes on.
#[utoipa::path(
    post,
    path = "/v1/replay/archive",
    tag = "node",
    operation_id = "export_archive",
    request_body = SealUntil,
    responses(
        (status = 200, description = "The report", content_type = "application/x-ndjson"),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn seal(State(archiving): State<Archiving>, body: JsonBody) -> Result<Response, Problem> {
    let until_us = body.parse::<SealUntil>()?.until.map(Timestamp::as_microsecond);
    let joined = archiving.joined()?;
    let places = archiving.places(&joined).await.map_err(|error| problem(&error))?;
    let options =
        ExportOptions { until_us, ..ExportOptions::new(places, SharedClock::clone(&archiving.clock)) };
    Ok(archiving.report(move |lines| async move {
        let (progress, mut heard) = mpsc::channel(LINES_MAX);
        let work = export(joined.log(), joined.archive(), &options, &progress);
        tokio::pin!(work);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                Some(sealed) = heard.recv() => lines.say("sealed", sealed).await,
            }
        };
        while let Ok(sealed) = heard.try_recv() {
            lines.say("sealed", sealed).await;
        }
        for exported in outcome.map_err(|error| problem(&error))? {
            lines.say("exported", exported).await;
        }
        Ok(())
    }))
}

/// Read the archive back.
///
/// The answer is NDJSON: a line `verified` for each partition, then `done`, or `failed` with the problem.
#[utoipa::path(
    post,
    path = "/v1/replay/archive/verify",
    tag = "node",
    operation_id = "verify_archive",
    request_body = VerifyArchive,
    responses(
        (status = 200, description = "The report", content_type = "application/x-ndjson"),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn check(State(archiving): State<Archiving>, body: JsonBody) -> Result<Response, Problem> {
    let VerifyArchive {} = body.parse()?;
    let joined = archiving.joined()?;
    let places = archiving.places(&joined).await.map_err(|error| problem(&error))?;
    Ok(archiving.report(move |lines| async move {
        for place in places {
            let report = verify(&**joined.log(), joined.archive(), &place).await;
            lines.say("verified", report.map_err(|error| problem(&error))?).await;
        }
        Ok(())
    }))
}

/// Trim the log.
///
/// Removed is what the archive holds, what was read back from it in this very request, what lies below every generation
/// of the views, and, with `before`, what is older. The configuration is never trimmed. The answer is NDJSON: a line
/// `trimmed` for each partition, then `done`, or `failed` with the problem.
#[utoipa::path(
    post,
    path = "/v1/replay/archive/trim",
    tag = "node",
    operation_id = "trim_log",
    request_body = TrimBefore,
    responses(
        (status = 200, description = "The report", content_type = "application/x-ndjson"),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn cut(State(archiving): State<Archiving>, body: JsonBody) -> Result<Response, Problem> {
    let before_us = body.parse::<TrimBefore>()?.before.map(Timestamp::as_microsecond);
    let joined = archiving.joined()?;
    if !archiving.configuration.borrow().is_complete {
        let detail = "the configuration is still being read, and with it which views there are; try again";
        return Err(Problem::new(Code::NotReady, detail));
    }
    let mut free = BTreeMap::new();
    for place in archiving.own() {
        let mut below = archiving.free_below(&place).await?;
        if let Some(before_us) = before_us {
            let found = joined.log().offset_for_time(&place, before_us).await;
            below = below.min(found.map_err(|error| problem(&ArchiveError::Log(error)))?);
        }
        free.insert(place, below);
    }
    Ok(archiving.report(move |lines| async move {
        let done = trim(joined.log(), joined.archive(), &free).await;
        for trimmed in done.map_err(|error| problem(&error))? {
            lines.say("trimmed", trimmed).await;
        }
        Ok(())
    }))
}

/// Where a report's lines go. Nobody has to listen.
#[derive(Clone)]
struct Lines(mpsc::Sender<Bytes>);

impl Lines {
    async fn say(&self, kind: &'static str, what: impl Serialize) {
        let mut line = serde_json::to_vec(&Line { kind, what }).unwrap_or_default();
        line.push(b'\n');
        let _ = self.0.send(line.into()).await;
    }
}

impl Archiving {
    /// Begins work whose report is the answer; it ends when nobody listens any more.
    fn report<W, F>(&self, work: W) -> Response
    where
        W: FnOnce(Lines) -> F + Send + 'static,
        F: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        let (sender, received) = mpsc::channel(LINES_MAX);
        let (lines, stopping) = (Lines(sender), self.stopping.clone());
        let task = tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = work(lines.clone()) => outcome,
                () = stopping.cancelled() => {
                    Err(Problem::new(Code::NotReady, "the process stops; ask again, and it goes on"))
                }
            };
            match outcome {
                Ok(()) => lines.say("done", Nothing {}).await,
                Err(problem) => lines.say("failed", FailedLine { problem: problem.details() }).await,
            }
        });
        let state = (received, AbortOnDropHandle::new(task));
        let body = futures::stream::unfold(state, |(mut received, task)| async move {
            let line = match tokio::time::timeout(ALIVE_EVERY, received.recv()).await {
                Ok(Some(line)) => line,
                Ok(None) => return None,
                Err(_) => Bytes::from_static(b"\n"),
            };
            Some((Ok::<_, Infallible>(line), (received, task)))
        });
        ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response()
    }
}
