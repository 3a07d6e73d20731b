//! Backfills against a live node: rows of a scope are mended beside the traffic and no others, a kill at any moment costs
//! nothing that was done, and what cannot be done is refused with nothing written.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tidewheel_projector::views::{run_history, runs_by};
use tidewheel_store::{Row, TableSchema, Value, Write};

use crate::examine::change;
use crate::node::Node;
use crate::replay::{Clients, WORDS, replays, start_runs, verified, wait_until};

fn uuid(value: Option<&Value>) -> String {
    match value {
        Some(Value::Uuid(bytes)) => tidewheel_schemas::RunId::from_bytes(*bytes).to_string(),
        _ => String::new(),
    }
}

/// Takes the history of these runs away, and them from the list of their workflow.
fn lose(folder: &Path, lost: &BTreeSet<String>) {
    change(folder, |rows| {
        let gone = |table: &'static TableSchema, run_of: fn(&Row) -> String| {
            let lost = rows(table).into_iter().filter(move |row| lost.contains(&run_of(row)));
            lost.map(move |row| Write { table, key: row.key, timestamp_us: row.timestamp_us, columns: None })
        };
        gone(&run_history::TABLE, |row| uuid(row.key.partition.first()))
            .chain(gone(&runs_by::WORKFLOW, |row| uuid(row.columns.first())))
            .collect()
    });
}

fn run_ids(folder: &Path, node: &Node, count: usize) -> Vec<String> {
    let listed = || node.json(folder, &["run", "list", "--status", "completed", "--limit", "1000"]);
    wait_until("all runs have ended", || listed()["runs"].as_array().unwrap().len() >= count.min(1_000));
    let listed = listed();
    let ids = listed["runs"].as_array().unwrap().iter();
    ids.map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

/// What `replay verify` reports.
fn differences(folder: &Path, node: &Node) -> Json {
    let output = node.run(folder, &["replay", "verify", "--json", "--differences", "1000"]);
    serde_json::from_slice(&output.stdout).expect("a report")
}

fn succeeds(folder: &Path, node: &Node, words: &[&str]) -> String {
    let output = node.run(folder, words);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn a_backfill_under_live_load_mends_the_rows_of_its_scope_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 200);
    let ids = run_ids(folder, &node, 200);
    let (within, without) = (&ids[17], &ids[90]);
    node.ask_to_stop();
    assert!(node.ended().success());
    lose(folder, &[within.clone(), without.clone()].into());

    let node = Node::start(folder, WORDS);
    let clients = Clients::start(&node, 2);
    clients.go_on();
    assert_eq!(differences(folder, &node)["difference_count"], 4);
    let scope = ["--entity", within.as_str()];
    let dry = succeeds(folder, &node, &[&["replay", "run", "backfill", "--dry-run"], &scope[..]].concat());
    for words in [
        &format!("missing in run_history: run_id={within}"),
        "missing in runs_by_workflow",
        "2 differences, 2 of them left",
        &format!("tidewheel replay run backfill --entity {within}"),
    ] {
        assert!(dry.contains(words), "{words} is not in {dry}");
    }
    assert!(!dry.contains(without.as_str()), "{dry}");
    let plan = node.json(folder, &[&["replay", "plan", "backfill"], &scope[..]].concat());
    assert_eq!((&plan["runs"], &plan["scope"]["runs"]), (&json!(1), &json!([within])));
    assert_eq!(plan["partitions"].as_array().unwrap().len(), 1);
    assert_eq!(replays(folder, &node)["replays"], json!([]), "neither of both starts anything");
    assert_eq!(differences(folder, &node)["difference_count"], 4, "nor writes anything");

    let said = succeeds(folder, &node, &[&["replay", "run", "backfill"], &scope[..]].concat());
    assert!(said.contains("2 rows of generation 1 were written"), "{said}");
    assert!(said.contains("no differences"), "{said}");
    let left = differences(folder, &node);
    assert_eq!(left["difference_count"], 2, "{left}");
    let named: Vec<_> =
        left["differences"].as_array().unwrap().iter().map(|found| found["table"].clone()).collect();
    assert_eq!(named, ["run_history", "runs_by_workflow"], "{left}");
    assert!(left.to_string().contains(without.as_str()), "{left}");
    let status = replays(folder, &node);
    assert_eq!(
        (&status["replays"][0]["kind"], &status["replays"][0]["rows"]),
        (&json!("backfill"), &json!(2))
    );
    assert_eq!(status["generations"][0]["mendings"], 1);

    // What differs in nothing uses no mending up; a window takes whole runs.
    succeeds(folder, &node, &[&["replay", "run", "backfill"], &scope[..]].concat());
    assert_eq!(replays(folder, &node)["generations"][0]["mendings"], 1);
    let window = ["--type", "run-completed", "--namespace", "default", "--since", "2020-01-01T00:00:00Z"];
    succeeds(folder, &node, &[&["replay", "run", "backfill"], &window[..]].concat());
    assert_eq!(differences(folder, &node)["difference_count"], 0);
    assert_eq!(replays(folder, &node)["generations"][0]["mendings"], 2);
    clients.go_on();
    assert!(clients.end() > 0);
    node.ask_to_stop();
    assert!(node.ended().success());
    let report = verified(folder, 1);
    assert_eq!((report.difference_count, report.behind), (0, 0), "{:?}", report.differences);
}

#[test]
fn a_backfill_that_is_killed_at_any_moment_goes_on_and_leaves_nothing_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 3_000);
    let lost: BTreeSet<_> = run_ids(folder, &node, 3_000).into_iter().step_by(5).collect();
    wait_until("the views hold all of it", || replays(folder, &node)["generations"][0]["lag"] == 0);
    node.ask_to_stop();
    assert!(node.ended().success());
    lose(folder, &lost);

    let node = Node::start(folder, WORDS);
    // A part reads its partition up to four times, which at this rate takes about two seconds: the kills hit selecting,
    // comparing and mending.
    let words = ["replay", "run", "backfill", "--type", "run-completed", "--rate", "9000", "--detach"];
    succeeds(folder, &node, &words);
    node.kill();
    let backfill = |node: &Node| replays(folder, node)["replays"][0].clone();
    let (mut hits, mut parts_done) = (0, 0);
    for round in 0..12_u64 {
        let node = Node::start(folder, WORDS);
        std::thread::sleep(Duration::from_millis(150 + round * 811 % 1_900));
        let now = backfill(&node);
        let done = now["parts_done"].as_u64().unwrap();
        assert!(done >= parts_done, "what is done is not done again: {now}");
        parts_done = done;
        hits += u64::from(now["status"] == "running");
        node.kill();
    }
    assert!(hits >= 3, "only {hits} kills hit it");
    // The first partition is done at full speed, the second one is not.
    let node = Node::start(folder, WORDS);
    // It may have ended meanwhile.
    assert!(node.run(folder, &["replay", "rate", "1"]).status.code().is_some());
    wait_until("a part is done", || {
        let is_one = backfill(&node)["parts_done"].as_u64() >= Some(1);
        is_one && node.run(folder, &["replay", "rate", "1", "1000"]).status.code().is_some()
    });
    let before = backfill(&node);
    assert_eq!(before["parts"], 2, "{before}");
    node.kill();
    let node = Node::start(folder, WORDS);
    let after = backfill(&node);
    assert!(after["parts_done"].as_u64() >= before["parts_done"].as_u64(), "{before} {after}");
    assert!(after["rows"].as_u64() > Some(0), "{after}");
    if after["status"] == "running" {
        wait_until("it is at the other part", || {
            let now = backfill(&node);
            now["status"] != "running" || now["shares"][0]["partition"] == 1
        });
        assert!(node.run(folder, &["replay", "rate", "1"]).status.code().is_some());
        succeeds(folder, &node, &["replay", "status", "--follow"]);
    }
    let ended = replays(folder, &node);
    assert_eq!(ended["replays"][0]["status"], "finished");
    assert_eq!(
        (&ended["replays"][0]["parts_done"], &ended["generations"][0]["mendings"]),
        (&json!(2), &json!(1))
    );
    node.ask_to_stop();
    assert!(node.ended().success());
    let report = verified(folder, 1);
    assert_eq!((report.difference_count, report.behind), (0, 0), "{:?}", report.differences);
}

#[test]
fn a_paused_backfill_rests_a_resumed_one_goes_on_and_a_cancelled_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 3_000);
    succeeds(folder, &node, &["replay", "run", "backfill", "--rate", "400", "--detach"]);
    let backfill = || replays(folder, &node)["replays"][0].clone();
    wait_until("it goes on", || backfill()["done"].as_u64() > Some(0));
    succeeds(folder, &node, &["replay", "pause", "1"]);
    // Progress is told about once a second.
    std::thread::sleep(Duration::from_millis(1_500));
    let paused = backfill();
    std::thread::sleep(Duration::from_millis(1_500));
    let still = backfill();
    assert_eq!((&still["done"], &still["status"]), (&paused["done"], &json!("paused")));
    assert!(still["shares"][0]["still_for_ms"].as_u64() < Some(1_000), "resting is no stall: {still}");
    succeeds(folder, &node, &["replay", "resume", "1"]);
    wait_until("it goes on", || backfill()["done"].as_u64() > paused["done"].as_u64());
    succeeds(folder, &node, &["replay", "cancel", "1", "--reason", "enough"]);
    assert_eq!((&backfill()["status"], &backfill()["reason"]), (&json!("cancelled"), &json!("enough")));
    // The generation stays, and the next one may start at once.
    assert_eq!(replays(folder, &node)["generations"].as_array().unwrap().len(), 1);
    let said = succeeds(folder, &node, &["replay", "run", "backfill"]);
    assert!(
        said.contains("0 rows of generation 1 were written") && said.contains("no differences"),
        "{said}"
    );
}

#[test]
fn a_scope_that_is_none_is_refused_by_name_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 2_000);
    run_ids(folder, &node, 1_000);
    let nobody = tidewheel_schemas::RunId::from_bytes([7; 16]).to_string();
    let refused = |kind: &str, words: &[&str], code: i32, says: &[&str]| {
        for verb in [&["plan"][..], &["run"], &["run", "--dry-run"]] {
            let before = replays(folder, &node)["replays"].as_array().unwrap().len();
            let (verb, more) = verb.split_first().unwrap();
            let output = node.run(folder, &[&["replay", verb, kind], more, words].concat());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{verb} {words:?}: {said}");
            for says in says {
                assert!(said.contains(says), "{verb} {words:?}: {said}");
            }
            let after = replays(folder, &node);
            assert_eq!(after["replays"].as_array().unwrap().len(), before, "{verb} {words:?}");
            assert_eq!(after["generations"][0]["mendings"], 0, "{verb} {words:?}");
        }
    };
    let all: [(&[&str], i32, &[&str]); 14] = [
        (&["--type", "run-dreamt"], 1, &["invalid_field", "scope.event_types", "known: ", "run-failed"]),
        (&["--namespace", "nowhere"], 4, &["namespace_not_found", "known: default"]),
        (&["--partition", "9"], 1, &["there is no partition 9"]),
        (&["--from-offset", "9", "--until-offset", "9"], 1, &["scope.until_offset"]),
        (&["--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"], 1, &["scope.until"]),
        (&["--since", "yesterday"], 1, &["`yesterday` is no time"]),
        (&["--since", "2150-01-01T00:00:00Z"], 1, &["is in the future"]),
        (&["--from-offset", "99999999"], 1, &["is in the future"]),
        (&["--until", "2001-01-01T00:00:00Z"], 1, &["nothing_to_replay"]),
        (&["--entity", &nobody], 1, &["nothing_to_replay"]),
        (&["--view", "nothing"], 1, &["there is no view `nothing`", "known: runs"]),
        (&["--view", "runs"], 1, &["leave `runs` out"]),
        (&["--datacenter", "elsewhere"], 1, &["datacenter_not_found"]),
        (&["--generation", "7"], 4, &["generation_not_found"]),
    ];
    for (words, code, says) in all {
        refused("backfill", words, code, says);
    }
    refused("rebuild", &["--partition", "0"], 1, &["a generation holds everything"]);
    refused("rebuild", &["--generation", "1"], 1, &["leave it out"]);
    succeeds(folder, &node, &["replay", "run", "backfill", "--rate", "300", "--detach"]);
    refused("backfill", &[], 1, &["replay_running"]);
    refused("rebuild", &[], 1, &["replay_running"]);
    succeeds(folder, &node, &["replay", "cancel", "1"]);
    let output = node.run(folder, &["replay", "run", "backfill", "--cutover"]);
    assert_eq!(output.status.code(), Some(2), "a backfill brings no generation");
}

#[test]
fn a_generation_that_was_mended_seven_times_is_mended_no_more_and_a_rebuild_helps() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 20);
    let lost: Vec<_> = run_ids(folder, &node, 20).into_iter().take(8).collect();
    node.ask_to_stop();
    assert!(node.ended().success());
    lose(folder, &lost.iter().cloned().collect());
    let node = Node::start(folder, WORDS);
    let (last, others) = lost.split_last().unwrap();
    for (place, run_id) in others.iter().enumerate() {
        succeeds(folder, &node, &["replay", "run", "backfill", "--entity", run_id]);
        assert_eq!(replays(folder, &node)["generations"][0]["mendings"], place + 1);
    }
    let output = node.run(folder, &["replay", "run", "backfill", "--entity", last]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["too_many_mendings", "tidewheel replay run rebuild --cutover"] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(replays(folder, &node)["replays"].as_array().unwrap().len(), 7);
    succeeds(folder, &node, &["replay", "run", "rebuild", "--cutover"]);
    wait_until("it is read", || replays(folder, &node)["read_here"] == 2);
    succeeds(folder, &node, &["replay", "verify"]);
    // Of the new one nothing was mended yet.
    succeeds(folder, &node, &["replay", "run", "backfill", "--partition", "0"]);
    assert_eq!(replays(folder, &node)["replays"][0]["generation"], 2);
}
