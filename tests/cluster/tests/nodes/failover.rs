//! An owner that dies or stands still: another process goes on.

use std::time::Instant;

use rustix::process::Signal;
use tidewheel_cluster::audit::audit;
use tidewheel_cluster::load::{Load, all_completed, result};
use tidewheel_cluster::nodes::{Cluster, Servers};

use crate::{NODE, PAST_SESSION, took};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_killed_under_load_loses_and_doubles_nothing() {
    let test = "an_owner_killed_under_load_loses_and_doubles_nothing";
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "killed");
    let first = cluster.start(NODE, "first", "alpha", "").await;
    let second = cluster.start(NODE, "second", "alpha", "").await;
    let load = Load::begin(&[&first.address, &second.address], 8);
    load.more(60).await;
    let survivor = second.address.clone();
    first.kill().await;
    let killed = Instant::now();
    load.more(60).await;
    let acknowledged = load.end().await;
    let last = acknowledged.last().expect("a run").clone();
    result(&survivor, &last).await;
    took("from the kill to the result of the last run", killed);
    all_completed(&survivor, &acknowledged).await;
    took("from the kill to every result", killed);
    let audit = audit(&cluster, "alpha").await;
    assert!(audit.runs.len() >= acknowledged.len(), "{audit:?}");
    assert_eq!(audit.rejected, Vec::<String>::new());
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_stood_still_past_its_session_changes_nothing_when_it_wakes() {
    let test = "an_owner_that_stood_still_past_its_session_changes_nothing_when_it_wakes";
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "paused");
    let first = cluster.start(NODE, "first", "alpha", "").await;
    let second = cluster.start(NODE, "second", "alpha", "").await;
    let load = Load::begin(&[&second.address], 8);
    load.more(40).await;
    first.signal(Signal::STOP);
    let paused = Instant::now();
    tokio::time::sleep(PAST_SESSION).await;
    load.more(40).await;
    let before = load.end().await;
    all_completed(&second.address, &before).await;
    took("from the pause to every result", paused);
    first.signal(Signal::CONT);
    // It still believes that it leads, until it reads what happened meanwhile.
    let load = Load::begin(&[&second.address, &first.address], 8);
    load.more(40).await;
    let after = load.end().await;
    all_completed(&first.address, &after).await;
    let audit = audit(&cluster, "alpha").await;
    eprintln!("{} records, {} of them by an owner that no longer led", audit.records, audit.stale);
    assert_eq!(audit.rejected, Vec::<String>::new());
    first.stop().await;
    second.stop().await;
}
