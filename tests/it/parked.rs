//! Runs at a record that nobody can read: listed with it, retried, let go on without it, while the others go on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidewheel::config::Config;
use tidewheel::wire;
use tidewheel_engine::Fold;
use tidewheel_schemas::event::RunTagged;
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, Entity, Envelope, EventId, Name, RunId, TopicFamily, TopicPartition, encode,
};

use crate::node::{Node, tidewheel};

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Appends what an owner of a later build might write and this one cannot read, under the claim in force.
fn append_unreadable(folder: &Path, run_id: &str) {
    let config = Config { data_dir: folder.join(".tidewheel"), ..Config::default() };
    let wiring = wire::open(&config).expect("the folder opens");
    let run_id: RunId = run_id.parse().expect("an id");
    let topic = TopicFamily::WorkflowEvents.topic(&config.prefix, &config.datacenter);
    let key = Entity::Run(run_id).routing_key();
    let partition = partition_for(&key, config.partitions);
    let place = TopicPartition::new(topic, partition);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut fold = Fold::new(partition);
        let end = wiring.log.bounds(&place).await.expect("bounds").end;
        while fold.control().next_offset < end {
            for record in wiring.log.read(&place, fold.control().next_offset, 1_000).await.expect("records") {
                fold.apply(&record).expect("folding is total");
            }
        }
        let control = fold.control();
        let claim = control.claim.expect("a claim");
        let seen = fold.run(run_id).expect("the run").header.externals;
        let envelope = Envelope {
            event_id: EventId::random([7; 16]),
            entity: Entity::Run(run_id),
            namespace: Some(Name::new("default").expect("a name")),
            recorded_at_us: control.log_time_us,
            cause: None,
            traceparent: None,
            author: Author::Engine { claim, seq: control.next_seq, seen, idle: true },
        };
        let event = RunTagged { location: "1".parse().expect("a location"), tags: BTreeMap::new() };
        let mut record = encode(&envelope, &event.into()).expect("a record");
        record.value.truncate(record.value.len() - 1);
        wiring.log.append(&place, vec![record]).await.expect("appended");
    });
    wiring.close();
}

fn listed(node: &Node, folder: &Path) -> Vec<Value> {
    let output = node.run(folder, &["replay", "parked", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a command that fails says.
fn refused(node: &Node, folder: &Path, words: &[&str]) -> String {
    let output = node.run(folder, words);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn status(node: &Node, folder: &Path, run_id: &str) -> Value {
    node.json(folder, &["run", "show", run_id])["status"].clone()
}

#[test]
fn a_run_at_a_record_that_cannot_be_read_is_listed_and_goes_on_without_it_once_somebody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let archive = format!("archive = \"file://{}\"\n", folder.join("archive").display());
    std::fs::write(folder.join("tidewheel.toml"), archive).unwrap();
    let node = Node::start(folder, &[]);
    let waiting = node.json(folder, &["run", "start", "wait"]);
    let waiting = waiting["run_id"].as_str().unwrap();
    assert_eq!(listed(&node, folder), Vec::<Value>::new());
    let said = refused(&node, folder, &["replay", "parked", "skip", waiting, "--reason", "it is cut off"]);
    assert!(said.contains("is not parked"), "{said}");
    node.ask_to_stop();
    assert!(node.ended().success());
    append_unreadable(folder, waiting);

    let node = Node::start(folder, &[]);
    wait_until("it is parked", || !listed(&node, folder).is_empty());
    let parked = listed(&node, folder);
    assert_eq!(parked.len(), 1);
    assert_eq!((&parked[0]["run_id"], &parked[0]["workflow"]), (&json!(waiting), &json!("wait")));
    assert_eq!(parked[0]["record"]["type"], "run-tagged");
    assert!(parked[0]["record"]["error"].is_string(), "{parked:?}");
    assert_eq!(status(&node, folder, waiting), "parked");

    // The others go on, and what comes for it is taken in.
    std::fs::write(folder.join("inputs.jsonl"), "{\"steps\": 1}\n".repeat(20)).unwrap();
    let started = node.run(folder, &["run", "start", "steps", "--from", "inputs.jsonl", "--json"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let completed = || node.json(folder, &["run", "list", "--status", "completed"])["runs"].clone();
    wait_until("the others go on", || completed().as_array().unwrap().len() == 20);
    let signaled = node.json(folder, &["run", "signal", waiting, "go", "\"meanwhile\""]);
    assert_eq!(signaled["outcome"], "accepted");
    assert_eq!(status(&node, folder, waiting), "parked");

    let said = refused(&node, folder, &["replay", "parked", "retry", waiting]);
    assert!(said.contains("still cannot be read") && said.contains("replay parked skip"), "{said}");
    let offset = parked[0]["offset"].as_i64().unwrap();
    let other = (offset - 1).to_string();
    let skip = ["replay", "parked", "skip", waiting, "--reason", "its value is cut off"];
    let said = refused(&node, folder, &[&skip[..], &["--offset", &other]].concat());
    assert!(said.contains("not_parked"), "{said}");
    let said = refused(&node, folder, &["replay", "parked", "skip", waiting, "--reason", " "]);
    assert!(said.contains("invalid_field") && said.contains("reason"), "{said}");
    let skipped = node.json(folder, &skip);
    assert_eq!((&skipped["outcome"], &skipped["status"]), (&json!("accepted"), &json!("running")));
    let result = node.run(folder, &["run", "result", waiting, "--timeout", "60s"]);
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    assert_eq!(String::from_utf8_lossy(&result.stdout).trim(), "\"meanwhile\"");
    wait_until("it is listed no more", || listed(&node, folder).is_empty());

    // Everybody who looks later finds who let it go on, and why.
    let entries = node.json(folder, &["run", "history", waiting])["entries"].clone();
    let entry = entries.as_array().unwrap().iter().find(|entry| entry["type"] == "run-unparked").unwrap();
    assert_eq!((&entry["parked_at"], &entry["reason"]), (&json!(offset), &json!("its value is cut off")));
    let past = node.json(folder, &["replay", "inspect", waiting]);
    let told = past["history"].as_array().unwrap().iter().find(|entry| entry["type"] == "run-unparked");
    assert_eq!(told.unwrap()["reason"], "its value is cut off");
    let as_of = offset.to_string();
    let then = node.json(folder, &["replay", "inspect", waiting, "--as-of", &as_of]);
    assert_eq!(then["run"]["parked_at"], offset);
    let saved = folder.join("records.jsonl");
    let saved = saved.to_str().unwrap();
    std::fs::write(folder.join("script"), "break run-unparked\nrun\nrun\n").unwrap();
    let stepped = node.run(folder, &["replay", "step", waiting, "--save", saved, "--commands", "script"]);
    let shown = String::from_utf8_lossy(&stepped.stdout).into_owned();
    assert!(shown.contains("run-unparked  accepted  (from anonymous)"), "{shown}");

    for command in ["export", "verify"] {
        let output = node.run(folder, &["replay", "archive", command]);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // A generation that is filled from the first record on is the same, row by row.
    let verified = node.run(folder, &["replay", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let rebuilt = node.run(folder, &["replay", "run", "rebuild", "--cutover"]);
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    assert_eq!(status(&node, folder, waiting), "completed");
}

#[test]
fn where_an_older_fold_version_is_in_force_a_parked_run_is_refused_with_what_to_do() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/archives/v1/archive");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let from = format!("file://{}", archive.display());
    let words = ["replay", "archive", "import", "--from", &from, "--data-dir", ".tidewheel"];
    let imported = tidewheel(folder).args(words).output().unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let node = Node::start(folder, &[]);
    let waiting = node.json(folder, &["run", "start", "wait"]);
    let waiting = waiting["run_id"].as_str().unwrap();
    node.ask_to_stop();
    assert!(node.ended().success());
    append_unreadable(folder, waiting);
    let node = Node::start(folder, &[]);
    wait_until("it is parked", || !listed(&node, folder).is_empty());
    let skip = ["replay", "parked", "skip", waiting, "--reason", "its value is cut off"];
    let said = refused(&node, folder, &skip);
    assert!(said.contains("not_in_fold") && said.contains("tidewheel fold raise 2"), "{said}");
    let raised = node.run(folder, &["fold", "raise", "2"]);
    assert!(raised.status.success(), "{}", String::from_utf8_lossy(&raised.stderr));
    // What came for it in between is in no view: it is told so, and nothing is lost silently.
    let said = refused(&node, folder, &skip);
    assert!(said.contains("below fold version 2"), "{said}");
    assert_eq!(listed(&node, folder).len(), 1);
}
