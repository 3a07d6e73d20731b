//! A node that is killed under load: writes go on by themselves when it is back, and what was acknowledged is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tidewheel_cluster::cql::Server;
use tidewheel_native::CassandraOptions;
use tidewheel_store::suite::tables::{ENTITY, part};
use tidewheel_store::suite::{GENERATION, dump};
use tidewheel_store::{CqlStore, StateStore, StoreError, WriteSet};

const WRITERS: i64 = 4;

/// Writes rows of its own until told to stop; how many were acknowledged.
async fn write_on(store: Arc<CqlStore>, id: i64, written: Arc<AtomicI64>, done: Arc<AtomicBool>) -> i64 {
    let mut slot = 0;
    while !done.load(Ordering::Relaxed) {
        let set = WriteSet { entities: vec![part(id, slot, 8, Some("kept"))], ..WriteSet::default() };
        match store.write(GENERATION, &set).await {
            Ok(()) => {
                slot += 1;
                written.fetch_add(1, Ordering::Relaxed);
            }
            // As the projector does: the same again.
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(other) => panic!("{other}"),
        }
    }
    slot
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    for _ in 0..1_200 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within two minutes: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_resume_after_a_killed_node_and_nothing_acknowledged_is_lost() {
    let test = "writes_resume_after_a_killed_node_and_nothing_acknowledged_is_lost";
    // There is one replica, so it must have the row in its log before it says so.
    let options = CassandraOptions::datacenters(&["dc1"]).authenticated().synced();
    let Some(server) = Server::start(test, options).await else { return };
    let cassandra = server.cassandra().expect("a server of its own");
    let mut options = server.fresh_options();
    options.retry_for = Duration::from_secs(2);
    let store = Arc::new(CqlStore::connect(options).await.expect("a store"));
    store.create_tables(GENERATION, &[&ENTITY]).await.expect("create");
    let (written, done) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|id| tokio::spawn(write_on(Arc::clone(&store), id, Arc::clone(&written), Arc::clone(&done))))
        .collect();
    until("writes before the fault", || written.load(Ordering::Relaxed) > 200).await;
    tokio::task::block_in_place(|| cassandra.kill(0)).expect("kill");
    let refused = WriteSet { entities: vec![part(9, 0, 8, Some("late"))], ..WriteSet::default() };
    let refused = store.write(GENERATION, &refused).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let before = written.load(Ordering::Relaxed);
    tokio::task::block_in_place(|| cassandra.start_again(0)).expect("start");
    until("writes after the fault", || written.load(Ordering::Relaxed) > before + 200).await;
    done.store(true, Ordering::Relaxed);
    let rows = {
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.push(writer.await.expect("a writer"));
        }
        let rows = dump(&*store, GENERATION, &ENTITY).await;
        for (id, count) in (0..WRITERS).zip(acknowledged) {
            for slot in 0..count {
                let key = part(id, slot, 0, None).key;
                assert!(rows.iter().any(|row| row.key == key), "{key:?} was acknowledged and is lost");
            }
        }
        rows
    };
    assert!(rows.len() as i64 >= written.load(Ordering::Relaxed));
}
