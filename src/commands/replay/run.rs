//! `tidewheel replay plan` and `run`: what is wanted of a replay, what it would do, and starting it.

use serde_json::{Map, Value, json};

use super::{cutover, follow, judged, newest, show, verify};
use crate::args::{PlanArguments, ReplayKindArgument, RunReplayArguments, ScopeArguments};
use crate::client::{Client, random_key};
use crate::failure::Failure;
use crate::output::{cell, fields, print, table};

/// The scope as the server reads it.
fn scope(arguments: &ScopeArguments) -> Value {
    let mut scope = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            scope.insert(name.to_owned(), value);
        }
    };
    let texts = |texts: Vec<String>| (!texts.is_empty()).then(|| json!(texts));
    put("runs", texts(arguments.entities.iter().map(ToString::to_string).collect()));
    put("partitions", (!arguments.partitions.is_empty()).then(|| json!(arguments.partitions)));
    put("namespaces", texts(arguments.namespaces.iter().map(ToString::to_string).collect()));
    put("event_types", texts(arguments.event_types.clone()));
    put("from_offset", arguments.from_offset.map(Value::from));
    put("until_offset", arguments.until_offset.map(Value::from));
    put("since", arguments.since.clone().map(Value::from));
    put("until", arguments.until.clone().map(Value::from));
    Value::Object(scope)
}

/// The words that name the scope again.
fn words(plan: &PlanArguments) -> String {
    let arguments = &plan.scope;
    let mut words = String::new();
    let mut more = |name: &str, value: String| {
        words.push_str(" --");
        words.push_str(name);
        words.push(' ');
        words.push_str(&value);
    };
    plan.generation.iter().for_each(|number| more("generation", number.to_string()));
    arguments.entities.iter().for_each(|run_id| more("entity", run_id.to_string()));
    arguments.partitions.iter().for_each(|partition| more("partition", partition.to_string()));
    arguments.namespaces.iter().for_each(|name| more("namespace", name.to_string()));
    arguments.event_types.iter().for_each(|name| more("type", name.clone()));
    arguments.from_offset.iter().for_each(|offset| more("from-offset", offset.to_string()));
    arguments.until_offset.iter().for_each(|offset| more("until-offset", offset.to_string()));
    arguments.since.iter().for_each(|time| more("since", time.clone()));
    arguments.until.iter().for_each(|time| more("until", time.clone()));
    words
}

fn wanted(arguments: &PlanArguments) -> Value {
    let kind = match arguments.kind {
        ReplayKindArgument::Rebuild => "rebuild",
        ReplayKindArgument::Backfill => "backfill",
    };
    let mut wanted = json!({ "kind": kind, "records_per_second": arguments.rate, "views": arguments.views });
    if let Some(generation) = arguments.generation {
        wanted["generation"] = json!(generation);
    }
    if let Some(datacenter) = &arguments.datacenter {
        wanted["datacenter"] = json!(datacenter.to_string());
    }
    if arguments.scope != ScopeArguments::default() {
        wanted["scope"] = scope(&arguments.scope);
    }
    wanted
}

/// A replay that cuts over is followed by whoever asked; one that nobody follows does so by itself.
fn wanted_run(arguments: &RunReplayArguments) -> Value {
    let mut wanted = wanted(&arguments.plan);
    wanted["activates"] = json!(arguments.cutover && arguments.detach);
    wanted
}

async fn ask_plan(arguments: &PlanArguments) -> Result<(Value, String), Failure> {
    let body = wanted(arguments).to_string();
    let answer = Client::at(&arguments.server)?.post("/v1/replays:plan", &[], body, &random_key()).await?;
    Ok((answer.json()?, answer.text))
}

/// Shows what a replay would do.
pub async fn plan(arguments: &PlanArguments) -> Result<(), Failure> {
    let (plan, text) = ask_plan(arguments).await?;
    if arguments.server.json {
        print(&text)?;
    } else {
        print(&shown(&plan))?;
    }
    if arguments.dry_run { dry_run(arguments).await } else { Ok(()) }
}

fn shown(plan: &Value) -> String {
    let views = plan["views"].as_array().map_or(&[][..], Vec::as_slice);
    let views: Vec<_> = views.iter().filter_map(Value::as_str).collect();
    let of = |name: &str| cell(plan.get(name));
    let is_backfill = plan["kind"] == "backfill";
    let mut rows = vec![("replay", of("replay"))];
    let tables = format!("{} tables: {}", views.len(), views.join(", "));
    if is_backfill {
        rows.push((
            "mends",
            format!("rows of generation {} that differ from the log, in {tables}", of("generation")),
        ));
        rows.push(("scope", scope_text(&plan["scope"])));
        let runs = match (plan["runs"].as_u64(), plan["more_runs"] == true) {
            (None, _) => "all, and what belongs to no run".to_owned(),
            (Some(runs), false) => runs.to_string(),
            (Some(runs), true) => format!("at least {runs}"),
        };
        rows.push(("runs", runs));
    } else {
        rows.push(("writes", format!("generation {} of {tables}", of("generation"))));
    }
    rows.push(("reads", format!("{} records, about {} bytes", of("records"), of("bytes"))));
    let seconds = if plan["seconds"].is_null() {
        "as fast as it can".to_owned()
    } else {
        format!("{} s", of("seconds"))
    };
    rows.push(("at least", seconds));
    if is_backfill {
        let mendings = of("mendings_left");
        rows.push(("takes", format!("one of {mendings} mendings that are left, if a row differs")));
    } else {
        rows.push(("keeps", format!("generation {} is read until another one is activated", of("active"))));
    }
    let partitions = plan["partitions"].as_array().map_or(&[][..], Vec::as_slice);
    let row =
        |partition: &Value| ["partition", "from", "until"].map(|name| cell(partition.get(name))).to_vec();
    let table = table(&["partition", "from", "until"], &partitions.iter().map(row).collect::<Vec<_>>());
    format!("{}\n\n{table}", fields(&rows))
}

/// A scope for people.
pub fn scope_text(scope: &Value) -> String {
    let Some(scope) = scope.as_object().filter(|scope| !scope.is_empty()) else {
        return "everything".to_owned();
    };
    let text = |value: &Value| match value.as_array() {
        Some(values) => values.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(", "),
        None => cell(Some(value)),
    };
    let part = |(name, value): (&String, &Value)| format!("{} {}", name.replace('_', " "), text(value));
    scope.iter().map(part).collect::<Vec<_>>().join("; ")
}

/// Compares the scope with the log as it is now, writing nothing, and shows what differs.
async fn dry_run(arguments: &PlanArguments) -> Result<(), Failure> {
    let report = compared(arguments).await?;
    show_report(arguments, &report)
}

async fn compared(arguments: &PlanArguments) -> Result<Value, Failure> {
    let mut body = json!({ "differences": arguments.differences });
    if let Some(rate) = arguments.rate {
        body["records_per_second"] = json!(rate);
    }
    if let Some(generation) = arguments.generation {
        body["generation"] = json!(generation);
    }
    if arguments.scope != ScopeArguments::default() {
        body["scope"] = scope(&arguments.scope);
    }
    verify::ask(&arguments.server, body.to_string()).await
}

fn show_report(arguments: &PlanArguments, report: &Value) -> Result<(), Failure> {
    if arguments.server.json {
        return Ok(print(&report.to_string())?);
    }
    let mend = format!("tidewheel replay run backfill{}", words(arguments));
    Ok(print(&verify::text(report, &mend))?)
}

/// Starts a replay, and follows it unless that is not wanted.
pub async fn start(arguments: &RunReplayArguments) -> Result<(), Failure> {
    let (plan, server) = (&arguments.plan, &arguments.plan.server);
    let is_backfill = plan.kind == ReplayKindArgument::Backfill;
    if is_backfill && arguments.cutover {
        let text =
            "--cutover: a backfill writes a generation that exists; only a rebuild brings one to cut over to";
        return Err(Failure::Usage(text.to_owned()));
    }
    if plan.dry_run {
        // What would be refused is.
        ask_plan(plan).await?;
        return dry_run(plan).await;
    }
    let client = Client::at(server)?;
    let answer = client.post("/v1/replays", &[], wanted_run(arguments).to_string(), &random_key()).await?;
    let started = judged(&answer)?;
    let replay = newest(&started)?;
    let number = |name: &str| replay[name].as_u64().unwrap_or_default();
    let (replay, generation) = (number("replay"), number("generation"));
    if arguments.detach {
        return show(server, &answer);
    }
    if !server.json {
        let does = if is_backfill { "mends" } else { "fills" };
        print(&format!("replay {replay} {does} generation {generation}"))?;
    }
    let ended = follow::until_over(&client, server.json, replay).await?;
    if is_backfill {
        return after_backfill(plan, generation, ended["rows"].as_u64().unwrap_or_default()).await;
    }
    if arguments.cutover {
        let generation = u32::try_from(generation).unwrap_or(u32::MAX);
        return cutover(server, generation, false).await;
    }
    if server.json {
        return Ok(());
    }
    Ok(print(&format!(
        "generation {generation} is filled and kept up to date; `tidewheel replay cutover {generation}` lets it be read"
    ))?)
}

/// Says whether a backfill has left anything: what somebody wrote with a newer timestamp no mend can reach.
async fn after_backfill(plan: &PlanArguments, generation: u64, rows: u64) -> Result<(), Failure> {
    if !plan.server.json {
        print(&format!(
            "{rows} rows of generation {generation} were written; comparing the scope with the log"
        ))?;
    }
    let generation = Some(u32::try_from(generation).unwrap_or(u32::MAX));
    let plan = PlanArguments { generation, ..plan.clone() };
    let report = compared(&plan).await?;
    show_report(&plan, &report)?;
    verify::is_left(&report).map_or(Ok(()), |left| Err(Failure::Failed(left)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_worded_with_everything_it_says() {
        let scope = json!({"namespaces": ["a", "b"], "from_offset": 7});
        assert_eq!(scope_text(&scope), "from offset 7; namespaces a, b");
        assert_eq!(scope_text(&json!({})), "everything");
        assert_eq!(scope_text(&Value::Null), "everything");
    }
}
