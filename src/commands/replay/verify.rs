//! `tidewheel replay verify`: asks a server to compare its views with the log, shows how far it is, and says what mends
//! what differs.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::args::{ServerArguments, VerifyArguments};
use crate::client::{Client, problem_text, random_key};
use crate::failure::Failure;
use crate::output::print;

/// Compares, and says what was found.
pub async fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let report = ask(&arguments.server, body(arguments)).await?;
    if arguments.server.json {
        print(&report.to_string())?;
    } else {
        print(&text(&report, &mend_command(arguments)))?;
    }
    match is_left(&report) {
        None => Ok(()),
        Some(left) if arguments.mend => Err(Failure::Failed(format!("{left}, and were not mended"))),
        Some(left) => Err(Failure::Failed(left)),
    }
}

/// Asks for a comparison, shows how far it is, and answers the report.
pub async fn ask(server: &ServerArguments, body: String) -> Result<Value, Failure> {
    let client = Client::at(server)?;
    let shown = Shown::new();
    let mut lines = client.follow_lines("/v1/replay/verify", body, &random_key()).await?;
    let mut report = None;
    while let Some(line) = lines.next().await? {
        let mut line: Value = serde_json::from_slice(&line)
            .map_err(|error| Failure::Failed(format!("the server's answer is not JSON: {error}")))?;
        if let Some(problem) = line.get("problem") {
            return Err(Failure::Failed(problem_text(problem)));
        }
        if let Some(progress) = line.get("progress") {
            shown.progress(progress);
        }
        report = line.get_mut("report").map(Value::take).or(report);
    }
    shown.finish();
    report.ok_or_else(|| {
        Failure::Unreachable("the server went away before it had compared everything".to_owned())
    })
}

/// What a report leaves to be done, if anything.
pub fn is_left(report: &Value) -> Option<String> {
    match (remaining(report), number(report, "not_compared")) {
        (0, 0) => None,
        (0, rows) => Some(format!("{rows} rows were not compared")),
        (left, _) => Some(format!("{left} rows are not what the log says")),
    }
}

fn body(arguments: &VerifyArguments) -> String {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    put("generation", arguments.generation.map(Value::from));
    put("partitions", (!arguments.partitions.is_empty()).then(|| json!(arguments.partitions)));
    put("run_id", arguments.entity.map(|run_id| json!(run_id.to_string())));
    put("sample", arguments.sample.map(Value::from));
    put("differences", Some(Value::from(arguments.differences)));
    put("held_mib", arguments.held_mib.map(Value::from));
    put("threads", arguments.threads.map(Value::from));
    put("mend", arguments.mend.then_some(Value::Bool(true)));
    Value::Object(body).to_string()
}

fn number(report: &Value, name: &str) -> u64 {
    report.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// Differences that are still there.
fn remaining(report: &Value) -> u64 {
    report
        .get("mended")
        .map_or_else(|| number(report, "difference_count"), |mended| number(mended, "remaining"))
}

/// The report for people; `mend` is the command that mends what can be mended in place.
pub fn text(report: &Value, mend: &str) -> String {
    let rows: u64 = match report.get("rows_by_table") {
        Some(Value::Object(tables)) => tables.values().filter_map(Value::as_u64).sum(),
        _ => 0,
    };
    let mut lines = vec![format!(
        "generation {}: {rows} rows compared with {} records in {} ms; {} records are not projected yet",
        number(report, "generation"),
        number(report, "records"),
        number(report, "elapsed_ms"),
        number(report, "behind"),
    )];
    let none = Vec::new();
    let differences = report.get("differences").and_then(Value::as_array).unwrap_or(&none);
    let word = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let is_left = |difference: &&Value| difference.get("is_mended") != Some(&Value::Bool(true));
    for difference in differences {
        let mended = if is_left(&difference) { "" } else { " (mended)" };
        lines.push(format!(
            "{} in {}{mended}: {}",
            word(difference, "kind"),
            word(difference, "table"),
            word(difference, "key")
        ));
        lines.push(format!("  {}", word(difference, "what")));
        if let Some(first) = difference.get("first_divergent") {
            let event = match word(first, "type") {
                of if of.is_empty() => "a foreign record".to_owned(),
                of => format!("{of}, event {}", word(first, "event_id")),
            };
            let (partition, offset) = (number(first, "partition"), number(first, "offset"));
            lines.push(format!("  first divergent event: partition {partition}, offset {offset}, {event}"));
        }
    }
    let count = number(report, "difference_count");
    let described = differences.len() as u64;
    if count > described {
        lines.push(format!("{} more differences are not described; see --differences", count - described));
    }
    let not_compared = number(report, "not_compared");
    if not_compared > 0 {
        lines.push(format!("{not_compared} rows were not compared: too much differs; rebuild the views"));
    }
    if let Some(mended) = report.get("mended") {
        let (number_of, rows) = (number(mended, "number"), number(mended, "rows"));
        lines.push(format!("mend {number_of} of 7: {rows} rows written"));
    }
    if count == 0 && not_compared == 0 {
        lines.push("no differences".to_owned());
        return lines.join("\n");
    }
    let left = remaining(report);
    lines.push(format!("{count} differences, {left} of them left"));
    let in_place = if report.get("mended").is_some() { 0 } else { number(report, "mendable_count") };
    if in_place > 0 {
        lines.push(format!("to mend {in_place} of them in place: {mend}"));
    }
    if left > in_place || not_compared > 0 {
        lines.push("to mend the rest: tidewheel replay run rebuild --cutover".to_owned());
    }
    lines.join("\n")
}

/// The command that mends what this one found.
fn mend_command(arguments: &VerifyArguments) -> String {
    let mut command = "tidewheel replay verify --mend".to_owned();
    let mut more = |words: String| {
        command.push(' ');
        command.push_str(&words);
    };
    if let Some(generation) = arguments.generation {
        more(format!("--generation {generation}"));
    }
    arguments.partitions.iter().for_each(|partition| more(format!("--partition {partition}")));
    if let Some(run_id) = arguments.entity {
        more(format!("--entity {run_id}"));
    }
    if let Some(sample) = arguments.sample {
        more(format!("--sample {sample}"));
    }
    command
}

/// Progress: a bar on a terminal, JSON lines elsewhere, both on standard error.
struct Shown(Option<ProgressBar>);

impl Shown {
    fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(100);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos:>3} % {msg}") {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    fn progress(&self, progress: &Value) {
        let Some(bar) = &self.0 else {
            eprintln!("{progress}");
            return;
        };
        bar.set_position(number(progress, "percent"));
        let phase = progress.get("phase").and_then(Value::as_str).unwrap_or("");
        let place = match progress.get("partition") {
            Some(partition) => format!(", partition {partition} at offset {}", number(progress, "offset")),
            None => String::new(),
        };
        bar.set_message(format!(
            "{} {phase}, {}/s{place}",
            number(progress, "done"),
            number(progress, "per_second")
        ));
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
