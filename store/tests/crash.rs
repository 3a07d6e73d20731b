//! What a killed process and a torn or damaged journal leave: the state after some prefix of the write sets.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use tidewheel_store::suite::tables::{ENTITY, INDEX, PLAIN, entry, header, part};
use tidewheel_store::suite::{GENERATION, dump};
use tidewheel_store::{
    EmbeddedOptions, EmbeddedStore, MemoryStore, Row, RowKey, Source, StateStore, StoreError, Value, Write,
    WriteSet,
};

/// Names the folder a re-executed test writes to.
const CHILD_FOLDER: &str = "TIDEWHEEL_STORE_CRASH_FOLDER";
/// The entity whose header counts the write sets.
const CHECKPOINT: i64 = -1;

fn options(directory: &Path) -> EmbeddedOptions {
    // A small buffer, so that rows are written out and compacted all the time; some sets become tables of their own.
    EmbeddedOptions {
        buffer_bytes: 1024 * 1024,
        tables_rows: 20,
        tables_bytes: 10_000,
        ..EmbeddedOptions::new(directory)
    }
}

/// The write set of a number: an entity as a whole, index rows moved, a payload, and the count last.
fn numbered(number: i64) -> WriteSet {
    let timestamp_us = number * 8;
    let id = number % 40;
    let body = number.to_string();
    let payload = Value::Blob(Bytes::from(vec![number as u8; (number as usize * 7_919) % 30_000]));
    let mut entities = vec![header(id, timestamp_us, Some(number))];
    // Every fifth set is large.
    let slots = if number % 5 == 0 { 30 } else { 5 };
    entities.extend(
        (0..slots).map(|slot| part(id, slot, timestamp_us, (slot != number % 5).then_some(body.as_str()))),
    );
    WriteSet {
        // Every seventh set is written as by a writer that names no source.
        source: (number % 7 != 0).then_some(Source(2)),
        is_bulk: number % 3 == 0,
        inserts: vec![
            entry("open", 1, number, "run", timestamp_us, true),
            Write {
                table: &PLAIN,
                key: RowKey { partition: vec![Value::Uuid([id as u8; 16])], clustering: Some(vec![]) },
                timestamp_us,
                columns: Some(vec![Value::Null, Value::Int(number), Value::Null, payload, Value::Null]),
            },
        ],
        entities,
        deletions: vec![entry("open", 1, number - 10, "run", timestamp_us, false)],
        checkpoints: vec![header(CHECKPOINT, timestamp_us, Some(number))],
    }
}

fn counted(store: &dyn StateStore) -> i64 {
    match block_on(store.get(GENERATION, &ENTITY, &header(CHECKPOINT, 0, None).key)) {
        Ok(Some(Row { columns, .. })) => match columns[0] {
            Value::Int(number) => number,
            _ => unreachable!("the count is an integer"),
        },
        Ok(None) | Err(StoreError::UnknownTable { .. }) => 0,
        Err(error) => panic!("the count cannot be read: {error}"),
    }
}

fn rows(store: &dyn StateStore) -> Vec<Row> {
    block_on(store.create_tables(GENERATION, &[&ENTITY, &INDEX, &PLAIN])).expect("create");
    [&ENTITY, &INDEX, &PLAIN].into_iter().flat_map(|table| block_on(dump(store, GENERATION, table))).collect()
}

/// The state a store must be in, moved forward or started over as asked.
struct Model {
    store: MemoryStore,
    number: i64,
}

impl Model {
    fn new() -> Self {
        Self { store: MemoryStore::new(), number: 0 }
    }

    fn rows_after(&mut self, number: i64) -> Vec<Row> {
        if number < self.number {
            *self = Self::new();
        }
        let rows = rows(&self.store);
        while self.number < number {
            self.number += 1;
            block_on(self.store.write(GENERATION, &numbered(self.number))).expect("write");
        }
        if number == 0 { rows } else { self::rows(&self.store) }
    }
}

/// The process that is killed: writes sets for ever and says which were acknowledged.
#[test]
fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let store = EmbeddedStore::open(&options(&PathBuf::from(folder))).expect("the store opens");
    block_on(store.create_tables(GENERATION, &[&ENTITY, &INDEX, &PLAIN])).expect("create");
    let mut number = counted(&store);
    loop {
        number += 1;
        block_on(store.write(GENERATION, &numbered(number))).expect("write");
        println!("acknowledged {number}");
    }
}

/// Runs the child until it has acknowledged something, kills it a little later; the last acknowledged number.
fn killed_after(folder: &Path, sets: i64, pause: Duration) -> i64 {
    let mut child = Command::new(std::env::current_exe().expect("this test's file"))
        .args(["--exact", "child_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut acknowledged = 0;
    let mut seen = 0;
    for line in lines.by_ref() {
        let line = line.expect("a line");
        if let Some(number) = line.split("acknowledged ").nth(1) {
            acknowledged = number.parse().expect("a number");
            seen += 1;
            if seen >= sets {
                break;
            }
        }
    }
    assert!(seen >= sets, "the child ended by itself");
    std::thread::sleep(pause);
    child.kill().expect("the child is killed");
    for line in lines.map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("acknowledged ").and_then(|number| number.parse().ok()) {
            acknowledged = number;
        }
    }
    child.wait().expect("the child is gone");
    acknowledged
}

#[test]
fn a_killed_process_leaves_a_whole_state_with_everything_acknowledged() {
    let root = tempfile::tempdir().expect("a folder");
    let mut model = Model::new();
    for round in 0_u64..22 {
        let acknowledged = killed_after(
            root.path(),
            1 + (round as i64 * 37) % 90,
            Duration::from_micros((round * 1_237) % 9_000),
        );
        let store = EmbeddedStore::open(&options(root.path())).expect("the store opens");
        let number = counted(&store);
        assert!(number >= acknowledged, "round {round}: {acknowledged} was acknowledged, {number} is left");
        assert!(rows(&store) == model.rows_after(number), "round {round}: not the state after {number} sets");
    }
}

fn newest_journal(folder: &Path) -> PathBuf {
    let number = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
    std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .max_by_key(number)
        .expect("a journal")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// Damages copies of a killed store's journal and opens them.
fn damage(rounds: usize, damage: impl Fn(usize, &mut Vec<u8>)) -> (usize, usize) {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("original");
    let acknowledged = killed_after(&folder, 150, Duration::ZERO);
    let mut journal = std::fs::read(newest_journal(&folder)).expect("the journal");
    journal.truncate(journal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    let mut model = Model::new();
    let (mut opened, mut refused) = (0, 0);
    for round in 0..rounds {
        let copied = root.path().join(round.to_string());
        copy(&folder, &copied);
        let mut damaged = journal.clone();
        damage(round, &mut damaged);
        std::fs::write(newest_journal(&copied), damaged).expect("the journal is damaged");
        match EmbeddedStore::open(&options(&copied)) {
            Ok(store) => {
                opened += 1;
                let number = counted(&store);
                // One more than was acknowledged may have been written when the process was killed.
                assert!(number <= acknowledged + 1, "{number} was never written");
                assert!(rows(&store) == model.rows_after(number), "round {round}: a mixture at {number}");
            }
            Err(StoreError::Damaged { .. }) => refused += 1,
            Err(error) => panic!("round {round}: {error}"),
        }
        std::fs::remove_dir_all(copied).expect("the copy is removed");
    }
    (opened, refused)
}

#[test]
fn a_torn_journal_falls_back_to_an_earlier_whole_state() {
    let (opened, refused) = damage(12, |round, journal| {
        let left = journal.len() * round / 12;
        journal.truncate(left);
        // A file that was made longer before it was written reads as zeros there.
        journal.resize(left + 4_096 * (round % 3), 0);
    });
    assert_eq!((opened, refused), (12, 0));
}

#[test]
fn a_damaged_journal_is_refused_or_falls_back_to_an_earlier_whole_state() {
    let (opened, refused) = damage(16, |round, journal| {
        let place = journal.len() * (round + 1) / 18;
        if round % 2 == 0 {
            // A page that never reached the disk between pages that did.
            let page = place / 4_096 * 4_096;
            let end = journal.len().min(page + 4_096);
            journal[page..end].fill(0);
        } else {
            // fjall's checksums cover rows and not the few bytes around each set (its number among them), where a
            // flipped bit may go unnoticed until the views are compared with the log. Payloads repeat one byte.
            let payload = journal[place..].windows(64).position(|run| run.iter().all(|byte| *byte == run[0]));
            if let Some(from) = payload {
                journal[place + from + 32] ^= 0x10;
            }
        }
    });
    assert_eq!(opened + refused, 16);
}
