//! What folding allocates, counted: nothing for duplicates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tidewheel_engine::{Fold, Verdict};
use tidewheel_schemas::event::{LogCreated, RunSignaled, RunStarted};
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, LogId, Name, Payload, Record, RunId, codec,
};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// The allocator of the standard library, with a count beside it.
#[expect(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

fn record(offset: i64, id: u8, entity: Entity, author: Author, event: Event) -> Record {
    let namespace = entity.run_id().map(|_| Name::new("default").expect("a name"));
    let envelope = Envelope {
        event_id: EventId::random([id; 16]),
        entity,
        namespace,
        recorded_at_us: 1_000_000 + offset,
        cause: Some(EventId::random([99; 16])),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        author,
    };
    let record = codec::encode(&envelope, &event).expect("encodes");
    Record { offset, key: record.key, headers: record.headers, value: record.value }
}

#[test]
fn duplicates_of_starts_and_signals_allocate_nothing() {
    let run = Entity::Run(RunId::keyed("default", 0, "order", "4711"));
    let ingest = || Author::Ingest { principal: "anonymous".into() };
    let name = |text| Name::new(text).expect("a name");
    let payload = || Payload::json(vec![b'1'; 600]);
    let started = || RunStarted {
        workflow: name("order"),
        key: Some("4711".to_owned()),
        input: payload(),
        tags: std::collections::BTreeMap::new(),
    };
    let signaled = || RunSignaled { name: name("payment"), payload: payload() };
    let created = LogCreated { log_id: LogId::random([7; 16]), epoch_us: 1, partitions: 1, fold: 1 };
    let candidate = Author::Candidate { process: "test".into() };
    let first = [
        record(0, 1, Entity::Partition(0), candidate, created.into()),
        record(1, 2, run.clone(), ingest(), started().into()),
        record(2, 3, run.clone(), ingest(), signaled().into()),
    ];
    let again = [
        record(3, 2, run.clone(), ingest(), started().into()),
        record(4, 4, run.clone(), ingest(), started().into()),
        record(5, 3, run, ingest(), signaled().into()),
    ];
    let mut fold = Fold::new(0);
    let accepted = allocations(|| {
        for record in &first {
            assert_eq!(fold.apply(record).expect("in order").verdict, Verdict::Accepted);
        }
    });
    assert!(accepted > 0, "the counter counts");
    for record in &again {
        let count = allocations(|| {
            let transition = fold.apply(record).expect("in order");
            assert_eq!(transition.verdict, Verdict::Duplicate(Ok(())));
            assert_eq!(transition.header().map(|header| header.version), Some(2));
        });
        assert_eq!(count, 0, "record {}", record.offset);
    }
}
