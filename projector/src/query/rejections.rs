//! `GET …/rejections`: the records the fold refused and the signals no workflow read, newest first.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewheel_api::{
    AtLeast, Code, Cursor, DurationParameter, Namespace, Problem, Query, Time, json, page_items,
};
use tidewheel_engine::Rejection;
use tidewheel_schemas::{EventId, Position, RunId};
use tidewheel_store::{Key, Row, StoreError, TableSchema, Value};
use utoipa::{IntoParams, ToSchema};

use super::walk::{Place, Source, Walk};
use super::{Reads, store_problem};
use crate::views::index_days::Index;
use crate::views::rejections::{self, RejectionRow};

/// The number of this list in its cursors.
const LIST: u8 = 3;
/// The namespace that also lists what names no namespace that can be read.
const DEFAULT_NAMESPACE: &str = "default";

/// Parameters of a list of rejections.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RejectionParameters {
    /// Only those of records for this run.
    #[param(value_type = Option<String>)]
    run_id: Option<RunId>,
    /// Only that of this event.
    #[param(value_type = Option<String>)]
    event_id: Option<EventId>,
    /// Most rejections to answer, 1 to 1000; 100 unless said.
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

/// A page of rejections, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectionsPage {
    /// The rejections.
    pub rejections: Vec<RejectionAnswer>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor>,
}

/// The fate of a record that is durable but changed nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectionAnswer {
    /// Why, as a stable word.
    pub code: &'static str,
    /// Why, for people.
    pub detail: String,
    /// Where the record lies in the log.
    #[schema(value_type = String)]
    pub position: Position,
    /// When the record that settled it was written.
    pub recorded_at: Time,
    /// The record's event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub event_id: Option<EventId>,
    /// The run it was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub run_id: Option<RunId>,
    /// The record's type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
}

fn place_of(row: &RejectionRow) -> Place {
    Place { time_us: row.recorded_at_us, partition: row.partition, offset: row.offset, item: row.item }
}

struct ByDay;

impl Source for ByDay {
    type Item = RejectionRow;

    fn table(&self) -> &'static TableSchema {
        &rejections::BY_DAY
    }

    fn days(&self) -> Index {
        Index::Rejections
    }

    fn partition_key(&self, namespace: &str, day: i64, partition: u32) -> Key {
        rejections::partition_key(namespace, day, partition)
    }

    fn day_of(&self, place: &Place) -> i64 {
        rejections::day(place.time_us, place.offset)
    }

    fn key_after(&self, place: &Place, partition: u32) -> Key {
        match partition.cmp(&place.partition) {
            std::cmp::Ordering::Less => vec![Value::Int(place.time_us.saturating_sub(1))],
            std::cmp::Ordering::Equal => subject_key_after(place),
            std::cmp::Ordering::Greater => vec![Value::Int(place.time_us)],
        }
    }

    fn read(&self, _partition: u32, row: Row) -> Result<(Place, RejectionRow), StoreError> {
        let row = rejections::read(self.table(), row)?;
        Ok((place_of(&row), row))
    }
}

/// The first clustering key after `place`, where rows of every log partition lie together.
fn subject_key_after(place: &Place) -> Key {
    vec![
        Value::Int(place.time_us),
        Value::Int(i64::from(place.partition)),
        Value::Int(place.offset),
        Value::Int(place.item.saturating_add(1).cast_signed()),
    ]
}

/// List what the fold refused, newest first.
///
/// The namespace `default` also lists records whose namespace cannot be told; elsewhere those are found by
/// `run_id` or `event_id`.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}/rejections",
    tag = "runs",
    operation_id = "list_rejections",
    params(
        ("ns" = String, Path, description = "The namespace"),
        ("datacenter" = Option<String>, Query, description = "List those of this datacenter; of the one that is asked unless said"),
        RejectionParameters,
    ),
    responses(
        (status = 200, description = "A page of rejections", body = RejectionsPage),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_rejections(
    State(reads): State<Reads>,
    Namespace(namespace): Namespace,
    Query(parameters): Query<RejectionParameters>,
) -> Result<Response, Problem> {
    let limit = page_items(parameters.limit)?;
    let start = parameters.cursor.as_ref().map(|cursor| Place::from_cursor(cursor, LIST)).transpose()?;
    let subject = match (parameters.run_id, parameters.event_id) {
        (Some(_), Some(_)) => {
            let detail = "ask for a run's rejections or for an event's, not for both";
            return Err(Problem::new(Code::InvalidParameter, detail).field("event_id"));
        }
        (Some(run_id), None) => Some(*run_id.as_bytes()),
        (None, Some(event_id)) => Some(*event_id.as_bytes()),
        (None, None) => None,
    };
    reads.reach(parameters.at_least, parameters.timeout).await?;
    let found = match subject {
        Some(subject) => reads.rejections_of(&namespace, subject, start, limit).await,
        None => reads.rejections(&namespace, start, limit).await,
    };
    let (found, more) = found.map_err(|error| store_problem(&error))?;
    let next_cursor = found.last().filter(|_| more).map(|row| place_of(row).cursor(LIST));
    let rejections = found.into_iter().map(|row| {
        Ok(RejectionAnswer {
            code: row.rejection.code(),
            detail: Rejection::to_string(&row.rejection),
            position: reads.position(row.partition, row.record_offset)?,
            recorded_at: Time(row.recorded_at_us),
            event_id: row.event_id,
            run_id: row.run_id,
            event_type: row.event_type,
        })
    });
    let rejections = rejections.collect::<Result<_, Problem>>()?;
    Ok(json(StatusCode::OK, &RejectionsPage { rejections, next_cursor }))
}

impl Reads {
    async fn rejections(
        &self,
        namespace: &str,
        start: Option<Place>,
        limit: usize,
    ) -> Result<(Vec<RejectionRow>, bool), StoreError> {
        let namespaces: &[&str] =
            if namespace == DEFAULT_NAMESPACE { &[DEFAULT_NAMESPACE, ""] } else { &[namespace] };
        let mut walk = Walk::start(self.views(), ByDay, namespaces, start, limit.min(256)).await?;
        let mut found = Vec::new();
        while found.len() < limit {
            match walk.next().await? {
                Some((_, row)) => found.push(row),
                None => return Ok((found, false)),
            }
        }
        Ok((found, true))
    }

    async fn rejections_of(
        &self,
        namespace: &str,
        subject: [u8; 16],
        start: Option<Place>,
        limit: usize,
    ) -> Result<(Vec<RejectionRow>, bool), StoreError> {
        let mut from = start.as_ref().map(subject_key_after);
        let mut found = Vec::new();
        loop {
            let key = vec![Value::Uuid(subject)];
            let page = self.views().page(&rejections::BY_SUBJECT, key, from, None, limit).await?;
            let mut last = None;
            for row in page.rows {
                let row = rejections::read(&rejections::BY_SUBJECT, row)?;
                last = Some(place_of(&row));
                // Rows of another namespace's run are not this caller's to see.
                if row.namespace.is_empty() || row.namespace == namespace {
                    found.push(row);
                }
                if found.len() == limit {
                    return Ok((found, true));
                }
            }
            match last.filter(|_| page.next.is_some()) {
                Some(last) => from = Some(subject_key_after(&last)),
                None => return Ok((found, false)),
            }
        }
    }
}
