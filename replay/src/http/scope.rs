//! The scope of a replay as it is asked for and shown, and what is no scope. Which runs it selects is said in
//! `selection`.

use axum::extract::FromRef as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidewheel_api::{Code, Namespaces, Problem, Time};
use tidewheel_projector::views::TABLES;
use tidewheel_schemas::event::ReplayScope;
use tidewheel_schemas::{EventType, Name, RunId};
use utoipa::ToSchema;

use super::Replaying;

/// Most runs, partitions, namespaces or event types of a scope: a replay is one record.
const NAMED_MAX: usize = 1_000;

/// What a replay is about: the runs that have one record for which everything given holds. They are taken whole, with
/// every record and every row. Empty, it leaves nothing out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WantedScope {
    /// Only runs of these partitions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<u32>,
    /// Only these runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunId>,
    /// Only runs of these namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Only runs with an event of one of these types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// Only runs with a record at or after this offset of their partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_offset: Option<u64>,
    /// Only runs with a record before this offset of their partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_offset: Option<u64>,
    /// Only runs with a record written at or after this time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only runs with a record written before this time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl From<&ReplayScope> for WantedScope {
    fn from(scope: &ReplayScope) -> Self {
        let natural = |number: i64| u64::try_from(number).unwrap_or(0);
        let time = |at_us: i64| Time(at_us).to_string();
        Self {
            partitions: scope.partitions.iter().filter_map(|number| u32::try_from(*number).ok()).collect(),
            runs: scope.runs.clone(),
            namespaces: scope.namespaces.iter().map(Name::to_string).collect(),
            event_types: scope.event_types.clone(),
            from_offset: scope.from_offset.map(natural),
            until_offset: scope.until_offset.map(natural),
            since: scope.from_us.map(time),
            until: scope.until_us.map(time),
        }
    }
}

fn invalid(field: &str, detail: String) -> Problem {
    Problem::new(Code::InvalidField, detail).field(format!("scope.{field}"))
}

fn time(field: &str, text: Option<&String>) -> Result<Option<i64>, Problem> {
    let parse = |text: &String| match text.parse::<Timestamp>() {
        Ok(time) => Ok(time.as_microsecond()),
        Err(error) => {
            let shown: String = text.chars().take(80).collect();
            let detail =
                format!("`{shown}` is no time ({error}); give one such as 2026-11-22T08:00:00Z (RFC 3339)");
            Err(invalid(field, detail))
        }
    };
    text.map(parse).transpose()
}

fn offset(number: Option<u64>) -> Option<i64> {
    number.map(|number| i64::try_from(number).unwrap_or(i64::MAX))
}

impl Replaying {
    /// The scope of a replay, of a log that ends at `ends`; refused if it cannot be one.
    pub(super) fn scope(&self, wanted: &WantedScope, ends: &[i64]) -> Result<ReplayScope, Problem> {
        for (field, count) in [
            ("partitions", wanted.partitions.len()),
            ("runs", wanted.runs.len()),
            ("namespaces", wanted.namespaces.len()),
            ("event_types", wanted.event_types.len()),
        ] {
            if count > NAMED_MAX {
                let detail = format!("{count} are named, the limit is {NAMED_MAX}; start several replays");
                return Err(Problem::new(Code::OverLimit, detail).field(format!("scope.{field}")));
            }
        }
        let partitions = self.partitions;
        if let Some(partition) = wanted.partitions.iter().find(|partition| **partition >= partitions) {
            let detail = format!("there is no partition {partition}; there are {partitions}, counted from 0");
            return Err(invalid("partitions", detail));
        }
        let is_unknown = |name: &&String| !EventType::WORKFLOW.iter().any(|known| known.as_str() == **name);
        if let Some(name) = wanted.event_types.iter().find(is_unknown) {
            let known = EventType::WORKFLOW.iter().map(|known| known.as_str().to_owned()).collect();
            let detail = format!("runs have no event type `{}`; use one of `known`", cut(name));
            return Err(invalid("event_types", detail).known(known));
        }
        let scope = ReplayScope {
            partitions: wanted.partitions.iter().filter_map(|number| i32::try_from(*number).ok()).collect(),
            runs: wanted.runs.clone(),
            namespaces: self.namespaces(&wanted.namespaces)?,
            event_types: wanted.event_types.clone(),
            from_offset: offset(wanted.from_offset),
            until_offset: offset(wanted.until_offset),
            from_us: time("since", wanted.since.as_ref())?,
            until_us: time("until", wanted.until.as_ref())?,
        };
        check_windows(&scope, ends)?;
        Ok(scope)
    }

    fn namespaces(&self, wanted: &[String]) -> Result<Vec<Name>, Problem> {
        let namespaces = Namespaces::from_ref(&self.administration);
        let known = |name: &String| {
            namespaces.get(name).ok_or_else(|| {
                let detail = format!("there is no namespace `{}`; use one of `known`", cut(name));
                let known = namespaces.all().into_iter().take(50).map(|name| name.to_string()).collect();
                Problem::new(Code::NamespaceNotFound, detail).field("scope.namespaces").known(known)
            })
        };
        wanted.iter().map(known).collect()
    }

    /// Refuses another datacenter than this node's, whose views it writes.
    pub(super) fn check_datacenter(&self, wanted: Option<&String>) -> Result<(), Problem> {
        let here = self.administration.datacenter();
        let Some(wanted) = wanted.filter(|wanted| wanted.as_str() != here.as_str()) else { return Ok(()) };
        let known = self.administration.datacenters();
        if known.iter().any(|known| known.as_str() == wanted.as_str()) {
            let detail = format!(
                "this node writes the views of datacenter `{here}`; ask a node of `{wanted}` (--server): each datacenter \
                 replays its own views"
            );
            return Err(Problem::new(Code::InvalidField, detail).field("datacenter"));
        }
        let detail = format!("there is no datacenter `{}`; use one of `known`", cut(wanted));
        let known = known.iter().map(Name::to_string).collect();
        Err(Problem::new(Code::DatacenterNotFound, detail).field("datacenter").known(known))
    }
}

/// Refuses windows that hold nothing, or nothing yet.
fn check_windows(scope: &ReplayScope, ends: &[i64]) -> Result<(), Problem> {
    if let (Some(from), Some(until)) = (scope.from_offset, scope.until_offset)
        && from >= until
    {
        return Err(invalid("until_offset", format!("no offset is at or after {from} and before {until}")));
    }
    if let (Some(from_us), Some(until_us)) = (scope.from_us, scope.until_us)
        && from_us >= until_us
    {
        let (from, until) = (Time(from_us), Time(until_us));
        return Err(invalid("until", format!("no time is at or after {from} and before {until}")));
    }
    let now_us = Timestamp::now().as_microsecond();
    if let Some(from_us) = scope.from_us.filter(|from_us| *from_us > now_us) {
        let detail =
            format!("{} is in the future; what is written from now on needs no replay", Time(from_us));
        return Err(invalid("since", detail));
    }
    let is_asked = |partition: &usize| {
        scope.partitions.is_empty()
            || scope.partitions.iter().any(|asked| usize::try_from(*asked) == Ok(*partition))
    };
    let ends = ends.iter().enumerate().filter(|(partition, _)| is_asked(partition)).map(|(_, end)| *end);
    let end = ends.max().unwrap_or(0);
    if let Some(from) = scope.from_offset.filter(|from| *from >= end) {
        let detail =
            format!("offset {from} is in the future: the longest partition of the scope ends at {end}");
        return Err(invalid("from_offset", detail));
    }
    Ok(())
}

/// Refuses views: the rows of a run belong together.
pub(super) fn check_views(wanted: &[String]) -> Result<(), Problem> {
    let Some(first) = wanted.first() else { return Ok(()) };
    let names = || TABLES.iter().map(|table| table.name);
    let unknown = wanted.iter().find(|wanted| !names().any(|name| name == wanted.as_str()));
    if let Some(unknown) = unknown {
        let detail = format!("there is no view `{}`; the views are `known`", cut(unknown));
        let known = names().map(str::to_owned).collect();
        return Err(Problem::new(Code::InvalidField, detail).field("views").known(known));
    }
    let detail = format!(
        "the rows of a run are compared and mended in all views together, so that they agree with each other; leave \
         `{first}` out"
    );
    Err(Problem::new(Code::InvalidField, detail).field("views"))
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
