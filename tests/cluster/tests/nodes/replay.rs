//! Views of a cluster are rebuilt and cut over while it works and processes die.

use serde_json::{Value, json};
use tidewheel_cluster::audit::{audit, audit_of};
use tidewheel_cluster::load::{Load, all_completed};
use tidewheel_cluster::nodes::{Cluster, PATIENCE, Servers};
use tidewheel_projector::views::runs_by;
use tidewheel_store::{Generation, Scan, Value as Column, Write, WriteSet};

use crate::{NODE, took};

/// Runs that lie in the log before.
pub const RUNS: usize = 1_200;

/// Whoever asks a process for changes of its views.
pub struct Operator {
    client: reqwest::Client,
    address: String,
}

impl Operator {
    pub fn at(address: &str) -> Self {
        Self { client: reqwest::Client::new(), address: address.to_owned() }
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let sent = self.client.post(format!("{}{path}", self.address)).json(body).send().await;
        let answer = sent.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn views(&self) -> Value {
        let sent = self.client.get(format!("{}/v1/replays", self.address)).send().await;
        sent.expect("an answer").json().await.expect("JSON")
    }

    /// Compares the views that are read with the log.
    async fn verify(&self, body: &Value) -> Value {
        let request = self.client.post(format!("{}/v1/replay/verify", self.address)).json(body);
        let lines = request.send().await.expect("an answer").text().await.expect("lines");
        let last = lines.lines().last().unwrap_or_default();
        let mut last: Value = serde_json::from_str(last).expect("JSON");
        assert!(last["report"].is_object(), "{last}");
        last["report"].take()
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = std::time::Instant::now();
        loop {
            let views = self.views().await;
            if holds(&views) {
                return views;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {views}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    pub async fn start_runs(&self) {
        let line = json!({"workflow": "steps", "input": [1, 0]}).to_string() + "\n";
        let request = self.client.post(format!("{}/v1/namespaces/default/runs:batch", self.address));
        let request = request.header("content-type", "application/x-ndjson").body(line.repeat(RUNS));
        let answer = request.send().await.expect("an answer").text().await.expect("lines");
        assert_eq!(answer.matches("accepted").count(), RUNS);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_are_rebuilt_and_cut_over_while_processes_work_and_die() {
    let test = "views_are_rebuilt_and_cut_over_while_processes_work_and_die";
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "replayed");
    let first = cluster.start(NODE, "first", "alpha", "").await;
    let second = cluster.start(NODE, "second", "alpha", "").await;
    let operator = Operator::at(&second.address);
    operator.start_runs().await;
    let load = Load::begin(&[&second.address, &first.address], 4);
    load.more(20).await;
    let began = std::time::Instant::now();
    operator.post("/v1/replays", &json!({"kind": "rebuild", "records_per_second": 500})).await;
    operator
        .until("it goes on", |views| views["replays"][0]["done"].as_u64().is_some_and(|done| done > 500))
        .await;
    first.kill().await;
    // Its partitions are taken over, and its share of the rebuild with them.
    operator.post("/v1/replays/1/rate", &json!({})).await;
    operator.until("it is done", |views| views["replays"][0]["status"] == "finished").await;
    took("the rebuild with a process killed", began);
    let third = cluster.start(NODE, "third", "alpha", "").await;
    let others = [Operator::at(&second.address), Operator::at(&third.address)];
    for generation in [2, 1, 2] {
        let path = format!("/v1/generations/{generation}/activate");
        let began = std::time::Instant::now();
        // What is read may be some records behind for a moment.
        operator
            .until("it is near", |views| {
                views["generations"]
                    .as_array()
                    .is_some_and(|all| all.iter().all(|one| one["lag"].as_u64() < Some(5_000)))
            })
            .await;
        // Every row is compared below; here it would take as long again.
        operator.post(&path, &json!({"unverified": true})).await;
        for process in &others {
            process.until("reads move", |views| views["read_here"] == generation).await;
        }
        took("from the change to reads everywhere", began);
        load.more(20).await;
    }
    let acknowledged = load.end().await;
    all_completed(&third.address, &acknowledged).await;
    all_completed(&second.address, &acknowledged).await;
    let audited = audit(&cluster, "alpha").await;
    assert!(audited.runs.len() >= acknowledged.len() + RUNS, "{}", audited.runs.len());
    assert_eq!(audited.rejected, Vec::<String>::new());
    audit_of(&cluster, "alpha", Generation(2)).await;
    operator.post("/v1/generations/1/drop", &json!({})).await;
    // Who fed the generation that is gone goes on without it.
    let load = Load::begin(&[&second.address, &third.address], 4);
    load.more(40).await;
    let acknowledged = load.end().await;
    all_completed(&third.address, &acknowledged).await;
    audit_of(&cluster, "alpha", Generation(2)).await;
    rows_are_mended_or_rebuilt(&cluster, &operator).await;
    second.stop().await;
    third.stop().await;
}

/// A row that was lost is mended in place; one that somebody wrote, with the time of their clock, wins over what a mend
/// writes, and goes with its generation.
async fn rows_are_mended_or_rebuilt(cluster: &Cluster, operator: &Operator) {
    let (store, table) = (cluster.store("alpha").await, &runs_by::WORKFLOW);
    let scan = Scan { partition: None, from: None, to: None, after: None, reverse: false, limit: 2 };
    let rows = store.scan(Generation(2), table, &scan).await.expect("rows").rows;
    let [lost, edited] = rows.try_into().expect("two rows");
    let mut columns = edited.columns;
    columns[1] = Column::Int(1_000_000);
    let hour_us = 3_600_000_000;
    let writes = WriteSet {
        inserts: vec![Write {
            table,
            key: edited.key,
            timestamp_us: edited.timestamp_us + hour_us,
            columns: Some(columns),
        }],
        deletions: vec![Write { table, key: lost.key, timestamp_us: lost.timestamp_us, columns: None }],
        ..WriteSet::default()
    };
    store.write(Generation(2), &writes).await.expect("two rows are spoilt");
    let found = operator.verify(&json!({})).await;
    assert_eq!((&found["difference_count"], &found["mendable_count"]), (&json!(2), &json!(1)), "{found}");
    let kinds: Vec<_> = (found["differences"].as_array().into_iter().flatten())
        .map(|difference| {
            assert!(difference["first_divergent"]["event_id"].is_string(), "{difference}");
            difference["kind"].as_str().unwrap_or_default()
        })
        .collect();
    assert!(kinds.contains(&"missing") && kinds.contains(&"newer"), "{kinds:?}");
    let mended = operator.verify(&json!({"mend": true})).await;
    assert_eq!(mended["mended"]["remaining"], 1, "{mended}");
    operator.post("/v1/replays", &json!({"kind": "rebuild", "activates": true})).await;
    operator.until("what was rebuilt is read", |views| views["read_here"] == 3).await;
    audit_of(cluster, "alpha", Generation(3)).await;
}
