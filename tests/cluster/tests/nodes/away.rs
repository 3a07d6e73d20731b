//! Servers that are away, at the start and later.

use std::time::Duration;

use serde_json::{Value, json};
use tidewheel_cluster::audit::audit;
use tidewheel_cluster::load::{Load, all_completed};
use tidewheel_cluster::nodes::{Cluster, PATIENCE, Process, Servers};
use tidewheel_native::{CassandraOptions, KafkaOptions};

use crate::NODE;

/// How long a server is away while producers insist.
const AWAY: Duration = Duration::from_secs(60);
/// What a process may need more of while a server is away.
const MEMORY_MORE_BYTES: u64 = 200 << 20;

async fn start_run(address: &str) -> reqwest::Result<reqwest::Response> {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(60))
        .build()?
        .post(format!("{address}/v1/namespaces/default/runs"))
        .json(&json!({ "workflow": "steps", "input": [1, 1] }))
        .send()
        .await
}

/// Waits until starts are refused as not ready, with a time to come again.
async fn until_refused(address: &str) {
    let began = std::time::Instant::now();
    loop {
        if let Ok(answer) = start_run(address).await
            && answer.status() == 503
        {
            let retry_after = answer.headers().get("retry-after").is_some();
            let problem: Value = answer.json().await.expect("a problem");
            if problem["code"] == "not_ready" {
                assert!(retry_after, "{problem}");
                return;
            }
        }
        assert!(began.elapsed() < PATIENCE, "starts are not refused");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The status of a read, and whether it says when to come again.
async fn read(address: &str) -> (u16, Value, bool) {
    let list =
        reqwest::get(format!("{address}/v1/namespaces/default/runs?limit=10")).await.expect("an answer");
    let (status, again) = (list.status().as_u16(), list.headers().contains_key("retry-after"));
    (status, list.json().await.expect("JSON"), again)
}

/// It lives, and takes nothing yet.
async fn waits(node: &Process) {
    until_refused(&node.address).await;
    for (path, expected) in [("live", 200), ("ready", 503)] {
        let health = reqwest::get(format!("{}/health/{path}", node.address)).await.expect("an answer");
        assert_eq!(health.status(), expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_go_and_come_back_lose_nothing_and_need_nobody() {
    let test = "servers_that_go_and_come_back_lose_nothing_and_need_nobody";
    // The database is killed, and there is one replica.
    let cassandra = CassandraOptions::datacenters(&["alpha", "beta"]).synced();
    let Some(servers) = Servers::own_with(test, KafkaOptions::default(), cassandra).await else { return };
    let cluster = Cluster::new(&servers, "away");
    let alpha = servers.cassandra.nodes_of("alpha")[0];
    // Both are away at the start; one of them is not enough.
    servers.kafka.stop(0).expect("Kafka stops");
    servers.cassandra.kill(alpha).expect("Cassandra ends");
    let node = cluster.launch(NODE, "node", "alpha", "", "127.0.0.1:0");
    waits(&node).await;
    servers.kafka.start_again(0).expect("Kafka starts again");
    waits(&node).await;
    servers.cassandra.start_again(alpha).expect("Cassandra starts again");
    node.until_ready().await;

    let load = Load::begin(&[&node.address], 8);
    load.more(40).await;
    // Projected too, which begins once the group has suggested who writes the views.
    let began = std::time::Instant::now();
    while read(&node.address).await.1["runs"].as_array().is_none_or(|runs| runs.len() < 10) {
        assert!(began.elapsed() < PATIENCE, "nothing is projected: {}", node.last_lines());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let resident_bytes = node.resident_bytes();
    // The log is away: nothing is acknowledged, what is projected can still be read.
    servers.kafka.kill(0).expect("Kafka ends");
    until_refused(&node.address).await;
    let refused = load.acknowledged();
    tokio::time::sleep(AWAY).await;
    assert_eq!(load.acknowledged(), refused, "a start was acknowledged that cannot be durable");
    let (status, list, _) = read(&node.address).await;
    assert_eq!((status, list["runs"].as_array().map(Vec::len)), (200, Some(10)), "{list}");
    let without_log_bytes = node.resident_bytes();
    servers.kafka.start_again(0).expect("Kafka starts again");
    load.more(40).await;
    // The store is away: what is appended is durable all the same, and cannot be read for now.
    servers.cassandra.kill(alpha).expect("Cassandra ends");
    tokio::time::sleep(AWAY).await;
    let (status, problem, again) = read(&node.address).await;
    assert_eq!((status, &problem["code"], again), (503, &json!("view_unavailable"), true), "{problem}");
    let without_store_bytes = node.resident_bytes();
    servers.cassandra.start_again(alpha).expect("Cassandra starts again");
    load.more(40).await;
    let acknowledged = load.end().await;
    all_completed(&node.address, &acknowledged).await;
    eprintln!(
        "{} MiB with both, {} without the log, {} without the store",
        resident_bytes >> 20,
        without_log_bytes >> 20,
        without_store_bytes >> 20
    );
    for bytes in [without_log_bytes, without_store_bytes] {
        assert!(bytes < resident_bytes + MEMORY_MORE_BYTES, "{bytes} instead of {resident_bytes}");
    }
    let audit = audit(&cluster, "alpha").await;
    assert!(audit.runs.len() >= acknowledged.len());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_load_loses_and_doubles_nothing() {
    let test = "a_broker_killed_under_load_loses_and_doubles_nothing";
    let Some(servers) = Servers::own(test, KafkaOptions::default().brokers(3)).await else { return };
    let cluster = Cluster::new(&servers, "broker");
    let node = cluster.start(NODE, "node", "alpha", "").await;
    let load = Load::begin(&[&node.address], 8);
    for broker in 0..2 {
        load.more(40).await;
        servers.kafka.kill(broker).expect("a broker ends");
        load.more(40).await;
        servers.kafka.start_again(broker).expect("a broker starts again");
        // Its replicas catch up before the next one goes.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    load.more(40).await;
    let acknowledged = load.end().await;
    all_completed(&node.address, &acknowledged).await;
    let audit = audit(&cluster, "alpha").await;
    assert!(audit.runs.len() >= acknowledged.len());
    node.stop().await;
}
