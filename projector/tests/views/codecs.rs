//! Rows read back as what they were made of.

use proptest::prelude::*;
use tidewheel_engine::remembered::Remembered;
use tidewheel_engine::run::digest::PartsDigest;
use tidewheel_engine::run::{Divergence, Origin, Timer, TimerKind, UnreadSignal};
use tidewheel_engine::{Control, HistoryEntry, LogInfo, PartChange, Rejection, RunHeader, RunStatus};
use tidewheel_projector::views::partition_control::{self, Checkpoint};
use tidewheel_projector::views::rejections::{self, RejectionRow};
use tidewheel_projector::views::run_parts::{Parts, part_write, state_write};
use tidewheel_projector::views::{outbox, run_history, runs};
use tidewheel_schemas::EventType;
use tidewheel_schemas::testing::{
    any_event_id, any_event_of, any_failure, any_location, any_log_id, any_name, any_outbox_name,
    any_payload, any_run_id, any_tags,
};
use tidewheel_store::{Item, ItemsBuilder, Row, Write};

fn row(write: Write) -> Row {
    write.check().expect("a row every store takes");
    Row { key: write.key, columns: write.columns.expect("a put"), timestamp_us: write.timestamp_us }
}

fn any_history_entry() -> impl Strategy<Value = HistoryEntry> {
    let types: Vec<_> =
        EventType::WORKFLOW.iter().copied().filter(|event_type| !event_type.is_control()).collect();
    let event = proptest::sample::select(types).prop_flat_map(any_event_of);
    let origin = prop_oneof![
        any::<u64>().prop_map(|ordinal| Origin::External { ordinal }),
        (any::<u64>(), any::<bool>()).prop_map(|(seen, idle)| Origin::Engine { seen, idle }),
    ];
    (any::<i64>(), any_event_id(), any::<i64>(), origin, event).prop_map(
        |(offset, event_id, recorded_at_us, origin, event)| HistoryEntry {
            offset,
            event_id,
            recorded_at_us,
            origin,
            event: event.into(),
        },
    )
}

fn any_header() -> impl Strategy<Value = RunHeader> {
    use proptest::option::of;
    let text = || ".{0,20}";
    let names = (any_run_id(), any_name(), any_name(), of(text()), any_tags(), any::<[u64; 4]>());
    let numbers = (any::<[i64; 3]>(), of(any::<i64>()), of(any::<i64>()), of(any::<u64>()), of(any::<i64>()));
    let divergence = (any_location(), text(), text())
        .prop_map(|(location, expected, found)| Divergence { location, expected, found }.into());
    let ends = (
        proptest::sample::select(RunStatus::ALL),
        of(any_failure()),
        of(text()),
        of(divergence),
        of(any::<i64>()),
    );
    (names, numbers, ends).prop_map(|(names, numbers, ends)| {
        let (run_id, namespace, workflow, key, tags, [version, externals, count, hash]) = names;
        let (
            [created_at_us, started_offset, applied_offset],
            finished_at_us,
            finished_offset,
            idle_seen,
            due,
        ) = numbers;
        let (status, failure, reason, divergence, parked_at) = ends;
        RunHeader {
            run_id,
            namespace,
            workflow,
            key: key.map(Into::into),
            tags: tags.into(),
            status,
            created_at_us,
            finished_at_us,
            started_offset,
            finished_offset,
            version,
            externals,
            idle_seen,
            next_due_us: due,
            state: None,
            failure,
            reason: reason.map(Into::into),
            divergence,
            parked_at,
            applied_offset,
            parts: PartsDigest { count, hash },
        }
    })
}

fn any_outcome() -> impl Strategy<Value = Result<(), Rejection>> {
    prop_oneof![Just(Ok(())), proptest::sample::select(Rejection::ALL).prop_map(Err)]
}

proptest! {
    #[test]
    fn a_history_entry_reads_back(entry in any_history_entry(), run_id in any_run_id(), number in 1..u64::MAX / 2) {
        let mut item = Vec::new();
        run_history::push(&mut item, &entry);
        let mut items = ItemsBuilder::default();
        items.push(Item::new(&item));
        items.push(Item::new(&item));
        let write = run_history::write(run_id, number, items.finish(), 5);
        prop_assert!(write.check().is_ok());
        prop_assert_eq!(&write.key.partition, &run_history::partition_key(run_id, run_history::bucket_of(number)));
        prop_assert_eq!(&write.key.clustering, &Some(run_history::clustering_key(number)));
        let (first, entries) = run_history::split(row(write)).unwrap();
        prop_assert_eq!((first, entries.len()), (number, 2));
        for item in entries.iter() {
            prop_assert_eq!(item.first_int(), Some(entry.offset));
            prop_assert_eq!(&run_history::read(item).unwrap(), &entry);
        }
    }

    #[test]
    fn a_header_reads_back(header in any_header(), partition: u32) {
        let stored = runs::read_header(header.run_id, row(runs::header_write(&header, partition, 5))).unwrap();
        prop_assert_eq!(stored.partition, partition);
        prop_assert!(!stored.has_state);
        prop_assert_eq!(stored.header, header);
    }

    #[test]
    fn parts_read_back(
        (run_id, ordinal, offset, event_id, name) in (any_run_id(), any::<u64>(), any::<i64>(), any_event_id(), any_name()),
        (location, due_us, attempt, kind) in (any_location(), any::<i64>(), any::<u32>(), 0..3_u8),
        (log_time_us, outcome, state) in (any::<i64>(), any_outcome(), any_payload()),
    ) {
        let kind = [TimerKind::Sleep, TimerKind::SignalTimeout, TimerKind::Retry { attempt }][usize::from(kind)];
        let signal = UnreadSignal { ordinal, offset, event_id, name };
        let timer = Timer { due_us, kind, offset };
        let remembered = Remembered { offset, log_time_us, outcome };
        let mut parts = Parts::default();
        for change in [
            PartChange::Signal(ordinal, Some(signal.clone())),
            PartChange::Timer(location.clone(), Some(timer)),
            PartChange::Remembered(event_id, Some(remembered)),
        ] {
            parts.add(row(part_write(run_id, &change, 5))).unwrap();
        }
        parts.add(row(state_write(run_id, &state, offset, 5))).unwrap();
        let expected = Parts {
            unread: [(ordinal, signal)].into(),
            timers: [(location, timer)].into(),
            remembered: [(event_id, remembered)].into(),
            state: Some((offset, state)),
        };
        prop_assert_eq!(parts, expected);
    }

    #[test]
    fn an_outbox_entry_reads_back(
        name in any_outbox_name(), sender in any_run_id(), target in any_run_id(), namespace in any_name(),
        signal in any_name(), payload in any_payload(), partition: u32,
    ) {
        let entry = tidewheel_engine::outbox::OutboxEntry { name, sender, namespace, target, signal, payload };
        prop_assert_eq!(outbox::read(row(outbox::write(partition, &entry, 5))).unwrap(), entry);
    }

    #[test]
    fn a_checkpoint_reads_back(
        numbers: [Option<i64>; 4], partition: u32, fold in 0..i32::MAX as u32, next_offset: i64, next_seq: u64,
        log in proptest::option::of((any_log_id(), any::<i64>(), any::<u32>())), claimed_by in proptest::option::of(".{0,20}"),
        log_time_us: i64, last_event_id in proptest::option::of(any_event_id()),
        sources in prop::collection::btree_map((any_log_id(), any::<u32>()), any_outbox_name(), 0..4),
        newest_fresh_ms in proptest::option::of(any::<u64>()),
    ) {
        let log = log.map(|(log_id, epoch_us, partitions)| LogInfo { log_id, epoch_us, partitions });
        let control = Control {
            partition, log, fold, claim: numbers[0], claimed_by: claimed_by.map(Into::into), next_seq, log_time_us,
            sources, newest_fresh_ms, next_offset, last_event_id,
        };
        let checkpoint =
            Checkpoint { control, open_now_from: numbers[1], open_later_from: numbers[2], outbox_from: numbers[3] };
        let read = partition_control::read(partition, row(partition_control::write(&checkpoint, 5))).unwrap();
        prop_assert_eq!(read, checkpoint);
    }

    #[test]
    fn a_rejection_reads_back_from_every_table_it_lies_in(
        namespace in "[a-z]{0,9}", numbers: [i64; 3], partition: u32, item: u64,
        rejection in proptest::sample::select(Rejection::ALL), event_id in proptest::option::of(any_event_id()),
        run_id in proptest::option::of(any_run_id()), event_type in proptest::option::of("[a-z-]{1,9}"),
    ) {
        let [offset, recorded_at_us, record_offset] = numbers;
        let expected = RejectionRow {
            namespace, partition, offset, item, recorded_at_us, rejection, record_offset, event_id, run_id, event_type,
        };
        for write in expected.writes(5) {
            let table = write.table;
            prop_assert_eq!(&rejections::read(table, row(write)).unwrap(), &expected);
        }
    }
}
