//! Any order of any writes, by one process or two at once, leaves the rows that the store in memory has.

use futures::future::try_join;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use tidewheel_cluster::cql::Server;
use tidewheel_store::suite::dump;
use tidewheel_store::suite::tables::{ENTITY, PLAIN, header, part};
use tidewheel_store::{
    CqlStore, Generation, MemoryStore, Row, RowKey, Source, StateStore, Value, Write, WriteSet,
};

const GENERATION: Generation = Generation(1);

/// A write at a time, whose contents follow from the time: one record has one effect.
fn write(id: i64, slot: i64, time: i64, kind: u8) -> Write {
    let timestamp_us = 8 * time;
    match kind {
        0 => part(id, slot, timestamp_us, None),
        1 => header(id, timestamp_us, (time % 5 > 0).then_some(time)),
        2..=4 => {
            // Which columns are null differs from write to write.
            let columns = [0, 1, 2, 3, 4].map(|bit| time >> bit & 1 == 1);
            let values = [
                Value::Bool(time % 2 == 0),
                Value::Int(time),
                Value::Text(time.to_string().into()),
                Value::Blob(vec![time as u8].into()),
                Value::Uuid([time as u8; 16]),
            ];
            let columns = values.into_iter().zip(columns);
            let columns = columns.map(|(value, kept)| if kept { value } else { Value::Null }).collect();
            let key = RowKey { partition: vec![Value::Uuid([slot as u8; 16])], clustering: Some(vec![]) };
            Write { table: &PLAIN, key, timestamp_us, columns: (time % 7 > 0).then_some(columns) }
        }
        _ => part(id, slot, timestamp_us, Some(&time.to_string())),
    }
}

fn sets() -> impl Strategy<Value = Vec<WriteSet>> {
    // A kind follows from the time as well, so that a time is a put or a deletion, never both.
    let write =
        (0_i64..3, 0_i64..4, 0_i64..60).prop_map(|(id, slot, time)| write(id, slot, time, (time % 8) as u8));
    let set = (any::<bool>(), prop::collection::vec(write, 1..8)).prop_map(|(named, entities)| WriteSet {
        source: named.then_some(Source(0)),
        entities,
        ..WriteSet::default()
    });
    prop::collection::vec(set, 20..40)
}

async fn rows(store: &dyn StateStore) -> Vec<Row> {
    let mut rows = dump(store, GENERATION, &ENTITY).await;
    rows.extend(dump(store, GENERATION, &PLAIN).await);
    rows.sort_by(|left, right| left.key.cmp(&right.key));
    rows
}

async fn write_all(store: &CqlStore, sets: &[&WriteSet]) -> Result<(), tidewheel_store::StoreError> {
    for set in sets {
        store.write(GENERATION, set).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_the_same_rows_converge_whatever_their_order() {
    let Some(server) = Server::shared("writers_of_the_same_rows_converge_whatever_their_order").await else {
        return;
    };
    let options = server.fresh_options();
    let left = CqlStore::connect(options.clone()).await.expect("a store");
    let right = CqlStore::connect(options).await.expect("a store");
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..4 {
        let sets = sets().new_tree(&mut runner).expect("sets").current();
        let memory = MemoryStore::new();
        memory.create_tables(GENERATION, &[&ENTITY, &PLAIN]).await.expect("create");
        for set in &sets {
            memory.write(GENERATION, set).await.expect("write");
        }
        let mut shuffled: Vec<&WriteSet> = sets.iter().collect();
        shuffled.extend(sets.iter().step_by(3));
        let shuffled = Just(shuffled).prop_shuffle().new_tree(&mut runner).expect("an order").current();
        let in_order: Vec<&WriteSet> = sets.iter().collect();
        left.create_tables(GENERATION, &[&ENTITY, &PLAIN]).await.expect("create");
        right.create_tables(GENERATION, &[&ENTITY, &PLAIN]).await.expect("create");
        try_join(write_all(&left, &in_order), write_all(&right, &shuffled)).await.expect("writes");
        assert_eq!(rows(&left).await, rows(&memory).await, "{sets:?}");
        left.drop_generation(GENERATION).await.expect("drop");
    }
}
