//! `GET …/runs/{run_id}/history`: what happened in a run, record by record.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewheel_api::{
    AtLeast, Code, Cursor, DurationParameter, PayloadAnswer, Problem, Query, RunPath, Time, json, page_items,
};
use tidewheel_engine::HistoryEntry;
use tidewheel_engine::run::Origin;
use tidewheel_schemas::{Event, EventId, Failure, Location, Payload, Position, RunId};
use utoipa::{IntoParams, ToSchema};

use super::{Reads, store_problem};

/// The number of this list in its cursors.
const LIST: u8 = 2;

/// Parameters of a history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryParameters {
    /// Most entries to answer, 1 to 1000; 100 unless said. Large payloads end a page earlier.
    limit: Option<u32>,
    /// Where the page before ended: its `next_cursor`.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Answer with no older state than this position, as an earlier answer gave it.
    #[param(value_type = Option<String>)]
    at_least: Option<AtLeast>,
    /// How long to wait for `at_least`; 10s unless said.
    #[param(value_type = Option<String>)]
    timeout: Option<DurationParameter>,
}

/// A page of a run's history, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryPage {
    /// The run.
    #[schema(value_type = String, format = Uuid)]
    pub run_id: RunId,
    /// The entries.
    pub entries: Vec<EntryAnswer>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor>,
}

/// One record of a run. Which fields there are depends on its type.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryAnswer {
    /// Its number in the run, from 1.
    pub number: u64,
    /// What happened, such as `step-completed`.
    #[serde(rename = "type")]
    pub event_type: &'static str,
    /// When it was written.
    pub recorded_at: Time,
    /// The event.
    #[schema(value_type = String, format = Uuid)]
    pub event_id: EventId,
    /// Where it lies in the log.
    #[schema(value_type = String)]
    pub position: Position,
    /// Its ordinal among the records from outside; 0 for the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u64>,
    /// How many records from outside it was decided on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
    /// What happened there.
    #[serde(flatten)]
    pub what: EventAnswer,
}

/// The fields of an event.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct EventAnswer {
    /// Where in the workflow: dotted numbers from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub location: Option<Location>,
    /// Name of the workflow, step or signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<tidewheel_schemas::Name>,
    /// Which attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// When a timer ends, a wait times out or a step is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Time>,
    /// Ordinals of the signals taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signals: Option<Vec<i64>>,
    /// Places whose awaits were cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub locations: Option<Vec<Location>>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<tidewheel_api::run::RunError>)]
    pub error: Option<Failure>,
    /// The run a signal was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub target: Option<RunId>,
    /// Why it was cancelled, terminated, or let go on without a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The key the run's id derives from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The run's tags from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// What the code does there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What the history says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// The offset of the record that had parked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked_at: Option<i64>,
    /// The input, output, signal's content or state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<PayloadAnswer>,
}

impl EventAnswer {
    /// The fields of this event.
    pub fn of(event: &Event) -> Self {
        let shown = |payload: &Payload| Some(PayloadAnswer(payload.clone()));
        let at = |location: &Location| Some(location.clone());
        let none = Self::default();
        match event {
            Event::RunStarted(event) => Self {
                name: Some(event.workflow.clone()),
                key: event.key.clone(),
                tags: Some(event.tags.clone()),
                payload: shown(&event.input),
                ..none
            },
            Event::RunSignaled(event) => {
                Self { name: Some(event.name.clone()), payload: shown(&event.payload), ..none }
            }
            Event::RunCancelRequested(event) => Self { reason: Some(event.reason.clone()), ..none },
            Event::RunTerminated(event) => Self { reason: Some(event.reason.clone()), ..none },
            Event::RunCancelled(event) => Self { reason: Some(event.reason.clone()), ..none },
            Event::StepCompleted(event) => Self {
                location: at(&event.location),
                name: Some(event.name.clone()),
                attempt: Some(event.attempt),
                payload: shown(&event.output),
                ..none
            },
            Event::StepFailed(event) => Self {
                location: at(&event.location),
                name: Some(event.name.clone()),
                attempt: Some(event.attempt),
                error: Some(event.failure.clone()),
                due_at: event.retry_at_us.map(Time),
                ..none
            },
            Event::TimerStarted(event) => {
                Self { location: at(&event.location), due_at: Some(Time(event.due_us)), ..none }
            }
            Event::TimerFired(event) => Self { location: at(&event.location), ..none },
            Event::SignalAwaited(event) => Self {
                location: at(&event.location),
                name: Some(event.name.clone()),
                due_at: event.due_us.map(Time),
                ..none
            },
            Event::SignalReceived(event) => Self {
                location: at(&event.location),
                name: Some(event.name.clone()),
                signals: Some(event.signals.clone()),
                ..none
            },
            Event::RunStateChanged(event) => {
                Self { location: at(&event.location), payload: shown(&event.state), ..none }
            }
            Event::RunTagged(event) => {
                Self { location: at(&event.location), tags: Some(event.tags.clone()), ..none }
            }
            Event::SignalSent(event) => Self {
                location: at(&event.location),
                target: Some(event.target),
                name: Some(event.name.clone()),
                payload: shown(&event.payload),
                ..none
            },
            Event::RunCancelling(event) => Self { locations: Some(event.locations.clone()), ..none },
            Event::RunCompleted(event) => Self { payload: shown(&event.output), ..none },
            Event::RunFailed(event) => Self { error: Some(event.failure.clone()), ..none },
            Event::RunDiverged(event) => Self {
                location: at(&event.location),
                expected: Some(event.expected.clone()),
                found: Some(event.found.clone()),
                ..none
            },
            Event::RunUnparked(event) => {
                Self { parked_at: Some(event.offset), reason: Some(event.reason.clone()), ..none }
            }
            Event::RunResumed(_)
            | Event::LogCreated(_)
            | Event::PartitionClaimed(_)
            | Event::FoldRaised(_)
            | Event::OutboxTrimmed(_) => none,
        }
    }
}

impl EntryAnswer {
    /// The entry with this number, whose record lies at `position`.
    pub fn new(number: u64, entry: &HistoryEntry, position: Position) -> Self {
        let (ordinal, seen) = match entry.origin {
            Origin::External { ordinal } => (Some(ordinal), None),
            Origin::Engine { seen, .. } => (None, Some(seen)),
        };
        Self {
            number,
            event_type: entry.event.event_type().as_str(),
            recorded_at: Time(entry.recorded_at_us),
            event_id: entry.event_id,
            position,
            ordinal,
            seen,
            what: EventAnswer::of(&Arc::clone(&entry.event)),
        }
    }
}

fn number_of(cursor: &Cursor) -> Result<u64, Problem> {
    let bad = || {
        Problem::new(
            Code::InvalidCursor,
            "the cursor is of another list; pass `next_cursor` of this list's page before",
        )
        .field("cursor")
    };
    let (list, number) = cursor.bytes().split_first().ok_or_else(bad)?;
    let number = <[u8; 8]>::try_from(number).map_err(|_| bad())?;
    if *list == LIST { Ok(u64::from_be_bytes(number)) } else { Err(bad()) }
}

/// Read what happened in a run, oldest first.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}/runs/{run_id}/history",
    tag = "runs",
    operation_id = "get_history",
    params(
        ("ns" = String, Path, description = "The namespace"),
        ("run_id" = String, Path, description = "The run"),
        HistoryParameters,
    ),
    responses(
        (status = 200, description = "A page of the history", body = HistoryPage),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_history(
    State(reads): State<Reads>,
    RunPath { namespace, run_id }: RunPath,
    Query(parameters): Query<HistoryParameters>,
) -> Result<Response, Problem> {
    let limit = page_items(parameters.limit)?;
    let from = parameters.cursor.as_ref().map_or(Ok(1), number_of)?;
    reads.reach(parameters.at_least, parameters.timeout).await?;
    let stored = reads.find(&namespace, run_id).await?;
    let version = stored.header.version;
    let found = reads.views().entries(run_id, from, version, limit).await;
    let found = found.map_err(|error| store_problem(&error))?;
    let next_cursor =
        found.last().map(|(number, _)| number + 1).filter(|next| *next <= version).map(|next| {
            let mut bytes = vec![LIST];
            bytes.extend_from_slice(&next.to_be_bytes());
            Cursor::new(bytes)
        });
    let entries = found.iter().map(|(number, entry)| {
        Ok(EntryAnswer::new(*number, entry, reads.position(stored.partition, entry.offset)?))
    });
    let entries = entries.collect::<Result<_, Problem>>()?;
    Ok(json(StatusCode::OK, &HistoryPage { run_id, entries, next_cursor }))
}
