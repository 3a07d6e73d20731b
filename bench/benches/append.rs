//! Appends of records of 300 bytes: batches of 1, 32 and 256 to 1 and 4 partitions, one batch of each partition on
//! its way at a time; the volatile log, and the file log with and without fsync in a folder of the temporary one.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use futures::future::join_all;
use tidewheel_log::{Durability, EventLog, FileLog, FileLogOptions, MemoryLog};
use tidewheel_schemas::{
    Author, Entity, EventId, EventType, Headers, NewRecord, RecordHeaders, RunId, Topic, TopicPartition,
};

const VALUE: &[u8] = &[0x5a; 300];
/// Kept by the volatile log at most.
const RECORDS_KEPT: usize = 200_000;

fn batch(records: usize) -> Vec<NewRecord> {
    (0..records as u64)
        .map(|number| {
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
        })
        .collect()
}

fn bench(criterion: &mut Criterion, name: &str, open: &dyn Fn() -> Arc<dyn EventLog>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    for partitions in [1_u32, 4] {
        for records in [1_usize, 32, 256] {
            let topic = Topic::new(&format!("append-{partitions}-{records}"));
            let places: Vec<_> =
                (0..partitions).map(|partition| TopicPartition::new(topic.clone(), partition)).collect();
            let mut appended = 0;
            let mut log = open();
            runtime.block_on(log.create_topic(&topic, partitions)).expect("a topic");
            let batches = vec![batch(records); places.len()];
            let all = records * places.len();
            group.throughput(Throughput::Elements(all as u64));
            let id = BenchmarkId::new(format!("{partitions} partitions"), format!("batches of {records}"));
            group.bench_function(id, |bencher| {
                bencher.iter_batched(
                    || {
                        appended += all;
                        if appended > RECORDS_KEPT {
                            appended = 0;
                            log = open();
                            runtime.block_on(log.create_topic(&topic, partitions)).expect("a topic");
                        }
                        (Arc::clone(&log), batches.clone())
                    },
                    |(log, batches)| {
                        let appends =
                            places.iter().zip(batches).map(|(place, records)| log.append(place, records));
                        for outcome in runtime.block_on(join_all(appends)) {
                            outcome.expect("appended");
                        }
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

/// As the node's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion, "append to memory", &|| Arc::new(MemoryLog::new()));
    for durability in [Durability::Os, Durability::Fsync] {
        let folders = std::cell::RefCell::new(Vec::new());
        let open = || -> Arc<dyn EventLog> {
            let folder = tempfile::tempdir().expect("a folder");
            let options = FileLogOptions { durability, ..FileLogOptions::new(folder.path()) };
            let log = FileLog::open(options).expect("a log");
            folders.borrow_mut().push(folder);
            Arc::new(log)
        };
        bench(&mut criterion, &format!("append to files, {}", durability.as_str()), &open);
    }
    criterion.final_summary();
}
