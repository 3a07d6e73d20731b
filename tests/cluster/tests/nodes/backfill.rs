//! Rows that a database lost are written again by the processes of a cluster while they work and one of them dies.

use serde_json::json;
use tidewheel_cluster::audit::audit;
use tidewheel_cluster::load::{Load, all_completed};
use tidewheel_cluster::nodes::{Cluster, Servers};
use tidewheel_projector::views::{run_history, runs_by};
use tidewheel_store::{Generation, Scan, SharedStore, Write, WriteSet};

use crate::replay::{Operator, RUNS};
use crate::{NODE, took};

/// Takes every fifth of the first rows of two tables away; how many those are.
async fn lose(store: &SharedStore) -> usize {
    let generation = Generation(1);
    let mut lost = 0;
    for table in [&run_history::TABLE, &runs_by::WORKFLOW] {
        let scan = Scan { partition: None, from: None, to: None, after: None, reverse: false, limit: 1_000 };
        let rows = store.scan(generation, table, &scan).await.expect("rows").rows;
        let gone = rows.into_iter().step_by(5);
        let deletions: Vec<_> = gone
            .map(|row| Write { table, key: row.key, timestamp_us: row.timestamp_us, columns: None })
            .collect();
        lost += deletions.len();
        store.write(generation, &WriteSet { deletions, ..WriteSet::default() }).await.expect("written");
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_a_database_lost_are_mended_while_processes_work_and_die() {
    let test = "rows_that_a_database_lost_are_mended_while_processes_work_and_die";
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "backfilled");
    let first = cluster.start(NODE, "first", "alpha", "").await;
    let second = cluster.start(NODE, "second", "alpha", "").await;
    let operator = Operator::at(&second.address);
    operator.start_runs().await;
    let has_all = |views: &serde_json::Value| {
        let applied = views["generations"][0]["applied"].as_array();
        let records: i64 = applied.into_iter().flatten().filter_map(serde_json::Value::as_i64).sum();
        usize::try_from(records).is_ok_and(|records| records > 3 * RUNS)
    };
    operator.until("the views hold the runs", has_all).await;
    let lost = lose(&cluster.store("alpha").await).await;
    assert!(lost > 200, "{lost}");
    let load = Load::begin(&[&second.address, &first.address], 4);
    load.more(20).await;
    let began = std::time::Instant::now();
    let wanted =
        json!({"kind": "backfill", "records_per_second": 4_000, "scope": {"event_types": ["run-completed"]}});
    operator.post("/v1/replays", &wanted).await;
    operator
        .until("it has begun to write", |views| {
            views["generations"][0]["mendings"] == 1 || views["replays"][0]["status"] == "finished"
        })
        .await;
    first.kill().await;
    // Its partitions are taken over, and its parts of the backfill with them.
    operator.post("/v1/replays/1/rate", &json!({})).await;
    load.more(20).await;
    // Each part reads what there is: a log that grows as fast as it can be written would have no end on a busy machine.
    let acknowledged = load.end().await;
    let views = operator.until("it is done", |views| views["replays"][0]["status"] == "finished").await;
    took("the backfill with a process killed", began);
    let replay = &views["replays"][0];
    assert_eq!(replay["parts_done"], replay["parts"], "{views}");
    assert!(replay["rows"].as_u64() > Some(0), "{views}");
    assert_eq!(views["generations"][0]["mendings"], 1, "two processes take one number: {views}");
    all_completed(&second.address, &acknowledged).await;
    let audited = audit(&cluster, "alpha").await;
    assert!(audited.runs.len() >= acknowledged.len() + RUNS, "{}", audited.runs.len());
    second.stop().await;
}
