//! The fold over a sample history: nanoseconds a record, and of a duplicate alone.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use tidewheel_bench::history::History;
use tidewheel_engine::{Fold, Verdict};
use tidewheel_schemas::{Record, RunId};

const RECORDS: usize = 50_000;
/// Records folded before finished runs leave memory, as they do in a node.
const EVICT_EVERY: usize = 1_000;

fn records() -> Vec<Record> {
    let mut history = History::new(0, 4, 256, 1_700_000_000_000_000).expect("a valid history");
    let records = history.next(RECORDS, true).expect("records");
    records
        .into_iter()
        .zip(0_i64..)
        .map(|(record, offset)| Record {
            offset,
            key: record.key,
            headers: record.headers,
            value: record.value,
        })
        .collect()
}

fn fold(records: &[Record]) -> Fold {
    let mut fold = Fold::new(0);
    let mut finished: Vec<RunId> = Vec::new();
    for part in records.chunks(EVICT_EVERY) {
        for record in part {
            let transition = fold.apply(record).expect("in order");
            finished.extend(
                transition
                    .run
                    .as_ref()
                    .filter(|change| change.after.status.is_finished())
                    .map(|change| change.after.run_id),
            );
            black_box(&transition);
        }
        let applied = fold.control().next_offset - 1;
        for run_id in finished.drain(..) {
            fold.evict(run_id, applied);
        }
    }
    fold
}

fn benches(criterion: &mut Criterion) {
    let records = records();
    let mut group = criterion.benchmark_group("fold");
    group.throughput(Throughput::Elements(records.len() as u64));
    group.sample_size(20);
    group.bench_function(format!("{} records, mixed", records.len()), |bencher| {
        bencher.iter(|| fold(black_box(&records)));
    });

    // Every start once more, to runs that are in memory.
    let mut whole = Fold::new(0);
    let mut starts = Vec::new();
    for record in &records {
        let transition = whole.apply(record).expect("in order");
        if transition.verdict == Verdict::Accepted
            && transition.run.is_some_and(|change| change.before.is_none())
        {
            starts.push(record.clone());
        }
    }
    let first = whole.control().next_offset;
    let again: Vec<_> =
        starts.into_iter().zip(first..).map(|(record, offset)| Record { offset, ..record }).collect();
    group.throughput(Throughput::Elements(again.len() as u64));
    group.bench_function(format!("{} duplicates", again.len()), |bencher| {
        bencher.iter_batched_ref(
            || whole.clone(),
            |fold| {
                for record in &again {
                    black_box(fold.apply(black_box(record))).expect("in order");
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// As the node's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
}
