//! Writes the frozen fixtures of event types that have none yet. An existing file is never overwritten.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use tidewheel_schemas::event::*;
use tidewheel_schemas::payload::ContentType;
use tidewheel_schemas::testing::Fixture;
use tidewheel_schemas::{
    Author, ConfigEvent, Entity, EventId, Failure, LogId, Name, OutboxName, Payload, RunId, TokenHash,
    TokenId, codec, registry,
};

fn main() -> io::Result<()> {
    for full in [true, false] {
        for event_type in EventType::WORKFLOW {
            let (envelope, event) = (envelope(*event_type, full), event(*event_type, full));
            write(registry::written_with(*event_type), *event_type, full, &Fixture::of(&envelope, &event))?;
        }
        for event in config_events(full) {
            let fixture = Fixture::of_config(&config_envelope(&event, full), &event);
            write(codec::CONFIG_SCHEMA_ID, event.event_type(), full, &fixture)?;
        }
    }
    Ok(())
}

fn write(schema_id: u32, event_type: EventType, full: bool, fixture: &Fixture) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/v{schema_id}"));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{event_type}.{}.json", if full { "full" } else { "bare" }));
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(mut file) => {
            serde_json::to_writer_pretty(&mut file, fixture)?;
            file.write_all(b"\n")?;
            println!("wrote {}", path.display());
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            println!("kept {}: a frozen fixture is never overwritten", path.display());
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn scope(at_us: i64) -> ReplayScope {
    ReplayScope {
        partitions: vec![0, 3],
        runs: vec![RunId::from_bytes(std::array::from_fn(|index| index as u8))],
        namespaces: vec![name("billing")],
        event_types: vec!["step-failed".to_owned()],
        from_offset: Some(10),
        until_offset: Some(9_000_000_000),
        from_us: Some(at_us),
        until_us: Some(at_us + 1),
    }
}

fn config_envelope(event: &ConfigEvent, full: bool) -> Envelope {
    let event_type = event.event_type();
    let mut envelope = envelope(event_type, full);
    envelope.entity = match event {
        ConfigEvent::LogCreated(_) | ConfigEvent::FoldRaised(_) => Entity::Partition(0),
        ConfigEvent::NamespaceCreated(_) => Entity::Namespace(name("billing")),
        ConfigEvent::TokenCreated(_) | ConfigEvent::TokenRotated(_) | ConfigEvent::TokenRevoked(_) => {
            Entity::Token(TokenId::random([event_type as u8; 16]))
        }
        ConfigEvent::ReplayStarted(_)
        | ConfigEvent::ReplayPaused(_)
        | ConfigEvent::ReplayResumed(_)
        | ConfigEvent::ReplayRateChanged(_)
        | ConfigEvent::ReplayCancelled(_)
        | ConfigEvent::ReplayProgressed(_)
        | ConfigEvent::ReplayFinished(_)
        | ConfigEvent::GenerationActivated(_)
        | ConfigEvent::GenerationDropped(_)
        | ConfigEvent::ViewsMended(_) => Entity::Views(name("east")),
    };
    envelope
}

fn config_events(full: bool) -> Vec<ConfigEvent> {
    let due_us = 1_767_229_200_123_456;
    let names = |names: &[&str]| if full { names.iter().copied().map(name).collect() } else { vec![] };
    let hash = |byte: u8| TokenHash::from_bytes(std::array::from_fn(|index| byte.wrapping_add(index as u8)));
    vec![
        LogCreated { log_id: LogId::random([0xed; 16]), epoch_us: due_us, partitions: 1, fold: 1 }.into(),
        FoldRaised { fold: 2 }.into(),
        NamespaceCreated { home: name(if full { "frankfurt-1" } else { "local" }) }.into(),
        TokenCreated {
            name: name("billing"),
            hash: hash(0xf0),
            roles: names(&["operator", "producer"]),
            namespaces: full.then(|| names(&["billing", "default"])),
        }
        .into(),
        TokenRotated { hash: hash(1), previous_until_us: due_us, expected_version: full.then_some(3) }.into(),
        TokenRevoked { reason: if full { "it was in a log file" } else { "" }.to_owned() }.into(),
        ReplayStarted {
            replay: 1,
            kind: if full { "backfill" } else { "rebuild" }.to_owned(),
            generation: 2,
            scope: if full { scope(due_us) } else { ReplayScope::default() },
            ends: if full { vec![9_000_000_000, 0, 17] } else { Vec::new() },
            records_per_second: full.then_some(20_000),
            activates: full,
        }
        .into(),
        ReplayPaused { replay: 1 }.into(),
        ReplayResumed { replay: 1 }.into(),
        ReplayRateChanged { replay: 1, records_per_second: full.then_some(500) }.into(),
        ReplayCancelled { replay: 1, reason: if full { "the wrong window" } else { "" }.to_owned() }.into(),
        ReplayProgressed { replay: 1, partition: 3, done: 4, rows: 5_000_000_000 }.into(),
        ReplayFinished { replay: 1 }.into(),
        GenerationActivated { generation: 2, replaces: 1, lag: 12, compared_rows: 5_000_000_000 }.into(),
        GenerationDropped { generation: 1 }.into(),
        ViewsMended { generation: 2, number: 7 }.into(),
    ]
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

fn json(text: &'static str) -> Payload {
    Payload::json(text.as_bytes())
}

fn run(number: u8) -> RunId {
    // Fixtures are frozen: these ids are of the version that fresh ones had when the first were written.
    let mut bytes = *RunId::fresh(0x0abc, 1_767_225_600_000 + u64::from(number), [number; 8]).as_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    RunId::from_bytes(bytes)
}

fn location(coordinates: &[u32]) -> Location {
    Location(coordinates.into())
}

/// Full: everything optional is there and every list has items. Bare: nothing optional, every list empty.
fn envelope(event_type: EventType, full: bool) -> Envelope {
    let number = event_type as u8;
    let log_id = LogId::random([0x10 + number; 16]);
    let entity =
        if event_type.is_control() { Entity::Partition(u32::from(number)) } else { Entity::Run(run(number)) };
    let outbox = |offset, index| OutboxName { offset, index };
    let author = match event_type {
        EventType::LogCreated | EventType::PartitionClaimed => {
            Author::Candidate { process: if full { "node-1.example:7400/Ω" } else { "" }.into() }
        }
        EventType::RunSignaled if full => Author::Outbox {
            source: log_id,
            partition: 11,
            name: outbox(4_294_967_296, 3),
            predecessor: Some(outbox(77, 0)),
        },
        EventType::RunSignaled => {
            Author::Outbox { source: log_id, partition: 0, name: outbox(0, 0), predecessor: None }
        }
        EventType::FoldRaised
        | EventType::RunStarted
        | EventType::RunCancelRequested
        | EventType::RunTerminated
        | EventType::RunResumed
        | EventType::RunUnparked
        | EventType::NamespaceCreated
        | EventType::TokenCreated
        | EventType::TokenRotated
        | EventType::TokenRevoked
        | EventType::ReplayStarted
        | EventType::ReplayPaused
        | EventType::ReplayResumed
        | EventType::ReplayRateChanged
        | EventType::ReplayCancelled
        | EventType::ReplayProgressed
        | EventType::ReplayFinished
        | EventType::GenerationActivated
        | EventType::GenerationDropped
        | EventType::ViewsMended => {
            Author::Ingest { principal: if full { "token:billing" } else { "anonymous" }.into() }
        }
        EventType::OutboxTrimmed
        | EventType::StepCompleted
        | EventType::StepFailed
        | EventType::TimerStarted
        | EventType::TimerFired
        | EventType::SignalAwaited
        | EventType::SignalReceived
        | EventType::RunStateChanged
        | EventType::RunTagged
        | EventType::SignalSent
        | EventType::RunCancelling
        | EventType::RunCompleted
        | EventType::RunFailed
        | EventType::RunCancelled
        | EventType::RunDiverged => Author::Engine {
            claim: if full { 1_099_511_627_776 + i64::from(number) } else { 0 },
            seq: if full { 300 + u64::from(number) } else { 0 },
            seen: if full { 64 } else { 0 },
            idle: full,
        },
    };
    Envelope {
        event_id: EventId::random([0x40 + number; 16]),
        entity,
        namespace: full.then(|| name("default")),
        recorded_at_us: 1_767_225_600_000_000 + i64::from(number) * 1_000_001,
        cause: full.then(|| EventId::random([0x80 + number; 16])),
        traceparent: full.then(|| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        author,
    }
}

fn event(event_type: EventType, full: bool) -> Event {
    let due_us = 1_767_229_200_123_456;
    let tags = if full {
        BTreeMap::from([("customer".to_owned(), "Ünal & søn".to_owned()), ("a".to_owned(), String::new())])
    } else {
        BTreeMap::new()
    };
    let payload = || {
        if full {
            json(r#"{"order":"A-17","amount":4200}"#)
        } else {
            Payload { content_type: ContentType::new("application/octet-stream"), data: vec![].into() }
        }
    };
    let text = |text: &str| if full { text.to_owned() } else { String::new() };
    let place = || if full { location(&[2, 1, 4_294_967_295]) } else { location(&[1]) };
    match event_type {
        EventType::LogCreated => {
            LogCreated { log_id: LogId::random([0xee; 16]), epoch_us: due_us, partitions: 12, fold: 1 }.into()
        }
        EventType::PartitionClaimed => PartitionClaimed { replaces: full.then_some(123_456_789_012) }.into(),
        EventType::FoldRaised => FoldRaised { fold: if full { i32::MAX } else { 2 } }.into(),
        EventType::OutboxTrimmed => {
            OutboxTrimmed { offset: if full { i64::MAX } else { 0 }, index: 7 }.into()
        }
        EventType::RunStarted => RunStarted {
            workflow: name("order"),
            key: full.then(|| "order/A-17".to_owned()),
            input: payload(),
            tags,
        }
        .into(),
        EventType::RunSignaled => RunSignaled { name: name("payment.received"), payload: payload() }.into(),
        EventType::RunCancelRequested => {
            RunCancelRequested { reason: text("the customer changed her mind") }.into()
        }
        EventType::RunTerminated => RunTerminated { reason: text("stuck") }.into(),
        EventType::RunResumed => RunResumed {}.into(),
        EventType::StepCompleted => {
            StepCompleted { location: place(), name: name("charge-card"), attempt: 1, output: payload() }
                .into()
        }
        EventType::StepFailed => StepFailed {
            location: place(),
            name: name("charge-card"),
            attempt: 3,
            failure: Failure::new("timeout", text("no answer after 10 s")),
            retry_at_us: full.then_some(due_us),
        }
        .into(),
        EventType::TimerStarted => TimerStarted { location: place(), due_us }.into(),
        EventType::TimerFired => TimerFired { location: place() }.into(),
        EventType::SignalAwaited => {
            SignalAwaited { location: place(), name: name("go"), due_us: full.then_some(due_us) }.into()
        }
        EventType::SignalReceived => SignalReceived {
            location: place(),
            name: name("go"),
            signals: if full { vec![1, 64, 10_000] } else { vec![] },
        }
        .into(),
        EventType::RunStateChanged => RunStateChanged { location: place(), state: payload() }.into(),
        EventType::RunTagged => RunTagged { location: place(), tags }.into(),
        EventType::SignalSent => {
            SignalSent { location: place(), target: run(200), name: name("go"), payload: payload() }.into()
        }
        EventType::RunCancelling => {
            RunCancelling { locations: if full { vec![location(&[3]), location(&[4, 2])] } else { vec![] } }
                .into()
        }
        EventType::RunCompleted => RunCompleted { output: payload() }.into(),
        EventType::RunFailed => {
            RunFailed { failure: Failure::new("payment-declined", text("the bank said no")) }.into()
        }
        EventType::RunCancelled => RunCancelled { reason: text("the customer changed her mind") }.into(),
        EventType::RunDiverged => {
            RunDiverged { location: place(), expected: text("step charge-card"), found: text("timer") }.into()
        }
        EventType::RunUnparked => {
            RunUnparked { offset: if full { i64::MAX } else { 0 }, reason: text("its value is cut off") }
                .into()
        }
        EventType::NamespaceCreated
        | EventType::TokenCreated
        | EventType::TokenRotated
        | EventType::TokenRevoked
        | EventType::ReplayStarted
        | EventType::ReplayPaused
        | EventType::ReplayResumed
        | EventType::ReplayRateChanged
        | EventType::ReplayCancelled
        | EventType::ReplayProgressed
        | EventType::ReplayFinished
        | EventType::GenerationActivated
        | EventType::GenerationDropped
        | EventType::ViewsMended => unreachable!("{event_type} is no event of a workflow"),
    }
}
