//! A projector over the store: killed between any two writes, beside an old one, it leaves the rows that the store in
//! memory has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use tidewheel_cluster::cql::Server;
use tidewheel_engine::Control;
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_projector::views::TABLES;
use tidewheel_projector::{Projector, ProjectorOptions, Views};
use tidewheel_store::suite::Intercepted;
use tidewheel_store::{
    ColumnType, CqlStore, CqlStoreOptions, Generation, Row, SharedStore, StateStore, StoreError, TableSchema,
    Write, WriteSet,
};
use tokio::sync::Notify;

use crate::admin;
use crate::world::{GENERATION, World, actions, contents, memory, project, run_id};

/// Counts batches down and dies when there are none left: it says so, and comes to no end.
struct Lives {
    left: AtomicUsize,
    dead: Notify,
}

impl Lives {
    async fn lose_one(&self) {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Writes batch by batch as a process does: each is of one partition, or one row elsewhere.
    async fn write(
        &self,
        store: SharedStore,
        generation: Generation,
        writes: WriteSet,
    ) -> Result<(), StoreError> {
        let source = writes.source;
        for write in writes.inserts {
            self.lose_one().await;
            let set = WriteSet { source, inserts: vec![write], ..WriteSet::default() };
            store.write(generation, &set).await?;
        }
        let same = |left: &Write, right: &Write| left.key.partition == right.key.partition;
        for entity in writes.entities.chunk_by(same) {
            self.lose_one().await;
            let set = WriteSet { source, entities: entity.to_vec(), ..WriteSet::default() };
            store.write(generation, &set).await?;
        }
        for write in writes.deletions.into_iter().chain(writes.checkpoints) {
            self.lose_one().await;
            let set = WriteSet { source, deletions: vec![write], ..WriteSet::default() };
            store.write(generation, &set).await?;
        }
        Ok(())
    }
}

/// Projects what is missing of a world and ends after `lives` batches, if not done before; whether it was done.
async fn live_once(store: &Arc<dyn StateStore>, world: &World, lives: usize) -> bool {
    let lives = Arc::new(Lives { left: AtomicUsize::new(lives), dead: Notify::new() });
    let counted = Arc::clone(&lives);
    let mortal = Intercepted::new(Arc::clone(store), move |store, generation, writes| {
        let lives = Arc::clone(&counted);
        async move { lives.write(store, generation, writes).await }.boxed()
    });
    let views = Views::new(Arc::new(mortal), GENERATION);
    let options = ProjectorOptions { atomic: false, records_max: 5, ..ProjectorOptions::default() };
    let (projector, worker) = Projector::open(views, 1, options).await.expect("a projector");
    let worker = tokio::spawn(worker);
    let work = async {
        let from = usize::try_from(projector.applied_offset(0) + 1).expect("an offset");
        for (place, chunk) in world.transitions[from..].chunks(5).enumerate() {
            let last = from + place * 5 + chunk.len() - 1;
            projector.submit(0, chunk.to_vec(), &world.controls[last]).await.expect("submit");
        }
        projector.wait_submitted(0, Duration::from_secs(120)).await.expect("views that follow");
    };
    let done = tokio::select! {
        () = work => true,
        () = lives.dead.notified() => false,
    };
    worker.abort();
    done
}

/// What the rows say, in an order that depends neither on the store nor on the chunks they were written in.
async fn sorted_rows(views: &Views) -> Vec<(&'static str, Vec<Row>)> {
    let mut tables = contents(views).await;
    for (_, rows) in &mut tables {
        rows.sort_by(|left, right| left.key.cmp(&right.key));
    }
    tables
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_killed_between_any_two_writes_leaves_the_same_rows() {
    let test = "a_projector_killed_between_any_two_writes_leaves_the_same_rows";
    let Some(server) = Server::shared(test).await else { return };
    let mut runner = TestRunner::new(Config::default());
    let store: Arc<dyn StateStore> = Arc::new(server.store().await);
    for _ in 0..2 {
        let world = World::of(&actions(90).new_tree(&mut runner).expect("actions").current());
        let mut lives = 0;
        // At first between all of the first writes, then some batches further each time.
        while !live_once(&store, &world, lives).await {
            lives += 1;
        }
        let views = Views::new(Arc::clone(&store), GENERATION);
        let expected = memory().await;
        project(&expected, &world, &vec![1; world.transitions.len()], false).await;
        assert_eq!(sorted_rows(&views).await, sorted_rows(&expected).await);
        for run in world.runs() {
            let loaded = views.load_run(run.header.run_id).await.expect("a load");
            assert_eq!(loaded.as_ref(), Some(run));
        }
        old_writes_change_nothing(&views, &world).await;
        store.drop_generation(GENERATION).await.expect("drop");
    }
}

/// A process that was stopped for long writes everything again, in one set of other boundaries.
async fn old_writes_change_nothing(views: &Views, world: &World) {
    let before = sorted_rows(views).await;
    let mut live = Live::default();
    let mut control = Control::new(0);
    for end in [world.transitions.len() / 3, world.transitions.len() / 2] {
        let mut chunk = Chunk::new(control);
        if end == 0 {
            return;
        }
        chunk.add(&world.transitions[..end], &world.controls[end - 1], &live);
        let finished = chunk.finish(&mut live, false);
        control = finished.checkpoint.control.clone();
        views.store().write(GENERATION, &finished.writes).await.expect("a late write");
        let unnamed = WriteSet { source: None, ..finished.writes };
        views.store().write(GENERATION, &unnamed).await.expect("a late write");
        assert_eq!(sorted_rows(views).await, before);
    }
    assert!(views.header(run_id(250)).await.expect("a read").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_names_every_column_of_the_views_without_quotes() {
    let Some(server) = Server::shared("a_person_names_every_column_of_the_views_without_quotes").await else {
        return;
    };
    let options = server.fresh_options();
    let store = CqlStore::connect(options.clone()).await.expect("a store");
    store.create_tables(GENERATION, TABLES).await.expect("create");
    let select = |table: &&TableSchema| {
        let columns =
            [table.partition_key, table.clustering_key, table.static_columns, table.columns].concat();
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        format!("SELECT {} FROM {}.{}_g1 LIMIT 1", names.join(", "), options.keyspace, table.name)
    };
    let statements: Vec<String> = TABLES.iter().map(select).collect();
    admin::run(&server, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
    store.drop_generation(GENERATION).await.expect("drop");
}

#[test]
fn every_view_can_be_declared_in_cql() {
    let options = CqlStoreOptions::new(["localhost"], "dc1", "views");
    let statements = options.ddl(Generation(u32::MAX), TABLES).expect("statements");
    let columns = TABLES.iter().flat_map(|table| table.static_columns.iter().chain(table.columns));
    let lists = columns.filter(|column| matches!(column.kind, ColumnType::List(_))).count();
    assert_eq!(statements.len(), 1 + TABLES.len() + lists);
}
