//! Replays against a live node: views are filled again beside the traffic, reads move and come back, a kill at any
//! moment costs nothing, and what cannot be done is refused with nothing written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidewheel::config::Config;
use tidewheel::wire;
use tidewheel_replay::{Report, Views, verify};
use tidewheel_schemas::TopicFamily;
use tidewheel_store::Generation;

use crate::node::{Node, tidewheel};

pub const PARTITIONS: u32 = 2;
pub const WORDS: &[&str] = &["--partitions", "2"];

pub fn start_runs(folder: &Path, node: &Node, count: usize) {
    std::fs::write(folder.join("inputs.jsonl"), "{\"steps\": 1}\n".repeat(count)).unwrap();
    let words = ["run", "start", "steps", "--from", "inputs.jsonl", "--json"];
    let output = node.run(folder, &words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub fn replays(folder: &Path, node: &Node) -> Value {
    node.json(folder, &["replay", "status"])
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Refolds the log of a node that has ended and compares it with a generation of its views.
pub fn verified(folder: &Path, generation: u32) -> Report {
    let config = Config { data_dir: folder.join(".tidewheel"), partitions: PARTITIONS, ..Config::default() };
    let wiring = wire::open(&config).expect("the folder opens");
    let views = Views {
        log: Arc::clone(&wiring.log),
        topic: TopicFamily::WorkflowEvents.topic(&config.prefix, &config.datacenter),
        partitions: PARTITIONS,
        store: Arc::clone(&wiring.store),
        generation: Generation(generation),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let report = runtime.block_on(verify(&views, 5)).expect("a report");
    drop(views);
    wiring.close();
    report
}

/// Starts runs, waits for their results, and reads each back under the position it was told.
pub struct Clients {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Clients {
    pub fn start(node: &Node, count: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..count)
            .map(|_| {
                let (stop, done, address) = (Arc::clone(&stop), Arc::clone(&done), node.address.clone());
                std::thread::spawn(move || client(&address, &stop, &done))
            })
            .collect();
        Self { stop, done, threads }
    }

    /// Waits until some more operations were done.
    pub fn go_on(&self) {
        let until = self.done.load(Ordering::SeqCst) + 20;
        wait_until("clients go on", || {
            self.done.load(Ordering::SeqCst) >= until
                || self.threads.iter().any(|thread| thread.is_finished())
        });
    }

    pub fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("no request failed and nothing was lost or went back");
        }
        self.done.load(Ordering::SeqCst)
    }
}

fn client(address: &str, stop: &AtomicBool, done: &AtomicUsize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let runs = format!("{address}/v1/namespaces/default/runs");
        let ask = |request: reqwest::RequestBuilder| async {
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            let body: Value = response.json().await.expect("JSON");
            assert!(status < 300, "{status}: {body}");
            body
        };
        while !stop.load(Ordering::SeqCst) {
            let body = json!({"workflow": "steps", "input": {"steps": 1}});
            let started = ask(http.post(&runs).json(&body)).await;
            let run = format!("{runs}/{}", started["run_id"].as_str().expect("an id"));
            let position = |answer: &Value| answer["position"].as_str().expect("a position").to_owned();
            let shown = ask(http.get(format!("{run}?at_least={}", position(&started)))).await;
            let version = shown["version"].as_u64().expect("a version");
            let ended = ask(http.get(format!("{run}/result?timeout=30s"))).await;
            assert_eq!(ended["status"], "completed");
            for _ in 0..3 {
                let read = ask(http.get(format!("{run}?at_least={}", position(&ended)))).await;
                assert_eq!(read["status"], "completed", "it was told before that it had ended: {read}");
                assert!(read["version"].as_u64().expect("a version") >= version, "{read}");
            }
            let history = ask(http.get(format!("{run}/history?at_least={}", position(&ended)))).await;
            assert_eq!(history["entries"].as_array().expect("entries").len(), 3, "{history}");
            done.fetch_add(1, Ordering::SeqCst);
        }
    });
}

#[test]
fn reads_move_to_a_rebuilt_generation_and_back_while_clients_read_and_write() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 2_000);
    let clients = Clients::start(&node, 4);
    clients.go_on();
    let succeeds = |words: &[&str]| {
        let output = node.run(folder, words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let reads_of = |generation: u32| {
        wait_until("reads move", || replays(folder, &node)["read_here"] == generation);
        clients.go_on();
    };
    succeeds(&["replay", "run", "rebuild", "--cutover"]);
    reads_of(2);
    for _ in 0..3 {
        succeeds(&["replay", "rollback"]);
        reads_of(1);
        succeeds(&["replay", "cutover", "2"]);
        reads_of(2);
    }
    succeeds(&["replay", "drop", "1"]);
    clients.go_on();
    succeeds(&["replay", "run", "rebuild"]);
    succeeds(&["replay", "cutover", "3"]);
    reads_of(3);
    assert!(clients.end() > 100);
    // Everything in flight is in the views of both once the node has stopped.
    node.ask_to_stop();
    assert!(node.ended().success());
    for generation in [2, 3] {
        let report = verified(folder, generation);
        assert_eq!((report.difference_count, report.behind), (0, 0), "{:?}", report.differences);
        assert!(report.records > 6_000);
    }
}

#[test]
fn a_node_that_starts_again_reads_the_generation_that_was_activated_and_keeps_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 50);
    assert!(node.run(folder, &["replay", "run", "rebuild", "--cutover"]).status.success());
    node.kill();
    let node = Node::start(folder, WORDS);
    let status = replays(folder, &node);
    assert_eq!(
        (&status["active"], &status["read_here"], &status["previous"]),
        (&json!(2), &json!(2), &json!(1))
    );
    start_runs(folder, &node, 50);
    let runs = || node.json(folder, &["run", "list", "--status", "completed", "--limit", "200"]);
    wait_until("all runs are listed", || runs()["runs"].as_array().unwrap().len() == 100);
    assert!(node.run(folder, &["replay", "rollback"]).status.success());
    wait_until("the older generation has the new runs too", || {
        replays(folder, &node)["read_here"] == 1 && runs()["runs"].as_array().unwrap().len() == 100
    });
    assert!(node.run(folder, &["replay", "drop", "2"]).status.success());
    start_runs(folder, &node, 50);
    wait_until("runs are listed without the generation that owners had fed", || {
        runs()["runs"].as_array().unwrap().len() == 150
    });
}

#[test]
fn a_rebuild_that_nobody_follows_is_compared_and_cut_over_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 200);
    assert!(node.run(folder, &["replay", "run", "rebuild", "--cutover", "--detach"]).status.success());
    wait_until("it is read", || replays(folder, &node)["read_here"] == 2);
    assert!(node.run(folder, &["replay", "drop", "1"]).status.success());
    assert!(node.run(folder, &["replay", "run", "rebuild"]).status.success());
    // What nobody compared with the log is not read without saying so.
    let activate = format!("{}/v1/generations/3/activate", node.address);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let asked =
        async { reqwest::Client::new().post(activate).json(&json!({})).send().await?.json::<Value>().await };
    assert_eq!(runtime.block_on(asked).expect("an answer")["code"], "not_ready_to_activate");
    assert!(node.run(folder, &["replay", "cutover", "3"]).status.success());
    wait_until("it is read", || replays(folder, &node)["read_here"] == 3);
}

#[test]
fn a_rebuild_that_is_killed_thirty_times_goes_on_and_differs_in_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 6_000);
    // So slow that it outlives the kills, whatever the machine does meanwhile.
    let output = node.run(folder, &["replay", "run", "rebuild", "--rate", "400", "--detach"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    node.kill();
    let done = |node: &Node| replays(folder, node)["replays"][0]["done"].as_u64().unwrap();
    let mut before = 0;
    for round in 0..30_u64 {
        let node = Node::start(folder, WORDS);
        std::thread::sleep(Duration::from_millis(round * 37 % 150));
        let now = done(&node);
        assert!(now >= before, "it went back from {before} to {now}");
        before = now;
        node.kill();
    }
    let node = Node::start(folder, WORDS);
    assert_eq!(replays(folder, &node)["replays"][0]["status"], "running");
    assert!(node.run(folder, &["replay", "rate", "1"]).status.success());
    assert!(node.run(folder, &["replay", "status", "--follow"]).status.success());
    node.ask_to_stop();
    assert!(node.ended().success());
    let report = verified(folder, 2);
    assert_eq!((report.difference_count, report.behind), (0, 0), "{:?}", report.differences);
}

#[test]
fn a_paused_rebuild_rests_and_a_cancelled_one_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 6_000);
    let output = node.run(folder, &["replay", "run", "rebuild", "--rate", "500", "--detach"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let replay = || replays(folder, &node)["replays"][0].clone();
    wait_until("it goes on", || replay()["done"].as_u64() > Some(0));
    assert!(node.run(folder, &["replay", "pause", "1"]).status.success());
    // A chunk may be under way.
    std::thread::sleep(Duration::from_millis(500));
    let (paused, listed) = (replay(), replays(folder, &node)["generations"].as_array().unwrap().len());
    assert_eq!((paused["status"].as_str(), listed), (Some("paused"), 2));
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(replay()["done"], paused["done"]);
    assert!(node.run(folder, &["replay", "resume", "1"]).status.success());
    wait_until("it goes on", || replay()["done"].as_u64() > paused["done"].as_u64());
    assert!(node.run(folder, &["replay", "cancel", "1", "--reason", "enough"]).status.success());
    let cancelled = replays(folder, &node);
    assert_eq!(cancelled["replays"][0]["reason"], "enough");
    assert_eq!(cancelled["generations"].as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_done_is_refused_by_name_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = Node::start(folder, WORDS);
    start_runs(folder, &node, 4_000);
    let refused = |words: &[&str], code: i32, says: &str| {
        let before = replays(folder, &node);
        let output = node.run(folder, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
        let after = replays(folder, &node);
        assert_eq!(
            (&before["generations"][0]["generation"], before["replays"].as_array().map(Vec::len)),
            (&after["generations"][0]["generation"], after["replays"].as_array().map(Vec::len))
        );
        assert_eq!(before["active"], after["active"]);
    };
    refused(&["replay", "run", "polish"], 2, "invalid value");
    refused(&["replay", "run", "rebuild", "--rate", "0"], 2, "0 is not in");
    refused(&["replay", "pause", "1"], 4, "replay_not_found");
    refused(&["replay", "cutover", "2"], 4, "generation_not_found");
    refused(&["replay", "cutover", "1"], 1, "generation_active");
    refused(&["replay", "drop", "1"], 1, "generation_active");
    refused(&["replay", "rollback"], 1, "the one before is gone or never was");
    assert!(node.run(folder, &["replay", "verify"]).status.success());
    let slow = ["replay", "run", "rebuild", "--rate", "300", "--detach"];
    assert!(node.run(folder, &slow).status.success());
    refused(&["replay", "run", "rebuild"], 1, "replay_running");
    refused(&["replay", "plan", "rebuild"], 1, "replay_running");
    refused(&["replay", "cutover", "2"], 1, "not_ready_to_activate");
    refused(&["replay", "drop", "2"], 1, "replay_running");
    assert!(node.run(folder, &["replay", "rate", "1"]).status.success());
    assert!(node.run(folder, &["replay", "status", "--follow"]).status.success());
    refused(&["replay", "run", "rebuild"], 1, "drop one first");
    refused(&["replay", "plan", "rebuild"], 1, "drop 2 first");
    refused(&["replay", "pause", "1"], 1, "replay_ended");
    node.kill();
    let empty = tempfile::tempdir().unwrap();
    let said = tidewheel(empty.path())
        .args(["replay", "status", "--server", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(3));
}
