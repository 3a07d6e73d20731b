//! `tidewheel replay archive`: asks a node for the work, which has the log open, and shows what it reports.

mod columns;
mod import;
mod offline;

use serde_json::{Value, json};

use crate::args::{ArchiveCommand, ServerArguments};
use crate::client::{Client, problem_text, random_key};
use crate::failure::Failure;
use crate::output::{cell, print, table};

const PATH: &str = "/v1/replay/archive";

/// Does what the command line asks.
pub async fn run(command: ArchiveCommand) -> Result<(), Failure> {
    match command {
        ArchiveCommand::Export(arguments) => {
            let lines = if arguments.offline {
                offline::run(&arguments).await?
            } else {
                let body = json!({ "until": arguments.until.map(|time| time.to_string()) });
                work(&arguments.server, PATH, &body).await?
            };
            let columns = ["topic", "partition", "from", "to", "ranges", "bytes"];
            show(&arguments.server, &lines, "exported", &columns)
        }
        ArchiveCommand::List(arguments) => list(&arguments.server).await,
        ArchiveCommand::Verify(arguments) => {
            let lines = work(&arguments.server, &format!("{PATH}/verify"), &json!({})).await?;
            let columns =
                ["topic", "partition", "ranges", "records", "compared", "sound_to", "finding_count"];
            show(&arguments.server, &lines, "verified", &columns)?;
            verdict(&lines)
        }
        ArchiveCommand::Trim(arguments) => {
            let body = json!({ "before": arguments.before.map(|time| time.to_string()) });
            let lines = work(&arguments.server, &format!("{PATH}/trim"), &body).await?;
            let columns = ["topic", "partition", "before", "allowed", "after"];
            show(&arguments.server, &lines, "trimmed", &columns)
        }
        ArchiveCommand::Import(arguments) => import::run(arguments).await,
        ArchiveCommand::Parquet(arguments) => columns::run(arguments).await,
    }
}

/// Has the node do something and hears its report to the end. With `--json` every line is printed as it comes.
async fn work(server: &ServerArguments, path: &str, body: &Value) -> Result<Vec<Value>, Failure> {
    let client = Client::at(server)?;
    let mut report = client.follow_lines(path, body.to_string(), &random_key()).await?;
    let mut lines = Vec::new();
    while let Some(line) = report.next().await? {
        lines.extend(heard(server, &line)?);
    }
    match lines.last() {
        Some(last) if last["kind"] == "done" => Ok(lines),
        Some(_) | None => {
            Err(Failure::Failed("the server stopped before it was done; run it again, it goes on".to_owned()))
        }
    }
}

fn heard(server: &ServerArguments, line: &[u8]) -> Result<Option<Value>, Failure> {
    let text = String::from_utf8_lossy(line);
    // Empty lines say that work goes on.
    if text.trim().is_empty() {
        return Ok(None);
    }
    let said: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Failed(format!("the server's report is not JSON ({error}): {text}")))?;
    if server.json {
        print(text.trim())?;
    }
    match said["kind"].as_str() {
        Some("failed") => Err(Failure::Failed(problem_text(&said["problem"]))),
        Some("sealed") if !server.json => {
            eprintln!(
                "{}[{}]: sealed offsets {} to {} of {}",
                cell(said.get("topic")),
                said["partition"],
                said["from"],
                said["to"],
                said["until"]
            );
            Ok(None)
        }
        Some("sealed") => Ok(None),
        Some(_) | None => Ok(Some(said)),
    }
}

fn show(server: &ServerArguments, lines: &[Value], kind: &str, columns: &[&str]) -> Result<(), Failure> {
    if server.json {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .filter(|line| line["kind"] == kind)
        .map(|line| columns.iter().map(|column| cell(line.get(column))).collect())
        .collect();
    print(&table(columns, &rows))?;
    Ok(())
}

/// Fails with what a verification found.
fn verdict(lines: &[Value]) -> Result<(), Failure> {
    let found: Vec<String> = lines
        .iter()
        .flat_map(|line| line["findings"].as_array().into_iter().flatten())
        .map(|finding| cell(finding.get("what")))
        .collect();
    let count: u64 = lines.iter().filter_map(|line| line["finding_count"].as_u64()).sum();
    if count == 0 {
        return Ok(());
    }
    Err(Failure::Failed(format!("{count} findings\n  {}", found.join("\n  "))))
}

async fn list(server: &ServerArguments) -> Result<(), Failure> {
    let answer = Client::at(server)?.get(PATH, &[]).await?;
    let said = answer.json()?;
    if server.json {
        print(&answer.text)?;
    } else {
        let offsets = |value: &Value| match (&value["from"], &value["to"]) {
            (Value::Null, _) | (_, Value::Null) => "nothing".to_owned(),
            (from, to) => format!("{from} to {to}"),
        };
        let row = |partition: &Value| {
            vec![
                cell(partition.get("topic")),
                cell(partition.get("partition")),
                offsets(&partition["archived"]),
                offsets(&partition["log"]),
                cell(partition.get("ranges")),
                cell(partition.get("bytes")),
                cell(partition.get("missing")),
            ]
        };
        let rows: Vec<Vec<String>> = said["partitions"].as_array().into_iter().flatten().map(row).collect();
        let titles = ["topic", "partition", "archive", "log", "ranges", "bytes", "missing"];
        print(&format!("archive: {}", cell(said.get("archive"))))?;
        print(&table(&titles, &rows))?;
    }
    let is_whole =
        said["partitions"].as_array().into_iter().flatten().all(|partition| partition["missing"].is_null());
    if is_whole {
        Ok(())
    } else {
        Err(Failure::Failed("some records are in neither archive nor log".to_owned()))
    }
}
