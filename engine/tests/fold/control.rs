//! Control: claims, sequence, authors, outbox chains, fold version, log identity.

use tidewheel_engine::{Control, Fold, FoldError, Rejection, Verdict, fold};
use tidewheel_schemas::event::{FoldRaised, LogCreated, PartitionClaimed};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Author, Entity, LogId, NewRecord, Record};

use super::world::{World, outbox_name, run_id, signal, source, step_completed};

#[test]
fn a_record_of_an_older_claim_is_dropped_even_if_it_is_next_in_sequence() {
    let mut world = World::started();
    let second = world.candidate(PartitionClaimed { replaces: Some(world.claim) }.into());
    assert_eq!(second.verdict, Verdict::Accepted);
    let zombie = world.engine_record(world.claim, 0, step_completed(1));
    assert_eq!(world.append(zombie).verdict, Verdict::Stale);
    assert_eq!(world.run().header.version, 1);
    (world.claim, world.seq) = (second.offset, 0);
    assert_eq!(world.engine(step_completed(1)).verdict, Verdict::Accepted);
}

#[test]
fn a_claim_that_does_not_replace_the_one_in_force_is_dropped() {
    let mut world = World::started();
    for replaces in [None, Some(0), Some(2), Some(99)] {
        assert_eq!(world.candidate(PartitionClaimed { replaces }.into()).verdict, Verdict::Stale);
        assert_eq!(world.fold.control().claim, Some(1));
    }
}

#[test]
fn nothing_counts_after_a_gap_in_the_sequence() {
    let mut world = World::started();
    assert_eq!(world.engine(step_completed(1)).verdict, Verdict::Accepted);
    world.seq += 1;
    for coordinate in 2..5 {
        assert_eq!(world.engine(step_completed(coordinate)).verdict, Verdict::Stale);
    }
    assert_eq!(world.run().header.version, 2);
    world.seq = 1;
    assert_eq!(world.engine(step_completed(2)).verdict, Verdict::Accepted);
}

#[test]
fn control_is_the_same_whatever_entities_make_of_the_records() {
    let mut world = World::started();
    world.engine(step_completed(1));
    // Refused: the location has its result.
    assert!(matches!(world.engine(step_completed(1)).verdict, Verdict::Rejected(_)));
    world.external(run_id(2), signal());
    world.message(4, None);
    world.engine(step_completed(2));
    let mut blind = Fold::new(0);
    for record in &world.log {
        let is_control = record.offset < 2;
        let value = if is_control { record.value.clone() } else { b"unreadable".as_slice().into() };
        let record = Record { value, ..record.clone() };
        blind.apply(&record).expect("folding is total");
    }
    assert_eq!(blind.runs().len(), 0);
    assert_eq!(blind.control(), world.fold.control());
    assert_eq!(blind.control().next_seq, 3);
}

#[test]
fn a_producer_cannot_write_what_only_the_owner_may() {
    let mut world = World::started();
    let forged = world.external(run_id(1), step_completed(1));
    assert_eq!(forged.verdict, Verdict::Rejected(Rejection::WrongAuthor));
    let author = Author::Ingest { principal: "anonymous".into() };
    let event_id = world.id();
    let claim = PartitionClaimed { replaces: Some(1) }.into();
    let claim = world.record(event_id, Entity::Partition(0), None, author, &claim);
    assert_eq!(world.append(claim).verdict, Verdict::Rejected(Rejection::WrongAuthor));
    assert_eq!(world.run().header.version, 1);
}

#[test]
fn the_first_log_created_counts_and_later_ones_are_void() {
    let mut world = World::started();
    let before = world.fold.control().log;
    let again = LogCreated { log_id: LogId::random([2; 16]), epoch_us: 9_000, partitions: 4, fold: 1 };
    assert_eq!(world.candidate(again.into()).verdict, Verdict::Rejected(Rejection::Void));
    assert_eq!(world.fold.control().log, before);
}

#[test]
fn nothing_counts_before_the_log_was_created() {
    let mut world = World::new(1);
    (world.fold, world.log) = (Fold::new(0), Vec::new());
    assert_eq!(world.start(1).verdict, Verdict::Rejected(Rejection::Void));
    assert_eq!(
        world.candidate(PartitionClaimed { replaces: None }.into()).verdict,
        Verdict::Rejected(Rejection::Void)
    );
    assert!(world.fold.runs().is_empty());
}

#[test]
fn a_fold_version_this_build_does_not_know_stops_the_partition() {
    let mut world = World::started();
    let author = Author::Ingest { principal: "operator".into() };
    let event_id = world.id();
    let raised = world.record(event_id, Entity::Partition(0), None, author, &FoldRaised { fold: 3 }.into());
    let record = Record { offset: 3, key: raised.key, headers: raised.headers, value: raised.value };
    assert_eq!(fold::check(world.fold.control()), Ok(()));
    // At once: nothing is decided by the old version after it.
    let newer = FoldError::Newer { partition: 0, offset: 4, fold: 3, known: 2 };
    assert_eq!(world.fold.apply(&record), Err(newer.clone()));
    let next = Record { offset: 4, ..world.log[2].clone() };
    assert_eq!(world.fold.apply(&next), Err(newer.clone()));
    let resumed = Fold::resume(world.fold.control().clone(), []);
    assert_eq!(fold::check(resumed.control()), Err(newer));
}

#[test]
fn a_record_in_another_partition_than_its_key_hashes_to_is_refused() {
    let mut world = World::new(4);
    let (mut here, mut elsewhere) = (0, 0);
    for number in 0..20 {
        let key = Entity::Run(run_id(number)).routing_key();
        let verdict = world.start(number).verdict;
        if partition_for(&key, 4) == 0 {
            here += 1;
            assert_eq!(verdict, Verdict::Accepted);
        } else {
            elsewhere += 1;
            assert_eq!(verdict, Verdict::Rejected(Rejection::WrongPartition));
        }
    }
    assert!(here > 0 && elsewhere > 0);
    // The hash may fit while the key is another run's.
    let number = (0..20).find(|number| partition_for(&Entity::Run(run_id(*number)).routing_key(), 4) == 0);
    let run_id = run_id(number.expect("one of them"));
    let event_id = world.id();
    let author = Author::Ingest { principal: "anonymous".into() };
    let record = world.record(event_id, Entity::Run(run_id), Some("default"), author, &signal());
    let record = NewRecord { key: b"another".as_slice().into(), ..record };
    assert_eq!(world.append(record).verdict, Verdict::Rejected(Rejection::WrongPartition));
}

#[test]
fn messages_count_only_in_the_order_they_were_sent() {
    let mut world = World::started();
    // One before it is on its way, or lost: it may not be overtaken.
    assert_eq!(world.message(5, Some(4)).verdict, Verdict::Stale);
    assert_eq!(world.message(4, None).verdict, Verdict::Accepted);
    assert_eq!(world.message(9, Some(7)).verdict, Verdict::Stale);
    assert_eq!(world.message(5, Some(4)).verdict, Verdict::Accepted);
    assert_eq!(world.run().unread.len(), 2);
}

#[test]
fn a_message_sent_again_is_a_duplicate_and_what_follows_it_counts() {
    let mut world = World::started();
    assert_eq!(world.message(4, None).verdict, Verdict::Accepted);
    assert_eq!(world.message(5, Some(4)).verdict, Verdict::Accepted);
    assert_eq!(world.message(4, None).verdict, Verdict::Duplicate(Ok(())));
    assert_eq!(world.fold.control().sources[&(source(), 3)], outbox_name(5));
    assert_eq!(world.message(7, Some(5)).verdict, Verdict::Accepted);
    assert_eq!(world.run().unread.len(), 3);
}

#[test]
fn write_timestamps_rise_with_the_offset_and_from_log_to_log() {
    let world = World::started();
    let control = world.fold.control();
    assert_eq!(control.write_timestamp_us(0), 7_000);
    for offset in 0..100 {
        // Room for repairs between one record and the next.
        assert_eq!(control.write_timestamp_us(offset + 1), control.write_timestamp_us(offset) + 8);
    }
    assert_eq!(Control::new(0).write_timestamp_us(i64::MAX), i64::MAX);
}
