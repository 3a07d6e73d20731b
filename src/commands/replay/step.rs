//! `tidewheel replay step`: the debugger on a terminal, or driven by a script. What it does is said in `replay/step`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Write as _};
use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use tidewheel_replay::step::{Command, Recorded, Session};

use crate::args::StepArguments;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::print;

/// Records that are held: a run of more is not for stepping through.
const RECORDS_MAX: usize = 200_000;

/// A page of a server's records.
#[derive(Debug, Deserialize)]
struct Page {
    records: Vec<Recorded>,
    next_offset: Option<i64>,
}

/// Steps through a run as the commands say.
pub async fn run(arguments: &StepArguments) -> Result<(), Failure> {
    let records = match &arguments.file {
        Some(path) => from_file(path)?,
        None => from_server(arguments).await?,
    };
    if let Some(path) = &arguments.save {
        save(path, &records)?;
    }
    let mut session =
        Session::new(records, arguments.run_id).map_err(|error| Failure::Failed(error.to_string()))?;
    let is_json = arguments.at.server.json;
    let is_asked = arguments.commands.is_none() && io::stdin().is_terminal() && !is_json;
    if is_asked {
        print(&format!(
            "run {}: {} records; `help` lists the commands",
            session.run_id(),
            session.records()
        ))?;
    }
    let mut lines: Box<dyn BufRead> = match &arguments.commands {
        Some(path) => Box::new(BufReader::new(open(path)?)),
        None => Box::new(BufReader::new(io::stdin())),
    };
    let mut refused = 0_u64;
    let mut line = String::new();
    loop {
        if is_asked {
            print!("> ");
            io::stdout().flush()?;
        }
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            break;
        }
        let typed = line.trim();
        if typed.is_empty() || typed.starts_with('#') {
            continue;
        }
        let done = typed
            .parse::<Command>()
            .map_err(|error| error.to_string())
            .and_then(|command| session.execute(&command).map_err(|error| error.to_string()));
        match done {
            Ok(None) => break,
            Ok(Some(reply)) if is_json => print(&reply.json.to_string())?,
            Ok(Some(reply)) => print(&reply.text)?,
            Err(error) => {
                refused += 1;
                if is_json {
                    print(&json!({ "error": error }).to_string())?;
                } else if is_asked {
                    print(&error)?;
                } else {
                    eprintln!("error: {error}");
                }
            }
        }
    }
    // Somebody who types sees what was refused; a script must not go on as if nothing had been.
    if refused > 0 && !is_asked {
        return Err(Failure::Failed(format!("{refused} commands were refused")));
    }
    Ok(())
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn too_many() -> Failure {
    Failure::Failed(format!("there are more than {RECORDS_MAX} records, too many to step through"))
}

fn from_file(path: &Path) -> Result<Vec<Recorded>, Failure> {
    let mut records = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(open(path)?).lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |error| Failure::Failed(format!("{} line {number}: {error}", path.display()));
        records.push(serde_json::from_str(&line).map_err(wrong)?);
        if records.len() > RECORDS_MAX {
            return Err(too_many());
        }
    }
    Ok(records)
}

async fn from_server(arguments: &StepArguments) -> Result<Vec<Recorded>, Failure> {
    let client = Client::at(&arguments.at.server)?;
    let Some(run_id) = arguments.run_id else {
        return Err(Failure::Usage("name the run, or a --file".to_owned()));
    };
    let path = format!("/v1/namespaces/{}/runs/{run_id}/records", arguments.at.namespace);
    let mut records = Vec::new();
    let mut from = None;
    loop {
        let from_text = from.map(|from: i64| from.to_string());
        let query: Vec<_> = from_text.as_deref().map(|from| ("from", from)).into_iter().collect();
        let answer = client.get(&path, &query).await?;
        let page: Page = serde_json::from_str(&answer.text)
            .map_err(|error| Failure::Failed(format!("the server's answer cannot be read: {error}")))?;
        records.extend(page.records);
        if records.len() > RECORDS_MAX {
            return Err(too_many());
        }
        match page.next_offset {
            Some(next) => from = Some(next),
            None => return Ok(records),
        }
    }
}

fn save(path: &Path, records: &[Recorded]) -> Result<(), Failure> {
    let mut text = String::new();
    for record in records {
        let line = serde_json::to_string(record)
            .map_err(|error| Failure::Failed(format!("a record cannot be written: {error}")))?;
        text += &line;
        text.push('\n');
    }
    std::fs::write(path, text).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}
