//! Other programs on the same brokers and the same database: what they see, and what they write.

mod python;
mod straight;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidewheel_cluster::nodes::{Cluster, PARTITIONS, PATIENCE};
use tidewheel_schemas::{Position, Record, RunId, TopicPartition};

/// The program under test.
const NODE: &str = env!("CARGO_BIN_EXE_tidewheel-cluster-node");
/// The datacenter that everything here happens in, and its label in run ids.
const ALPHA: &str = "alpha";
const ALPHA_LABEL: u16 = 1;

/// Where a record lies: its partition and offset.
type Place = (u32, i64);

/// The id of a run that nobody has started.
fn fresh_run() -> RunId {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    RunId::fresh(ALPHA_LABEL, high >> 16, low.to_be_bytes())
}

/// Everything the log of alpha holds now, and where its partitions end.
async fn records(cluster: &Cluster) -> (BTreeMap<Place, Record>, Vec<i64>) {
    let (log, topic) = (cluster.log(ALPHA), cluster.topic(ALPHA));
    let (mut records, mut ends) = (BTreeMap::new(), Vec::new());
    for partition in 0..PARTITIONS {
        let place = TopicPartition::new(topic.clone(), partition);
        let end = log.bounds(&place).await.expect("bounds").end;
        let mut next = 0;
        while next < end {
            for record in log.read(&place, next, 1_000).await.expect("records") {
                next = record.offset + 1;
                records.insert((partition, record.offset), record);
            }
        }
        ends.push(end);
    }
    records.retain(|(partition, offset), _| *offset < ends[*partition as usize]);
    (records, ends)
}

/// Every rejection listed in the namespace `default`, by the place of the refused record.
async fn rejections(address: &str) -> BTreeMap<Place, Value> {
    let mut listed = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let url = format!("{address}/v1/namespaces/default/rejections?limit=100{cursor}");
        let page: Value = reqwest::get(url).await.expect("an answer").json().await.expect("JSON");
        for rejection in page["rejections"].as_array().unwrap_or_else(|| panic!("{page}")) {
            let position: Position =
                rejection["position"].as_str().and_then(|text| text.parse().ok()).expect("a position");
            listed.insert((position.partition, position.offset), rejection.clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return listed,
        }
    }
}

/// Waits until the record at this place is listed among the rejections.
async fn rejected(address: &str, place: Place) -> Value {
    let began = Instant::now();
    loop {
        if let Some(rejection) = rejections(address).await.remove(&place) {
            return rejection;
        }
        assert!(began.elapsed() < PATIENCE, "the record at {place:?} is not listed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
