//! What may be held, how many threads there are and how many buckets: none of it changes what is found.

use std::sync::Arc;

use tidewheel_projector::views::{TABLES, runs};
use tidewheel_replay::verify::Stop;
use tidewheel_replay::{Report, Runs, VerifyError, VerifyOptions, verify, verify_with};
use tidewheel_schemas::RunId;
use tidewheel_store::{MemoryStore, Row, SharedStore, StateStore as _};

use crate::world::{GENERATION, History, PARTITIONS, other, planted, rows};

/// What a report says of the views.
fn said(report: Report) -> Report {
    Report { passes: 0, elapsed_ms: 0, ..report }
}

async fn history() -> History {
    let mut history = History::new().await;
    history.runs().await;
    history.more().await;
    history
}

#[tokio::test]
async fn little_memory_and_many_threads_find_what_much_memory_and_one_thread_find() {
    let history = history().await;
    let (_, right) = history.views().await;
    let empty = Arc::new(MemoryStore::new());
    empty.create_tables(GENERATION, TABLES).await.unwrap();
    let mut stores = vec![Arc::clone(&right), empty];
    for table in TABLES {
        let edit = |mut row: Row| {
            let is_static = row.key.clustering.is_none();
            let columns = if is_static { table.static_columns } else { table.columns };
            let value = row.columns.last_mut().unwrap();
            *value = other(value, columns.last().unwrap().kind);
            vec![row]
        };
        stores.push(planted(&right, table, edit).await);
    }
    let mut passes = 0;
    for store in stores {
        let views = history.views_in(store as SharedStore);
        let differences_max = 1_000;
        let expected = said(verify(&views, differences_max).await.unwrap());
        for (held_bytes_max, threads, records_at_once) in [
            (0, 1, 1),
            (8_000, 1, 1),
            (0, 3, 5),
            (8_000, 1, 1_000),
            (1 << 30, 3, 1),
            (1 << 30, 1, 3),
            (1 << 30, 1, 1_000),
        ] {
            let options = VerifyOptions {
                differences_max,
                held_bytes_max,
                threads,
                records_at_once,
                ..VerifyOptions::default()
            };
            let report = verify_with(&views, &options).await.unwrap();
            passes = passes.max(report.passes);
            let not_compared = report.not_compared;
            // With nothing that may be held every bucket is a round of its own, and rounds are limited.
            if not_compared == 0 {
                assert_eq!(
                    said(report),
                    expected,
                    "{held_bytes_max} bytes, {threads} threads, {records_at_once} records at once"
                );
            }
        }
    }
    assert!(passes > 2, "the log was read {passes} times");
}

#[tokio::test]
async fn samples_together_are_everything() {
    let history = history().await;
    let (_, right) = history.views().await;
    let lost = planted(&right, &runs::TABLE, |_| Vec::new()).await;
    let views = history.views_in(lost as SharedStore);
    let sample = |of| VerifyOptions { runs: Runs::Sample(of), ..VerifyOptions::default() };
    let all = verify_with(&views, &sample(1)).await.unwrap();
    assert_eq!(all.difference_count, 1);
    let few = verify_with(&views, &sample(1_000_000_007)).await.unwrap();
    assert_eq!((few.difference_count, few.rows_by_table[runs::TABLE.name]), (0, 0));
}

#[tokio::test]
async fn one_run_and_one_partition_are_looked_at_alone() {
    let history = history().await;
    let (_, right) = history.views().await;
    let lost = planted(&right, &runs::TABLE, |_| Vec::new()).await;
    let views = history.views_in(Arc::clone(&lost) as SharedStore);
    let run = |run_id| VerifyOptions { runs: Runs::One(run_id), ..VerifyOptions::default() };
    let mut found = 0;
    for number in 0..8 {
        let run_id = RunId::keyed("default", 0, "order", &number.to_string());
        let report = verify_with(&views, &run(run_id)).await.unwrap();
        let expected = rows(&*lost, &runs::TABLE).await;
        let is_its = |row: &&Row| row.key.partition == runs::partition_key(run_id);
        assert_eq!(report.rows_by_table[runs::TABLE.name], expected.iter().filter(is_its).count() as u64);
        found += report.difference_count;
    }
    assert_eq!(found, 1);
    let mut by_partition = 0;
    for partition in 0..PARTITIONS {
        let options = VerifyOptions { partitions: Some(vec![partition]), ..VerifyOptions::default() };
        by_partition += verify_with(&views, &options).await.unwrap().difference_count;
    }
    assert_eq!(by_partition, 1);
    let options = VerifyOptions { partitions: Some(vec![PARTITIONS]), ..VerifyOptions::default() };
    let refused = verify_with(&views, &options).await;
    assert!(
        matches!(refused, Err(VerifyError::UnknownPartition { partition: PARTITIONS, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_verification_that_is_asked_to_stop_stops() {
    let (views, _) = history().await.views().await;
    let stop = Stop::default();
    stop.stop();
    let stopped = verify_with(&views, &VerifyOptions { stop, ..VerifyOptions::default() }).await;
    assert!(matches!(stopped, Err(VerifyError::Stopped)), "{stopped:?}");
}
