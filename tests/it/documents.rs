//! Executes the console blocks of documents against the built binary and compares the answers. Not what they mean.
//!
//! In a ```` ```console ```` block a line that starts with `$ ` is a command and the lines below it are its answer.
//! `…` stands for any text within a line; `<name>` for text without quotes, the same wherever it is repeated in
//! the document.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// The address the documents' examples use.
const PRINTED_ADDRESS: &str = "127.0.0.1:7400";
/// How long a node may take to say its address before the test gives up.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the examples of a document one after the other, each as `shell` makes its command, and says which answered
/// otherwise than printed.
fn answers_otherwise(document: &str, address: &str, shell: impl Fn(&str) -> Command) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(path).expect("the document is readable");
    let examples = examples(&text);
    assert!(examples.len() >= 5, "{document} has only {} console examples", examples.len());
    let mut bound = BTreeMap::new();
    let mut report = String::new();
    for example in &examples {
        // What an earlier answer said is what a later command means.
        let named =
            bound.iter().fold(example.command.clone(), |command, (name, value): (&String, &String)| {
                command.replace(&format!("<{name}>"), value)
            });
        let output = shell(&named.replace(PRINTED_ADDRESS, address)).output().expect("bash runs");
        let answer = String::from_utf8_lossy(&output.stdout).replace(address, PRINTED_ADDRESS);
        if !matches_answer(&example.answer, &answer, &mut bound) {
            let _ = write!(
                report,
                "\n{document}:{}\n$ {}\nprinted:  {}\nanswered: {}\nstderr: {}",
                example.line,
                example.command,
                example.answer,
                answer.trim_end(),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    report
}

fn bash(command: &str) -> Command {
    let mut bash = Command::new("bash");
    bash.args(["-c", command]);
    bash
}

#[test]
fn the_readme_examples_answer_as_printed() {
    let node = Node::start();
    let report = answers_otherwise("README.md", &node.address, bash);
    assert!(report.is_empty(), "{report}");
}

/// The processes that a document starts write their ids to `*.pid` in its folder; they end with the test.
struct Folder(tempfile::TempDir);

impl Drop for Folder {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.0.path()).into_iter().flatten().flatten() {
            let id = std::fs::read_to_string(entry.path())
                .ok()
                .filter(|_| entry.path().extension().is_some_and(|extension| extension == "pid"));
            let id = id.and_then(|id| id.trim().parse().ok()).and_then(rustix::process::Pid::from_raw);
            if let Some(id) = id {
                // It may have ended as the document says.
                let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            }
        }
    }
}

#[test]
fn the_examples_of_replay_answer_as_printed() {
    let folder = Folder(tempfile::tempdir().expect("a temporary folder"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = port.expect("a free port").to_string();
    let binary = Path::new(env!("CARGO_BIN_EXE_tidewheel")).parent().expect("a folder").to_owned();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let shell = |command: &str| {
        let mut bash = bash(command);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("TIDEWHEEL_") {
                bash.env_remove(variable);
            }
        }
        bash.current_dir(folder.0.path()).env("PATH", &path).stdin(Stdio::null());
        bash.env("TIDEWHEEL_LISTEN", &address).env("TIDEWHEEL_SERVER", format!("http://{address}"));
        bash
    };
    let report = answers_otherwise("docs/replay.md", &address, shell);
    assert!(report.is_empty(), "{report}");
}

/// A node on a port of its own that ends with the test.
struct Node {
    process: Child,
    address: String,
    /// Keeps the pipes drained; its lines help when an example fails.
    _output: Receiver<String>,
}

impl Node {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidewheel"))
            .args(["dev", "--listen", "127.0.0.1:0", "--ephemeral"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (sender, output) = sync_channel(1_000);
        forward(process.stdout.take().expect("stdout is piped"), sender.clone());
        forward(process.stderr.take().expect("stderr is piped"), sender);
        let mut said = String::new();
        loop {
            match output.recv_timeout(START_TIMEOUT) {
                Ok(line) => {
                    if let Some(address) = address_in(&line) {
                        return Self { process, address, _output: output };
                    }
                    said.push_str(&line);
                }
                Err(error) => {
                    let _ = process.kill();
                    let _ = process.wait();
                    panic!("the node said no address of its own ({error}): {said}");
                }
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn forward(from: impl Read + Send + 'static, to: SyncSender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // The pipe is read to its end even when nobody wants the lines any more.
            let _ = to.try_send(line + "\n");
        }
    });
}

/// The first loopback address with a port in a line of the node's output.
fn address_in(line: &str) -> Option<String> {
    let start = line.find("127.0.0.1:")?;
    let rest = &line[start + "127.0.0.1:".len()..];
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let port: u16 = digits.parse().ok()?;
    (port != 0).then(|| format!("127.0.0.1:{port}"))
}

#[derive(Debug, PartialEq, Eq)]
struct Example {
    line: usize,
    command: String,
    answer: String,
}

fn examples(document: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut is_console = false;
    let mut continues = false;
    for (index, line) in document.lines().enumerate() {
        if line.starts_with("```") {
            is_console = line == "```console";
            continues = false;
        } else if !is_console {
            continue;
        } else if let Some(command) = line.strip_prefix("$ ") {
            continues = command.ends_with('\\');
            found.push(Example { line: index + 1, command: command.to_owned(), answer: String::new() });
        } else if let Some(example) = found.last_mut() {
            let part = if continues { &mut example.command } else { &mut example.answer };
            if !part.is_empty() {
                part.push('\n');
            }
            part.push_str(line);
            continues &= line.ends_with('\\');
        }
    }
    found
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Anything,
    Named(&'a str),
}

fn parts(pattern: &str) -> Vec<Part<'_>> {
    let mut found = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let name = rest.find('<').and_then(|start| {
            let length = rest[start..].find('>')?;
            let name = &rest[start + 1..start + length];
            let is_name =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            is_name.then_some((start, name))
        });
        let anything = rest.find('…');
        match (name, anything) {
            (Some((start, name)), anything) if anything.is_none_or(|at| start < at) => {
                found.push(Part::Text(&rest[..start]));
                found.push(Part::Named(name));
                rest = &rest[start + name.len() + 2..];
            }
            (_, Some(at)) => {
                found.push(Part::Text(&rest[..at]));
                found.push(Part::Anything);
                rest = &rest[at + '…'.len_utf8()..];
            }
            _ => {
                found.push(Part::Text(rest));
                rest = "";
            }
        }
    }
    found.retain(|part| *part != Part::Text(""));
    found
}

type Bound = BTreeMap<String, String>;

/// Whether an answer is what was printed, line for line; new names are bound only when it is.
fn matches_answer(printed: &str, answer: &str, bound: &mut Bound) -> bool {
    let (printed, answer): (Vec<_>, Vec<_>) =
        (printed.trim_end().lines().collect(), answer.trim_end().lines().collect());
    let mut attempt = bound.clone();
    let is_match = printed.len() == answer.len()
        && printed.iter().zip(answer).all(|(pattern, line)| {
            match matches_line(&parts(pattern), line, &attempt, &mut Failed::new()) {
                Some(now_bound) => {
                    attempt = now_bound;
                    true
                }
                None => false,
            }
        });
    if is_match {
        *bound = attempt;
    }
    is_match
}

/// Wildcards that are known to lead nowhere: parts left, bytes left, names bound. Without it a long answer that
/// differs would be tried in exponentially many ways.
type Failed = BTreeSet<(usize, usize, Bound)>;

fn matches_line(parts: &[Part<'_>], line: &str, bound: &Bound, failed: &mut Failed) -> Option<Bound> {
    let Some((first, others)) = parts.split_first() else {
        return line.is_empty().then(|| bound.clone());
    };
    match first {
        Part::Text(text) => matches_line(others, line.strip_prefix(text)?, bound, failed),
        Part::Anything => {
            let state = (parts.len(), line.len(), bound.clone());
            if failed.contains(&state) {
                return None;
            }
            let found = ends(line).find_map(|end| matches_line(others, &line[end..], bound, failed));
            if found.is_none() {
                failed.insert(state);
            }
            found
        }
        Part::Named(name) => match bound.get(*name) {
            Some(value) => matches_line(others, line.strip_prefix(value.as_str())?, bound, failed),
            None => ends(line).skip(1).take_while(|&end| !line[..end].contains('"')).find_map(|end| {
                let mut bound = bound.clone();
                bound.insert((*name).to_owned(), line[..end].to_owned());
                matches_line(others, &line[end..], &bound, failed)
            }),
        },
    }
}

/// Every place where a prefix of `line` may end, the empty one first.
fn ends(line: &str) -> impl Iterator<Item = usize> + '_ {
    line.char_indices().map(|(index, _)| index).chain([line.len()])
}

#[test]
fn an_answer_that_differs_does_not_match() {
    let is_match = |printed, answer| matches_answer(printed, answer, &mut Bound::new());
    assert!(is_match("{\"a\":1,…}", "{\"a\":1,\"b\":2}\n"));
    assert!(is_match("…\"a\"…\"b\"…", "{\"a\":1,\"b\":2}"));
    assert!(is_match("", "") && is_match("a\nb", "a\nb\n"));
    assert!(!is_match("{\"a\":1,…}", "{\"a\":2,\"b\":2}"));
    assert!(!is_match("…\"b\"…\"a\"…", "{\"a\":1,\"b\":2}"));
    assert!(!is_match("a", "a\nb") && !is_match("a", "") && !is_match("", "a"));
}

#[test]
fn a_name_stands_for_the_same_text_everywhere() {
    let mut bound = Bound::new();
    assert!(matches_answer("{\"id\":\"<run_id>\",…}", "{\"id\":\"x-1\",\"b\":2}", &mut bound));
    assert_eq!(bound.get("run_id").map(String::as_str), Some("x-1"));
    assert!(matches_answer("<run_id> <other>", "x-1 y", &mut bound));
    assert!(!matches_answer("<run_id>", "x-2", &mut bound));
    assert!(!matches_answer("\"<unquoted>\"", "\"a\"b\"", &mut Bound::new()));
    assert!(!matches_answer("<unbound> <run_id>", "z x-2", &mut bound));
    assert!(!bound.contains_key("unbound"), "a failed match binds nothing");
}

#[test]
fn a_long_answer_that_differs_is_refused_soon() {
    let printed = "…a".repeat(12) + "…b";
    assert!(!matches_answer(&printed, &"a".repeat(300), &mut Bound::new()));
}

#[test]
fn commands_answers_and_continuations_are_told_apart() {
    let document = "```sh\n$ no\n```\n```console\n$ a \\\n  b\nx\ny\n$ c\n```\n$ no\n";
    let example =
        |line, command: &str, answer: &str| Example { line, command: command.into(), answer: answer.into() };
    assert_eq!(examples(document), [example(5, "a \\\n  b", "x\ny"), example(9, "c", "")]);
}

#[test]
fn the_address_is_read_from_what_the_node_says() {
    assert_eq!(address_in("listening on http://127.0.0.1:41213/v1").as_deref(), Some("127.0.0.1:41213"));
    assert_eq!(address_in("asked for 127.0.0.1:0"), None);
}
