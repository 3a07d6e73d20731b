//! Measures the embedded store: rows written per second in batches, the longest batch, and point reads.
//!
//! `cargo run --release -p tidewheel-store --example write_speed -- [rows] [rows per batch] [source|none] [buffer MiB] [threads]`

use std::time::{Duration, Instant};

use tidewheel_store::{
    Column, ColumnType, EmbeddedOptions, EmbeddedStore, Generation, RowKey, Rows, Source, StateStore,
    TableSchema, Value, Write, WriteSet,
};

const RUNS: TableSchema = TableSchema {
    name: "runs",
    number: 1,
    partition_key: &[Column::new("run_id", ColumnType::Uuid)],
    clustering_key: &[],
    static_columns: &[],
    columns: &[
        Column::new("workflow", ColumnType::Text),
        Column::new("status", ColumnType::Text),
        Column::new("applied_offset", ColumnType::Int),
    ],
    bucket_bits: None,
    rows: Rows::Current,
};

const HISTORY: TableSchema = TableSchema {
    name: "history",
    number: 2,
    partition_key: &[Column::new("run_id", ColumnType::Uuid)],
    clustering_key: &[Column::new("sequence", ColumnType::Int)],
    static_columns: &[],
    columns: &[Column::new("event", ColumnType::Blob)],
    bucket_bits: None,
    rows: Rows::Final,
};

const OPEN: TableSchema = TableSchema {
    name: "open_work",
    number: 3,
    partition_key: &[Column::new("partition", ColumnType::Int)],
    clustering_key: &[Column::new("offset", ColumnType::Int)],
    static_columns: &[],
    columns: &[Column::new("run_id", ColumnType::Uuid)],
    bucket_bits: None,
    rows: Rows::Index,
};

/// Row keys each record touches: a run, two events of its history, an index row put and the one before deleted.
const ROWS_PER_RECORD: u64 = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u64| -> Result<u64, std::num::ParseIntError> {
        arguments.get(place).map_or(Ok(default), |argument| argument.parse())
    };
    let (rows, batch_rows) = (number(0, 3_000_000)?, number(1, 5_000)?.max(ROWS_PER_RECORD));
    let source = (arguments.get(2).map(String::as_str) != Some("none")).then_some(Source(0));
    let directory = tempfile::tempdir()?;
    let defaults = EmbeddedOptions::new(directory.path());
    let options = EmbeddedOptions {
        buffer_bytes: number(3, defaults.buffer_bytes >> 20)? << 20,
        worker_threads: number(4, defaults.worker_threads as u64)? as usize,
        ..defaults
    };
    let store = EmbeddedStore::open(&options)?;
    store.create_tables(Generation(1), &[&RUNS, &HISTORY, &OPEN]).await?;
    println!("idle: {} MiB resident", resident_mib());

    let records = rows / ROWS_PER_RECORD;
    let (mut times, mut blocked) = (Vec::new(), Vec::new());
    let started = Instant::now();
    let mut next = 0;
    let mut preparing = Duration::ZERO;
    let mut busy = Duration::ZERO;
    while next < records {
        let prepared = Instant::now();
        let last = records.min(next + batch_rows / ROWS_PER_RECORD);
        let mut writes = WriteSet { source, ..WriteSet::default() };
        for record in next..last {
            touch(&mut writes, record);
        }
        next = last;
        let begun = Instant::now();
        preparing += begun - prepared;
        let before = thread_times();
        store.write(Generation(1), &writes).await?;
        let elapsed = begun.elapsed();
        let after = thread_times();
        busy += after.0 - before.0;
        times.push(elapsed);
        // Waiting for a processor is the machine's doing, not the store's.
        blocked.push((elapsed + before.0 + before.1).saturating_sub(after.0 + after.1));
    }
    let writing = started.elapsed() - preparing;
    times.sort_unstable();
    blocked.sort_unstable();
    println!(
        "{} rows in {:.2} s: {:.0} rows/s; batch of {batch_rows}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        records * ROWS_PER_RECORD,
        writing.as_secs_f64(),
        (records * ROWS_PER_RECORD) as f64 / writing.as_secs_f64(),
        milliseconds(times[times.len() / 2]),
        milliseconds(times[times.len() * 99 / 100]),
        milliseconds(times[times.len() - 1]),
    );
    println!(
        "blocked in a batch: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; {} of {} batches for over 50 ms",
        milliseconds(blocked[blocked.len() / 2]),
        milliseconds(blocked[blocked.len() * 99 / 100]),
        milliseconds(blocked[blocked.len() - 1]),
        blocked.iter().filter(|blocked| **blocked > Duration::from_millis(50)).count(),
        blocked.len(),
    );
    println!(
        "the writing thread was on a processor for {:.2} s: {:.0} rows per busy second",
        busy.as_secs_f64(),
        (records * ROWS_PER_RECORD) as f64 / busy.as_secs_f64().max(1e-9),
    );
    println!("{} MiB resident, {} MiB on disk", resident_mib(), store.disk_bytes()? >> 20);
    let present = reads(&store, |at| run_of(scatter(at) % records)).await?;
    println!("get of a present row: {present:.0} ns busy");
    let recent = reads(&store, |at| run_of(records - 1 - scatter(at) % (records / 50).max(1))).await?;
    println!("get of a recent row: {recent:.0} ns busy");
    let absent = reads(&store, |at| run_of(records + scatter(at) % records)).await?;
    println!("get of an absent row: {absent:.0} ns busy; {} MiB resident", resident_mib());
    Ok(())
}

fn touch(writes: &mut WriteSet, record: u64) {
    let timestamp_us = 8 * (record as i64 + 1);
    let write = |table, partition, clustering, columns| Write {
        table,
        key: RowKey { partition: vec![partition], clustering: Some(clustering) },
        timestamp_us,
        columns,
    };
    let run = run_of(record);
    for event in 0..2 {
        let body = Value::Blob(vec![record as u8; 80].into());
        writes.inserts.push(write(&HISTORY, run.clone(), vec![Value::Int(event)], Some(vec![body])));
    }
    let index = |offset: u64| vec![Value::Int(offset as i64)];
    writes.inserts.push(write(&OPEN, Value::Int(0), index(record), Some(vec![run.clone()])));
    let columns = vec![Value::Text("order".into()), Value::Text("running".into()), Value::Int(record as i64)];
    writes.entities.push(write(&RUNS, run, vec![], Some(columns)));
    writes.deletions.push(write(&OPEN, Value::Int(0), index(record.saturating_sub(200)), None));
}

async fn reads(store: &EmbeddedStore, run: impl Fn(u64) -> Value) -> Result<f64, Box<dyn std::error::Error>> {
    const READS: u64 = 200_000;
    let started = thread_busy();
    for at in 0..READS {
        let key = RowKey { partition: vec![run(at)], clustering: Some(vec![]) };
        std::hint::black_box(store.get(Generation(1), &RUNS, &key).await?);
    }
    Ok((thread_busy() - started).as_nanos() as f64 / READS as f64)
}

/// A run id: random-looking, as real ones are, and known again from its number.
fn run_of(record: u64) -> Value {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&scatter(record).to_be_bytes());
    id[8..].copy_from_slice(&record.to_be_bytes());
    Value::Uuid(id)
}

fn scatter(value: u64) -> u64 {
    let mixed = (value ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 3
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Time this thread was on a processor: says what work costs when others use the machine too.
fn thread_busy() -> Duration {
    thread_times().0
}

/// Times this thread was on a processor, and waited for one.
fn thread_times() -> (Duration, Duration) {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut fields = statistics.split_whitespace().map(|field| field.parse().unwrap_or(0));
    let mut next = || Duration::from_nanos(fields.next().unwrap_or(0));
    (next(), next())
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
