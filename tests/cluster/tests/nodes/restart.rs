//! Processes that come and go as their operator wants: restarts one after the other, roles apart.

use std::collections::BTreeMap;

use serde_json::Value;
use tidewheel_cluster::audit::audit;
use tidewheel_cluster::load::{Load, all_completed};
use tidewheel_cluster::nodes::{Cluster, PATIENCE, Servers};

use crate::NODE;

/// Which process leads each partition, once every one has a leader.
async fn leaders(address: &str) -> BTreeMap<u64, String> {
    let began = std::time::Instant::now();
    loop {
        let status: Value =
            reqwest::get(format!("{address}/v1/status")).await.expect("status").json().await.expect("JSON");
        let leaders: BTreeMap<_, _> = status["partitions"]
            .as_array()
            .expect("partitions")
            .iter()
            .filter_map(|partition| {
                let by = partition["claimed_by"].as_str()?;
                // A name and the id of a process.
                Some((partition["partition"].as_u64()?, by.rsplit_once('-')?.0.to_owned()))
            })
            .collect();
        if leaders.len() == 4 {
            return leaders;
        }
        assert!(began.elapsed() < PATIENCE, "{status}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_loses_and_doubles_nothing_and_moves_no_partition() {
    let test = "a_rolling_restart_under_load_loses_and_doubles_nothing_and_moves_no_partition";
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "rolling");
    let session = "node = '{}'";
    let named = |name: &str| session.replace("{}", name);
    let more = |name: &str| format!("{}\n", named(name));
    let first = cluster.start(NODE, "first", "alpha", &more("first")).await;
    let second = cluster.start(NODE, "second", "alpha", &more("second")).await;
    let (first_address, second_address) = (first.address.clone(), second.address.clone());
    let load = Load::begin(&[&first_address, &second_address], 8);
    load.more(40).await;
    // Both are asked where they listened before, so that producers find them again.
    first.stop().await;
    let listen = first_address.trim_start_matches("http://");
    let first = cluster.launch(NODE, "first", "alpha", &more("first"), listen);
    first.until_ready().await;
    load.more(40).await;
    second.stop().await;
    let listen = second_address.trim_start_matches("http://");
    let second = cluster.launch(NODE, "second", "alpha", &more("second"), listen);
    second.until_ready().await;
    load.more(40).await;
    let acknowledged = load.end().await;
    all_completed(&first_address, &acknowledged).await;
    let audit = audit(&cluster, "alpha").await;
    assert_eq!(audit.rejected, Vec::<String>::new());
    let leaders = leaders(&first_address).await;
    assert!(leaders.values().all(|leader| leader == "first" || leader == "second"), "{leaders:?}");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_in_processes_of_their_own_do_what_one_process_does() {
    let test = "roles_in_processes_of_their_own_do_what_one_process_does";
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "roles");
    let ingest = cluster.start(NODE, "ingest", "alpha", "roles = ['ingest']").await;
    let engine = cluster.start(NODE, "engine", "alpha", "roles = ['engine']").await;
    let projector = cluster.start(NODE, "projector", "alpha", "roles = ['projector']").await;
    let load = Load::begin(&[&ingest.address], 8);
    load.more(80).await;
    let acknowledged = load.end().await;
    all_completed(&ingest.address, &acknowledged).await;
    all_completed(&projector.address, &acknowledged).await;
    let refused = reqwest::Client::new()
        .post(format!("{}/v1/namespaces/default/runs", engine.address))
        .json(&serde_json::json!({ "workflow": "steps", "input": [1, 1] }))
        .send()
        .await
        .expect("an answer");
    assert_eq!(refused.status(), 404, "a process without the role has no such route");
    audit(&cluster, "alpha").await;
    ingest.stop().await;
    engine.stop().await;
    projector.stop().await;
}
