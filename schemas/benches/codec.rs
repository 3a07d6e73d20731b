//! Encoding and decoding of one event of about 300 bytes: ours, and apache-avro's with everything cached beside it.

use std::hint::black_box;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use criterion::Criterion;
use tidewheel_schemas::event::StepCompleted;
use tidewheel_schemas::testing::WorkflowEvent;
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Headers, Location, Name, Payload, RecordHeaders, RunId, codec,
    registry,
};

fn sample(output: Payload) -> (Envelope, Event) {
    let name = |text| Name::new(text).expect("a valid name");
    let envelope = Envelope {
        event_id: EventId::random([0x5a; 16]),
        entity: Entity::Run(RunId::fresh(1, 1_700_000_000_000, [7; 8])),
        namespace: Some(name("default")),
        recorded_at_us: 1_700_000_000_000_000,
        cause: Some(EventId::random([0x6b; 16])),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        author: Author::Engine { claim: 123_456, seq: 98_765, seen: 2, idle: false },
    };
    let event = StepCompleted { location: Location::top(3), name: name("charge-card"), attempt: 1, output };
    (envelope, event.into())
}

fn codec_benches(criterion: &mut Criterion) {
    let json = format!("{{\"order\":\"{}\"}}", "x".repeat(96));
    let (envelope, event) = sample(Payload::json(json));
    let record = codec::encode(&envelope, &event).expect("encodes");
    let RecordHeaders::Known(headers) = record.headers else { panic!("known headers") };
    let mut group = criterion.benchmark_group(format!("event of {} bytes", record.value.len()));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| codec::encode(black_box(&envelope), black_box(&event)));
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| codec::decode(black_box(&headers), black_box(&record.value)));
    });

    let text = registry::schema_text(codec::SCHEMA_ID).expect("the newest schema");
    let schema = Schema::parse_str(text).expect("parses");
    let writer = GenericDatumWriter::builder(&schema).human_readable(false).build().expect("a writer");
    let reader = GenericDatumReader::builder(&schema).human_readable(false).build().expect("a reader");
    let mirror = WorkflowEvent::try_from((&envelope, &event)).expect("in range");
    group.bench_function("apache-avro write_ser, without building its struct", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::with_capacity(512);
            writer.write_ser(&mut out, black_box(&mirror)).map(|_| out)
        });
    });
    group.bench_function("apache-avro read_deser, without checking headers", |bencher| {
        bencher.iter(|| reader.read_deser::<WorkflowEvent>(&mut black_box(&record.value[5..])));
    });
    let pairs = headers.to_pairs();
    group.bench_function("headers to pairs", |bencher| bencher.iter(|| black_box(&headers).to_pairs()));
    group.bench_function("headers from pairs", |bencher| {
        bencher.iter(|| Headers::from_pairs(pairs.iter().map(|(name, bytes)| (*name, &bytes[..]))));
    });
    group.finish();

    let (envelope, event) = sample(Payload::json(Bytes::from(vec![b'x'; 512 * 1024])));
    let record = codec::encode(&envelope, &event).expect("encodes");
    let mut group = criterion.benchmark_group("event with 512 KiB of payload");
    group.bench_function("encode", |bencher| {
        bencher.iter(|| codec::encode(black_box(&envelope), black_box(&event)));
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| codec::decode(black_box(&headers_of(&record)), black_box(&record.value)));
    });
    group.bench_function("apache-avro read_deser", |bencher| {
        bencher.iter(|| reader.read_deser::<WorkflowEvent>(&mut black_box(&record.value[5..])));
    });
    group.finish();
}

fn headers_of(record: &tidewheel_schemas::NewRecord) -> Headers {
    match &record.headers {
        RecordHeaders::Known(headers) => headers.clone(),
        RecordHeaders::Foreign(reason) => panic!("{reason}"),
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    codec_benches(&mut criterion);
    criterion.final_summary();
}
