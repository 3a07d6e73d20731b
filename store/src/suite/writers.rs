//! Promises about writers on several threads.

use std::thread;

use futures::executor::block_on;

use super::tables::{ENTITY, header, part};
use super::{GENERATION, Numbers, dump, set};
use crate::{Scan, SharedStore, Source, Value, Write, WriteSet};

/// Rows of the entity that is written as a whole.
const PARTS: i64 = 8;

/// Threads that write the same rows in different orders leave the newest, and no reader sees half of a set.
pub async fn concurrent_writers_leave_the_newest_rows(store: SharedStore) {
    store.create_tables(GENERATION, &[&ENTITY]).await.expect("create");
    let writes: Vec<Write> = (0..400)
        .map(|number: i64| {
            let body = number.to_string();
            part(1, number % 20, number, (number % 7 != 0).then_some(body.as_str()))
        })
        .collect();
    let writers = (0..4).map(|seed| {
        let (store, mut order) = (store.clone(), writes.clone());
        thread::spawn(move || {
            let mut numbers = Numbers(seed);
            numbers.shuffle(&mut order);
            for chunk in order.chunks(13) {
                let source = (numbers.below(2) == 0).then_some(Source(0));
                let writes = WriteSet { source, ..set(chunk.to_vec()) };
                block_on(store.write(GENERATION, &writes)).expect("write");
            }
        })
    });
    // One writer replaces a whole entity again and again; what is read of it always is of one version.
    let whole = {
        let store = store.clone();
        thread::spawn(move || {
            for version in 1..200 {
                let body = version.to_string();
                let mut entities = vec![header(2, version * 8, Some(version))];
                entities.extend((0..PARTS).map(|slot| part(2, slot, version * 8, Some(&body))));
                let writes = WriteSet { source: Some(Source(1)), ..set(entities) };
                block_on(store.write(GENERATION, &writes)).expect("write");
            }
        })
    };
    let mut threads: Vec<_> = writers.collect();
    threads.push(whole);
    while threads.iter().any(|thread| !thread.is_finished()) {
        let scan = Scan {
            partition: Some(header(2, 0, None).key.partition),
            from: None,
            to: None,
            after: None,
            reverse: false,
            limit: 100,
        };
        let rows = store.scan(GENERATION, &ENTITY, &scan).await.expect("scan").rows;
        assert!(rows.is_empty() || rows.len() == PARTS as usize);
        assert!(rows.iter().all(|row| row.timestamp_us == rows[0].timestamp_us), "half of a set: {rows:?}");
    }
    for thread in threads {
        thread.join().expect("a writer");
    }
    let rows = dump(&*store, GENERATION, &ENTITY).await;
    let read: Vec<_> = rows
        .iter()
        .filter(|row| row.key.partition[1] == Value::Int(1))
        .map(|row| (row.timestamp_us, row.columns[0].clone()))
        .collect();
    let newest = (380..400_i64).filter(|number| number % 7 != 0);
    let expected: Vec<_> = newest.map(|number| (number, super::text(&number.to_string()))).collect();
    assert_eq!(read, expected);
}
