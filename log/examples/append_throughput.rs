//! Measures the file log as the engine uses it: many small batches from four partitions, each followed by a tail.
//!
//! `cargo run --release -p tidewheel-log --example append_throughput -- [folder] [batches in flight per partition]
//! [seconds] [fsync|os]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tidewheel_log::{Durability, EventLog, FileLog, FileLogOptions, LogError};
use tidewheel_schemas::{
    Author, Entity, EventId, EventType, Headers, NewRecord, RecordHeaders, RunId, Topic, TopicPartition,
};

const PARTITIONS: u32 = 4;
const VALUE: &[u8] = &[0x5a; 300];

fn record(number: u64) -> NewRecord {
    let entity = Entity::Run(RunId::fresh(1, number, [1; 8]));
    NewRecord {
        key: entity.routing_key(),
        headers: RecordHeaders::Known(Headers {
            event_type: EventType::StepCompleted,
            entity,
            event_id: EventId::random([2; 16]),
            recorded_at_us: number.cast_signed(),
            schema_id: 1,
            author: Author::Engine { claim: 1, seq: number, seen: 1, idle: false },
        }),
        value: Bytes::from_static(VALUE),
    }
}

async fn drive(
    log: Arc<FileLog>,
    to: TopicPartition,
    in_flight: usize,
    until: Instant,
) -> Result<(u64, Vec<u64>), LogError> {
    let mut flying = FuturesUnordered::new();
    let (mut submitted, mut latencies_us) = (0_u64, Vec::new());
    loop {
        while flying.len() < in_flight && Instant::now() < until {
            let batch: Vec<NewRecord> = (0..=submitted % 3).map(|part| record(submitted + part)).collect();
            submitted += batch.len() as u64;
            let (start, append) = (Instant::now(), log.append(&to, batch));
            flying.push(async move { append.await.map(|_| start.elapsed()) });
        }
        match flying.next().await {
            Some(took) => latencies_us.push(u64::try_from(took?.as_micros()).unwrap_or(u64::MAX)),
            None => return Ok((submitted, latencies_us)),
        }
    }
}

async fn follow(log: Arc<FileLog>, from: TopicPartition, until: Instant) -> Result<u64, LogError> {
    let mut tail = log.tail(&from, log.bounds(&from).await?.end).await?;
    let mut seen = 0;
    while let Ok(records) = tokio::time::timeout_at(until.into(), tail.next(1_000)).await {
        seen += records?.len() as u64;
    }
    Ok(seen)
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let parent = argument(0).map_or_else(std::env::temp_dir, Into::into);
    let in_flight = argument(1).map_or(Ok(64), str::parse)?;
    let seconds = argument(2).map_or(Ok(3.0), str::parse)?;
    let durability = if argument(3) == Some("os") { Durability::Os } else { Durability::Fsync };
    let folder = parent.join(format!("append-throughput-{}", std::process::id()));

    let log = Arc::new(FileLog::open(FileLogOptions { durability, ..FileLogOptions::new(&folder) })?);
    let topic = Topic::new("throughput");
    log.create_topic(&topic, PARTITIONS).await?;
    let (start, length) = (Instant::now(), Duration::from_secs_f64(seconds));
    let places = || (0..PARTITIONS).map(|partition| TopicPartition::new(topic.clone(), partition));
    let drivers: Vec<_> = places()
        .map(|place| tokio::spawn(drive(Arc::clone(&log), place, in_flight, start + length)))
        .collect();
    let followers: Vec<_> = places()
        .map(|place| {
            tokio::spawn(follow(Arc::clone(&log), place, start + length + Duration::from_millis(500)))
        })
        .collect();
    let (mut records, mut latencies_us, mut seen) = (0, Vec::new(), 0);
    for driver in drivers {
        let (submitted, latencies) = driver.await??;
        records += submitted;
        latencies_us.extend(latencies);
    }
    let took = start.elapsed();
    for follower in followers {
        seen += follower.await??;
    }
    latencies_us.sort_unstable();
    let percentile =
        |part: usize| latencies_us.get(latencies_us.len() * part / 1_000).copied().unwrap_or_default();
    println!(
        "{in_flight} batches in flight x {PARTITIONS} partitions, {}: {:.0} records/s, p50 {} us, p99 {} us, p99.9 {} us, tails saw {seen} of {records}",
        durability.as_str(),
        records as f64 / took.as_secs_f64(),
        percentile(500),
        percentile(990),
        percentile(999),
    );

    let start = Instant::now();
    drop(log);
    let closed = start.elapsed();
    let start = Instant::now();
    let log = FileLog::open(FileLogOptions { durability, ..FileLogOptions::new(&folder) })?;
    let opened = start.elapsed();
    let start = Instant::now();
    let mut read = 0_u64;
    for place in places() {
        let end = log.bounds(&place).await?.end;
        let mut tail = log.tail(&place, 0).await?;
        let mut next = 0;
        while next < end {
            next += i64::try_from(tail.next(1_000).await?.len())?;
        }
        read += end.cast_unsigned();
    }
    let took = start.elapsed();
    let start = Instant::now();
    log.verify()?;
    println!(
        "closed in {closed:?}, opened in {opened:?}, read back {:.0} records/s, verified in {:?}",
        read as f64 / took.as_secs_f64(),
        start.elapsed()
    );
    drop(log);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
