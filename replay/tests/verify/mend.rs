//! What is found is mended in place, on every store, and stays right whoever writes afterwards.

use std::sync::Arc;

use tidewheel_projector::views::{TABLES, run_history, runs};
use tidewheel_replay::{Kind, Remedy, VerifyError, VerifyOptions, verify, verify_with};
use tidewheel_schemas::RunId;
use tidewheel_schemas::event::RunTerminated;
use tidewheel_store::{
    EmbeddedOptions, EmbeddedStore, MemoryStore, Row, SharedStore, StateStore, Write, WriteSet,
};

use crate::world::{GENERATION, History, everything, other, plant, rows};

fn mending(number: u8) -> VerifyOptions {
    VerifyOptions { mend: Some(number), ..VerifyOptions::default() }
}

async fn history() -> History {
    let mut history = History::new().await;
    history.runs().await;
    history.more().await;
    history
}

/// Plants each kind of difference in the first row of each table, one after the other, and mends it.
async fn everything_is_mended(store: impl AsyncFn() -> SharedStore) {
    let history = history().await;
    let (_, right) = history.views().await;
    let expected = everything(&*right).await;
    let mut tried = Vec::new();
    for table in TABLES.iter().copied() {
        let Some(first) = rows(&*right, table).await.into_iter().next() else { continue };
        tried.push(table.name);
        let columns = if first.key.clustering.is_some() { table.columns } else { table.static_columns };
        let edit = |mut row: Row| {
            let (value, column) = (row.columns.last_mut().unwrap(), columns.last().unwrap());
            *value = other(value, column.kind);
            row
        };
        for kind in [Kind::Missing, Kind::Extra, Kind::Stale, Kind::Edited, Kind::Newer] {
            let store = store().await;
            plant(&*store, &*right, table, |row| match kind {
                Kind::Missing => Vec::new(),
                Kind::Extra => {
                    let mut added = row.clone();
                    added.key.partition[0] = other(&added.key.partition[0], table.partition_key[0].kind);
                    vec![row, added]
                }
                Kind::Stale => vec![Row { timestamp_us: row.timestamp_us - 8, ..row }],
                Kind::Edited => vec![edit(row)],
                Kind::Newer => vec![Row { timestamp_us: row.timestamp_us + (1 << 40), ..row }],
            })
            .await;
            let views = history.views_in(Arc::clone(&store));
            let report = verify_with(&views, &mending(1)).await.unwrap();
            let [found] = &report.differences[..] else { panic!("{} {kind:?}: {report:?}", table.name) };
            assert_eq!((found.table, found.kind), (table.name, kind));
            // A row that names a partition which is not there is no partition's to mend.
            let is_stray = found.what.contains("names no partition");
            if kind == Kind::Newer || is_stray {
                assert!(!report.is_clean() && !found.is_mended, "{report:?}");
                assert_eq!(found.remedy, Remedy::Rebuild);
                continue;
            }
            assert!(report.is_clean() && found.is_mended, "{} {kind:?}: {report:?}", table.name);
            assert_eq!(verify(&views, 10).await.unwrap().differences, [], "{} {kind:?}", table.name);
            assert_eq!(everything(&*store).await, expected, "{} {kind:?}", table.name);
        }
    }
    assert!(tried.len() >= 13, "{tried:?}");
}

#[tokio::test]
async fn every_difference_in_every_table_is_mended_in_memory() {
    everything_is_mended(async || Arc::new(MemoryStore::new()) as SharedStore).await;
}

#[tokio::test]
async fn every_difference_in_every_table_is_mended_on_the_embedded_store() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    everything_is_mended(async || {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let options = EmbeddedOptions::new(folder.path().join(number.to_string()));
        Arc::new(EmbeddedStore::open(&options).unwrap()) as SharedStore
    })
    .await;
}

#[tokio::test]
async fn views_of_which_nothing_is_left_are_mended_as_a_whole() {
    let history = history().await;
    let (_, right) = history.views().await;
    let empty = Arc::new(MemoryStore::new());
    empty.create_tables(GENERATION, TABLES).await.unwrap();
    let views = history.views_in(Arc::clone(&empty) as SharedStore);
    let report = verify_with(&views, &mending(1)).await.unwrap();
    assert!(report.is_clean() && report.difference_count > 50, "{report:?}");
    assert_eq!(verify(&views, 10).await.unwrap().differences, []);
    // Where segments end is not what the log says.
    let but_history = |rows: Vec<(&'static str, Row)>| {
        rows.into_iter().filter(|(table, _)| *table != run_history::TABLE.name).collect::<Vec<_>>()
    };
    assert_eq!(but_history(everything(&*empty).await), but_history(everything(&*right).await));
}

/// A row deleted by somebody at its own timestamp, at which a deletion wins over every write of the same record.
#[tokio::test]
async fn a_row_that_was_deleted_at_its_own_timestamp_comes_back() {
    let history = history().await;
    for table in TABLES.iter().copied() {
        let (views, store) = history.views().await;
        let Some(row) = rows(&*store, table).await.into_iter().next() else { continue };
        let lost = Write { table, key: row.key, timestamp_us: row.timestamp_us, columns: None };
        let lost = WriteSet { deletions: vec![lost], ..WriteSet::default() };
        store.write(GENERATION, &lost).await.unwrap();
        let report = verify_with(&views, &mending(1)).await.unwrap();
        assert_eq!(report.difference_count, 1, "{}: {report:?}", table.name);
        assert!(report.is_clean(), "{}: {report:?}", table.name);
        assert_eq!(verify(&views, 10).await.unwrap().differences, [], "{}", table.name);
    }
}

#[tokio::test]
async fn a_mend_is_not_undone_by_earlier_writes_and_gives_way_to_later_ones() {
    let mut history = history().await;
    let (views, store) = history.views().await;
    let before = history.chunks(7, false).await;
    let header = rows(&*store, &runs::TABLE).await.into_iter().find(|row| row.key.clustering.is_none());
    let header = header.unwrap();
    let mut edited = header.columns.clone();
    edited[4] = tidewheel_store::Value::Text("another key".into());
    let edit = |timestamp_us, columns| {
        let write =
            Write { table: &runs::TABLE, key: header.key.clone(), timestamp_us, columns: Some(columns) };
        WriteSet { entities: vec![write], ..WriteSet::default() }
    };
    // Greater columns win at one timestamp; whoever edits must be later.
    store.write(GENERATION, &edit(header.timestamp_us + 1, edited.clone())).await.unwrap();
    let first = verify_with(&views, &mending(1)).await.unwrap();
    let [found] = &first.differences[..] else { panic!("{first:?}") };
    assert_eq!(found.kind, Kind::Edited);
    let second = verify_with(&views, &mending(2)).await.unwrap();
    assert!(second.is_clean(), "{second:?}");
    for writes in &before {
        store.write(GENERATION, writes).await.unwrap();
    }
    assert_eq!(verify(&views, 10).await.unwrap().differences, []);
    let again = verify_with(&views, &mending(3)).await.unwrap();
    assert_eq!(again.mended.as_ref().map(|mended| mended.rows), Some(0));
    for key in ["0", "2", "4", "6"] {
        let run_id = RunId::keyed("default", 0, "order", key);
        history.ingest(run_id, RunTerminated { reason: "late".to_owned() }).await;
    }
    for writes in history.chunks(7, false).await {
        store.write(GENERATION, &writes).await.unwrap();
    }
    let report = verify(&views, 10).await.unwrap();
    assert_eq!((report.difference_count, report.behind), (0, 0), "{:?}", report.differences);
}

#[tokio::test]
async fn a_number_that_no_mend_has_is_refused() {
    let (views, _) = History::new().await.views().await;
    for number in [0, 8] {
        let refused = verify_with(&views, &mending(number)).await;
        assert!(matches!(refused, Err(VerifyError::MendNumber { .. })), "{refused:?}");
    }
}
