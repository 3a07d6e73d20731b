//! `tidewheel bench` against a node: every workload does what it says, and failures are told.

use std::net::TcpListener;

use serde_json::Value;

use crate::node::{Node, tidewheel};

const SHORT: [&str; 8] =
    ["--duration", "500ms", "--warm-up", "0s", "--clients", "3", "--payload-bytes", "64"];

fn report(node: &Node, folder: &std::path::Path, words: &[&str]) -> Value {
    let words: Vec<&str> = ["bench"].iter().chain(words).chain(&SHORT).chain(&["--json"]).copied().collect();
    let output = node.run(folder, &words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_workload_is_answered_rightly_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, &["--ephemeral"]);
    for words in [
        &["start"][..],
        &["batch", "--lines", "20"],
        &["steps", "--steps", "3"],
        &["signal"],
        &["probe"],
        &["steps", "--rate", "20"],
    ] {
        let report = report(&node, folder, words);
        let operations = report["operations"].as_u64().unwrap();
        assert!(operations > 0, "{words:?}: {report}");
        assert_eq!(report["errors"], serde_json::json!({}), "{words:?}");
        assert!(report["latency"]["p50_us"].as_u64().unwrap() > 0, "{words:?}: {report}");
        assert_eq!(report["latency_corrected"].is_null(), words.contains(&"--rate"), "{words:?}");
    }
    let runs = node.run(folder, &["run", "list", "--workflow", "steps", "--status", "failed", "--json"]);
    assert!(!String::from_utf8_lossy(&runs.stdout).contains("run_id"), "no run of the load failed");
}

#[test]
fn failed_operations_are_counted_by_status_and_fail_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &["--ephemeral"]);
    let words: Vec<&str> =
        ["bench", "probe", "--path", "/no/such/path"].iter().chain(&SHORT).copied().collect();
    let output = node.run(folder.path(), &words);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("x 404, first: status 404"), "{shown}");
}

#[test]
fn a_server_that_is_not_there_or_no_server_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // Bound and dropped: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let code = |words: &[&str]| {
        tidewheel(folder.path()).args(["bench", "start"]).args(words).output().unwrap().status.code()
    };
    assert_eq!(code(&["--server", &format!("http://127.0.0.1:{port}")]), Some(3));
    assert_eq!(code(&["--server", "127.0.0.1"]), Some(2));
    assert_eq!(code(&["--rate", "-1"]), Some(2));
    assert_eq!(code(&["--clients", "0"]), Some(2));
}
