//! `tidewheel run`: runs on a server, through its HTTP API. Starting them is in `start`.

mod start;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::args::{
    EndArguments, ListArguments, NamespaceArguments, OneRun, ResultArguments, RunCommand, SignalArguments,
};
use crate::client::{Answer, Client, random_key};
use crate::failure::Failure;
use crate::output::{cell, fields, print, table};

/// Does what the command line asks.
pub async fn run(command: RunCommand) -> Result<(), Failure> {
    match command {
        RunCommand::Start(arguments) => start::run(arguments).await,
        RunCommand::List(arguments) => list(&arguments).await,
        RunCommand::Show(run) => show(&run).await,
        RunCommand::History(run) => history(&run).await,
        RunCommand::Signal(arguments) => signal(&arguments).await,
        RunCommand::Cancel(arguments) => end(&arguments, "cancel").await,
        RunCommand::Terminate(arguments) => end(&arguments, "terminate").await,
        RunCommand::Resume(run) => steer(&run, "resume", "{}".to_owned(), &random_key()).await,
        RunCommand::Result(arguments) => result(&arguments).await,
    }
}

fn client(at: &NamespaceArguments) -> Result<Client, Failure> {
    Client::at(&at.server)
}

fn runs_path(at: &NamespaceArguments) -> String {
    format!("/v1/namespaces/{}/runs", at.namespace)
}

fn run_path(run: &OneRun, rest: &str) -> String {
    format!("{}/{}{rest}", runs_path(&run.at), run.run_id)
}

/// JSON as the user wrote it.
fn json_argument(name: &str, text: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::Usage(format!("{name} is not JSON: {error}; texts need quotes, as in '\"text\"'"))
    })
}

async fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let limit = arguments.limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    let workflow = arguments.workflow.as_ref().map(ToString::to_string);
    let datacenter = arguments.datacenter.as_ref().map(ToString::to_string);
    for (name, value) in [
        ("datacenter", datacenter.as_ref()),
        ("workflow", workflow.as_ref()),
        ("status", arguments.status.as_ref()),
        ("tag", arguments.tag.as_ref()),
        ("cursor", arguments.cursor.as_ref()),
    ] {
        query.extend(value.map(|value| (name, value.as_str())));
    }
    let answer = client(&arguments.at)?.get(&runs_path(&arguments.at), &query).await?;
    if arguments.at.server.json {
        return Ok(print(&answer.text)?);
    }
    let page = answer.json()?;
    let row = |run: &Value| {
        let of = |name: &str| cell(run.get(name));
        vec![
            of("run_id"),
            of("workflow"),
            of("status"),
            of("key"),
            of("created_at"),
            of("finished_at"),
            tags(run),
        ]
    };
    let rows: Vec<_> = items(&page, "runs").iter().map(row).collect();
    print(&table(&["run", "workflow", "status", "key", "created", "finished", "tags"], &rows))?;
    print_next(&page)
}

/// Says how to see more, where there is more.
fn print_next(page: &Value) -> Result<(), Failure> {
    match page.get("next_cursor").and_then(Value::as_str) {
        Some(next) => Ok(print(&format!("\nmore: --cursor {next}"))?),
        None => Ok(()),
    }
}

fn items<'a>(page: &'a Value, name: &str) -> &'a [Value] {
    page.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn tags(run: &Value) -> String {
    let pair = |(name, value): (&String, &Value)| format!("{name}:{}", cell(Some(value)));
    run.get("tags").and_then(Value::as_object).into_iter().flatten().map(pair).collect::<Vec<_>>().join(" ")
}

async fn show(run: &OneRun) -> Result<(), Failure> {
    let answer = client(&run.at)?.get(&run_path(run, ""), &[]).await?;
    print_run(&run.at, &answer)
}

/// Prints a run as the server answered it.
fn print_run(at: &NamespaceArguments, answer: &Answer) -> Result<(), Failure> {
    if at.server.json {
        return Ok(print(&answer.text)?);
    }
    Ok(print(&run_text(&answer.json()?))?)
}

fn run_text(run: &Value) -> String {
    let mut rows = Vec::new();
    for name in
        ["run_id", "workflow", "key", "status", "created_at", "finished_at", "reason", "version", "position"]
    {
        if let Some(value) = run.get(name) {
            rows.push((name, cell(Some(value))));
        }
    }
    let tags = tags(run);
    if !tags.is_empty() {
        rows.push(("tags", tags));
    }
    let of = |name: &'static str, parts: [&str; 2]| {
        let value = run.get(name)?;
        Some((name, format!("{}: {}", cell(value.get(parts[0])), cell(value.get(parts[1])))))
    };
    rows.extend(of("error", ["code", "message"]));
    if let Some(divergence) = run.get("divergence") {
        let part = |name: &str| cell(divergence.get(name));
        let text = format!(
            "at {}: the code does {}, the history says {}",
            part("location"),
            part("expected"),
            part("found")
        );
        rows.push(("divergence", text));
    }
    for name in ["state", "output"] {
        if let Some(value) = run.get(name) {
            rows.push((name, value.to_string()));
        }
    }
    fields(&rows)
}

async fn history(run: &OneRun) -> Result<(), Failure> {
    let client = client(&run.at)?;
    let mut cursor: Option<String> = None;
    let mut rows = Vec::new();
    loop {
        let mut query = vec![("limit", "1000")];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let answer = client.get(&run_path(run, "/history"), &query).await?;
        let page = answer.json()?;
        if run.at.server.json {
            print(&answer.text)?;
        } else {
            rows.extend(items(&page, "entries").iter().map(event_row));
        }
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    if run.at.server.json {
        Ok(())
    } else {
        Ok(print(&table(&["number", "time", "event", "details"], &rows))?)
    }
}

fn event_row(event: &Value) -> Vec<String> {
    const SHOWN: [&str; 3] = ["number", "recorded_at", "type"];
    // Names of records are for programs: --json shows them.
    const HIDDEN: [&str; 4] = ["event_id", "position", "ordinal", "seen"];
    let of = |name: &str| cell(event.get(name));
    let empty = Map::new();
    let details = event.as_object().unwrap_or(&empty).iter();
    let details =
        details.filter(|(name, _)| !SHOWN.contains(&name.as_str()) && !HIDDEN.contains(&name.as_str()));
    let details: Vec<_> = details.map(|(name, value)| format!("{name}={}", cell(Some(value)))).collect();
    vec![of("number"), of("recorded_at"), of("type"), details.join(" ")]
}

async fn signal(arguments: &SignalArguments) -> Result<(), Failure> {
    let payload = json_argument("the payload", &arguments.payload)?;
    let body = format!(r#"{{"name":{},"payload":{payload}}}"#, Value::from(arguments.name.as_str()));
    let key = arguments.idempotency_key.clone().unwrap_or_else(random_key);
    steer(&arguments.run, "signals", body, &key).await
}

async fn end(arguments: &EndArguments, verb: &str) -> Result<(), Failure> {
    let body = match &arguments.reason {
        Some(reason) => serde_json::json!({ "reason": reason }).to_string(),
        None => "{}".to_owned(),
    };
    steer(&arguments.run, verb, body, &random_key()).await
}

async fn steer(run: &OneRun, verb: &str, body: String, key: &str) -> Result<(), Failure> {
    let answer = client(&run.at)?.post(&run_path(run, &format!("/{verb}")), &[], body, key).await?;
    if run.at.server.json {
        return Ok(print(&answer.text)?);
    }
    let answer = answer.json()?;
    let of = |name: &str| cell(answer.get(name));
    let status = match answer.get("status") {
        Some(status) => format!(", the run is {}", cell(Some(status))),
        None => String::new(),
    };
    Ok(print(&format!("{}{status}, at {}", of("outcome"), of("position")))?)
}

async fn result(arguments: &ResultArguments) -> Result<(), Failure> {
    let run = &arguments.run;
    let query = [("timeout", arguments.timeout.as_str())];
    let answer = client(&run.at)?.get(&run_path(run, "/result"), &query).await?;
    print_result(&run.at, &answer)
}

/// Prints a run's output alone, so that it can be piped; any other end fails.
fn print_result(at: &NamespaceArguments, answer: &Answer) -> Result<(), Failure> {
    let run = answer.json()?;
    if at.server.json {
        print(&answer.text)?;
    }
    match run.get("status").and_then(Value::as_str) {
        Some("completed") if at.server.json => Ok(()),
        Some("completed") => Ok(print(&run.get("output").unwrap_or(&Value::Null).to_string())?),
        Some("running") => Err(Failure::Failed(format!(
            "the run is still running; ask again: tidewheel run result {}",
            cell(run.get("run_id"))
        ))),
        Some(_) if at.server.json => Err(Failure::Failed("the run did not complete".to_owned())),
        _ => Err(Failure::Failed(format!("the run did not complete\n{}", run_text(&run)))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_shown_with_its_error_and_tags() {
        let run = json!({
            "run_id": "r", "status": "failed", "tags": {"shop": "berlin"},
            "error": {"code": "no_stock", "message": "no lamps"}
        });
        assert_eq!(
            run_text(&run),
            "run_id  r\nstatus  failed\ntags    shop:berlin\nerror   no_stock: no lamps"
        );
    }

    #[test]
    fn input_is_sent_as_it_was_written() {
        assert_eq!(json_argument("x", "{\"a\": 1.00}").unwrap().get(), "{\"a\": 1.00}");
        assert!(matches!(json_argument("x", "text"), Err(Failure::Usage(_))));
    }

    #[test]
    fn an_event_is_a_row_of_its_own_members() {
        let event = json!({"number": 1, "recorded_at": "t", "type": "step-completed", "name": "ship", "event_id": "x"});
        assert_eq!(event_row(&event), ["1", "t", "step-completed", "name=ship"]);
    }
}
