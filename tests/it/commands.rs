//! The command line: what it prints, and its exit codes.

use std::net::TcpListener;

use serde_json::json;

use crate::node::{Node, tidewheel};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_wrong_configuration_is_told_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |command: &mut std::process::Command, says: &[&str]| {
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(says.iter().all(|what| said.contains(what)), "{said}");
    };
    let dev = || {
        let mut command = tidewheel(folder.path());
        command.arg("dev");
        command
    };
    refused(dev().args(["--listen", "0.0.0.0:7400"]), &["0.0.0.0:7400", "loopback"]);
    refused(dev().env("TIDEWHEEL_LISTN", "127.0.0.1:0"), &["TIDEWHEEL_LISTN", "did you mean `listen`?"]);
    refused(dev().args(["--durability", "hope"]), &["durability", "hope"]);
    refused(dev().args(["--config", "none.toml"]), &["none.toml"]);
    std::fs::write(folder.path().join("tidewheel.toml"), "partition = 2").unwrap();
    refused(&mut dev(), &["tidewheel.toml", "did you mean `partitions`?"]);
    refused(tidewheel(folder.path()).args(["run", "start"]), &["Usage"]);
}

#[test]
fn a_server_that_is_not_there_is_exit_code_3() {
    let folder = tempfile::tempdir().unwrap();
    // Bound and dropped: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = format!("http://127.0.0.1:{port}");
    for words in [&["health"][..], &["status"], &["run", "list"]] {
        let output = tidewheel(folder.path()).args(words).args(["--server", &server]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(&server));
    }
}

#[test]
fn commands_read_and_steer_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, &["--ephemeral"]);
    assert!(node.ready_line.starts_with("tidewheel is ready on http://127.0.0.1:"), "{}", node.ready_line);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "an ephemeral node keeps nothing");

    let steps = r#"{"steps": 2, "payload": {"hello": "tide"}}"#;
    let output = node.run(folder, &["run", "start", "steps", "--input", steps, "--wait", "60s"]);
    assert_eq!((output.status.code(), text(&output.stdout).trim()), (Some(0), r#"{"hello":"tide"}"#));

    let waiting = node.json(folder, &["run", "start", "wait", "--tag", "shop:berlin"]);
    let run_id = waiting["run_id"].as_str().unwrap();
    let early = node.run(folder, &["run", "result", run_id, "--timeout", "1ms"]);
    assert_eq!(early.status.code(), Some(1));
    assert!(node.run(folder, &["run", "signal", run_id, "go", "[1, 2]"]).status.success());
    let output = node.run(folder, &["run", "result", run_id, "--timeout", "60s"]);
    assert_eq!((output.status.code(), text(&output.stdout).trim()), (Some(0), "[1,2]"));
    let history = text(&node.run(folder, &["run", "history", run_id]).stdout);
    for event in ["run-started", "run-signaled", "signal-received", "run-completed"] {
        assert!(history.contains(event), "{history}");
    }
    let listed = node.json(folder, &["run", "list", "--tag", "shop:berlin"]);
    assert_eq!(listed["runs"].as_array().map(Vec::len), Some(1));
    assert!(text(&node.run(folder, &["run", "list"]).stdout).contains(run_id));

    let late = node.run(folder, &["run", "signal", run_id, "go"]);
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stderr).contains("run_finished"), "{}", text(&late.stderr));
    let unknown = node.run(folder, &["run", "show", "00000000-0000-8000-8000-000000000000"]);
    assert_eq!(unknown.status.code(), Some(4));
    assert!(text(&unknown.stderr).contains("run_not_found"), "{}", text(&unknown.stderr));

    for (verb, status) in [("cancel", "cancelled"), ("terminate", "terminated")] {
        let run = node.json(folder, &["run", "start", "wait"]);
        let run_id = run["run_id"].as_str().unwrap();
        assert!(node.run(folder, &["run", verb, run_id, "--reason", "enough"]).status.success());
        let ended = node.run(folder, &["run", "result", run_id, "--timeout", "60s", "--json"]);
        assert_eq!(ended.status.code(), Some(1), "a run that did not complete is a failure for scripts");
        let ended: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!((&ended["status"], &ended["reason"]), (&json!(status), &json!("enough")));
    }

    let status = node.json(folder, &["status"]);
    assert_eq!(status["partitions"].as_array().map(Vec::len), Some(4));
    let table = text(&node.run(folder, &["status"]).stdout);
    assert!(table.contains("PARTITION") && table.contains("LAG"), "{table}");
    assert!(node.run(folder, &["health"]).status.success());
}

#[test]
fn a_file_of_starts_is_answered_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, &["--ephemeral"]);
    let start = r#"{"workflow": "steps", "key": "1", "input": {"steps": 1}}"#;
    std::fs::write(folder.join("a.jsonl"), format!("{start}\n\n{start}\n{{\"workflow\": \"stepz\"}}\n"))
        .unwrap();
    let words = ["run", "start", "--from", "a.jsonl", "--json"];
    let output = node.run(folder, &words);
    assert_eq!(output.status.code(), Some(1), "a refused line is a failure");
    let answers: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<_> = answers.iter().map(|answer| answer["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [1, 3, 4]);
    assert_eq!(answers[0]["run_id"], answers[1]["run_id"]);
    assert_eq!(answers[2]["problem"]["code"], "workflow_not_found");
    assert!(text(&output.stderr).contains("line 4"), "{}", text(&output.stderr));
}

#[test]
fn the_fold_is_raised_to_what_the_node_knows_and_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, &["--ephemeral"]);
    let output = node.run(folder, &["fold", "raise", "2"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(shown.lines().filter(|line| line.contains("in_force")).count(), 4, "{shown}");
    let output = node.run(folder, &["fold", "raise", "3"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("fold versions 1 to 2") && said.contains("invalid_field"), "{said}");
}
