//! `tidewheel run start`: one run, or one for each line of a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{client, json_argument, print_result, print_run, runs_path};
use crate::args::StartArguments;
use crate::client::{Client, problem_text, random_key};
use crate::failure::Failure;
use crate::output::print;

/// Lines of one request; a server takes at most 10,000.
const BATCH_LINES_MAX: usize = 2_000;
/// Bytes after which a request ends before that.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest line read; a server takes less.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Refused lines that are shown one by one.
const SHOWN_MAX: usize = 20;

/// Starts what the command line asks for.
pub async fn run(arguments: StartArguments) -> Result<(), Failure> {
    match &arguments.from {
        Some(path) => from(&arguments, path).await,
        None => one(&arguments).await,
    }
}

async fn one(arguments: &StartArguments) -> Result<(), Failure> {
    let input = arguments.input.as_deref().map(|text| json_argument("--input", text)).transpose()?;
    let body = body(arguments, input.as_deref())?;
    let key = arguments.idempotency_key.clone().unwrap_or_else(random_key);
    let wait = arguments.wait.as_deref().map(|wait| ("wait", wait));
    let query: Vec<_> = wait.into_iter().collect();
    let answer = client(&arguments.at)?.post(&runs_path(&arguments.at), &query, body, &key).await?;
    if arguments.wait.is_some() {
        print_result(&arguments.at, &answer)
    } else {
        print_run(&arguments.at, &answer)
    }
}

/// The request to start one run with this input.
fn body(arguments: &StartArguments, input: Option<&RawValue>) -> Result<String, Failure> {
    let mut body =
        format!(r#"{{"workflow":{}"#, Value::from(arguments.workflow.as_ref().map(|name| name.to_string())));
    if let Some(key) = &arguments.key {
        body += &format!(r#","key":{}"#, Value::from(key.as_str()));
    }
    if let Some(input) = input {
        body += &format!(r#","input":{input}"#);
    }
    if !arguments.tags.is_empty() {
        body += &format!(r#","tags":{}"#, serde_json::json!(tags(&arguments.tags)?));
    }
    if let Some(datacenter) = &arguments.datacenter {
        body += &format!(r#","datacenter":{}"#, Value::from(datacenter.as_str()));
    }
    Ok(body + "}")
}

fn tags(given: &[String]) -> Result<BTreeMap<&str, &str>, Failure> {
    let pair = |tag: &String| format!("--tag {tag}: give a name and a value, such as shop:berlin");
    given.iter().map(|tag| tag.split_once(':').ok_or_else(|| Failure::Usage(pair(tag)))).collect()
}

/// What became of the lines so far.
#[derive(Debug, Default)]
struct Count {
    started: u64,
    existed: u64,
    undecided: u64,
    refused: u64,
}

async fn from(arguments: &StartArguments, path: &Path) -> Result<(), Failure> {
    for (is_given, flag, what) in [
        (!arguments.tags.is_empty(), "--tag", "tags"),
        (arguments.datacenter.is_some(), "--datacenter", "datacenter"),
    ] {
        if arguments.workflow.is_none() && is_given {
            let what = format!("{flag} needs a workflow; without one each line has its own {what}");
            return Err(Failure::Usage(what));
        }
    }
    let client = client(&arguments.at)?;
    let key = arguments.idempotency_key.clone().unwrap_or_else(random_key);
    let (mut lines, bytes) = open(path)?;
    let bar = progress(bytes);
    let mut count = Count::default();
    let outcome = send_all(arguments, &client, &key, &mut lines, &bar, &mut count).await;
    bar.finish_and_clear();
    if !arguments.at.server.json {
        let Count { started, existed, undecided, refused } = count;
        print(&format!(
            "{started} started, {existed} existed, {undecided} not judged yet, {refused} refused"
        ))?;
    }
    match outcome {
        Ok(()) if count.refused == 0 => Ok(()),
        Ok(()) => Err(Failure::Failed(format!("{} lines were refused", count.refused))),
        Err(Failure::Unreachable(what)) => Err(Failure::Unreachable(format!(
            "{what}\n  some lines have no answer; repeat with --idempotency-key {key} to start nothing twice"
        ))),
        Err(failure) => Err(failure),
    }
}

async fn send_all(
    arguments: &StartArguments,
    client: &Client,
    key: &str,
    lines: &mut Lines,
    bar: &ProgressBar,
    count: &mut Count,
) -> Result<(), Failure> {
    loop {
        let batch = lines.batch(arguments)?;
        let (Some(first), false) = (batch.numbers.first(), batch.body.is_empty()) else { return Ok(()) };
        // The server makes each line's key of this and the line's number in its batch.
        let key = format!("{key}/{first}");
        let path = format!("{}:batch", runs_path(&arguments.at));
        let mut answers = client.post_lines(&path, batch.body, &key).await?;
        let mut answered = 0;
        while let Some(line) = answers.next().await? {
            let number = batch.numbers.get(answered).copied().unwrap_or(0);
            answered += 1;
            take_answer(arguments, number, &line, bar, count)?;
        }
        if answered != batch.numbers.len() {
            let missing = batch.numbers.len().saturating_sub(answered);
            return Err(Failure::Unreachable(format!(
                "the server's answer broke off, {missing} lines early"
            )));
        }
        bar.set_position(lines.bytes_read);
    }
}

fn take_answer(
    arguments: &StartArguments,
    number: u64,
    line: &[u8],
    bar: &ProgressBar,
    count: &mut Count,
) -> Result<(), Failure> {
    let mut answer: Value = serde_json::from_slice(line).map_err(|error| {
        Failure::Failed(format!("the server's answer to line {number} is not JSON: {error}"))
    })?;
    match answer.get("outcome").and_then(Value::as_str) {
        Some("accepted") => count.started += 1,
        Some("duplicate") => count.existed += 1,
        Some(_) => count.undecided += 1,
        None => {
            count.refused += 1;
            let shown = usize::try_from(count.refused).unwrap_or(usize::MAX) <= SHOWN_MAX;
            if shown && let Some(problem) = answer.get("problem") {
                bar.suspend(|| eprintln!("line {number}: {}", problem_text(problem)));
            }
        }
    }
    if arguments.at.server.json {
        if let Some(object) = answer.as_object_mut() {
            object.insert("line".to_owned(), number.into());
        }
        print(&answer.to_string())?;
    }
    Ok(())
}

fn progress(bytes: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let style = ProgressStyle::with_template("{bar:40} {percent}% {bytes}/{total_bytes}, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

fn open(path: &Path) -> Result<(Lines, Option<u64>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Lines::new(Box::new(BufReader::new(io::stdin()))), None));
    }
    let failed = |error: io::Error| Failure::Usage(format!("{} cannot be read: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    Ok((Lines::new(Box::new(BufReader::new(file))), Some(bytes)))
}

/// Lines of a file, read as they are needed.
struct Lines {
    reader: Box<dyn BufRead + Send>,
    number: u64,
    bytes_read: u64,
}

/// One request's lines.
struct Batch {
    body: String,
    /// Where each line stands in the file, from 1.
    numbers: Vec<u64>,
}

impl Lines {
    fn new(reader: Box<dyn BufRead + Send>) -> Self {
        Self { reader, number: 0, bytes_read: 0 }
    }

    fn batch(&mut self, arguments: &StartArguments) -> Result<Batch, Failure> {
        let mut batch = Batch { body: String::new(), numbers: Vec::new() };
        while batch.numbers.len() < BATCH_LINES_MAX && batch.body.len() < BATCH_BYTES_MAX {
            let Some(line) = self.next()? else { break };
            if line.trim().is_empty() {
                continue;
            }
            let wrong =
                |error| Failure::Usage(format!("line {} of the file is not JSON: {error}", self.number));
            let line: Box<RawValue> = serde_json::from_str(line.trim()).map_err(wrong)?;
            match arguments.workflow {
                Some(_) => batch.body += &body(arguments, Some(&line))?,
                None => batch.body += line.get(),
            }
            batch.body.push('\n');
            batch.numbers.push(self.number);
        }
        Ok(batch)
    }

    fn next(&mut self) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        let failed = |what: String| Failure::Usage(format!("the file cannot be read: {what}"));
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = io::Read::take(&mut self.reader, limit).read_until(b'\n', &mut line);
        let read = read.map_err(|error| failed(error.to_string()))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes_read += read as u64;
        if read > LINE_BYTES_MAX {
            return Err(failed(format!("line {} is longer than {LINE_BYTES_MAX} bytes", self.number)));
        }
        String::from_utf8(line).map(Some).map_err(|_| failed(format!("line {} is not UTF-8", self.number)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Arguments, Command, RunCommand};

    fn arguments(words: &[&str]) -> StartArguments {
        let words = ["tidewheel", "run", "start"].iter().chain(words);
        match Arguments::try_parse_from(words).unwrap().command {
            Command::Run(RunCommand::Start(arguments)) => arguments,
            other => panic!("{other:?}"),
        }
    }

    fn batch(words: &[&str], text: &'static str) -> Result<Batch, Failure> {
        Lines::new(Box::new(text.as_bytes())).batch(&arguments(words))
    }

    #[test]
    fn a_start_carries_what_was_given_and_nothing_else() {
        let plain = arguments(&["order"]);
        assert_eq!(body(&plain, None).unwrap(), r#"{"workflow":"order"}"#);
        let full = arguments(&["order", "--key", "a\"b", "--tag", "shop:berlin:mitte", "--tag", "x:"]);
        let input = json_argument("--input", "1.0").unwrap();
        assert_eq!(
            body(&full, Some(&input)).unwrap(),
            r#"{"workflow":"order","key":"a\"b","input":1.0,"tags":{"shop":"berlin:mitte","x":""}}"#
        );
        assert!(matches!(body(&arguments(&["order", "--tag", "x"]), None), Err(Failure::Usage(_))));
    }

    #[test]
    fn lines_keep_their_numbers_and_empty_ones_are_skipped() {
        let inputs = batch(&["order", "--from", "-"], "1\n\n {\"a\": 2} \n").unwrap();
        assert_eq!(inputs.numbers, [1, 3]);
        assert_eq!(
            inputs.body,
            "{\"workflow\":\"order\",\"input\":1}\n{\"workflow\":\"order\",\"input\":{\"a\": 2}}\n"
        );
        let starts = batch(&["--from", "-"], "{\"workflow\":\"x\"}").unwrap();
        assert_eq!(starts.body, "{\"workflow\":\"x\"}\n");
    }

    #[test]
    fn a_line_that_is_not_json_is_named() {
        let Err(Failure::Usage(text)) = batch(&["order", "--from", "-"], "1\n{\n") else {
            panic!("it was taken")
        };
        assert!(text.contains("line 2"), "{text}");
    }
}
