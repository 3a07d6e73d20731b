//! A wider clone from outside: runs that send each other messages go on in twice as many partitions, and the built binary
//! imports, runs and verifies one.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidewheel::clone::clone_from;
use tidewheel::config::Config;
use tidewheel::{Context, Node as OwnNode, RunningNode, WorkflowResult};
use tidewheel_archive::{AsOf, CloneIdentity};
use tidewheel_schemas::RunId;

use crate::node::{Node, tidewheel};

const RUNS: usize = 9;
const TOKENS: usize = 6;
const LAPS: usize = 8;

/// What runs in a ring pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Token {
    number: usize,
    left: usize,
}

/// Passes on what it gets to the next run of the ring, until everything came by as often as it must. Returns what came.
async fn relay(context: Context, next: RunId) -> WorkflowResult<Vec<Token>> {
    let mut came = Vec::new();
    while came.len() < TOKENS * LAPS {
        let token = context.signal::<Token>("token").await?;
        came.push(token);
        if let Some(left) = token.left.checked_sub(1) {
            context.step("carry", || async { Ok(()) }).await?;
            context.signal_run(next, "token", &Token { left, ..token })?;
        }
    }
    Ok(came)
}

fn started(runtime: &tokio::runtime::Runtime, config: &Config) -> RunningNode {
    let node = OwnNode::builder().config(config.clone()).workflow("relay", relay);
    runtime.block_on(node.start()).expect("the node starts")
}

fn ask(folder: &Path, node: &RunningNode, words: &[&str]) -> Output {
    let server = format!("http://{}", node.address());
    let output =
        tidewheel(folder).args(words).args(["--server", &server]).output().expect("the command runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn answer(folder: &Path, node: &RunningNode, words: &[&str]) -> Value {
    let output = ask(folder, node, &[words, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

#[test]
fn runs_that_write_to_each_other_go_on_in_a_wider_clone_and_no_message_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = |name: &str, partitions| Config {
        data_dir: folder.join(name),
        archive: Some(format!("file://{}/{name}.archive", folder.display())),
        listen: ([127, 0, 0, 1], 0).into(),
        partitions,
        ..Config::default()
    };
    let original = config("original", 3);
    let label = original.datacenter_label;
    let node = started(&runtime, &original);
    let ids: Vec<RunId> =
        (0..RUNS).map(|run| RunId::keyed("default", label, "relay", &run.to_string())).collect();
    for run in 0..RUNS {
        let next = json!(ids[(run + 1) % RUNS]).to_string();
        let begun =
            answer(folder, &node, &["run", "start", "relay", "--key", &run.to_string(), "--input", &next]);
        assert_eq!(begun["run_id"], json!(ids[run]));
    }
    let pass = |node: &RunningNode, number: usize| {
        let token = Token { number, left: RUNS * LAPS - 1 };
        let text = serde_json::to_string(&token).unwrap();
        ask(folder, node, &["run", "signal", &ids[number % RUNS].to_string(), "token", &text]);
    };
    // Some tokens go round while the archive is sealed. Without the others no run can end here.
    (0..TOKENS - 2).for_each(|number| pass(&node, number));
    ask(folder, &node, &["replay", "archive", "export"]);
    runtime.block_on(node.stop()).unwrap();

    let wide = config("wide", 6);
    let from = original.archive.unwrap();
    let done = runtime.block_on(clone_from(&wide, &from, AsOf::Newest, CloneIdentity::Fresh)).unwrap();
    assert_eq!(done.len(), 6 + 1);
    let node = started(&runtime, &wide);
    (TOKENS - 2..TOKENS).for_each(|number| pass(&node, number));
    let mut came = Vec::new();
    for run_id in &ids {
        let result = answer(folder, &node, &["run", "result", &run_id.to_string(), "--timeout", "120s"]);
        came.extend(serde_json::from_value::<Vec<Token>>(result["output"].clone()).unwrap());
    }
    let every = (0..TOKENS).flat_map(|number| (0..RUNS * LAPS).map(move |left| Token { number, left }));
    assert_eq!(came.len(), RUNS * LAPS * TOKENS);
    assert_eq!(came.into_iter().collect::<BTreeSet<_>>(), every.collect());
    // Everybody's views of everything are what the log says.
    ask(folder, &node, &["replay", "verify"]);
    ask(folder, &node, &["replay", "archive", "export"]);
    runtime.block_on(node.stop()).unwrap();

    // A clone of the clone is wider still.
    let wider = config("wider", 12);
    let from = wide.archive.unwrap();
    runtime.block_on(clone_from(&wider, &from, AsOf::Newest, CloneIdentity::Fresh)).unwrap();
    let node = started(&runtime, &wider);
    for run_id in &ids {
        let result = answer(folder, &node, &["run", "result", &run_id.to_string(), "--timeout", "120s"]);
        assert_eq!(result["output"].as_array().unwrap().len(), TOKENS * LAPS);
    }
    ask(folder, &node, &["replay", "verify"]);
    runtime.block_on(node.stop()).unwrap();
}

fn node_in(folder: &Path, partitions: &str) -> Node {
    let archive = format!("archive = 'file://{}/archive'\npartitions = {partitions}\n", folder.display());
    std::fs::write(folder.join("tidewheel.toml"), archive).unwrap();
    Node::start(folder, &[])
}

/// Waits until the views, which are filled from the log, list so many runs, and no more.
fn lists(node: &Node, folder: &Path, expected: usize) {
    loop {
        let listed = node.json(folder, &["run", "list", "--limit", "1000"]);
        let listed = listed["runs"].as_array().unwrap().len();
        assert!(listed <= expected, "{listed} runs are listed");
        if listed == expected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_wider_clone_has_every_run_and_goes_on_with_those_that_had_not_ended() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let node = node_in(folder, "4");
    let input = r#"{"item": "lamp", "amount_cents": 4200}"#;
    let order = |node: &Node, key: &str| {
        let run = node.json(folder, &["run", "start", "order", "--key", key, "--input", input]);
        run["run_id"].as_str().unwrap().to_owned()
    };
    let pay = |node: &Node, run_id: &str| {
        node.json(folder, &["run", "signal", run_id, "payment", r#"{"reference": "p-1"}"#]);
        node.json(folder, &["run", "result", run_id, "--timeout", "60s"])["output"].clone()
    };
    let keys: Vec<String> = (0..12).map(|key| key.to_string()).collect();
    let orders: Vec<String> = keys.iter().map(|key| order(&node, key)).collect();
    let paid: Vec<Value> = orders[..6].iter().map(|run_id| pay(&node, run_id)).collect();
    assert!(node.run(folder, &["replay", "archive", "export"]).status.success());
    // The log goes on behind what is archived.
    std::fs::write(folder.join("inputs.jsonl"), "{\"steps\": 3}\n".repeat(200)).unwrap();
    assert!(node.run(folder, &["run", "start", "steps", "--from", "inputs.jsonl"]).status.success());
    let history = |node: &Node, run_id: &str| {
        let mut entries = node.json(folder, &["run", "history", run_id])["entries"].clone();
        for entry in entries.as_array_mut().unwrap() {
            entry.as_object_mut().unwrap().remove("position").expect("where it lies");
        }
        entries
    };
    for run_id in &orders[6..] {
        while !history(&node, run_id).to_string().contains("signal-awaited") {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let before: Vec<Value> = orders.iter().map(|run_id| history(&node, run_id)).collect();
    let seal = || tidewheel(folder).args(["replay", "archive", "export", "--offline"]).output().unwrap();
    let refused = seal();
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
    drop(node);
    let sealed = seal();
    assert!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
    assert!(String::from_utf8_lossy(&sealed.stderr).contains("sealed offsets"), "{sealed:?}");

    let elsewhere = folder.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let from = format!("file://{}/archive", folder.display());
    let import = |words: &[&str]| {
        let words = [&["replay", "archive", "import", "--from", &from], words].concat();
        tidewheel(&elsewhere).args(words).output().unwrap()
    };
    let refused = import(&["--partitions", "6"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("6 partitions cannot be made of 4") && said.contains("8 or 12"), "{said}");
    assert!(!elsewhere.join(".tidewheel").exists());
    let done = import(&["--partitions", "8", "--json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done.len(), 8 + 1);
    assert!(
        done.iter().all(|part| part["records"].as_i64().unwrap() >= 1 && part["left_out"] == 0),
        "{done:?}"
    );

    let clone = node_in(&elsewhere, "8");
    lists(&clone, folder, 12 + 200);
    for (run_id, before) in orders.iter().zip(&before) {
        assert_eq!(history(&clone, run_id), *before);
    }
    for (run_id, paid) in orders.iter().zip(&paid) {
        assert_eq!(clone.json(folder, &["run", "result", run_id, "--timeout", "60s"])["output"], *paid);
    }
    // The others waited for their payment, and are told of it here.
    for run_id in &orders[6..] {
        assert_eq!(pay(&clone, run_id)["status"], "shipped");
    }
    // Who starts them again is answered with the run there is.
    for (key, run_id) in keys.iter().zip(&orders) {
        assert_eq!(order(&clone, key), *run_id);
    }
    assert!(clone.run(folder, &["run", "start", "steps", "--from", "inputs.jsonl"]).status.success());
    lists(&clone, folder, 12 + 200 + 200);
    let verified = clone.run(folder, &["replay", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
