//! Verification while the views are written: whatever moves between two pages is no difference, and what is one is found.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidewheel_projector::views::{TABLES, partition_control, run_history};
use tidewheel_replay::verify::Held;
use tidewheel_replay::{Kind, VerifyOptions, verify, verify_with};
use tidewheel_store::{
    Generation, MemoryStore, Page, Row, RowKey, Scan, SharedStore, StateStore, StoreError, TableSchema,
    Write, WriteSet,
};

use crate::world::{GENERATION, History, rows};

/// A store whose views are written on, some rows at a time, whenever somebody reads them.
struct Moving {
    store: MemoryStore,
    waiting: Mutex<VecDeque<WriteSet>>,
    at_once: usize,
}

impl Moving {
    async fn go_on(&self) {
        for _ in 0..self.at_once {
            let next = self.waiting.lock().pop_front();
            if let Some(writes) = next {
                self.store.write(GENERATION, &writes).await.unwrap();
            }
        }
    }
}

#[async_trait]
impl StateStore for Moving {
    async fn create_tables(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<(), StoreError> {
        self.store.create_tables(generation, tables).await
    }

    async fn drop_generation(&self, generation: Generation) -> Result<(), StoreError> {
        self.store.drop_generation(generation).await
    }

    async fn write(&self, generation: Generation, writes: &WriteSet) -> Result<(), StoreError> {
        self.store.write(generation, writes).await
    }

    async fn get(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        key: &RowKey,
    ) -> Result<Option<Row>, StoreError> {
        let row = self.store.get(generation, table, key).await;
        self.go_on().await;
        row
    }

    async fn scan(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        scan: &Scan,
    ) -> Result<Page, StoreError> {
        let page = self.store.scan(generation, table, scan).await;
        self.go_on().await;
        page
    }
}

/// The stages of a write set, each as a set of its own.
fn stages(writes: WriteSet) -> impl Iterator<Item = WriteSet> {
    let WriteSet { inserts, entities, deletions, checkpoints, .. } = writes;
    let none = WriteSet::default;
    [
        WriteSet { inserts, ..none() },
        WriteSet { entities, ..none() },
        WriteSet { deletions, ..none() },
        WriteSet { checkpoints, ..none() },
    ]
    .into_iter()
}

async fn moving(history: &History, chunk_records: usize, atomic: bool, at_once: usize) -> Arc<Moving> {
    let store = MemoryStore::new();
    store.create_tables(GENERATION, TABLES).await.unwrap();
    let sets = history.chunks(chunk_records, atomic).await.into_iter();
    let waiting: VecDeque<_> = if atomic { sets.collect() } else { sets.flat_map(stages).collect() };
    Arc::new(Moving { store, waiting: Mutex::new(waiting), at_once })
}

async fn history() -> History {
    let mut history = History::new().await;
    for _ in 0..2 {
        history.runs().await;
        history.more().await;
    }
    history
}

#[tokio::test]
async fn rows_that_move_on_meanwhile_are_no_difference() {
    let history = history().await;
    for (chunk_records, atomic) in [(1, true), (1, false), (3, false), (7, true), (7, false)] {
        for at_once in [1, 2, 5] {
            let store = moving(&history, chunk_records, atomic, at_once).await;
            let views = history.views_in(Arc::clone(&store) as SharedStore);
            // A partition that has no checkpoint yet holds nothing for sure.
            let held: Held = Arc::new(|_| 0);
            let options = VerifyOptions { held: Some(held), ..VerifyOptions::default() };
            let (mut times, mut moved) = (0, 0);
            loop {
                let left = store.waiting.lock().len();
                let records_at_once = [1, 7][times % 2];
                let options = VerifyOptions { records_at_once, ..options.clone() };
                let report = verify_with(&views, &options).await.unwrap();
                assert_eq!(report.differences, [], "chunks of {chunk_records}, {at_once} at once");
                assert_eq!((report.difference_count, report.not_compared), (0, 0));
                moved += usize::from(store.waiting.lock().len() < left);
                times += 1;
                if store.waiting.lock().is_empty() && left == 0 {
                    break;
                }
            }
            assert!(moved > 0 && times > 1, "nothing moved");
        }
    }
}

#[tokio::test]
async fn a_row_that_no_record_gives_is_found_while_others_move() {
    let history = history().await;
    let (_, right) = history.views().await;
    for table in TABLES.iter().copied() {
        // Whoever writes a checkpoint says that everything before it is there.
        if table.number == partition_control::TABLE.number {
            continue;
        }
        let Some(row) = rows(&*right, table).await.into_iter().next() else { continue };
        let store = moving(&history, 1, false, 1).await;
        for writes in history.chunks(1, false).await.into_iter().take(20) {
            store.store.write(GENERATION, &writes).await.unwrap();
        }
        let newer = Write {
            table,
            key: row.key.clone(),
            timestamp_us: row.timestamp_us + (1 << 40),
            columns: Some(row.columns.clone()),
        };
        let newer = WriteSet { inserts: vec![newer], ..WriteSet::default() };
        store.store.write(GENERATION, &newer).await.unwrap();
        let views = history.views_in(Arc::clone(&store) as SharedStore);
        let report = verify(&views, 10).await.unwrap();
        let kinds: Vec<_> = report.differences.iter().map(|found| (found.table, found.kind)).collect();
        let is_history = table.name == run_history::TABLE.name;
        let found = |kind| kinds == [(table.name, kind)];
        assert!(
            found(Kind::Newer) || found(Kind::Extra) || is_history && !kinds.is_empty(),
            "{}: {kinds:?}",
            table.name
        );
    }
}
