//! Verification finds every planted difference in every table, and nothing where there is none.

use std::sync::Arc;
use std::time::Duration;

use tidewheel_projector::views::{TABLES, partition_control, run_history};
use tidewheel_replay::{Kind, RebuildOptions, Rebuilding, Turns, VerifyError, rebuild, verify};
use tidewheel_schemas::event::{RunSignaled, RunTerminated};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Payload, RunId};
use tidewheel_store::{MemoryStore, Row, RowKey, SharedStore, StateStore as _, Value, Write, WriteSet};
use tokio::time::Instant;

use crate::world::{GENERATION, History, PARTITIONS, TIME_US, name, other, planted, rows};

#[tokio::test]
async fn views_that_follow_from_the_log_have_no_difference() {
    let mut history = History::new().await;
    history.runs().await;
    let (views, store) = history.views().await;
    let report = verify(&views, 10).await.unwrap();
    assert_eq!(report.differences, []);
    assert_eq!((report.difference_count, report.behind), (0, 0));
    assert_eq!(report.records, u64::from(history.next));
    for table in TABLES {
        let stored = rows(&*store, table).await.len();
        assert_eq!(report.rows_by_table[table.name], u64::try_from(stored).unwrap());
    }
}

#[tokio::test]
async fn every_planted_difference_is_found_in_every_table() {
    let mut history = History::new().await;
    history.runs().await;
    history.more().await;
    let (_, store) = history.views().await;
    let mut tables = Vec::new();
    for table in TABLES.iter().copied() {
        let Some(first) = rows(&*store, table).await.into_iter().next() else { continue };
        tables.push(table.name);
        let columns = if first.key.clustering.is_some() { table.columns } else { table.static_columns };
        let edit = |mut row: Row| {
            let (value, column) = (row.columns.last_mut().unwrap(), columns.last().unwrap());
            *value = other(value, column.kind);
            vec![row]
        };
        let extra = |row: Row| {
            let mut added = row.clone();
            added.key.partition[0] = other(&added.key.partition[0], table.partition_key[0].kind);
            vec![row, added]
        };
        let at = |by: i64| move |row: Row| vec![Row { timestamp_us: row.timestamp_us + by, ..row }];
        for (kind, changed) in [
            (Kind::Missing, planted(&store, table, |_| Vec::new()).await),
            (Kind::Extra, planted(&store, table, extra).await),
            (Kind::Stale, planted(&store, table, at(-8)).await),
            (Kind::Newer, planted(&store, table, at(8)).await),
            (Kind::Edited, planted(&store, table, edit).await),
        ] {
            let report = verify(&history.views_in(changed as SharedStore), 10).await.unwrap();
            let found: Vec<_> = report.differences.iter().map(|found| (found.kind, found.table)).collect();
            assert_eq!(found, [(kind, table.name)], "{:?}", report.differences);
            assert_eq!(report.difference_count, 1);
        }
    }
    for table in ["runs", "run_history", "open_work", "rejections", "outbox", "parked", "partition_control"] {
        assert!(tables.iter().any(|name| name.starts_with(table)), "no row of {table} was tried: {tables:?}");
    }
}

/// The segments of the run that has the most entries in one, each as number, entries and the row.
async fn longest(store: &MemoryStore) -> (u64, Vec<Vec<Value>>, Row) {
    let rows = rows(store, &run_history::TABLE).await.into_iter();
    let segments = rows.map(|row| (run_history::split(row.clone()).unwrap(), row));
    let ((first, entries), row) = segments.max_by_key(|((_, entries), _)| entries.len()).unwrap();
    assert!(entries.len() > 2, "{}", entries.len());
    let entries = entries.iter().map(|entry| run_history::fields(entry).unwrap()).collect();
    (first, entries, row)
}

/// A copy of `store` with one row more, or in another's place.
async fn with(store: &MemoryStore, number: u64, entries: Vec<Vec<Value>>, like: &Row) -> Arc<MemoryStore> {
    let copy = planted(store, &run_history::TABLE, |row| vec![row]).await;
    let offset = match entries.last().and_then(|fields| fields.first()) {
        Some(Value::Int(offset)) => *offset,
        other => panic!("an offset: {other:?}"),
    };
    let write = Write {
        table: &run_history::TABLE,
        key: RowKey { clustering: Some(run_history::clustering_key(number)), ..like.key.clone() },
        timestamp_us: TIME_US + 8 * offset,
        columns: Some(vec![Value::list(entries)]),
    };
    copy.write(GENERATION, &WriteSet { inserts: vec![write], ..WriteSet::default() }).await.unwrap();
    copy
}

#[tokio::test]
async fn overlapping_segments_of_equal_entries_are_no_difference() {
    let mut history = History::new().await;
    history.runs().await;
    let (_, store) = history.views().await;
    let (first, entries, row) = longest(&store).await;
    for from in 1..entries.len() {
        for to in from + 1..=entries.len() {
            let number = first + u64::try_from(from).unwrap();
            let changed = with(&store, number, entries[from..to].to_vec(), &row).await;
            let report = verify(&history.views_in(changed as SharedStore), 10).await.unwrap();
            assert_eq!(report.differences, [], "entries {from} to {to}");
        }
    }
}

#[tokio::test]
async fn a_difference_in_a_history_names_the_entry() {
    let mut history = History::new().await;
    history.runs().await;
    let (_, store) = history.views().await;
    let (first, entries, row) = longest(&store).await;
    let second = first + 1;
    let mut edited = entries[1..2].to_vec();
    edited[0][2] = Value::Int(7);
    let shorter = planted(&store, &run_history::TABLE, |row| vec![row]).await;
    let lost =
        Write { table: &run_history::TABLE, key: row.key.clone(), timestamp_us: i64::MAX, columns: None };
    let set = |write| WriteSet { inserts: vec![write], ..WriteSet::default() };
    shorter.write(GENERATION, &set(lost)).await.unwrap();
    let last = first + u64::try_from(entries.len()).unwrap() - 1;
    for (changed, kind, words) in [
        (with(&store, second, edited, &row).await, Kind::Edited, format!("entry {second}; recorded_at_us: ")),
        (
            with(&store, first + 1_000, entries[..1].to_vec(), &row).await,
            Kind::Extra,
            format!("entry {}", first + 1_000),
        ),
        (shorter, Kind::Missing, format!("entries {first} to {last}")),
    ] {
        let report = verify(&history.views_in(changed as SharedStore), 10).await.unwrap();
        let [found] = &report.differences[..] else { panic!("{:?}", report.differences) };
        assert_eq!((found.table, found.kind), ("run_history", kind));
        assert!(found.what.contains(&words), "{} lacks {words}", found.what);
    }
}

#[tokio::test]
async fn differences_beyond_the_limit_are_counted() {
    let mut history = History::new().await;
    history.runs().await;
    let empty = Arc::new(MemoryStore::new());
    empty.create_tables(GENERATION, TABLES).await.unwrap();
    let report = verify(&history.views_in(empty as SharedStore), 3).await.unwrap();
    assert_eq!(report.differences.len(), 3);
    assert!(report.difference_count > 50, "{}", report.difference_count);
}

#[tokio::test]
async fn records_after_the_checkpoint_are_counted_and_not_compared() {
    let mut history = History::new().await;
    history.runs().await;
    let (views, _) = history.views().await;
    history
        .ingest(RunId::keyed("default", 0, "order", "0"), RunTerminated { reason: "late".to_owned() })
        .await;
    let report = verify(&views, 10).await.unwrap();
    assert_eq!((report.behind, report.difference_count), (1, 0));
}

#[tokio::test]
async fn views_of_a_longer_log_are_refused() {
    let mut history = History::new().await;
    history.runs().await;
    let (_, store) = history.views().await;
    let shorter = History::new().await;
    let refused = verify(&shorter.views_in(store as SharedStore), 10).await;
    assert!(matches!(refused, Err(VerifyError::AheadOfLog { .. })), "{refused:?}");
}

#[tokio::test]
async fn rebuilt_views_are_those_the_log_leads_to_whatever_left_memory_meanwhile() {
    let mut history = History::new().await;
    history.runs().await;
    for (chunk_records, runs_max) in [(1, 0), (1, 1_000), (7, 0), (7, 2), (1_000, 1_000)] {
        // With a turn to spare, rows are written while the next chunk is folded.
        for turns in [1, 2] {
            let views = history.views_in(Arc::new(MemoryStore::new()) as SharedStore);
            let options = RebuildOptions { chunk_records, runs_max, ..RebuildOptions::default() };
            let mut records = 0;
            for partition in 0..PARTITIONS {
                records += rebuild(&views, partition, &options, &Turns::new(turns)).await.unwrap().records;
            }
            let report = verify(&views, 10).await.unwrap();
            assert_eq!((report.difference_count, report.behind), (0, 0), "{:?}", report.differences);
            assert_eq!(report.records, records, "chunks of {chunk_records}, {runs_max} runs, {turns} turns");
        }
    }
}

#[tokio::test]
async fn a_rebuild_goes_on_where_the_views_stand() {
    let mut history = History::new().await;
    history.runs().await;
    for stopped_after in [1, 3, 8] {
        let views = history.views_in(Arc::new(MemoryStore::new()) as SharedStore);
        views.store.create_tables(views.generation, TABLES).await.unwrap();
        let options = RebuildOptions { chunk_records: 1, runs_max: 1, ..RebuildOptions::default() };
        let mut begun = Rebuilding::open(views.clone(), 0, options, true).await.unwrap();
        let end = views.log.bounds(begun.place()).await.unwrap().end;
        for _ in 0..stopped_after.min(end) {
            begun.chunk(end, 1).await.unwrap();
        }
        let mut records = begun.rebuilt().records;
        for partition in 0..PARTITIONS {
            records += rebuild(&views, partition, &options, &Turns::new(1)).await.unwrap().records;
        }
        let report = verify(&views, 10).await.unwrap();
        assert_eq!((report.difference_count, report.behind), (0, 0), "{:?}", report.differences);
        assert_eq!(report.records, records, "nothing is folded twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_given_time_is_folded_over_it_and_written_as_one() {
    let mut history = History::new().await;
    history.runs().await;
    let run_id = RunId::keyed("default", 0, "order", "2");
    let partition = partition_for(run_id.to_string().as_bytes(), PARTITIONS);
    for _ in 0..600 {
        history.ingest(run_id, RunSignaled { name: name("other"), payload: Payload::null() }).await;
    }
    let views = history.views_in(Arc::new(MemoryStore::new()) as SharedStore);
    views.store.create_tables(views.generation, TABLES).await.unwrap();
    let mut rebuilding =
        Rebuilding::open(views.clone(), partition, RebuildOptions::default(), true).await.unwrap();
    let end = views.log.bounds(rebuilding.place()).await.unwrap().end;
    let began = Instant::now();
    {
        let time = Duration::from_secs(1);
        let mut chunk = std::pin::pin!(rebuilding.chunk_over(end, usize::try_from(end).unwrap(), time));
        let early = tokio::time::timeout(Duration::from_millis(700), &mut chunk).await;
        assert!(early.is_err(), "its time is not over");
        assert_eq!(rows(&*views.store, &partition_control::TABLE).await, []);
        chunk.await.unwrap();
    }
    assert!((Duration::from_millis(700)..=Duration::from_secs(1)).contains(&began.elapsed()));
    assert_eq!(rebuilding.next_offset(), end);
    for other in (0..PARTITIONS).filter(|other| *other != partition) {
        rebuild(&views, other, &RebuildOptions::default(), &Turns::new(1)).await.unwrap();
    }
    let report = verify(&views, 10).await.unwrap();
    assert_eq!((report.difference_count, report.behind), (0, 0), "{:?}", report.differences);
}
