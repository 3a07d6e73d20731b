//! `tidewheel replay inspect`: a run, or a list of runs, as they stood.

use serde_json::Value;

use crate::args::InspectArguments;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{cell, fields, print, table};

/// Looks, and shows.
pub async fn run(arguments: &InspectArguments) -> Result<(), Failure> {
    let client = Client::at(&arguments.at.server)?;
    let namespace = &arguments.at.namespace;
    let limit = arguments.limit.map(|limit| limit.to_string());
    let workflow = arguments.workflow.as_ref().map(ToString::to_string);
    let all = [
        ("as_of", &arguments.as_of),
        ("limit", &limit),
        ("workflow", &workflow),
        ("status", &arguments.status),
    ];
    let query: Vec<_> = all.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let path = match arguments.run_id {
        Some(run_id) => format!("/v1/namespaces/{namespace}/runs/{run_id}/past"),
        None => format!("/v1/namespaces/{namespace}/past"),
    };
    let answer = client.get(&path, &query).await?;
    if arguments.at.server.json {
        return Ok(print(&answer.text)?);
    }
    let said = answer.json()?;
    if arguments.run_id.is_some() { one(&said) } else { list(&said) }
}

fn one(said: &Value) -> Result<(), Failure> {
    let run = &said["run"];
    let of = |name: &str| cell(run.get(name));
    let mut rows =
        vec![("as of", place(&said["as_of"])), ("run", of("run_id")), ("workflow", of("workflow"))];
    for name in
        ["key", "status", "state", "output", "error", "reason", "divergence", "created_at", "finished_at"]
    {
        if run.get(name).is_some() {
            rows.push((name, of(name)));
        }
    }
    rows.push(("version", of("version")));
    rows.push((
        "next",
        [cell(run["next"].get("when")), cell(run["next"].get("due_at"))].join(" ").trim().to_owned(),
    ));
    let lines = |name: &str, words: &[&str]| {
        let items = run[name].as_array().map_or(&[][..], Vec::as_slice);
        let line = |item: &Value| {
            words
                .iter()
                .map(|word| cell(item.get(*word)))
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        };
        items.iter().map(line).collect::<Vec<_>>().join(", ")
    };
    let (signals, timers) = (lines("signals", &["name"]), lines("timers", &["kind", "location", "due_at"]));
    for (name, value) in [("signals", signals), ("timers", timers)] {
        if !value.is_empty() {
            rows.push((name, value));
        }
    }
    print(&fields(&rows))?;
    print(&format!("\n{}", history(said)))?;
    Ok(print(&read(said))?)
}

/// Where a look is as of.
pub(super) fn place(place: &Value) -> String {
    let of = |name: &str| cell(place.get(name));
    match place.get("offset") {
        None => format!("before the first record of partition {}", of("partition")),
        Some(offset) => {
            format!("offset {offset} of partition {}, written at {}", of("partition"), of("recorded_at"))
        }
    }
}

/// The entries of a history.
pub(super) fn history(said: &Value) -> String {
    let entries = said["history"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |entry: &Value| {
        let names = ["number", "offset", "recorded_at", "type", "location", "name"];
        names.map(|name| cell(entry.get(name))).to_vec()
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    table(&["number", "offset", "recorded at", "type", "location", "name"], &rows)
}

/// What a look took.
pub(super) fn read(said: &Value) -> String {
    format!("\n{} records were read", cell(said.get("records_read")))
}

fn list(said: &Value) -> Result<(), Failure> {
    let runs = said["runs"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |run: &Value| {
        ["run_id", "workflow", "key", "status", "created_at", "version"]
            .map(|name| cell(run.get(name)))
            .to_vec()
    };
    let rows: Vec<_> = runs.iter().map(row).collect();
    print(&table(&["run", "workflow", "key", "status", "created", "version"], &rows))?;
    Ok(print(&read(said))?)
}
