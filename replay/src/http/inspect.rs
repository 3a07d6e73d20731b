//! The routes that look into the past: a run as it stood, what changed between two places, a list of runs, and the records
//! of a run as they lie in the log. They read the log alone, from its beginning, on a thread of their own.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use tidewheel_api::{Code, Namespace, Problem, Query, RunPath, Time, json, page_items};
use tidewheel_engine::Run;
use tidewheel_projector::query::history::EntryAnswer;
use tidewheel_schemas::{Name, Position, RunId, TopicFamily};
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

use super::Examine;
use crate::inspect::state::RunState;
use crate::inspect::{AsOf, Change, LookError, Looking, Past, Wanted, changes, list};
use crate::step::Recorded;
use crate::step::recording::{Page, page};
use crate::thread;
use crate::verify::Stop;

/// Entries of a history that are shown unless the request says otherwise.
const ENTRIES: usize = 100;
/// Entries between two places that are shown at most.
const ENTRIES_MAX: usize = 1_000;
/// Runs of a list unless the request says otherwise.
const RUNS: u32 = 50;

fn as_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AsOf>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

/// Where to look.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PastParameters {
    /// A time (RFC 3339), a position as an earlier answer gave it, or an offset of the run's partition; the end of the
    /// log unless said.
    #[serde(default, deserialize_with = "as_of")]
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
    /// Newest entries of the history to show, 1 to 1000; 100 unless said.
    limit: Option<u32>,
}

/// Between which places to look.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DiffParameters {
    /// The earlier place: a time, a position or an offset.
    #[serde(default, deserialize_with = "as_of")]
    #[param(value_type = String)]
    from: Option<AsOf>,
    /// The later one; the end of the log unless said.
    #[serde(default, deserialize_with = "as_of")]
    #[param(value_type = Option<String>)]
    to: Option<AsOf>,
}

/// Which runs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PastListParameters {
    /// A time (RFC 3339); now unless said.
    #[serde(default, deserialize_with = "as_of")]
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
    /// Only runs of this workflow.
    #[param(value_type = Option<String>)]
    workflow: Option<Name>,
    /// Only runs that had this status.
    status: Option<String>,
    /// Most runs to list, 1 to 1000; 50 unless said.
    limit: Option<u32>,
}

/// Which records to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RecordParameters {
    /// The offset to begin at: `next_offset` of the page before.
    from: Option<u64>,
    /// Most records to answer, 1 to 1000; 1000 unless said. Large ones end a page earlier.
    limit: Option<u32>,
}

/// A place of the log that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlaceAnswer {
    /// The partition of the run.
    pub partition: u32,
    /// Offset of the last record before the look, of whatever run; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Its position.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub position: Option<Position>,
    /// When that record was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<Time>,
}

/// An entry of a history, and where its record lies in the run's partition.
#[derive(Debug, Serialize, ToSchema)]
pub struct PastEntry {
    /// The offset of its record.
    pub offset: i64,
    /// The entry.
    #[serde(flatten)]
    pub entry: EntryAnswer,
}

/// A run as it stood.
#[derive(Debug, Serialize, ToSchema)]
pub struct PastAnswer {
    /// Where this is as of.
    pub as_of: PlaceAnswer,
    /// The run.
    pub run: RunState,
    /// The newest entries of its history then, oldest first.
    pub history: Vec<PastEntry>,
    /// Records that were read for it.
    pub records_read: u64,
}

/// What changed between two places.
#[derive(Debug, Serialize, ToSchema)]
pub struct DiffAnswer {
    /// The earlier place.
    pub from: PlaceAnswer,
    /// The later one.
    pub to: PlaceAnswer,
    /// The fields that differ.
    pub changes: Vec<Change>,
    /// The newest records that the run accepted in between, up to 1,000, oldest first.
    pub history: Vec<PastEntry>,
    /// Records that were read for it.
    pub records_read: u64,
}

/// Runs as they stood.
#[derive(Debug, Serialize, ToSchema)]
pub struct PastListAnswer {
    /// The runs, newest first.
    pub runs: Vec<RunState>,
    /// Records that were read for it.
    pub records_read: u64,
}

/// A page of the records of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordsAnswer {
    /// The run.
    #[schema(value_type = String, format = Uuid)]
    pub run_id: RunId,
    /// Its records, in the order of offsets.
    pub records: Vec<Recorded>,
    /// Pass it as `from` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<i64>,
}

/// Asks the work to stop when nobody waits for it.
struct Waits(Stop);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Examine {
    fn past(&self) -> Past {
        let replaying = self.replaying();
        Past {
            log: std::sync::Arc::clone(&replaying.log),
            topic: replaying.topic.clone(),
            partitions: replaying.partitions,
        }
    }

    /// Looks, on a thread of its own, and no longer than somebody waits for it.
    async fn look<T, F>(&self, work: impl FnOnce(Past, Stop) -> F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let closed = |_| Problem::new(Code::NotReady, "the node is stopping").retry_after_ms(1_000);
        let permit = std::sync::Arc::clone(self.looks()).acquire_owned().await.map_err(closed)?;
        let stop = Stop::default();
        let _waits = Waits(stop.clone());
        let work = work(self.past(), stop);
        let failed = |error: std::io::Error| {
            Problem::new(Code::Internal, format!("no thread can be started: {error}")).retry_after_ms(1_000)
        };
        let (sender, looked) = oneshot::channel();
        let run = async move {
            // Whoever went away needs no answer.
            let _ = sender.send(work.await);
            drop(permit);
        };
        thread::spawn("look", run).map_err(failed)?;
        let ended = |_| Problem::new(Code::Internal, "the look ended without an answer");
        tokio::select! {
            looked = looked => looked.map_err(ended)?,
            () = self.stopping().cancelled() => {
                Err(Problem::new(Code::NotReady, "the node is stopping").retry_after_ms(1_000))
            }
        }
    }

    fn position(&self, looking: &Looking, offset: i64) -> Option<Position> {
        let log = looking.log()?;
        Some(Position {
            log_id: log.log_id,
            family: TopicFamily::WorkflowEvents,
            datacenter: self.datacenter(),
            partition: looking.partition(),
            offset,
        })
    }

    fn place(&self, looking: &Looking) -> PlaceAnswer {
        let last = looking.last();
        PlaceAnswer {
            partition: looking.partition(),
            offset: last.map(|last| last.offset),
            position: last.and_then(|last| self.position(looking, last.offset)),
            recorded_at: last.map(|last| Time(last.recorded_at_us)),
        }
    }

    /// The newest entries of a run after entry `after`.
    fn entries(&self, looking: &Looking, run: &Run, after: u64, limit: usize) -> Vec<PastEntry> {
        let entries = (1_u64..).zip(&run.history).filter(|(number, _)| *number > after);
        let entries: Vec<_> = entries.collect();
        let newest = entries.iter().skip(entries.len().saturating_sub(limit));
        newest
            .filter_map(|(number, entry)| {
                let position = self.position(looking, entry.offset)?;
                Some(PastEntry { offset: entry.offset, entry: EntryAnswer::new(*number, entry, position) })
            })
            .collect()
    }
}

fn not_found() -> Problem {
    Problem::new(Code::RunNotFound, "there was no such run in this namespace at that place of the log")
}

/// The run, if it is one of the namespace.
fn found<'a>(looking: &'a Looking, namespace: &Name) -> Result<&'a Run, Problem> {
    looking.run().filter(|run| run.header.namespace == *namespace).ok_or_else(not_found)
}

fn problem(error: LookError) -> Problem {
    let code = match &error {
        LookError::Log(_) => Code::LogUnavailable,
        LookError::Trimmed { .. } => Code::LogTrimmed,
        LookError::Foreign { .. } => Code::ForeignPosition,
        LookError::Backwards { .. } => Code::InvalidParameter,
        LookError::TooMany(_) => Code::OverLimit,
        LookError::Stopped => Code::NotReady,
        LookError::Fold(_) => Code::Internal,
    };
    Problem::new(code, error.to_string())
}

/// Read a run as it stood at a place of the log.
///
/// Told by the log alone, from its beginning, so that it is true whatever the views say.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}/runs/{run_id}/past",
    tag = "replays",
    operation_id = "get_past_run",
    params(
        ("ns" = String, Path, description = "The namespace"),
        ("run_id" = String, Path, description = "The run"),
        PastParameters,
    ),
    responses(
        (status = 200, description = "The run as it stood", body = PastAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_past_run(
    State(examine): State<Examine>,
    RunPath { namespace, run_id }: RunPath,
    Query(parameters): Query<PastParameters>,
) -> Result<Response, Problem> {
    let limit = if parameters.limit.is_none() { ENTRIES } else { page_items(parameters.limit)? };
    let as_of = parameters.as_of.unwrap_or(AsOf::Now);
    let shown = examine.clone();
    let answer = examine.look(move |past, stop| async move {
        let mut looking = Looking::at(&past, run_id, stop).await.map_err(problem)?;
        looking.go(as_of).await.map_err(problem)?;
        let run = found(&looking, &namespace)?;
        Ok(PastAnswer {
            as_of: shown.place(&looking),
            run: RunState::of(run),
            history: shown.entries(&looking, run, 0, limit),
            records_read: looking.records_read(),
        })
    });
    Ok(json(StatusCode::OK, &answer.await?))
}

/// Read what changed in a run between two places of the log.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}/runs/{run_id}/past/diff",
    tag = "replays",
    operation_id = "diff_past_run",
    params(
        ("ns" = String, Path, description = "The namespace"),
        ("run_id" = String, Path, description = "The run"),
        DiffParameters,
    ),
    responses(
        (status = 200, description = "What changed", body = DiffAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn diff_past_run(
    State(examine): State<Examine>,
    RunPath { namespace, run_id }: RunPath,
    Query(parameters): Query<DiffParameters>,
) -> Result<Response, Problem> {
    let from = parameters.from.ok_or_else(|| {
        Problem::new(Code::MissingParameter, "`from` is missing; give the earlier place").field("from")
    })?;
    let to = parameters.to.unwrap_or(AsOf::Now);
    let shown = examine.clone();
    let answer = examine.look(move |past, stop| async move {
        let state = |run: Option<&Run>| {
            run.map_or(serde_json::Value::Null, |run| {
                serde_json::to_value(RunState::of(run)).unwrap_or_default()
            })
        };
        let mut looking = Looking::at(&past, run_id, stop).await.map_err(problem)?;
        looking.go(from).await.map_err(problem)?;
        let from = shown.place(&looking);
        let (before, version) = (state(looking.run()), looking.run().map_or(0, |run| run.header.version));
        looking.go(to).await.map_err(problem)?;
        let run = found(&looking, &namespace)?;
        Ok(DiffAnswer {
            from,
            to: shown.place(&looking),
            changes: changes(&before, &state(Some(run))),
            history: shown.entries(&looking, run, version, ENTRIES_MAX),
            records_read: looking.records_read(),
        })
    });
    Ok(json(StatusCode::OK, &answer.await?))
}

/// List the runs of a namespace as they stood at a time, newest first.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}/past",
    tag = "replays",
    operation_id = "list_past_runs",
    params(("ns" = String, Path, description = "The namespace"), PastListParameters),
    responses(
        (status = 200, description = "The runs as they stood", body = PastListAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_past_runs(
    State(examine): State<Examine>,
    Namespace(namespace): Namespace,
    Query(parameters): Query<PastListParameters>,
) -> Result<Response, Problem> {
    let limit = page_items(parameters.limit.or(Some(RUNS)))?;
    let time_us = match parameters.as_of {
        None | Some(AsOf::Now) => i64::MAX,
        Some(AsOf::TimeUs(time_us)) => time_us,
        Some(AsOf::Offset(_) | AsOf::Position(_)) => {
            let detail = "a list is of several partitions: give a time such as 2026-11-22T03:00:00Z";
            return Err(Problem::new(Code::InvalidParameter, detail).field("as_of"));
        }
    };
    if let Some(status) = &parameters.status
        && tidewheel_engine::RunStatus::from_text(status).is_none()
    {
        let known =
            tidewheel_engine::RunStatus::ALL.iter().map(|status| status.as_str().to_owned()).collect();
        let detail = "there is no such status; use one of `known`";
        return Err(Problem::new(Code::InvalidParameter, detail).field("status").known(known));
    }
    let (workflow, status) = (parameters.workflow, parameters.status);
    let wanted = Wanted { namespace, workflow, status, time_us, limit };
    let answer = examine.look(move |past, stop| async move {
        let listed = list(&past, &wanted, &stop).await.map_err(problem)?;
        let runs = listed.runs.into_iter().map(|listed| listed.run).collect();
        Ok(PastListAnswer { runs, records_read: listed.records_read })
    });
    Ok(json(StatusCode::OK, &answer.await?))
}

/// Read the records of a run as they lie in the log, with what it takes to fold them.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}/runs/{run_id}/records",
    tag = "replays",
    operation_id = "get_records",
    params(
        ("ns" = String, Path, description = "The namespace"),
        ("run_id" = String, Path, description = "The run"),
        RecordParameters,
    ),
    responses(
        (status = 200, description = "A page of the records", body = RecordsAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_records(
    State(examine): State<Examine>,
    RunPath { namespace, run_id }: RunPath,
    Query(parameters): Query<RecordParameters>,
) -> Result<Response, Problem> {
    let limit = page_items(parameters.limit.or(Some(1_000)))?;
    let from = parameters.from.map_or(Ok(0), i64::try_from);
    let from =
        from.map_err(|_| Problem::new(Code::InvalidParameter, "no offset is that high").field("from"))?;
    let answer = examine.look(move |past, stop| async move {
        let found = page(&past, run_id, &namespace, from, limit, &stop).await.map_err(problem)?;
        let Page { records, next_offset } = found.ok_or_else(not_found)?;
        Ok(RecordsAnswer { run_id, records, next_offset })
    });
    Ok(json(StatusCode::OK, &answer.await?))
}
