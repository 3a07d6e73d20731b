//! A part of a backfill mends its runs and no others, however often it is done, and never takes back what a live writer
//! writes meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidewheel_projector::views::{TABLES, run_history, runs, runs_by};
use tidewheel_replay::backfill::Number;
use tidewheel_replay::verify::{Held, Stop};
use tidewheel_replay::{
    Backfill, BackfillError, Done, Part, Report, Runs, Selection, Standing, VerifyOptions, verify,
    verify_with,
};
use tidewheel_schemas::RunId;
use tidewheel_schemas::event::ReplayScope;
use tidewheel_store::{
    Generation, MemoryStore, Page, Row, RowKey, Scan, SharedStore, StateStore, StoreError, TableSchema,
    Value, Write, WriteSet,
};

use crate::world::{GENERATION, History, PARTITIONS, other, rows};

/// A store whose views a live writer writes on, some rows at a time, whenever somebody else reads or writes them.
struct Live {
    store: MemoryStore,
    waiting: Mutex<VecDeque<WriteSet>>,
    at_once: usize,
}

impl Live {
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
impl StateStore for Live {
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
        self.go_on().await;
        let written = self.store.write(generation, writes).await;
        self.go_on().await;
        written
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

fn run_of(table: &'static TableSchema, row: &Row) -> Option<RunId> {
    let value = if table.number == runs_by::WORKFLOW.number {
        row.columns.first()
    } else if [runs::TABLE.number, run_history::TABLE.number].contains(&table.number) {
        row.key.partition.first()
    } else {
        None
    };
    match value {
        Some(Value::Uuid(bytes)) => Some(RunId::from_bytes(*bytes)),
        _ => None,
    }
}

/// A copy of `store` in which every other row of some runs is lost or edited.
async fn damaged(store: &MemoryStore, damage: &BTreeSet<RunId>) -> MemoryStore {
    let copy = MemoryStore::new();
    copy.create_tables(GENERATION, TABLES).await.unwrap();
    for table in TABLES.iter().copied() {
        for (place, mut row) in rows(store, table).await.into_iter().enumerate() {
            let is_damaged = run_of(table, &row).is_some_and(|run_id| damage.contains(&run_id));
            if is_damaged && place % 4 == 0 {
                continue;
            }
            if is_damaged && place % 4 == 2 {
                let is_static = row.key.clustering.is_none();
                let columns = if is_static { table.static_columns } else { table.columns };
                let (value, column) = (row.columns.last_mut().unwrap(), columns.last().unwrap());
                *value = other(value, column.kind);
            }
            let write =
                Write { table, key: row.key, timestamp_us: row.timestamp_us, columns: Some(row.columns) };
            copy.write(GENERATION, &WriteSet { inserts: vec![write], ..WriteSet::default() }).await.unwrap();
        }
    }
    copy
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

/// Views written up to `from`, damaged, and whoever writes the rest.
async fn live(history: &History, from: usize, at_once: usize, damage: &BTreeSet<RunId>) -> Arc<Live> {
    let store = MemoryStore::new();
    store.create_tables(GENERATION, TABLES).await.unwrap();
    let mut sets: VecDeque<_> = history.chunks(2, false).await.into();
    for writes in sets.drain(..from.min(sets.len())) {
        store.write(GENERATION, &writes).await.unwrap();
    }
    let waiting = sets.into_iter().flat_map(stages).collect();
    Arc::new(Live { store: damaged(&store, damage).await, waiting: Mutex::new(waiting), at_once })
}

fn numbered(number: u8) -> Number {
    Arc::new(move || Box::pin(async move { Ok(number) }))
}

/// Does every part of a scope.
async fn backfill(history: &History, store: SharedStore, scope: &ReplayScope, number: &Number) -> Done {
    let views = history.views_in(store);
    let selection = Selection::new(Arc::new(scope.clone()), PARTITIONS).unwrap();
    let held: Held = Arc::new(|_| 0);
    let mut all = Done::default();
    for partition in selection.parts() {
        let backfill = Backfill {
            views: views.clone(),
            selection: selection.clone(),
            held: Some(held.clone()),
            pace: None,
        };
        let place = tidewheel_schemas::TopicPartition::new(views.topic.clone(), partition);
        let end = views.log.bounds(&place).await.unwrap().end;
        let standing = Standing::default();
        let part = Part { backfill, partition, end, stop: Stop::default(), standing: standing.clone() };
        let done = part.carry_out(number).await.unwrap();
        assert_eq!((standing.records(), standing.rows()), (end.unsigned_abs(), done.rows));
        all.rows += done.rows;
        all.left += done.left;
    }
    all
}

async fn history() -> History {
    let mut history = History::new().await;
    for _ in 0..2 {
        history.runs().await;
        history.more().await;
    }
    history
}

fn order(keys: &[u32]) -> BTreeSet<RunId> {
    keys.iter().map(|key| RunId::keyed("default", 0, "order", &key.to_string())).collect()
}

/// The names of the rows that differ.
fn names(report: &Report) -> BTreeSet<(&'static str, String)> {
    report.differences.iter().map(|found| (found.table, found.key.clone())).collect()
}

#[tokio::test]
async fn older_writes_lose_against_a_live_writer_and_runs_outside_of_the_scope_stay_as_they_are() {
    let history = history().await;
    let steps = history.chunks(2, false).await.len();
    let (within, without) = (order(&[0, 1, 2, 5]), order(&[3, 4]));
    let damage: BTreeSet<_> = within.union(&without).copied().collect();
    let scope = ReplayScope { runs: within.iter().copied().collect(), ..ReplayScope::default() };
    let (mut written, mut moved) = (0, 0);
    for from in (steps / 4..=steps).step_by((steps / 9).max(1)) {
        for at_once in [1, 2, 5, 11] {
            let store = live(&history, from, at_once, &damage).await;
            let twin = live(&history, from, at_once, &damage).await;
            let before = store.waiting.lock().len();
            let done = backfill(&history, Arc::clone(&store) as SharedStore, &scope, &numbered(1)).await;
            assert_eq!(done.left, 0, "from {from}, {at_once} at once");
            moved += before - store.waiting.lock().len();
            written += done.rows;
            for store in [&store, &twin] {
                while !store.waiting.lock().is_empty() {
                    store.go_on().await;
                }
            }
            let views = history.views_in(Arc::clone(&store) as SharedStore);
            let selected = Runs::Selected(Arc::new(within.iter().copied().collect()));
            let options = VerifyOptions { runs: selected.clone(), ..VerifyOptions::default() };
            let report = verify_with(&views, &options).await.unwrap();
            assert_eq!(report.differences, [], "from {from}, {at_once} at once");
            // What is left is what the live writer alone leaves of the others.
            let left = names(&verify(&views, 1_000).await.unwrap());
            let twins = history.views_in(Arc::clone(&twin) as SharedStore);
            let of_scope =
                VerifyOptions { differences_max: 1_000, runs: selected, ..VerifyOptions::default() };
            let of_scope = names(&verify_with(&twins, &of_scope).await.unwrap());
            let expected = names(&verify(&twins, 1_000).await.unwrap());
            assert_eq!(
                left,
                expected.difference(&of_scope).cloned().collect(),
                "from {from}, {at_once} at once"
            );
        }
    }
    assert!(written > 50 && moved > 50, "{written} rows were mended, {moved} written meanwhile");
}

#[tokio::test]
async fn a_part_done_again_finds_nothing_to_do_and_takes_no_number() {
    let history = history().await;
    let store = live(&history, usize::MAX, 1, &order(&[0, 1, 2, 3])).await;
    let scope = ReplayScope { event_types: vec!["run-terminated".to_owned()], ..ReplayScope::default() };
    let taken = Arc::new(AtomicU8::new(0));
    let number: Number = {
        let taken = Arc::clone(&taken);
        Arc::new(move || {
            taken.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(1) })
        })
    };
    let shared = || Arc::clone(&store) as SharedStore;
    // Runs 1 and 3 were terminated.
    let done = backfill(&history, shared(), &scope, &number).await;
    let asked = taken.load(Ordering::SeqCst);
    assert!(done.rows > 0 && done.left == 0 && (1..=2).contains(&asked), "{done:?}, {asked} times");
    assert_eq!(backfill(&history, shared(), &scope, &number).await, Done::default());
    assert_eq!(taken.load(Ordering::SeqCst), asked, "where nothing differs no mending is used up");
    let left = verify(&history.views_in(shared()), 1_000).await.unwrap();
    assert!(left.difference_count > 0, "the others are as they were");
    // Everything, with what belongs to no run.
    let done = backfill(&history, shared(), &ReplayScope::default(), &numbered(2)).await;
    assert_eq!((done.rows > 0, done.left), (true, 0));
    assert_eq!(verify(&history.views_in(shared()), 10).await.unwrap().differences, []);
}

#[tokio::test]
async fn a_part_that_is_asked_to_stop_or_gets_no_number_says_so_and_writes_nothing() {
    let history = history().await;
    let store = live(&history, usize::MAX, 1, &order(&[0])).await;
    let views = history.views_in(Arc::clone(&store) as SharedStore);
    let before = verify(&views, 1_000).await.unwrap().differences;
    assert!(!before.is_empty());
    let selection = Selection::new(Arc::default(), PARTITIONS).unwrap();
    let part = |partition: u32, stop: Stop| Part {
        backfill: Backfill { views: views.clone(), selection: selection.clone(), held: None, pace: None },
        partition,
        end: 10,
        stop,
        standing: Standing::default(),
    };
    let stop = Stop::default();
    stop.stop();
    let stopped = part(0, stop).carry_out(&numbered(1)).await.unwrap_err();
    assert!(stopped.is_stop(), "{stopped}");
    let none: Number = Arc::new(|| Box::pin(async { Err("none is left".to_owned()) }));
    let mut refused = Vec::new();
    for partition in 0..PARTITIONS {
        refused.extend(part(partition, Stop::default()).carry_out(&none).await.err());
    }
    assert!(matches!(&refused[..], [BackfillError::Number(why)] if why == "none is left"), "{refused:?}");
    assert_eq!(verify(&views, 1_000).await.unwrap().differences, before);
}
