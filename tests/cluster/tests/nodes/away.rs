//! Servers that are away, at the start and later, and servers that refuse.

use std::time::Duration;

use serde_json::{Value, json};
use tidewheel_cluster::audit::audit;
use tidewheel_cluster::load::{Load, all_completed};
use tidewheel_cluster::nodes::{Cluster, PATIENCE, Servers};
use tidewheel_native::KafkaOptions;

use crate::NODE;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_go_and_come_back_lose_nothing_and_need_nobody() {
    let test = "servers_that_go_and_come_back_lose_nothing_and_need_nobody";
    let Some(servers) = Servers::own(test, KafkaOptions::default()).await else { return };
    let cluster = Cluster::new(&servers, "away");
    servers.kafka.stop(0).expect("Kafka stops");
    let node = cluster.launch(NODE, "node", "alpha", "", "127.0.0.1:0");
    until_refused(&node.address).await;
    let live = reqwest::get(format!("{}/health/live", node.address)).await.expect("an answer");
    assert_eq!(live.status(), 200);
    servers.kafka.start_again(0).expect("Kafka starts again");
    node.until_ready().await;

    let load = Load::begin(&[&node.address], 8);
    load.more(40).await;
    // The log is away: nothing is acknowledged, what is projected can still be read.
    servers.kafka.kill(0).expect("Kafka ends");
    until_refused(&node.address).await;
    let list = reqwest::get(format!("{}/v1/namespaces/default/runs?limit=10", node.address)).await;
    let list: Value = list.expect("an answer").json().await.expect("JSON");
    assert_eq!(list["runs"].as_array().map(Vec::len), Some(10), "{list}");
    servers.kafka.start_again(0).expect("Kafka starts again");
    load.more(40).await;
    // The store is away.
    let alpha = servers.cassandra.nodes_of("alpha")[0];
    servers.cassandra.kill(alpha).expect("Cassandra ends");
    tokio::time::sleep(Duration::from_secs(3)).await;
    servers.cassandra.start_again(alpha).expect("Cassandra starts again");
    load.more(40).await;
    let acknowledged = load.end().await;
    all_completed(&node.address, &acknowledged).await;
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
    eprintln!("{}", std::fs::read_to_string(&node.log).unwrap_or_default());
    let audit = audit(&cluster, "alpha").await;
    assert!(audit.runs.len() >= acknowledged.len());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datacenter_the_database_does_not_have_ends_the_process_with_one_line() {
    let test = "a_datacenter_the_database_does_not_have_ends_the_process_with_one_line";
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "nowhere");
    let more = "";
    let file = cluster.configure("nowhere", "alpha", more);
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let wrong = text.replace("database_datacenter = 'alpha'", "database_datacenter = 'gamma'");
    assert_ne!(text, wrong);
    std::fs::write(&file, wrong).expect("the configuration");
    let ended = tokio::process::Command::new(NODE)
        .args([file.as_os_str(), "127.0.0.1:0".as_ref()])
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").expect("its output");
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr);
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && errors[0].contains("gamma"), "{said}");
}
