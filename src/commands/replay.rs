//! `tidewheel replay`: replays and generations of the views on a server, through its HTTP API.

mod archive;
mod diff;
mod follow;
mod inspect;
mod parked;
mod run;
mod step;
mod verify;

use serde_json::{Value, json};

use crate::args::{
    CancelReplayArguments, CutoverArguments, GenerationArguments, RateArguments, ReplayArguments,
    ReplayCommand, ReplayStatusArguments, ServerArguments, VerifyArguments,
};
use crate::client::{Answer, Client, random_key};
use crate::failure::Failure;
use crate::output::{cell, print, table};

/// Does what the command line asks.
pub async fn run(command: ReplayCommand) -> Result<(), Failure> {
    match command {
        ReplayCommand::Plan(arguments) => run::plan(&arguments).await,
        ReplayCommand::Run(arguments) => run::start(&arguments).await,
        ReplayCommand::Status(arguments) => status(&arguments).await,
        ReplayCommand::Pause(ReplayArguments { replay, server }) => {
            change(&server, &format!("/v1/replays/{replay}/pause"), &json!({})).await
        }
        ReplayCommand::Resume(ReplayArguments { replay, server }) => {
            change(&server, &format!("/v1/replays/{replay}/resume"), &json!({})).await
        }
        ReplayCommand::Rate(RateArguments { replay, records, server }) => {
            let body = json!({ "records_per_second": records });
            change(&server, &format!("/v1/replays/{replay}/rate"), &body).await
        }
        ReplayCommand::Cancel(CancelReplayArguments { replay, reason, server }) => {
            change(&server, &format!("/v1/replays/{replay}/cancel"), &json!({ "reason": reason })).await
        }
        ReplayCommand::Cutover(CutoverArguments { generation, unverified, server }) => {
            cutover(&server, generation, unverified).await
        }
        ReplayCommand::Rollback(server) => rollback(&server).await,
        ReplayCommand::Archive(command) => archive::run(command).await,
        ReplayCommand::Drop(GenerationArguments { generation, server }) => {
            change(&server, &format!("/v1/generations/{generation}/drop"), &json!({})).await
        }
        ReplayCommand::Parked(arguments) => parked::run(arguments).await,
        ReplayCommand::Verify(arguments) => verify::run(&arguments).await,
        ReplayCommand::Inspect(arguments) => inspect::run(&arguments).await,
        ReplayCommand::Diff(arguments) => diff::run(&arguments).await,
        ReplayCommand::Step(arguments) => step::run(&arguments).await,
    }
}

async fn status(arguments: &ReplayStatusArguments) -> Result<(), Failure> {
    let client = Client::at(&arguments.server)?;
    let answer = client.get("/v1/replays", &[]).await?;
    if arguments.follow {
        let views = answer.json()?;
        let running = views["replays"].as_array().into_iter().flatten().find(|replay| !is_over(replay));
        if let Some(replay) = running.and_then(|replay| replay["replay"].as_u64()) {
            return follow::until_over(&client, arguments.server.json, replay).await.map(|_| ());
        }
    }
    show(&arguments.server, &answer)
}

async fn change(server: &ServerArguments, path: &str, body: &Value) -> Result<(), Failure> {
    let answer = Client::at(server)?.post(path, &[], body.to_string(), &random_key()).await?;
    judged(&answer)?;
    show(server, &answer)
}

/// Compares a generation with the log, unless that is not wanted or was done while it was read, and lets it be read.
async fn cutover(server: &ServerArguments, generation: u32, unverified: bool) -> Result<(), Failure> {
    let views = Client::at(server)?.get("/v1/replays", &[]).await?.json()?;
    let is_new = views["generations"].as_array().into_iter().flatten().any(|known| {
        let number = &known["generation"];
        *number == generation && *number != views["active"] && *number != views["previous"]
    });
    // What is still filled is refused by the server; there is nothing to compare yet.
    let is_filled = views["replays"]
        .as_array()
        .into_iter()
        .flatten()
        .all(|replay| is_over(replay) || replay["generation"] != generation);
    if is_new && is_filled && !unverified {
        verify::run(&VerifyArguments::of(generation, server)).await?;
    }
    activate(server, generation, unverified).await
}

async fn activate(server: &ServerArguments, generation: u32, unverified: bool) -> Result<(), Failure> {
    let body = json!({ "unverified": unverified });
    change(server, &format!("/v1/generations/{generation}/activate"), &body).await
}

async fn rollback(server: &ServerArguments) -> Result<(), Failure> {
    let views = Client::at(server)?.get("/v1/replays", &[]).await?.json()?;
    let previous = views["previous"].as_u64().and_then(|previous| u32::try_from(previous).ok());
    let Some(previous) = previous else {
        return Err(Failure::Failed(format!(
            "generation {} is read and the one before is gone or never was; rebuild to get another",
            cell(views.get("active"))
        )));
    };
    activate(server, previous, false).await
}

/// The views after a change; a change that was not judged in time is a failure that says so.
fn judged(answer: &Answer) -> Result<Value, Failure> {
    if answer.status == 202 {
        let text = "it is recorded, but was not judged in time; look with `tidewheel replay status`";
        return Err(Failure::Failed(text.to_owned()));
    }
    answer.json()
}

fn newest(views: &Value) -> Result<&Value, Failure> {
    views["replays"].get(0).ok_or_else(|| Failure::Failed("the server's answer names no replay".to_owned()))
}

/// Whether a replay has ended.
fn is_over(replay: &Value) -> bool {
    matches!(replay["status"].as_str(), Some("finished" | "cancelled"))
}

/// The percentage that is done, with one digit.
fn percent(replay: &Value) -> String {
    let number = |name: &str| replay[name].as_u64().unwrap_or_default() as f64;
    let (done, records) = (number("done"), number("records"));
    if records > 0.0 { format!("{:.1}", done / records * 100.0) } else { "100.0".to_owned() }
}

fn show(server: &ServerArguments, answer: &Answer) -> Result<(), Failure> {
    if server.json {
        return Ok(print(&answer.text)?);
    }
    let views = answer.json()?;
    let generations = views["generations"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<Vec<String>> = generations
        .iter()
        .map(|generation| {
            let number = &generation["generation"];
            let role = match () {
                () if *number == views["active"] => "read",
                () if *number == views["previous"] => "read before",
                () => "",
            };
            let mut row = vec![cell(Some(number)), role.to_owned()];
            row.extend(
                ["lag", "filled_by", "mendings", "activated_at"].map(|name| cell(generation.get(name))),
            );
            row
        })
        .collect();
    print(&table(&["generation", "role", "lag", "filled by", "mendings", "activated"], &rows))?;
    let replays = views["replays"].as_array().map_or(&[][..], Vec::as_slice);
    if replays.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = replays
        .iter()
        .map(|replay| {
            let mut row: Vec<_> =
                ["replay", "kind", "status", "generation"].map(|name| cell(replay.get(name))).to_vec();
            row.push(percent(replay));
            row.extend(["records", "records_per_second", "started_at"].map(|name| cell(replay.get(name))));
            row
        })
        .collect();
    let titles = ["replay", "kind", "status", "generation", "percent", "records", "rate", "started"];
    print(&format!("\n{}", table(&titles, &rows)))?;
    for replay in replays.iter().filter(|replay| !is_over(replay) && replay["kind"] == "backfill") {
        print(&format!(
            "replay {}: {} of {} partitions are done, {} rows were written; scope: {}",
            cell(replay.get("replay")),
            cell(replay.get("parts_done")),
            cell(replay.get("parts")),
            cell(replay.get("rows")),
            run::scope_text(&replay["scope"])
        ))?;
    }
    for (replay, share) in replays.iter().flat_map(|replay| {
        replay["shares"].as_array().into_iter().flatten().map(move |share| (replay, share))
    }) {
        if let Some(stall) = follow::stall(share) {
            print(&format!("replay {}: {stall}", cell(replay.get("replay"))))?;
        }
    }
    Ok(())
}
