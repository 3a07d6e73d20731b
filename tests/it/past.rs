//! Looking into the past from the command line: a run as it stood, what changed, and stepping through it.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::node::{Node, tidewheel};

/// A run that waited for a signal, got it and completed, and one that still waits.
fn lived(folder: &Path) -> (Node, String, String) {
    let node = Node::start(folder, &["--ephemeral"]);
    let input = r#"{"item": "lamp", "amount_cents": 4200}"#;
    let start = |key: &str| {
        let run = node.json(folder, &["run", "start", "order", "--key", key, "--input", input]);
        run["run_id"].as_str().unwrap().to_owned()
    };
    let (paid, unpaid) = (start("paid"), start("unpaid"));
    node.json(folder, &["run", "signal", &paid, "payment", r#"{"reference": "p-1"}"#]);
    node.json(folder, &["run", "result", &paid, "--timeout", "60s"]);
    (node, paid, unpaid)
}

fn records(node: &Node, folder: &Path, run_id: &str) -> Vec<Value> {
    let file = folder.join("records.jsonl");
    let output = tidewheel(folder)
        .args(["replay", "step", run_id, "--save"])
        .arg(&file)
        .args(["--server", &node.address])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_is_shown_as_it_stood_after_each_of_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (node, paid, unpaid) = lived(folder);
    let now = node.json(folder, &["replay", "inspect", &paid]);
    assert_eq!(
        (&now["run"]["status"], &now["run"]["next"]["when"]),
        (&"completed".into(), &"nothing".into())
    );
    let records = records(&node, folder, &paid);
    assert_eq!(now["run"]["version"], records.len());
    for (place, record) in records.iter().enumerate() {
        let offset = record["offset"].to_string();
        let then = node.json(folder, &["replay", "inspect", &paid, "--as-of", &offset]);
        assert_eq!(then["run"]["version"], place + 1);
        assert_eq!(then["history"].as_array().unwrap().len(), place + 1);
        assert_eq!(then["as_of"]["offset"], record["offset"]);
        // A position names the same place, and so does the time of its record unless the next one has that too.
        let position = then["as_of"]["position"].as_str().unwrap();
        let same = node.json(folder, &["replay", "inspect", &paid, "--as-of", position]);
        assert_eq!(same, then);
        let time = then["as_of"]["recorded_at"].as_str().unwrap();
        let by_time = node.json(folder, &["replay", "inspect", &paid, "--as-of", time]);
        assert!(by_time["run"]["version"].as_u64() >= then["run"]["version"].as_u64());
    }
    let waiting = node.json(folder, &["replay", "inspect", &unpaid]);
    assert_eq!(
        (&waiting["run"]["status"], &waiting["run"]["next"]["when"]),
        (&"running".into(), &"timer".into())
    );
    assert_eq!(waiting["run"]["timers"][0]["kind"], "signal-timeout");

    let first = records[0]["offset"].as_i64().unwrap();
    let before = (first - 1).to_string();
    let output = node.run(folder, &["replay", "inspect", &paid, "--as-of", &before]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let position = waiting["as_of"]["position"].as_str().unwrap();
    if waiting["as_of"]["partition"] != now["as_of"]["partition"] {
        let output = node.run(folder, &["replay", "inspect", &paid, "--as-of", position]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("foreign_position"));
    }
    for wrong in ["yesterday", "-1", "2026-13-01T00:00:00Z"] {
        let as_of = format!("--as-of={wrong}");
        let output = node.run(folder, &["replay", "inspect", &paid, &as_of]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("as_of") && said.contains("is no place of the log"), "{said}");
    }
}

#[test]
fn runs_are_listed_as_they_stood_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (node, paid, unpaid) = lived(folder);
    let ids = |words: &[&str]| -> Vec<String> {
        let list = node.json(folder, &[&["replay", "inspect"], words].concat());
        list["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["run_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&["--workflow", "order"]), [unpaid.clone(), paid.clone()]);
    assert_eq!(ids(&["--status", "completed"]), std::slice::from_ref(&paid));
    assert_eq!(ids(&["--status", "running", "--limit", "1"]), [unpaid]);
    assert_eq!(ids(&["--workflow", "steps"]), [""; 0]);
    let records = records(&node, folder, &paid);
    let started =
        node.json(folder, &["replay", "inspect", &paid, "--as-of", &records[0]["offset"].to_string()]);
    let time = started["run"]["created_at"].as_str().unwrap();
    assert_eq!(ids(&["--workflow", "order", "--as-of", time]), [paid]);
    assert_eq!(ids(&["--as-of", "2001-01-01T00:00:00Z"]), [""; 0]);
    let output = node.run(folder, &["replay", "inspect", "--status", "asleep"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no such status"));
}

#[test]
fn what_changed_between_two_places_is_told_field_by_field() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (node, paid, _) = lived(folder);
    let records = records(&node, folder, &paid);
    let first = records[0]["offset"].to_string();
    let diff = node.json(folder, &["replay", "diff", &paid, &first]);
    let changes = diff["changes"].as_array().unwrap();
    let change = |path: &str| changes.iter().find(|change| change["path"] == path);
    let status = change("status").unwrap();
    assert_eq!((&status["before"], &status["after"]), (&"running".into(), &"completed".into()));
    assert!(change("output").is_some() && change("workflow").is_none());
    assert_eq!(diff["history"].as_array().unwrap().len(), records.len() - 1);
    let last = records.last().unwrap()["offset"].to_string();
    assert_eq!(
        node.json(folder, &["replay", "diff", &paid, &last, &last])["changes"],
        Value::from(Vec::<Value>::new())
    );
    let output = node.run(folder, &["replay", "diff", &paid, &last, &first]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("name the earlier place first"));
}

/// What a session answers to these lines, with and without a server.
fn step(folder: &Path, words: &[&str], lines: &str) -> (String, String, Option<i32>) {
    let mut child = tidewheel(folder)
        .args(["replay", "step"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn a_run_is_stepped_through_forward_and_back_from_a_script() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (node, paid, _) = lived(folder);
    let of = records(&node, folder, &paid).len();
    let server = ["--server", node.address.as_str()];
    let script = "next\nshow .status\nproposed\nbreak run-signaled\nbreak .status\nrun\nrecord\nrun\ndiff\nback 1\nshow .status\ngoto 0\nlist\nquit\nnext\n";
    let (said, errors, code) = step(folder, &[&[paid.as_str()], &server[..]].concat(), script);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{said}");
    for words in [
        format!("1/{of}  offset "),
        "run-started  accepted  (from anonymous)".to_owned(),
        "\"running\"".to_owned(),
        "step-completed  accepted  (engine, claim 1, seq ".to_owned(),
        "(breakpoint run-signaled)".to_owned(),
        "\"reference\": \"p-1\"".to_owned(),
        "(breakpoint .status)".to_owned(),
        "status: \"running\" -> \"completed\"".to_owned(),
        format!("before the first of {of} records"),
        format!("  {of}  offset "),
    ] {
        assert!(said.contains(&words), "{words} is not in {said}");
    }

    // The same without a server, as programs read it.
    let file = folder.join("records.jsonl");
    let file = file.to_str().unwrap();
    drop(node);
    std::fs::write(folder.join("script"), "run\nback\nnext\nshow .status\n").unwrap();
    let words = ["--file", file, "--json", "--commands", "script"];
    let (said, errors, code) = step(folder, &words, "");
    assert_eq!(code, Some(0), "{errors}");
    let replies: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(replies.len(), 4);
    assert_eq!((&replies[0]["at"], &replies[0]["status"]), (&of.into(), &"completed".into()));
    assert_eq!(replies[1]["status"], "running");
    assert_eq!(replies[3]["state"], "completed");

    let (said, errors, code) =
        step(folder, &["--file", file], "jump\nbreak nothing\nshow .no\ndelete 1\nnext x\n");
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert_eq!(errors.lines().filter(|line| line.starts_with("error: ")).count(), 6, "{errors}");
}

#[test]
fn a_run_that_never_was_or_is_of_another_namespace_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (node, paid, _) = lived(folder);
    node.json(folder, &["namespace", "create", "billing"]);
    let nobody = "01978a51-0000-8000-8000-000000000000";
    for words in [
        &["replay", "inspect", nobody][..],
        &["replay", "diff", nobody, "0"],
        &["replay", "step", nobody],
        &["replay", "inspect", &paid, "--namespace", "billing"],
        &["replay", "step", &paid, "--namespace", "billing"],
    ] {
        let output = node.run(folder, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{words:?}: {said}");
        assert!(said.contains("run_not_found"), "{words:?}: {said}");
    }
}
