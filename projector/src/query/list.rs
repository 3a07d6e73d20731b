//! `GET …/runs`: lists of runs, newest first, by workflow, status, tag and time.

use axum::extract::State;
use axum::response::Response;
use futures::future::try_join_all;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidewheel_api::{
    AtLeast, Code, Cursor, DurationParameter, Namespace, Problem, Query, RunAnswer, json, page_items,
};
use tidewheel_engine::{RunHeader, RunStatus};
use tidewheel_schemas::Name;
use tidewheel_store::{Key, Row, StoreError, TableSchema, Value, Write, WriteSet};
use utoipa::{IntoParams, ToSchema};

use super::walk::{Place, Source, Walk};
use super::{Reads, store_problem};
use crate::views::index_days::Index;
use crate::views::runs::StoredHeader;
use crate::views::runs_by::{self, Entry, IndexRow};
use crate::views::{day_of, delete};

/// Headers read at once.
const HEADERS_AT_ONCE: usize = 64;
/// The number of this list in its cursors.
const LIST: u8 = 1;

/// Parameters of a list of runs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListParameters {
    /// Only runs of this workflow.
    #[param(value_type = Option<String>)]
    workflow: Option<Name>,
    /// Only runs of this status: `running`, `completed`, `failed`, `cancelled`, `terminated` or `parked`.
    status: Option<String>,
    /// Only runs that carry this tag, as `key:value`.
    #[param(example = "shop:berlin")]
    tag: Option<String>,
    /// Only runs created at this time or after, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    created_after: Option<Timestamp>,
    /// Only runs created before this time, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
    /// Most runs to answer, 1 to 1000; 100 unless said.
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

/// A page of runs, newest first. They carry neither output nor state: read a run for those.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunsPage {
    /// The runs.
    pub runs: Vec<RunAnswer>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor>,
}

/// What the runs of a list have in common.
#[derive(Debug, Default)]
struct Filter {
    workflow: Option<Name>,
    status: Option<RunStatus>,
    tag: Option<(String, String)>,
}

impl Filter {
    fn of(parameters: &ListParameters) -> Result<Self, Problem> {
        let status = parameters.status.as_deref().map(|text| {
            RunStatus::from_text(text).ok_or_else(|| {
                let shown: String = text.chars().take(80).collect();
                Problem::new(Code::InvalidParameter, format!("`{shown}` is not the status of a run"))
                    .field("status")
                    .known(RunStatus::ALL.iter().map(|status| status.as_str().to_owned()).collect())
            })
        });
        let tag = parameters.tag.as_deref().map(|text| {
            text.split_once(':').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| {
                Problem::new(Code::InvalidParameter, "`tag` must be a key and a value, such as shop:berlin")
                    .field("tag")
            })
        });
        Ok(Self { workflow: parameters.workflow.clone(), status: status.transpose()?, tag: tag.transpose()? })
    }

    /// The index that leaves the fewest runs to look at: most runs end up completed, so that status says little.
    fn index(&self) -> Entry {
        match (&self.tag, self.status, &self.workflow) {
            (Some((key, value)), _, _) => Entry::Tag(key.clone(), value.clone()),
            (None, Some(status), _) if status != RunStatus::Completed => Entry::Status(status),
            (None, _, Some(_)) => Entry::Workflow,
            (None, Some(status), None) => Entry::Status(status),
            (None, None, None) => Entry::Namespace,
        }
    }

    fn matches(&self, header: &RunHeader) -> bool {
        self.workflow.as_ref().is_none_or(|workflow| *workflow == header.workflow)
            && self.status.is_none_or(|status| status == header.status)
            && self.tag.as_ref().is_none_or(|(key, value)| header.tags.get(key) == Some(value))
    }
}

struct Runs {
    entry: Entry,
    workflow: String,
}

impl Source for Runs {
    type Item = (u32, IndexRow);

    fn table(&self) -> &'static TableSchema {
        self.entry.table()
    }

    fn days(&self) -> Index {
        Index::Runs
    }

    fn partition_key(&self, namespace: &str, day: i64, partition: u32) -> Key {
        self.entry.partition_key(namespace, &self.workflow, day, partition)
    }

    fn day_of(&self, place: &Place) -> i64 {
        day_of(place.time_us)
    }

    fn key_after(&self, place: &Place, partition: u32) -> Key {
        match partition.cmp(&place.partition) {
            std::cmp::Ordering::Less => vec![Value::Int(place.time_us.saturating_sub(1))],
            std::cmp::Ordering::Equal => {
                vec![Value::Int(place.time_us), Value::Int(place.offset.saturating_sub(1))]
            }
            std::cmp::Ordering::Greater => vec![Value::Int(place.time_us)],
        }
    }

    fn read(&self, partition: u32, row: Row) -> Result<(Place, Self::Item), StoreError> {
        let row = runs_by::read(self.table(), row)?;
        let place = Place { time_us: row.created_at_us, partition, offset: row.started_offset, item: 0 };
        Ok((place, (partition, row)))
    }
}

/// Whether an index row disagrees with the run's header, which already holds the record that caused it: such a row
/// was left behind and can go.
fn is_left_behind(entry: &Entry, row: &IndexRow, header: &RunHeader) -> bool {
    let agrees = match entry {
        Entry::Namespace | Entry::Workflow => true,
        Entry::Status(status) => header.status == *status,
        Entry::Tag(key, value) => header.tags.get(key) == Some(value),
    };
    !agrees && header.applied_offset >= row.applied_offset
}

/// List runs, newest first.
///
/// A list holds the runs of one datacenter. Another one's are listed there: with `datacenter` the request is forwarded,
/// and cursors and positions are that datacenter's.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}/runs",
    tag = "runs",
    operation_id = "list_runs",
    params(
        ("ns" = String, Path, description = "The namespace"),
        ("datacenter" = Option<String>, Query, description = "List the runs of this datacenter; of the one that is asked unless said"),
        ListParameters,
    ),
    responses(
        (status = 200, description = "A page of runs", body = RunsPage),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_runs(
    State(reads): State<Reads>,
    Namespace(namespace): Namespace,
    Query(parameters): Query<ListParameters>,
) -> Result<Response, Problem> {
    let limit = page_items(parameters.limit)?;
    let filter = Filter::of(&parameters)?;
    let before = parameters.created_before.map(|time| Place::older_than(time.as_microsecond()));
    let start = match &parameters.cursor {
        Some(cursor) => Some(Place::from_cursor(cursor, LIST)?),
        None => before,
    };
    let oldest_us = parameters.created_after.map(|time| time.as_microsecond());
    reads.reach(parameters.at_least, parameters.timeout).await?;
    let (found, next) = reads
        .list(&namespace, &filter, start, oldest_us, limit)
        .await
        .map_err(|error| store_problem(&error))?;
    let runs = found.iter().map(|stored| {
        let position = reads.position(stored.partition, stored.header.applied_offset)?;
        Ok(RunAnswer::new(&stored.header, None, position))
    });
    let runs = runs.collect::<Result<_, Problem>>()?;
    Ok(json(StatusCode::OK, &RunsPage { runs, next_cursor: next.map(|place| place.cursor(LIST)) }))
}

impl Reads {
    async fn list(
        &self,
        namespace: &Name,
        filter: &Filter,
        start: Option<Place>,
        oldest_us: Option<i64>,
        limit: usize,
    ) -> Result<(Vec<StoredHeader>, Option<Place>), StoreError> {
        let views = self.views();
        let entry = filter.index();
        let workflow = filter.workflow.as_deref().unwrap_or_default().to_owned();
        let source = Runs { entry: entry.clone(), workflow };
        let rows = limit.min(256);
        let mut walk = Walk::start(views, source, &[namespace.as_str()], start, rows).await?;
        let (mut found, mut left_behind) = (Vec::new(), Vec::<Write>::new());
        let mut last = None;
        let mut ended = false;
        while !ended && found.len() < limit {
            let mut rows = Vec::new();
            while rows.len() < HEADERS_AT_ONCE.min(limit - found.len()) {
                match walk.next().await? {
                    Some((place, row)) if oldest_us.is_none_or(|oldest| place.time_us >= oldest) => {
                        last = Some(place);
                        rows.push(row);
                    }
                    Some(_) | None => {
                        ended = true;
                        break;
                    }
                }
            }
            let headers = try_join_all(rows.iter().map(|(_, row)| views.header(row.run_id))).await?;
            for ((partition, row), stored) in rows.into_iter().zip(headers) {
                // An index row is written before its run: without one it is not there yet.
                let Some(stored) = stored else { continue };
                if is_left_behind(&entry, &row, &stored.header) {
                    let key = entry.key_of(&stored.header, partition);
                    let clustering = runs_by::clustering_key(&stored.header);
                    left_behind.push(delete(entry.table(), key, clustering, row.timestamp_us));
                } else if filter.matches(&stored.header) {
                    found.push(stored);
                }
            }
        }
        if !left_behind.is_empty() {
            let writes = WriteSet { deletions: left_behind, ..WriteSet::default() };
            views.store().write(views.generation(), &writes).await?;
        }
        Ok((found, last.filter(|_| !ended)))
    }
}
