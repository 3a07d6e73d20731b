//! `GET …/runs/{run_id}/events`: follows a run as server-sent events, one per record, until its end.
//!
//! A follower reads the views at its own pace and keeps one page, however fast the run is.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as SentEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use tidewheel_api::waiting::Follower;
use tidewheel_api::{Code, Problem, Query, RunPath};
use tidewheel_engine::HistoryEntry;
use tidewheel_schemas::{Name, RunId};

use super::history::EntryAnswer;
use super::run::ReadParameters;
use super::{READ_TIMEOUT, Reads, store_problem};

const PAGE_ENTRIES: usize = 32;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Following {
    reads: Reads,
    namespace: Name,
    run_id: RunId,
    partition: u32,
    follower: Follower,
    /// Whether the views were seen holding all that the follower was not told.
    caught_up: bool,
    /// The number of the next entry to send.
    next: u64,
    page: VecDeque<(u64, HistoryEntry)>,
    ended: bool,
}

impl Following {
    /// The next entry; `None` after the last one of a finished run, or when the node stops.
    async fn entry(&mut self) -> Result<Option<(u64, HistoryEntry)>, Problem> {
        loop {
            if let Some((number, entry)) = self.page.pop_front() {
                self.next = number + 1;
                return Ok(Some((number, entry)));
            }
            let stored = self.reads.find(&self.namespace, self.run_id).await?;
            let version = stored.header.version;
            if self.next <= version {
                let views = self.reads.views();
                let entries = views.entries(self.run_id, self.next, version, PAGE_ENTRIES).await;
                self.page = entries.map_err(|error| store_problem(&error))?.into();
                if !self.page.is_empty() {
                    continue;
                }
            }
            if stored.header.status.is_finished() {
                return Ok(None);
            }
            if !self.caught_up {
                self.caught_up = true;
                // A wait that ends early only means one more look at the views.
                let _ = self.reads.catch_up(self.partition, READ_TIMEOUT).await;
                continue;
            }
            let standing = tokio::select! {
                standing = self.follower.next() => standing,
                () = self.reads.shared.options.stopping.cancelled() => return Ok(None),
            };
            self.reads = self.reads.renewed();
            let _ = self.reads.projector.wait_applied(self.partition, standing.offset, READ_TIMEOUT).await;
        }
    }

    async fn event(mut self) -> Option<(Result<SentEvent, Infallible>, Self)> {
        if self.ended {
            return None;
        }
        let sent = match self.entry().await {
            Ok(None) => return None,
            Ok(Some((number, entry))) => match self.reads.position(self.partition, entry.offset) {
                Ok(position) => {
                    let answer = EntryAnswer::new(number, &entry, position);
                    SentEvent::default()
                        .id(number.to_string())
                        .event(answer.event_type)
                        .json_data(&answer)
                        .unwrap_or_else(|_| SentEvent::default().event("problem"))
                }
                Err(problem) => self.problem(&problem),
            },
            Err(problem) => self.problem(&problem),
        };
        Some((Ok(sent), self))
    }

    fn problem(&mut self, problem: &Problem) -> SentEvent {
        self.ended = true;
        SentEvent::default()
            .event("problem")
            .json_data(problem)
            .unwrap_or_else(|_| SentEvent::default().event("problem"))
    }
}

/// Follow a run.
///
/// One event per record: its `event` is the record's type, its `id` the record's number, its data as in the
/// history. `Last-Event-ID` resumes after that number. The stream ends after the record that ended the run; an
/// event `problem` carries what else ended it.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}/runs/{run_id}/events",
    tag = "runs",
    operation_id = "follow_run",
    params(
        ("ns" = String, Path, description = "The namespace"),
        ("run_id" = String, Path, description = "The run"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last record seen"),
        ReadParameters,
    ),
    responses(
        (status = 200, description = "The records as they come", body = EntryAnswer, content_type = "text/event-stream"),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn follow_run(
    State(reads): State<Reads>,
    RunPath { namespace, run_id }: RunPath,
    Query(parameters): Query<ReadParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seen = match headers.get("last-event-id") {
        None => 0,
        Some(value) => value.to_str().ok().and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| {
            Problem::new(Code::InvalidParameter, "`Last-Event-ID` must be the id of an event of this stream")
                .field("Last-Event-ID")
        })?,
    };
    // Before the views are read: nothing may fall in between.
    let follower = reads.shared.waiting.follow(run_id);
    reads.reach_for(&parameters).await?;
    let partition = reads.find(&namespace, run_id).await?.partition;
    let next = seen.saturating_add(1);
    let following = Following {
        reads,
        namespace,
        run_id,
        partition,
        follower,
        caught_up: false,
        next,
        page: VecDeque::new(),
        ended: false,
    };
    let stream = futures::stream::unfold(following, Following::event);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}
