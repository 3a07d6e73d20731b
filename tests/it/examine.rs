//! Views that were changed behind a node's back are found, named and mended from the command line.

use std::path::Path;

use serde_json::Value as Json;
use tidewheel_projector::views::{TABLES, runs, runs_by};
use tidewheel_store::{
    EmbeddedOptions, EmbeddedStore, Generation, Row, Scan, StateStore as _, TableSchema, Value, Write,
    WriteSet,
};

use crate::node::{Node, tidewheel};

/// Changes rows of the views that a node left in `folder`.
pub fn change(folder: &Path, changes: impl Fn(&dyn Fn(&'static TableSchema) -> Vec<Row>) -> Vec<Write>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = EmbeddedStore::open(&EmbeddedOptions::new(folder.join(".tidewheel/store"))).unwrap();
    let generation = Generation(1);
    runtime.block_on(store.create_tables(generation, TABLES)).unwrap();
    let rows = |table| {
        let scan =
            Scan { partition: None, from: None, to: None, after: None, reverse: false, limit: 100_000 };
        runtime.block_on(store.scan(generation, table, &scan)).unwrap().rows
    };
    let writes = WriteSet { inserts: changes(&rows), ..WriteSet::default() };
    runtime.block_on(store.write(generation, &writes)).unwrap();
}

fn header(rows: Vec<Row>) -> Row {
    rows.into_iter().find(|row| row.key.clustering.is_none()).unwrap()
}

/// What `replay verify` prints, and its exit code.
fn verify(node: &Node, folder: &Path, words: &[&str]) -> (String, Option<i32>) {
    let output = node.run(folder, &[&["replay", "verify"], words].concat());
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn a_changed_row_is_found_named_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, &[]);
    for key in ["1", "2", "3"] {
        node.json(
            folder,
            &["run", "start", "steps", "--key", key, "--input", r#"{"steps": 2}"#, "--wait", "30s"],
        );
    }
    let (said, code) = verify(&node, folder, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no differences"), "{said}");
    node.ask_to_stop();
    assert!(node.ended().success());

    change(folder, |rows| {
        let Row { key, mut columns, timestamp_us } = header(rows(&runs::TABLE));
        // The status; a later mend than any has yet, so that it wins as an edit would.
        columns[6] = Value::Text("running".into());
        let edited =
            Write { table: &runs::TABLE, key, timestamp_us: timestamp_us + 1, columns: Some(columns) };
        let Row { key, timestamp_us, .. } = rows(&runs_by::WORKFLOW).into_iter().next().unwrap();
        let lost = Write { table: &runs_by::WORKFLOW, key, timestamp_us, columns: None };
        vec![edited, lost]
    });

    let node = Node::start(folder, &[]);
    let (said, code) = verify(&node, folder, &[]);
    assert_eq!(code, Some(1), "{said}");
    for words in [
        "edited in runs: run_id=",
        "status: expected \"completed\", stored \"running\"",
        "first divergent event: partition ",
        "run-completed, event ",
        "missing in runs_by_workflow: ",
        "run-started, event ",
        "2 differences, 2 of them left",
        "to mend 2 of them in place: tidewheel replay verify --mend\n",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let (said, code) = verify(&node, folder, &["--json"]);
    let report: Json = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["difference_count"]), (Some(1), &Json::from(2)));
    assert_eq!(report["differences"][0]["kind"], "edited");
    assert_eq!(report["differences"][0]["remedy"], "in_place");

    // The first mend writes what the edit was written at: rows as great or greater stay. The second one wins.
    let mended = (0..2).map(|_| verify(&node, folder, &["--mend"])).find(|(_, code)| *code == Some(0));
    let (said, _) = mended.expect("one of two mends");
    assert!(said.contains(" of 7: ") || said.contains("no differences"), "{said}");
    let (said, code) = verify(&node, folder, &[]);
    assert_eq!(code, Some(0), "{said}");
    let runs = node.json(folder, &["run", "list", "--workflow", "steps"]);
    let statuses: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| run["status"].clone()).collect();
    assert_eq!(statuses, ["completed", "completed", "completed"]);
}

#[test]
fn a_row_edited_by_hand_is_left_to_a_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, &[]);
    let input = r#"{"steps": 1}"#;
    node.json(folder, &["run", "start", "steps", "--key", "1", "--input", input, "--wait", "30s"]);
    node.ask_to_stop();
    assert!(node.ended().success());
    change(folder, |rows| {
        let Row { key, mut columns, timestamp_us } = header(rows(&runs::TABLE));
        columns[4] = Value::Text("another key".into());
        vec![Write {
            table: &runs::TABLE,
            key,
            timestamp_us: timestamp_us + (1 << 50),
            columns: Some(columns),
        }]
    });
    let node = Node::start(folder, &[]);
    for words in [&[][..], &["--mend"]] {
        let (said, code) = verify(&node, folder, words);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("newer in runs: ") && said.contains("replay run rebuild --cutover"), "{said}");
        assert!(!said.contains("in place"), "{said}");
    }
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, &["--ephemeral"]);
    for (words, code, says) in [
        (&["--generation", "7"][..], 4, "generation_not_found"),
        (&["--partition", "99"], 1, "there is no partition 99"),
        (&["--sample", "0"], 2, "--sample"),
        (&["--entity", "no-run"], 2, "no-run"),
        (&["--threads", "100000"], 1, "processors"),
    ] {
        let output = node.run(folder, &[&["replay", "verify"], words].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
    }
    let nobody =
        tidewheel(folder).args(["replay", "verify", "--server", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(3));
}
