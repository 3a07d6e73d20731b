//! The first record after which a stored row is not what the log says is named.

use tidewheel_projector::views::{run_history, runs, runs_by};
use tidewheel_replay::{Kind, verify};
use tidewheel_store::{MemoryStore, Row, SharedStore, StateStore, Write, WriteSet};

use crate::world::{GENERATION, History, planted, rows};

async fn history() -> History {
    let mut history = History::new().await;
    history.runs().await;
    history.more().await;
    history
}

async fn first_of(store: &dyn StateStore, table: &'static tidewheel_store::TableSchema) -> Row {
    rows(store, table).await.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_missing_row_names_the_record_that_put_it() {
    let history = history().await;
    let (_, right) = history.views().await;
    for (table, expected) in [
        (&runs::TABLE, "run-started"),
        (&run_history::TABLE, "run-started"),
        (&runs_by::NAMESPACE, "run-started"),
        (&runs_by::TAG, "run-started"),
    ] {
        let changed = planted(&right, table, |_| Vec::new()).await;
        let report = verify(&history.views_in(changed as SharedStore), 10).await.unwrap();
        let [found] = &report.differences[..] else { panic!("{report:?}") };
        let first = found.first_divergent.as_ref().unwrap();
        assert_eq!((found.kind, first.event_type), (Kind::Missing, Some(expected)), "{}", table.name);
    }
}

#[tokio::test]
async fn a_stale_row_names_the_record_after_the_one_that_wrote_it() {
    let history = history().await;
    // A header as each record of its run left it.
    let one_by_one = history.chunks(1, true).await;
    let (_, right) = history.views().await;
    let header = first_of(&*right, &runs::TABLE).await;
    let versions: Vec<Write> = one_by_one
        .iter()
        .flat_map(|writes| writes.entities.clone())
        .filter(|write| write.key == header.key)
        .collect();
    assert!(versions.len() > 4, "{}", versions.len());
    for (version, next) in versions.iter().zip(&versions[1..]) {
        let stale = Row {
            key: version.key.clone(),
            columns: version.columns.clone().unwrap(),
            timestamp_us: version.timestamp_us,
        };
        let changed = planted(&right, &runs::TABLE, |_| vec![stale.clone()]).await;
        let report = verify(&history.views_in(changed as SharedStore), 10).await.unwrap();
        let [found] = &report.differences[..] else { panic!("{report:?}") };
        let first = found.first_divergent.as_ref().unwrap();
        assert_eq!(found.kind, Kind::Stale);
        assert_eq!(crate::world::TIME_US + 8 * first.offset, next.timestamp_us);
        assert!(first.event_id.is_some());
    }
}

#[tokio::test]
async fn a_row_that_ought_to_be_gone_names_the_record_that_deleted_it() {
    let history = history().await;
    let (_, right) = history.views().await;
    let running = history
        .chunks(1, true)
        .await
        .into_iter()
        .flat_map(|writes| writes.inserts)
        .filter(|write| write.table.number == runs_by::STATUS.number);
    let present: Vec<_> = rows(&*right, &runs_by::STATUS).await.into_iter().map(|row| row.key).collect();
    let gone: Vec<Write> = running.filter(|write| !present.contains(&write.key)).collect();
    assert!(!gone.is_empty());
    for write in gone {
        let changed = MemoryStore::new();
        crate::world::plant(&changed, &*right, &runs_by::STATUS, |row| vec![row]).await;
        changed.write(GENERATION, &WriteSet { inserts: vec![write], ..WriteSet::default() }).await.unwrap();
        let report = verify(&history.views_in(std::sync::Arc::new(changed)), 10).await.unwrap();
        let [found] = &report.differences[..] else { panic!("{report:?}") };
        let first = found.first_divergent.as_ref().unwrap();
        assert_eq!(found.kind, Kind::Extra);
        assert!(["run-terminated", "run-completed"].contains(&first.event_type.unwrap()), "{first:?}");
    }
}
