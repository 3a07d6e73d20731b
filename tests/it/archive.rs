//! The archive from outside: sealed while the node works, verified, trimmed, read through, and gone on with after a kill.

use std::path::Path;

use serde_json::Value;

use crate::node::{Node, tidewheel};

/// A line of a report for each partition of the runs' topic.
fn report(node: &Node, folder: &Path, words: &[&str], kind: &str) -> Vec<Value> {
    let output = node.run(folder, &[&["replay", "archive"], words, &["--json"]].concat());
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["kind"], "done");
    lines.into_iter().filter(|line| line["kind"] == kind).collect()
}

fn runs(node: &Node, folder: &Path, count: usize) {
    std::fs::write(folder.join("inputs.jsonl"), "{\"steps\": 3}\n".repeat(count)).unwrap();
    let started = node.run(folder, &["run", "start", "steps", "--from", "inputs.jsonl"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
}

fn start(folder: &Path) -> Node {
    let archive = format!("archive = 'file://{}/archive'\n", folder.display());
    std::fs::write(folder.join("tidewheel.toml"), archive).unwrap();
    Node::start(folder, &[])
}

#[test]
fn old_records_leave_the_log_and_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = start(folder);
    let input = r#"{"item": "lamp", "amount_cents": 4200, "fail_attempts": 0}"#;
    let run = node.json(folder, &["run", "start", "order", "--key", "4711", "--input", input]);
    let run_id = run["run_id"].as_str().unwrap().to_owned();
    node.json(folder, &["run", "signal", &run_id, "payment", r#"{"reference": "p-1"}"#]);
    let ended = node.json(folder, &["run", "result", &run_id, "--timeout", "60s"]);
    // Several segments of 32 MiB, so that whole ones may go.
    let pad = "x".repeat(400_000);
    let line = format!("{{\"steps\": 1, \"pad\": \"{pad}\"}}\n");
    std::fs::write(folder.join("large.jsonl"), line.repeat(185)).unwrap();
    let started = node.run(folder, &["run", "start", "steps", "--from", "large.jsonl"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    runs(&node, folder, 400);

    let exported = report(&node, folder, &["export"], "exported");
    assert!(exported.iter().map(|line| line["ranges"].as_u64().unwrap()).sum::<u64>() >= 4, "{exported:?}");
    let verified = report(&node, folder, &["verify"], "verified");
    for line in &verified {
        assert_eq!((&line["finding_count"], &line["records"]), (&0.into(), &line["compared"]), "{line}");
    }
    let trimmed = report(&node, folder, &["trim"], "trimmed");
    let after: Vec<i64> = trimmed.iter().map(|line| line["after"].as_i64().unwrap()).collect();
    assert!(after.iter().any(|start| *start > 0), "{trimmed:?}");
    assert!(!folder.join(".tidewheel/log/00000000000000000001.segment").exists());

    // The output of a run that ended long ago is read from the archive.
    let again =
        node.json(folder, &["run", "start", "order", "--key", "4711", "--input", input, "--wait", "60s"]);
    assert_eq!((&again["run_id"], &again["output"]), (&run_id.as_str().into(), &ended["output"]));
    runs(&node, folder, 100);
    node.kill();

    // The views alone are lost: they are made again from archive and log.
    std::fs::remove_dir_all(folder.join(".tidewheel/store")).unwrap();
    let node = start(folder);
    let kept = node.json(folder, &["run", "result", &run_id, "--timeout", "60s"]);
    assert_eq!(kept["output"], ended["output"]);
    runs(&node, folder, 100);
    report(&node, folder, &["export"], "exported");
    let listed = node.json(folder, &["replay", "archive", "list"]);
    for partition in listed["partitions"].as_array().unwrap() {
        assert_eq!((&partition["missing"], &partition["archived"]["from"]), (&Value::Null, &0.into()));
    }
}

#[test]
fn without_an_archive_nothing_can_be_archived_or_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &["--ephemeral"]);
    for verb in ["export", "list", "verify", "trim"] {
        let output = node.run(folder.path(), &["replay", "archive", verb]);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("no_archive") && text.contains("`archive`"), "{text}");
    }
}

#[test]
fn a_clone_has_the_views_of_its_original_and_is_another_log() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = start(folder);
    let input = r#"{"item": "lamp", "amount_cents": 4200, "fail_attempts": 0}"#;
    let run = node.json(folder, &["run", "start", "order", "--key", "4711", "--input", input]);
    let run_id = run["run_id"].as_str().unwrap().to_owned();
    report(&node, folder, &["export"], "exported");
    node.json(folder, &["run", "signal", &run_id, "payment", r#"{"reference": "p-1"}"#]);
    let ended = node.json(folder, &["run", "result", &run_id, "--timeout", "60s"]);
    runs(&node, folder, 50);
    report(&node, folder, &["export"], "exported");
    let position = ended["position"].as_str().unwrap().to_owned();

    let from = format!("file://{}/archive", folder.display());
    // With a configuration of its own, and so an archive of its own.
    let elsewhere = folder.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let import = |words: &[&str]| {
        let words = [&["replay", "archive", "import", "--from", &from], words].concat();
        tidewheel(&elsewhere).args(words).output().unwrap()
    };
    let done = import(&[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let clone = start(&elsewhere);
    let result = clone.json(folder, &["run", "result", &run_id, "--timeout", "60s"]);
    assert_eq!(result["output"], ended["output"]);
    // The same records at the same offsets, of another log: positions differ.
    let history = |node: &Node| {
        let mut entries = node.json(folder, &["run", "history", &run_id])["entries"].clone();
        for entry in entries.as_array_mut().unwrap() {
            entry.as_object_mut().unwrap().remove("position").expect("where it lies");
        }
        entries
    };
    let runs_of =
        |node: &Node| node.json(folder, &["run", "list", "--limit", "100"])["runs"].as_array().unwrap().len();
    // Its views are still being filled from the log.
    while runs_of(&clone) < 51 || !history(&clone).to_string().contains("run-completed") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(history(&clone), history(&node));
    assert_eq!((runs_of(&clone), runs_of(&node)), (51, 51));
    let verified = clone.run(folder, &["replay", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    // It takes work of its own.
    runs(&clone, folder, 20);
    report(&clone, folder, &["export"], "exported");
    drop(clone);

    for (words, code, text) in [
        (&[][..], 1, "holds a log; nothing was written"),
        (&["--data-dir", "wide", "--partitions", "6"], 2, "whole multiple"),
        (&["--data-dir", "wide", "--partitions", "8", "--same-log"], 2, "without --same-log"),
        (&["--data-dir", "early", "--as-of", "yesterday"], 2, "neither a time"),
        (&["--data-dir", "same", "--same-log", "--as-of", &position], 2, "cannot be used with"),
    ] {
        let refused = import(words);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(code), "{said}");
        assert!(said.contains(text), "{said}");
    }
    for nothing in ["wide", "early", "same"] {
        assert!(!elsewhere.join(nothing).exists(), "{nothing}");
    }
}

#[test]
fn an_archive_is_written_as_columns_once_and_no_node_is_needed_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let columns = format!("file://{}/columns", folder.display());
    let write = |words: &[&str]| {
        let words = [&["replay", "archive", "parquet", "--to", &columns], words].concat();
        tidewheel(folder).args(words).output().unwrap()
    };
    let refused = write(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--from"));
    let node = start(folder);
    assert_eq!(write(&[]).status.code(), Some(1), "nothing is archived yet");
    runs(&node, folder, 30);
    report(&node, folder, &["export"], "exported");
    drop(node);
    for is_new in [true, false] {
        let output = write(&["--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let files: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(files.len(), 4 + 1);
        assert!(files.iter().all(|file| file["is_new"] == is_new && file["raw"] == false), "{text}");
        let rows: u64 = files.iter().map(|file| file["records"].as_u64().unwrap()).sum();
        assert!(rows >= 30, "{rows}");
    }
    let shown = String::from_utf8(write(&[]).stdout).unwrap();
    assert!(shown.contains("tidewheel.local.workflow.events  3"), "{shown}");
}
