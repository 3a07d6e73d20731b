//! `tidewheel replay parked`: the runs that wait because a record of them could not be applied, and what is done about it.

use serde_json::{Value, json};
use tidewheel_schemas::RunId;

use super::run::start;
use crate::args::{
    ParkedArguments, ParkedCommand, PlanArguments, RetryParkedArguments, RunReplayArguments, ServerArguments,
    SkipParkedArguments,
};
use crate::client::{Client, random_key};
use crate::failure::Failure;
use crate::output::{cell, print, table};

/// Does what the command line asks.
pub async fn run(arguments: ParkedArguments) -> Result<(), Failure> {
    match arguments.command {
        None => list(&arguments.server).await,
        Some(ParkedCommand::Retry(arguments)) => retry(arguments).await,
        Some(ParkedCommand::Skip(arguments)) => skip(&arguments).await,
    }
}

async fn list(server: &ServerArguments) -> Result<(), Failure> {
    let client = Client::at(server)?;
    let mut rows = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let query: Vec<_> = cursor.iter().map(|cursor| ("cursor", cursor.as_str())).collect();
        let answer = client.get("/v1/parked", &query).await?;
        let page = answer.json()?;
        for parked in page["parked"].as_array().into_iter().flatten() {
            if server.json {
                print(&parked.to_string())?;
                continue;
            }
            let mut row = ["run_id", "namespace", "workflow", "partition", "offset", "cause"]
                .map(|name| cell(parked.get(name)))
                .to_vec();
            row.extend(["type", "error"].map(|name| cell(parked["record"].get(name))));
            rows.push(row);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    if server.json {
        return Ok(());
    }
    let titles = ["run", "namespace", "workflow", "partition", "offset", "cause", "record", "error"];
    Ok(print(&table(&titles, &rows))?)
}

/// A run that is parked, as the server lists it.
async fn parked(client: &Client, run_id: RunId) -> Result<Value, Failure> {
    let page = client.get("/v1/parked", &[("run_id", &run_id.to_string())]).await?.json()?;
    page["parked"].get(0).cloned().ok_or_else(|| {
        let text = format!("run {run_id} is not parked; `tidewheel replay parked` lists the runs that are");
        Failure::Failed(text)
    })
}

/// Whoever reads the record now applies it when the views are rebuilt, beside live work; nothing is written if it still
/// cannot be read.
async fn retry(arguments: RetryParkedArguments) -> Result<(), Failure> {
    let RetryParkedArguments { run_id, server } = arguments;
    let parked = parked(&Client::at(&server)?, run_id).await?;
    let (offset, record) = (cell(parked.get("offset")), &parked["record"]);
    if record.is_null() {
        let text =
            format!("the log no longer holds the record at offset {offset}, so it cannot be read again");
        return Err(Failure::Failed(text));
    }
    if let Some(error) = record["error"].as_str() {
        return Err(Failure::Failed(format!(
            "the record at offset {offset} still cannot be read: {error}; upgrade the server to a build that can, or, \
             if it parked at fold version 2 or later, let the run go on without it: `tidewheel replay parked skip {run_id} \
             --reason …`"
        )));
    }
    let plan = PlanArguments::rebuild(server);
    start(&RunReplayArguments { plan, cutover: true, detach: false }).await
}

async fn skip(arguments: &SkipParkedArguments) -> Result<(), Failure> {
    let SkipParkedArguments { run_id, reason, offset, server } = arguments;
    let client = Client::at(server)?;
    let parked = parked(&client, *run_id).await?;
    let Some(namespace) = parked["namespace"].as_str() else {
        let text =
            format!("the views do not hold run {run_id}, so nothing can be said about it; rebuild them");
        return Err(Failure::Failed(text));
    };
    let offset = offset.map_or_else(|| parked["offset"].clone(), Value::from);
    let body = json!({ "offset": offset, "reason": reason }).to_string();
    let path = format!("/v1/namespaces/{namespace}/runs/{run_id}/unpark");
    let answer = client.post(&path, &[], body, &random_key()).await?;
    let told = answer.json()?;
    match told["outcome"].as_str() {
        Some("parked") => {
            return Err(Failure::Failed(format!(
                "run {run_id} parked below fold version 2, or the store refused a row of it: what came for it since is in \
                 no view, so it cannot go on without losing that; rebuild the views with a build that can do what was \
                 missing"
            )));
        }
        Some("pending") => {
            let text = "it is recorded, but was not judged in time; look with `tidewheel replay parked`";
            return Err(Failure::Failed(text.to_owned()));
        }
        _ => {}
    }
    if server.json {
        return Ok(print(&answer.text)?);
    }
    Ok(print(&format!("run {run_id} goes on without the record at offset {offset}"))?)
}
