//! How fast batches are appended to a Kafka log, beside librdkafka with the same records and settings in the same run.
//!
//! `cargo run --release -p tidewheel-cluster --example produce [records]`; needs Java and Maven.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use rdkafka::producer::BaseProducer;
use tidewheel_cluster::kafka::{self, one_partition};
use tidewheel_cluster::raw::{Message, produce, producer};
use tidewheel_log::kafka::Compression;
use tidewheel_log::suite::record;
use tidewheel_log::{EventLog, KafkaLog};
use tidewheel_native::KafkaOptions;
use tidewheel_schemas::{NewRecord, RecordHeaders, TopicPartition};

const VALUE_BYTES: usize = 300;
const BATCH_RECORDS: usize = 1_000;
const BATCHES_ON_THE_WAY: usize = 20;
const ROUNDS: usize = 5;
const SINGLE_APPENDS: usize = 2_000;

/// Half of each value is the same everywhere, the rest is noise.
fn records(count: usize) -> Vec<NewRecord> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let value = || {
        let mut bytes = vec![b'x'; VALUE_BYTES];
        for byte in &mut bytes[..VALUE_BYTES / 2] {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 33) as u8;
        }
        Bytes::from(bytes)
    };
    let template = record("");
    std::iter::repeat_with(value)
        .take(count)
        .map(|value| NewRecord { key: template.key.clone(), headers: template.headers.clone(), value })
        .collect()
}

/// Records a second.
fn raw(producer: &BaseProducer, to: &TopicPartition, records: &[NewRecord]) -> f64 {
    let RecordHeaders::Known(headers) = &records[0].headers else { unreachable!("records have headers") };
    let pairs = headers.to_pairs();
    let messages = records.iter().map(|record| Message {
        partition: to.partition,
        key: &record.key,
        value: &record.value,
        timestamp_ms: Some(1_700_000_000_000),
    });
    let began = Instant::now();
    produce(producer, &to.topic, &pairs, messages).expect("everything delivered");
    records.len() as f64 / began.elapsed().as_secs_f64()
}

/// Records a second.
async fn ours(log: &KafkaLog, to: &TopicPartition, records: &[NewRecord]) -> f64 {
    let batches: Vec<Vec<NewRecord>> = records.chunks(BATCH_RECORDS).map(<[NewRecord]>::to_vec).collect();
    let began = Instant::now();
    let mut on_the_way = VecDeque::new();
    for batch in batches {
        if on_the_way.len() >= BATCHES_ON_THE_WAY
            && let Some(append) = on_the_way.pop_front()
        {
            let append: tidewheel_log::Appending = append;
            append.await.expect("appended");
        }
        on_the_way.push_back(log.append(to, batch));
    }
    for append in on_the_way {
        append.await.expect("appended");
    }
    records.len() as f64 / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(200_000);
    let Some(kafka) = kafka::own("the comparison", KafkaOptions::default().compiled()).await else { return };
    let records = records(count);
    println!(
        "{count} records of {VALUE_BYTES} bytes in one partition, acks=all, idempotent; medians of {ROUNDS} rounds"
    );
    for (compression, name) in [(Compression::None, "none"), (Compression::Zstd, "zstd")] {
        let mut options = kafka::options(&kafka);
        options.compression = compression;
        let log = KafkaLog::open(options).expect("a log");
        let producer = producer(&kafka, name).expect("a producer");
        let (ours_to, raw_to) = (one_partition(&log).await, one_partition(&log).await);
        let (mut by_us, mut by_raw) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let rates = (raw(&producer, &raw_to, &records), ours(&log, &ours_to, &records).await);
            // The first round warms the broker up.
            if round > 0 {
                by_raw.push(rates.0);
                by_us.push(rates.1);
            }
        }
        let (raw, ours) = (median(by_raw), median(by_us));
        let mut latencies = Vec::new();
        for record in records.iter().take(SINGLE_APPENDS) {
            let began = Instant::now();
            log.append(&ours_to, vec![record.clone()]).await.expect("appended");
            latencies.push(began.elapsed().as_secs_f64() * 1e3);
        }
        println!(
            "{name}: librdkafka {raw:.0}/s, batches of {BATCH_RECORDS} {ours:.0}/s = {:.0} %; one append p50 {:.2} ms",
            100.0 * ours / raw,
            median(latencies)
        );
    }
}
