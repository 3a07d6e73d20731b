//! What a node's end leaves behind: nothing acknowledged is lost, whatever ended it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::node::{Node, tidewheel};

#[test]
fn an_order_outlives_a_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, &[]);
    let input = r#"{"item": "lamp", "amount_cents": 4200, "fail_attempts": 1}"#;
    let run = node.json(folder, &["run", "start", "order", "--key", "4711", "--input", input]);
    let run_id = run["run_id"].as_str().unwrap().to_owned();
    node.kill();

    let node = Node::start(folder, &[]);
    assert_eq!(node.json(folder, &["run", "show", &run_id])["status"], "running");
    // The same start again is the same run.
    let again = node.json(folder, &["run", "start", "order", "--key", "4711", "--input", input]);
    assert_eq!(again["run_id"], *run_id);
    node.json(folder, &["run", "signal", &run_id, "payment", r#"{"reference": "p-1"}"#]);
    let ended = node.json(folder, &["run", "result", &run_id, "--timeout", "60s"]);
    assert_eq!(ended["output"]["status"], "shipped");
    assert_eq!(ended["output"]["charge"], json!({"reference": "p-1", "amount_cents": 4200, "attempt": 2}));
    node.kill();

    let node = Node::start(folder, &[]);
    let kept = node.json(folder, &["run", "result", &run_id, "--timeout", "60s"]);
    assert_eq!(kept["output"], ended["output"]);
}

#[test]
fn a_graceful_stop_loses_nothing_that_was_acknowledged() {
    const LINES: usize = 3_000;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let lines = "{\"steps\": 1}\n".repeat(LINES);
    std::fs::write(folder.join("inputs.jsonl"), lines).unwrap();
    let node = Node::start(folder, &[]);
    let mut client = tidewheel(folder)
        .args(["run", "start", "steps", "--from", "inputs.jsonl", "--json", "--server", &node.address])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut accepted = BTreeSet::new();
    let answers = BufReader::new(client.stdout.take().unwrap()).lines();
    for (place, answer) in answers.map_while(Result::ok).enumerate() {
        let answer: Value = serde_json::from_str(&answer).unwrap();
        if let Some("accepted" | "duplicate" | "pending") = answer["outcome"].as_str() {
            accepted.insert(answer["run_id"].as_str().unwrap().to_owned());
        }
        if place == 0 {
            node.ask_to_stop();
        }
    }
    client.wait().unwrap();
    assert!(node.ended().success(), "a node that is asked to stop ends without an error");
    assert!(!accepted.is_empty());

    let node = Node::start(folder, &[]);
    let mut kept = BTreeSet::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut words = vec!["run", "list", "--workflow", "steps", "--limit", "1000"];
        words.extend(cursor.iter().flat_map(|cursor| ["--cursor", cursor.as_str()]));
        let page = node.json(folder, &words);
        kept.extend(
            page["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    let lost: Vec<_> = accepted.difference(&kept).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), accepted.len());
    for run_id in accepted.iter().take(5).chain(accepted.iter().rev().take(5)) {
        let ended = node.json(folder, &["run", "result", run_id, "--timeout", "60s"]);
        assert_eq!(ended["status"], "completed");
    }
}

#[test]
fn a_second_node_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let first = Node::start(folder, &[]);
    let second = tidewheel(folder).args(["dev", "--listen", "127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("open in another process"), "{said}");
    assert!(first.run(folder, &["health"]).status.success(), "the first one goes on");
}

#[test]
fn the_demonstration_finds_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["demo", "--orders", "120", "--clients", "8"];
    let output = tidewheel(folder.path()).args(words).output().unwrap();
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}\n{said}");
    let value = |name: &str| {
        let line = table.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no `{name}` in {table}")).trim().to_owned()
    };
    assert_eq!((value("differences"), value("wrong")), ("0".to_owned(), "0".to_owned()));
    assert_ne!(value("recovered").split(' ').next(), Some("0"), "the kill met no open order: {table}");
}
