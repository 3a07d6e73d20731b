//! A rolling upgrade to a build that knows a newer fold version, which an operator then raises.

use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use tidewheel_cluster::audit::audit;
use tidewheel_cluster::load::{Load, all_completed};
use tidewheel_cluster::nodes::{Cluster, PATIENCE, Process, Servers};
use tidewheel_schemas::registry::NEXT_FOLD;
use tidewheel_schemas::testing::next_fold;

use crate::{NODE, PAST_SESSION};

async fn post(url: String, body: &Value) -> (u16, Value) {
    let answer = reqwest::Client::new().post(url).json(body).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn raise(address: &str) -> (u16, Value) {
    post(format!("{address}/v1/fold"), &json!({ "to": NEXT_FOLD })).await
}

/// Starts a run that waits and ends it, which counts under the old version and not under the next one.
async fn terminate_one(address: &str) -> (String, u16, Value) {
    let runs = format!("{address}/v1/namespaces/default/runs");
    let (_, started) = post(runs.clone(), &json!({ "workflow": "wait", "input": null })).await;
    let run_id = started["run_id"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
    let (status, answer) = post(format!("{runs}/{run_id}/terminate"), &json!({ "reason": "enough" })).await;
    (run_id, status, answer)
}

async fn status_of(address: &str, run_id: &str) -> Value {
    let url = format!("{address}/v1/namespaces/default/runs/{run_id}");
    let run: Value = reqwest::get(url).await.expect("an answer").json().await.expect("JSON");
    run["status"].clone()
}

/// Stops a process and starts it again where it listened, as a build that knows the next fold version.
async fn upgrade(cluster: &Cluster, process: Process, name: &str) -> Process {
    let address = process.address.clone();
    process.stop().await;
    let listen = address.trim_start_matches("http://");
    let process = cluster.launch_next(NODE, name, "alpha", &format!("node = '{name}'\n"), listen);
    process.until_ready().await;
    process
}

/// It ends by itself and says that it is too old.
async fn is_too_old(mut process: Process) -> String {
    let ended = process.end().await;
    let said = process.last_lines();
    assert!(!ended.success(), "{said}");
    let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{said}"));
    let versions = format!("folds by version {NEXT_FOLD}");
    for words in [&versions, "this build knows", "upgrade this process"] {
        assert!(error.contains(words), "{error}");
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_to_a_new_fold_version_loses_nothing_and_stops_who_is_too_old() {
    let test = "a_rolling_upgrade_to_a_new_fold_version_loses_nothing_and_stops_who_is_too_old";
    let Some(servers) = Servers::shared(test).await else { return };
    // What compares the views with the log below is of the next release.
    next_fold::know();
    let cluster = Cluster::new(servers, "upgrade");
    let old = async |name: &str| cluster.start(NODE, name, "alpha", &format!("node = '{name}'\n")).await;
    let (first, second, third) = (old("first").await, old("second").await, old("third").await);
    let (one, two) = (first.address.clone(), second.address.clone());
    let load = Load::begin(&[&one, &two], 8);
    load.more(40).await;
    let (ended, status, answer) = terminate_one(&one).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = raise(&one).await;
    assert_eq!((status, &answer["code"]), (422, &json!("invalid_field")), "{answer}");

    let first = upgrade(&cluster, first, "first").await;
    // Old and new side by side, both folding by the old version.
    load.more(40).await;
    let (status, answer) = raise(&one).await;
    assert_eq!((status, &answer["code"]), (409, &json!("fold_unknown")), "{answer}");
    assert!(answer["detail"].as_str().is_some_and(|detail| detail.contains("second")), "{answer}");
    let second = upgrade(&cluster, second, "second").await;
    load.more(40).await;
    // One that nobody has upgraded, and whose group has given it up.
    third.signal(Signal::STOP);
    tokio::time::sleep(PAST_SESSION).await;
    let began = Instant::now();
    let raised = loop {
        let (status, answer) = raise(&two).await;
        if status == 200 {
            break answer;
        }
        assert_eq!((status, &answer["code"]), (409, &json!("fold_unknown")), "{answer}");
        assert!(began.elapsed() < PATIENCE, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    };
    for partition in raised["partitions"].as_array().expect("partitions") {
        assert_eq!(partition["outcome"], "raised", "{raised}");
    }
    load.more(40).await;
    third.signal(Signal::CONT);
    is_too_old(third).await;
    // One that comes from a checkpoint beyond the raise takes no partition from anybody before it ends.
    let said = is_too_old(cluster.launch(NODE, "late", "alpha", "node = 'late'\n", "127.0.0.1:0")).await;
    assert!(!said.contains("duties") && !said.contains("leading"), "{said}");
    load.more(40).await;

    let (kept, status, answer) = terminate_one(&one).await;
    assert_eq!((status, &answer["code"]), (409, &json!("not_in_fold")), "{answer}");
    let (status, again) = raise(&one).await;
    assert_eq!((status, &again["partitions"][0]["outcome"]), (200, &json!("in_force")), "{again}");
    let acknowledged = load.end().await;
    all_completed(&two, &acknowledged).await;
    let audit = audit(&cluster, "alpha").await;
    assert_eq!(audit.rejected, ["not_in_fold"]);
    assert!(audit.runs.len() >= acknowledged.len() + 2);
    // Each record means what it meant when it was written.
    assert_eq!(status_of(&one, &ended).await, "terminated");
    assert_eq!(status_of(&two, &kept).await, "running");
    let status: Value =
        reqwest::get(format!("{one}/v1/status")).await.expect("status").json().await.expect("JSON");
    for partition in status["partitions"].as_array().expect("partitions") {
        assert_eq!(partition["fold"], NEXT_FOLD, "{status}");
        let leader = partition["claimed_by"].as_str().expect("a leader");
        assert!(!leader.starts_with("late-"), "{status}");
    }
    first.stop().await;
    second.stop().await;
}
