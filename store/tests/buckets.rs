//! Tables with buckets read as those without do: random sets, replays with other boundaries, reads of every kind.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::executor::block_on;
use proptest::prelude::*;
use tidewheel_store::suite::tables::{INDEX, entry};
use tidewheel_store::{
    Column, ColumnType, EmbeddedOptions, EmbeddedStore, Generation, MemoryStore, RowKey, Rows, Scan, Source,
    StateStore, StoreError, TableSchema, Value, Write, WriteSet,
};

struct Opened {
    store: EmbeddedStore,
    generations: AtomicU32,
    _folder: tempfile::TempDir,
}

/// Of its sets that are newer than all before, those of ten rows and more become tables of their own.
static EMBEDDED: LazyLock<Opened> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let options = EmbeddedOptions { tables_rows: 10, ..EmbeddedOptions::new(folder.path()) };
    let store = EmbeddedStore::open(&options).expect("the store opens");
    Opened { store, generations: AtomicU32::new(0), _folder: folder }
});

fn write() -> impl Strategy<Value = (i64, i64, &'static str, i64, bool)> {
    let day = prop_oneof![-3_i64..6, Just(i64::MIN), Just(i64::MAX)];
    (day, 0_i64..3, prop_oneof![Just(""), Just("a"), Just("a\0b")], 0_i64..40, prop::bool::weighted(0.8))
}

/// Sets of index rows: bucket n by source n, any bucket by those without one. Timestamps of half of the cases rise.
fn sets() -> impl Strategy<Value = Vec<WriteSet>> {
    let set = (prop::option::weighted(0.75, 0_u32..2), prop::collection::vec((0_u32..2, write()), 1..12));
    (any::<bool>(), prop::collection::vec(set, 1..16)).prop_map(|(rising, sets)| {
        let numbered = sets.into_iter().enumerate();
        numbered
            .map(|(number, (source, writes))| {
                let entities = writes.into_iter().map(|(any, (day, offset, name, timestamp_us, present))| {
                    let timestamp_us = timestamp_us + if rising { 40 * number as i64 } else { 0 };
                    let bucket = source.unwrap_or(any).to_string();
                    entry(&bucket, day, offset, name, timestamp_us, present)
                });
                let entities = entities.collect();
                WriteSet { source: source.map(Source), entities, ..WriteSet::default() }
            })
            .collect()
    })
}

fn scans() -> impl Strategy<Value = Vec<Scan>> {
    let bound = || {
        prop::option::of((write(), 0_usize..=3)).prop_map(|bound| {
            bound.map(|((day, offset, name, _, _), length)| {
                let mut key = vec![Value::Int(day), Value::Int(offset), Value::Text(name.into())];
                key.truncate(length);
                key
            })
        })
    };
    let scan = (prop::option::weighted(0.8, 0_u32..3), bound(), bound(), any::<bool>(), 1_usize..6);
    let scan = scan.prop_map(|(bucket, from, to, reverse, limit)| {
        let everything = Scan { partition: None, from: None, to: None, after: None, reverse: false, limit };
        bucket.map_or(everything.clone(), |bucket| Scan {
            partition: Some(vec![Value::Text(bucket.to_string().into())]),
            from,
            to,
            reverse,
            ..everything
        })
    });
    prop::collection::vec(scan, 1..8)
}

fn generation() -> Generation {
    Generation(EMBEDDED.generations.fetch_add(1, Ordering::Relaxed))
}

fn write_all(store: &dyn StateStore, generation: Generation, sets: &[WriteSet]) {
    block_on(store.create_tables(generation, &[&INDEX])).expect("create");
    for set in sets {
        block_on(store.write(generation, set)).expect("write");
    }
}

/// Reads every page of every scan from both, and every row that was ever written on its own.
fn compare(
    memory: &MemoryStore,
    generation: Generation,
    sets: &[WriteSet],
    scans: &[Scan],
) -> Result<(), TestCaseError> {
    let embedded = &EMBEDDED.store;
    for scan in scans {
        let mut scan = scan.clone();
        loop {
            let expected = block_on(memory.scan(Generation(1), &INDEX, &scan)).expect("a page");
            let page = block_on(embedded.scan(generation, &INDEX, &scan)).expect("a page");
            prop_assert_eq!(&page.rows, &expected.rows, "{:?}", &scan);
            prop_assert_eq!(&page.next, &expected.next, "{:?}", &scan);
            match page.next {
                Some(next) => scan.after = Some(next),
                None => break,
            }
        }
    }
    for Write { key, .. } in sets.iter().flat_map(WriteSet::iter) {
        let expected = block_on(memory.get(Generation(1), &INDEX, key)).expect("get");
        prop_assert_eq!(block_on(embedded.get(generation, &INDEX, key)).expect("get"), expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn buckets_read_as_rows_do(sets in sets(), scans in scans()) {
        let (memory, generation) = (MemoryStore::new(), generation());
        write_all(&memory, Generation(1), &sets);
        write_all(&EMBEDDED.store, generation, &sets);
        compare(&memory, generation, &sets, &scans)?;
    }

    #[test]
    fn a_replay_with_other_boundaries_changes_nothing(
        sets in sets(),
        sizes in prop::collection::vec(1_usize..9, 60),
        scans in scans(),
    ) {
        let (memory, generation) = (MemoryStore::new(), generation());
        write_all(&memory, Generation(1), &sets);
        write_all(&EMBEDDED.store, generation, &sets);
        for source in [None, Some(0), Some(1)].map(|source| source.map(Source)) {
            let of = sets.iter().filter(|set| set.source == source).flat_map(WriteSet::iter);
            let writes: Vec<Write> = of.cloned().collect();
            let mut rest = writes.as_slice();
            for size in &sizes {
                let (now, later) = rest.split_at((*size).min(rest.len()));
                rest = later;
                let again = WriteSet { source, entities: now.to_vec(), ..WriteSet::default() };
                block_on(EMBEDDED.store.write(generation, &again)).expect("write");
            }
            block_on(EMBEDDED.store.write(generation, &WriteSet { source, entities: rest.to_vec(), ..WriteSet::default() }))
                .expect("write");
        }
        compare(&memory, generation, &sets, &scans)?;
    }
}

#[test]
fn a_replay_of_packed_rows_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(&EmbeddedOptions::new(folder.path())).expect("the store opens");
    let rows = |range: std::ops::Range<i64>| {
        let inserts = range.map(|day| entry("0", day, 1, &"x".repeat(1_000), 8 * day, true)).collect();
        WriteSet { source: Some(Source(0)), inserts, ..WriteSet::default() }
    };
    write_all(&store, Generation(1), &[rows(1..2_000)]);
    let before = newest_journal(folder.path());
    for day in (1..1_990).step_by(7) {
        block_on(store.write(Generation(1), &rows(day..day + 10))).expect("write");
    }
    assert_eq!(newest_journal(folder.path()), before, "rows that stand as they should are not written again");
}

/// The bytes of the newest journal without the zeros it ends with.
fn newest_journal(folder: &std::path::Path) -> Vec<u8> {
    let journals =
        std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let newest = journals.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")).max();
    let mut journal = std::fs::read(newest.expect("a journal")).expect("the journal");
    journal.truncate(journal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    journal
}

#[test]
fn rows_of_a_bucket_that_are_large_stand_in_packs_of_their_own() {
    static LARGE: TableSchema = TableSchema {
        name: "large",
        number: 9,
        partition_key: &[Column::new("bucket", ColumnType::Text)],
        clustering_key: &[Column::new("number", ColumnType::Int)],
        static_columns: &[],
        columns: &[Column::new("bytes", ColumnType::Blob)],
        bucket_bits: Some(6),
        rows: Rows::Index,
    };
    let folder = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(&EmbeddedOptions::new(folder.path())).expect("the store opens");
    block_on(store.create_tables(Generation(1), &[&LARGE])).expect("create");
    let row = |number: i64| Write {
        table: &LARGE,
        key: RowKey { partition: vec![Value::Text("b".into())], clustering: Some(vec![Value::Int(number)]) },
        timestamp_us: number,
        columns: Some(vec![Value::Blob(vec![number as u8; 20_000].into())]),
    };
    let inserts: Vec<Write> = (0..200).map(row).collect();
    let set = WriteSet { source: Some(Source(0)), inserts: inserts.clone(), ..WriteSet::default() };
    block_on(store.write(Generation(1), &set)).expect("write");
    for write in &inserts {
        let found = block_on(store.get(Generation(1), &LARGE, &write.key)).expect("get").expect("a row");
        assert_eq!(Some(found.columns), write.columns);
    }
}

#[test]
fn a_table_that_cannot_have_buckets_or_changes_them_is_refused() {
    static TEXT: TableSchema = TableSchema {
        name: "text",
        number: 9,
        partition_key: &[Column::new("a", ColumnType::Int)],
        clustering_key: &[Column::new("b", ColumnType::Text)],
        static_columns: &[],
        columns: &[],
        bucket_bits: Some(4),
        rows: Rows::Index,
    };
    const NUMBER: TableSchema = TableSchema {
        name: "number",
        number: 9,
        partition_key: &[Column::new("a", ColumnType::Int)],
        clustering_key: &[Column::new("b", ColumnType::Int)],
        static_columns: &[],
        columns: &[],
        bucket_bits: Some(4),
        rows: Rows::Index,
    };
    static FOUR: TableSchema = NUMBER;
    static FIVE: TableSchema = TableSchema { bucket_bits: Some(5), ..NUMBER };
    static PLAIN: TableSchema = TableSchema { bucket_bits: None, ..NUMBER };
    static WIDE: TableSchema = TableSchema { bucket_bits: Some(63), ..NUMBER };
    let folder = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(&EmbeddedOptions::new(folder.path())).expect("the store opens");
    let create = |store: &EmbeddedStore, table| block_on(store.create_tables(Generation(1), &[table]));
    for unfit in [&TEXT, &WIDE] {
        assert!(matches!(create(&store, unfit), Err(StoreError::Refused { .. })), "{unfit:?}");
    }
    create(&store, &FOUR).expect("create");
    drop(store);
    let store = EmbeddedStore::open(&EmbeddedOptions::new(folder.path())).expect("the store opens");
    for other in [&FIVE, &PLAIN] {
        assert!(matches!(create(&store, other), Err(StoreError::Refused { .. })), "{other:?}");
    }
    create(&store, &FOUR).expect("the same");
}
