//! `/v1/parked`: the runs that wait for somebody, why, and the record that parked them.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewheel_api::{Code, Cursor, Problem, Query, json, page_items};
use tidewheel_projector::views::parked::ParkedRow;
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Entity, EventId, Name, RecordHeaders, RunId, TopicPartition, codec};
use tidewheel_store::StoreError;
use utoipa::{IntoParams, ToSchema};

use super::Replaying;

/// First byte of a cursor of this list.
const LIST: u8 = 4;

/// Parameters of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ParkedParameters {
    /// Only this run, if it is parked.
    #[param(value_type = Option<String>)]
    run_id: Option<RunId>,
    /// Most runs to answer, 1 to 1000; 100 unless said.
    limit: Option<u32>,
    /// Where the page before ended: its `next_cursor`.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
}

/// A page of parked runs, by partition.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParkedPage {
    /// The runs.
    pub parked: Vec<ParkedAnswer>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor>,
}

/// A run whose records wait because one of them could not be applied.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParkedAnswer {
    /// The run.
    #[schema(value_type = String, format = Uuid)]
    pub run_id: RunId,
    /// Its partition.
    pub partition: u32,
    /// The offset of the first record that was not applied.
    pub offset: i64,
    /// Why, for people.
    pub cause: String,
    /// Its namespace, if it exists in the views.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub namespace: Option<Name>,
    /// Its workflow, if it exists in the views.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workflow: Option<Name>,
    /// The record, as far as the log holds it and its headers can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<ParkedRecord>,
}

/// A record that could not be applied.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParkedRecord {
    /// Its event type; absent if its headers cannot be read.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<&'static str>,
    /// Its event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub event_id: Option<EventId>,
    /// The schema that its value names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_id: Option<u32>,
    /// How many bytes its value has.
    pub bytes: usize,
    /// What is wrong with it as this build reads it; absent if this build can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// List the runs that are parked because a record of them could not be applied.
///
/// Such a run goes on without the record once it is unparked. A run whose code diverged from its history is resumed
/// instead, and listed by its status.
#[utoipa::path(
    get,
    path = "/v1/parked",
    tag = "replays",
    operation_id = "list_parked",
    params(ParkedParameters),
    responses(
        (status = 200, description = "A page of parked runs", body = ParkedPage),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_parked(
    State(replaying): State<Replaying>,
    Query(parameters): Query<ParkedParameters>,
) -> Result<Response, Problem> {
    let limit = page_items(parameters.limit)?;
    if let Some(run_id) = parameters.run_id {
        let partition = partition_for(&Entity::Run(run_id).routing_key(), replaying.partitions);
        let found = replaying.generations.active().views().parked_run(partition, run_id).await;
        let mut parked = Vec::new();
        if let Some(row) = found.map_err(|error| unavailable(&error))? {
            parked.push(replaying.parked(partition, row).await?);
        }
        return Ok(json(StatusCode::OK, &ParkedPage { parked, next_cursor: None }));
    }
    let (mut partition, mut after) = match &parameters.cursor {
        None => (0, None),
        Some(cursor) => place(cursor)?,
    };
    let mut found: Vec<(u32, ParkedRow)> = Vec::new();
    let mut more = false;
    let projector = replaying.generations.active();
    while partition < replaying.partitions && !more {
        let rows = projector.views().parked(partition, after.take(), limit - found.len() + 1).await;
        for row in rows.map_err(|error| unavailable(&error))? {
            more = found.len() == limit;
            if !more {
                found.push((partition, row));
            }
        }
        partition += 1;
    }
    let next_cursor = found.last().filter(|_| more).map(|(partition, row)| cursor(*partition, row.run_id));
    let mut parked = Vec::new();
    for (partition, row) in found {
        parked.push(replaying.parked(partition, row).await?);
    }
    Ok(json(StatusCode::OK, &ParkedPage { parked, next_cursor }))
}

fn cursor(partition: u32, run_id: RunId) -> Cursor {
    let mut bytes = vec![1, LIST];
    bytes.extend_from_slice(&partition.to_be_bytes());
    bytes.extend_from_slice(run_id.as_bytes());
    Cursor::new(bytes)
}

fn place(cursor: &Cursor) -> Result<(u32, Option<RunId>), Problem> {
    let read = || {
        let (kind, rest) = cursor.bytes().split_first_chunk::<2>()?;
        let (partition, run_id) = rest.split_first_chunk::<4>()?;
        let run_id = RunId::from_bytes(<[u8; 16]>::try_from(run_id).ok()?);
        (*kind == [1, LIST]).then_some((u32::from_be_bytes(*partition), Some(run_id)))
    };
    read().ok_or_else(|| {
        let detail = "the cursor is of another list; pass `next_cursor` of this list's page before";
        Problem::new(Code::InvalidCursor, detail).field("cursor")
    })
}

fn unavailable(error: &StoreError) -> Problem {
    Problem::new(Code::ViewUnavailable, format!("the view cannot be read: {error}")).retry_after_ms(1_000)
}

impl Replaying {
    async fn parked(&self, partition: u32, row: ParkedRow) -> Result<ParkedAnswer, Problem> {
        let projector = self.generations.active();
        let header = projector.views().header(row.run_id).await.map_err(|error| unavailable(&error))?;
        let header = header.map(|stored| stored.header);
        Ok(ParkedAnswer {
            run_id: row.run_id,
            partition,
            offset: row.parked_at,
            cause: row.cause,
            namespace: header.as_ref().map(|header| header.namespace.clone()),
            workflow: header.map(|header| header.workflow),
            record: self.record(partition, row.parked_at).await,
        })
    }

    /// The record at an offset, if the log still holds it.
    async fn record(&self, partition: u32, offset: i64) -> Option<ParkedRecord> {
        let place = TopicPartition::new(self.topic.clone(), partition);
        let record = self.log.read(&place, offset, 1).await.ok()?.into_iter().next()?;
        let bytes = record.value.len();
        let schema_id = codec::schema_id(&record.value).ok();
        Some(match &record.headers {
            RecordHeaders::Known(headers) => ParkedRecord {
                event_type: Some(headers.event_type.as_str()),
                event_id: Some(headers.event_id),
                schema_id,
                bytes,
                error: codec::decode(headers, &record.value).err().map(|error| error.to_string()),
            },
            RecordHeaders::Foreign(reason) => ParkedRecord {
                event_type: None,
                event_id: None,
                schema_id,
                bytes,
                error: Some(reason.clone()),
            },
        })
    }
}
