//! Promises about tables: made by several processes at once, extended, told from others, and found by those who did
//! not make them. And about batches, as large as entities may be.

use futures::future::join_all;
use tidewheel_cluster::cql::Server;
use tidewheel_store::cql::TableState;
use tidewheel_store::suite::tables::{ENTITY, INDEX, ITEMS, ITEMS_AFTER, PLAIN, PLAIN_BEFORE, header, part};
use tidewheel_store::suite::{GENERATION, dump};
use tidewheel_store::{
    Column, ColumnType, CqlStore, Generation, ROW_BYTES_MAX, Scan, StateStore, StoreError, TableSchema,
    Value, WriteSet,
};

use crate::admin;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_make_the_tables_at_once_all_find_them() {
    let Some(server) = Server::shared("processes_that_make_the_tables_at_once_all_find_them").await else {
        return;
    };
    let options = server.fresh_options();
    let connections = join_all((0..3).map(|_| CqlStore::connect(options.clone()))).await;
    let stores: Vec<CqlStore> = connections.into_iter().map(|store| store.expect("a store")).collect();
    let tables: [&TableSchema; 3] = [&ENTITY, &INDEX, &ITEMS];
    let made = join_all(stores.iter().map(|store| store.create_tables(GENERATION, &tables))).await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    for (id, store) in (0_i64..).zip(&stores) {
        let set = WriteSet { entities: vec![part(id, 0, 8, Some("a"))], ..WriteSet::default() };
        store.write(GENERATION, &set).await.expect("write");
    }
    for store in &stores {
        assert_eq!(dump(store, GENERATION, &ENTITY).await.len(), 3);
    }
    let older = stores[0].create_tables(GENERATION, &[&PLAIN_BEFORE]).await;
    older.expect("create");
    // Two that append the same columns, and the same fields of lists.
    let tables: [&TableSchema; 2] = [&PLAIN, &ITEMS_AFTER];
    let made = join_all(stores[..2].iter().map(|store| store.create_tables(GENERATION, &tables))).await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_made_no_tables_reads_those_that_are_there() {
    let Some(server) = Server::shared("a_process_that_made_no_tables_reads_those_that_are_there").await
    else {
        return;
    };
    let options = server.fresh_options();
    let maker = CqlStore::connect(options.clone()).await.expect("a store");
    let reader = CqlStore::connect(options.clone()).await.expect("a store");
    let scan = Scan { partition: None, from: None, to: None, after: None, reverse: false, limit: 10 };
    let before = reader.scan(GENERATION, &ENTITY, &scan).await;
    assert!(matches!(before, Err(StoreError::UnknownTable { .. })), "{before:?}");
    maker.create_tables(GENERATION, &[&ENTITY, &PLAIN_BEFORE, &ITEMS]).await.expect("create");
    assert!(reader.scan(GENERATION, &ENTITY, &scan).await.expect("scan").rows.is_empty());
    let lacking = reader.scan(GENERATION, &PLAIN, &scan).await;
    assert!(matches!(lacking, Err(StoreError::Refused { table: "plain", .. })), "{lacking:?}");
    let lacking = reader.scan(GENERATION, &ITEMS_AFTER, &scan).await;
    assert!(matches!(lacking, Err(StoreError::Refused { table: "items", .. })), "{lacking:?}");

    // A generation that another process drops is gone for this one too.
    let stranger = format!("CREATE TABLE {}.notes_g1 (id int PRIMARY KEY)", options.keyspace);
    admin::run(&server, &[&stranger]).await;
    maker.drop_generation(GENERATION).await.expect("drop");
    let gone = reader.scan(GENERATION, &ENTITY, &scan).await;
    assert!(matches!(gone, Err(StoreError::UnknownTable { .. })), "{gone:?}");
    // So are the types of its lists: their names are free.
    admin::run(&server, &[&format!("CREATE TYPE {}.items_g1_items (mine int)", options.keyspace)]).await;
    // What is not ours stays.
    admin::run(&server, &[&format!("INSERT INTO {}.notes_g1 (id) VALUES (1)", options.keyspace)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_other_keys_or_types_is_refused_and_named() {
    static OTHER_TYPE: TableSchema =
        TableSchema { columns: &[Column::new("body", ColumnType::Blob)], ..ENTITY };
    static OTHER_ORDER: TableSchema = TableSchema {
        clustering_key: &[Column::descending("kind", ColumnType::Text), Column::new("slot", ColumnType::Int)],
        ..ENTITY
    };
    static SHORTER_KEY: TableSchema =
        TableSchema { clustering_key: &[Column::new("kind", ColumnType::Text)], ..ENTITY };
    let Some(server) = Server::shared("a_table_with_other_keys_or_types_is_refused_and_named").await else {
        return;
    };
    let store = server.store().await;
    store.create_tables(GENERATION, &[&ENTITY]).await.expect("create");
    for (changed, column) in [(&OTHER_TYPE, "body"), (&OTHER_ORDER, "kind"), (&SHORTER_KEY, "clustering")] {
        let refused = store.create_tables(GENERATION, &[changed]).await;
        let Err(StoreError::Refused { table: "entity", what }) = &refused else {
            panic!("{refused:?}");
        };
        assert!(what.contains(column) && what.contains("new generation"), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_another_build_is_refused_before_anything_is_read() {
    let Some(server) = Server::shared("a_table_of_another_build_is_refused_before_anything_is_read").await
    else {
        return;
    };
    static RENUMBERED: TableSchema = TableSchema { number: 99, ..ENTITY };
    let options = server.fresh_options();
    let store = CqlStore::connect(options.clone()).await.expect("a store");
    store.create_tables(GENERATION, &[&ENTITY]).await.expect("create");
    let refused = store.create_tables(GENERATION, &[&RENUMBERED]).await;
    let Err(StoreError::Refused { table: "entity", what }) = &refused else { panic!("{refused:?}") };
    assert!(what.contains("another build") && what.contains("rebuilt from the log"), "{what}");
    let found = CqlStore::inspect(options, GENERATION, &[&RENUMBERED]).await.expect("an inspection");
    assert!(matches!(found.tables[..], [(_, TableState::Wrong(StoreError::Refused { .. }))]), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_of_megabytes_is_written_and_read_back() {
    let Some(server) = Server::shared("an_entity_of_megabytes_is_written_and_read_back").await else {
        return;
    };
    let store = server.store().await;
    store.create_tables(GENERATION, &[&ENTITY]).await.expect("create");
    // The first is one batch far over Cassandra's limit for batches of many partitions; the second must be cut.
    for (id, rows, bytes) in [(1, 1_500, 1_000), (2, 9, ROW_BYTES_MAX - 100)] {
        let body = "x".repeat(bytes);
        let mut entities = vec![header(id, 8, Some(1))];
        entities.extend((0..rows).map(|slot| part(id, slot, 8, Some(&body))));
        let set = WriteSet { entities, ..WriteSet::default() };
        store.write(GENERATION, &set).await.expect("write");
        let partition = Some(header(id, 0, None).key.partition);
        let mut scan = Scan { partition, from: None, to: None, after: None, reverse: false, limit: 5_000 };
        let mut read = Vec::new();
        loop {
            let page = store.scan(GENERATION, &ENTITY, &scan).await.expect("scan");
            read.extend(page.rows);
            let Some(next) = page.next else { break };
            scan.after = Some(next);
        }
        assert_eq!(read.len() as i64, rows);
        assert!(read.iter().all(|row| row.columns[0] == Value::Text(body.as_str().into())));
    }
    let other = store.get(Generation(2), &ENTITY, &header(1, 0, None).key).await;
    assert!(matches!(other, Err(StoreError::UnknownTable { .. })));
}
