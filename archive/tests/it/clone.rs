//! A clone: the same records, other log ids, and a past in which no message is lost or came from nowhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use tidewheel_archive::{
    Archive, ArchiveError, AsOf, CloneIdentity, ExportOptions, ImportPlan, Imported, export, import,
};
use tidewheel_engine::{Fold, Verdict};
use tidewheel_log::{MemoryLog, SharedLog, SystemClock};
use tidewheel_schemas::event::{
    LogCreated, OutboxTrimmed, PartitionClaimed, RunSignaled, RunStarted, SignalSent,
};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, ConfigEvent, Entity, Envelope, Event, EventId, Location, LogId, Name, NewRecord, OutboxName,
    Payload, Position, Record, RecordHeaders, RunId, Topic, TopicFamily, TopicPartition, encode,
    encode_config,
};
use tokio::sync::mpsc;

use crate::common::{all, in_memory};

const START_US: i64 = 1_700_000_000_000_000;

fn runs(partition: u32) -> TopicPartition {
    TopicPartition::new(Topic::new("tidewheel.local.workflow.events"), partition)
}

fn changes() -> TopicPartition {
    TopicPartition::new(Topic::new("tidewheel.config.changes"), 0)
}

/// What happens next, in or from a partition.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// A signal from outside.
    Noise,
    /// Its run signals that of the other partition.
    Send,
    /// The oldest message on its way from it arrives.
    Deliver,
    /// It forgets what was delivered.
    Forget,
}

fn any_actions() -> impl Strategy<Value = Vec<(usize, Action, i64)>> {
    let action = prop_oneof![
        2 => Just(Action::Noise),
        4 => Just(Action::Send),
        4 => Just(Action::Deliver),
        1 => Just(Action::Forget),
    ];
    prop::collection::vec((0_usize..2, action, 0_i64..3_000), 0..80)
}

/// Two partitions whose runs write to each other, as two owners with clocks of their own would have it.
#[derive(Default)]
struct World {
    records: [Vec<NewRecord>; 2],
    seq: [u64; 2],
    sent: [Vec<OutboxName>; 2],
    delivered: [usize; 2],
    now_us: i64,
    skew_us: [i64; 2],
}

fn log_id(partition: usize) -> LogId {
    LogId::random([40 + u8::try_from(partition).unwrap(); 16])
}

fn run_id(partition: usize) -> RunId {
    let of = |number: u8| RunId::fresh(0, 7, [number; 8]);
    let here = |run_id: &RunId| partition_for(&Entity::Run(*run_id).routing_key(), 2) as usize == partition;
    (0..=255).map(of).find(here).expect("one of 256 ids lies there")
}

impl World {
    fn new(skew_us: [i64; 2]) -> Self {
        let mut world = Self { now_us: START_US, skew_us, ..Self::default() };
        for partition in 0..2 {
            let number = u32::try_from(partition).unwrap();
            let candidate = || Author::Candidate { process: "test".into() };
            let created =
                LogCreated { log_id: log_id(partition), epoch_us: START_US, partitions: 2, fold: 1 };
            world.put(partition, Entity::Partition(number), candidate(), created.into());
            world.put(
                partition,
                Entity::Partition(number),
                candidate(),
                PartitionClaimed { replaces: None }.into(),
            );
            let started = RunStarted {
                workflow: Name::new("talk").unwrap(),
                key: None,
                input: Payload::null(),
                tags: Default::default(),
            };
            let author = Author::Ingest { principal: "somebody".into() };
            world.put(partition, Entity::Run(run_id(partition)), author, started.into());
        }
        world
    }

    fn put(&mut self, partition: usize, entity: Entity, author: Author, event: Event) {
        let number = self.records.iter().map(|records| records.len() as u64).sum::<u64>();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let namespace = matches!(entity, Entity::Run(_)).then(|| Name::new("default").unwrap());
        let envelope = Envelope {
            event_id: EventId::random(id),
            entity,
            namespace,
            recorded_at_us: self.now_us + self.skew_us[partition],
            cause: None,
            traceparent: None,
            author,
        };
        self.records[partition].push(encode(&envelope, &event).unwrap());
    }

    fn engine(&mut self, partition: usize) -> Author {
        let seq = self.seq[partition];
        self.seq[partition] += 1;
        Author::Engine { claim: 1, seq, seen: 0, idle: false }
    }

    fn act(&mut self, (partition, action, later_us): (usize, Action, i64)) {
        self.now_us += 1 + later_us;
        let other = 1 - partition;
        let name = Name::new("hello").unwrap();
        match action {
            Action::Noise => {
                let author = Author::Ingest { principal: "somebody".into() };
                let signal = RunSignaled { name, payload: Payload::null() };
                self.put(partition, Entity::Run(run_id(partition)), author, signal.into());
            }
            Action::Send => {
                let offset = i64::try_from(self.records[partition].len()).unwrap();
                let location = Location([u32::try_from(offset).unwrap()].as_slice().into());
                let signal = SignalSent { location, target: run_id(other), name, payload: Payload::null() };
                let author = self.engine(partition);
                self.put(partition, Entity::Run(run_id(partition)), author, signal.into());
                self.sent[partition].push(OutboxName { offset, index: 0 });
            }
            Action::Deliver => {
                let next = self.delivered[partition];
                let Some(message) = self.sent[partition].get(next).copied() else { return };
                let predecessor = next.checked_sub(1).map(|before| self.sent[partition][before]);
                self.delivered[partition] += 1;
                let source = log_id(partition);
                let number = u32::try_from(partition).unwrap();
                let author = Author::Outbox { source, partition: number, name: message, predecessor };
                let signal = RunSignaled { name, payload: Payload::null() };
                self.put(other, Entity::Run(run_id(other)), author, signal.into());
            }
            Action::Forget => {
                let Some(last) = self.delivered[partition].checked_sub(1) else { return };
                let OutboxName { offset, index } = self.sent[partition][last];
                let author = self.engine(partition);
                let trimmed = OutboxTrimmed { offset, index: i32::try_from(index).unwrap() };
                let number = u32::try_from(partition).unwrap();
                self.put(partition, Entity::Partition(number), author, trimmed.into());
            }
        }
    }

    /// A log that holds so many records of each partition, and the configuration's beginning.
    async fn log(&self, lengths: [usize; 2]) -> SharedLog {
        let log: SharedLog = Arc::new(MemoryLog::new());
        log.create_topic(&runs(0).topic, 2).await.unwrap();
        log.create_topic(&changes().topic, 1).await.unwrap();
        for (partition, records) in (0..).zip(&self.records) {
            let length = lengths[partition as usize].min(records.len());
            log.append(&runs(partition), records[..length].to_vec()).await.unwrap();
        }
        let created = LogCreated { log_id: log_id(7), epoch_us: START_US, partitions: 1, fold: 1 };
        let envelope = Envelope {
            event_id: EventId::random([9; 16]),
            entity: Entity::Partition(0),
            namespace: None,
            recorded_at_us: START_US,
            cause: None,
            traceparent: None,
            author: Author::Candidate { process: "test".into() },
        };
        let record = encode_config(&envelope, &ConfigEvent::from(created)).unwrap();
        log.append(&changes(), vec![record]).await.unwrap();
        log
    }
}

async fn archived(log: &SharedLog) -> Archive {
    let (_, archive) = in_memory();
    seal(log, &archive).await;
    archive
}

async fn seal(log: &SharedLog, archive: &Archive) {
    let places = vec![runs(0), runs(1), changes()];
    let options = ExportOptions { range_records: 9, ..ExportOptions::new(places, SystemClock::shared()) };
    let (progress, mut heard) = mpsc::channel(4);
    let listening = tokio::spawn(async move { while heard.recv().await.is_some() {} });
    export(log, archive, &options, &progress).await.unwrap();
    drop(progress);
    listening.await.unwrap();
}

async fn cloned(
    archive: &Archive,
    as_of: AsOf,
    identity: CloneIdentity,
) -> Result<(SharedLog, Vec<Imported>), ArchiveError> {
    let plan = ImportPlan::make(archive, &runs(0).topic, &changes().topic, as_of, identity).await?;
    let log: SharedLog = Arc::new(MemoryLog::new());
    let done = import(&*log, archive, &plan, &SystemClock::shared()).await?;
    Ok((log, done))
}

/// Folds a partition: what it sent, what it still keeps for others, what it was brought.
fn told(partition: u32, records: &[Record]) -> (Fold, BTreeSet<OutboxName>, Vec<(LogId, OutboxName)>) {
    let mut fold = Fold::new(partition);
    let (mut sent, mut brought) = (BTreeSet::new(), Vec::new());
    for record in records {
        let transition = fold.apply(record).unwrap();
        assert_eq!(transition.verdict, Verdict::Accepted, "{record:?}");
        for change in &transition.outbox {
            if let tidewheel_engine::OutboxChange::Put(entry) = change {
                sent.insert(entry.name);
            }
        }
        if let RecordHeaders::Known(headers) = &record.headers
            && let Author::Outbox { source, name, .. } = &headers.author
        {
            brought.push((*source, *name));
        }
    }
    (fold, sent, brought)
}

/// No message was lost or came from nowhere, and every record is accepted as it was.
async fn is_consistent(clone: &SharedLog, done: &[Imported]) {
    let folds = [told(0, &all(&**clone, &runs(0)).await), told(1, &all(&**clone, &runs(1)).await)];
    for from in 0..2 {
        let (fold, sent, _) = &folds[from];
        let (_, _, brought) = &folds[1 - from];
        assert_eq!(fold.control().log.unwrap().log_id, done[from].log_id);
        let arrived: BTreeSet<OutboxName> = brought.iter().map(|(_, name)| *name).collect();
        assert!(brought.iter().all(|(source, _)| *source == done[from].log_id));
        assert!(arrived.is_subset(sent), "a message came from nowhere: {arrived:?} {sent:?}");
        let kept: BTreeSet<OutboxName> = fold.outbox().keys().copied().collect();
        let known: BTreeSet<OutboxName> = arrived.union(&kept).copied().collect();
        assert_eq!(known, *sent, "a message is lost");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_clone_of_any_time_is_a_consistent_past(
        actions in any_actions(), skew_us in [-40_000_i64..40_000, -40_000_i64..40_000], at_us in 0_i64..100_000,
    ) {
        let mut world = World::new(skew_us);
        actions.into_iter().for_each(|action| world.act(action));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let archive = archived(&world.log([usize::MAX; 2]).await).await;
            match cloned(&archive, AsOf::Time(START_US + at_us), CloneIdentity::Fresh).await {
                Ok((clone, done)) => is_consistent(&clone, &done).await,
                // Before its partition began.
                Err(ArchiveError::Unknown { what, .. }) => assert!(what.contains("not begun"), "{what}"),
                Err(error) => panic!("{error}"),
            }
        });
    }

    #[test]
    fn an_archive_whose_partitions_end_at_different_moments_gives_a_consistent_clone(
        actions in any_actions(), lengths in [1_usize..60, 1_usize..60],
    ) {
        let mut world = World::new([0, 0]);
        actions.into_iter().for_each(|action| world.act(action));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let archive = archived(&world.log(lengths).await).await;
            let (clone, done) = cloned(&archive, AsOf::Newest, CloneIdentity::Fresh).await.unwrap();
            is_consistent(&clone, &done).await;
        });
    }

    #[test]
    fn where_clocks_agree_nothing_is_left_out_that_was_there_by_then(actions in any_actions(), at in 0_i64..100_000) {
        let mut world = World::new([0, 0]);
        actions.into_iter().for_each(|action| world.act(action));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let log = world.log([usize::MAX; 2]).await;
            let archive = archived(&log).await;
            let (_, done) = cloned(&archive, AsOf::Time(START_US + at), CloneIdentity::Fresh).await.unwrap();
            for partition in 0..2 {
                let later = log.offset_for_time(&runs(partition), START_US + at + 1).await.unwrap();
                assert_eq!(done[partition as usize].records, later);
            }
        });
    }
}

fn some_world() -> World {
    let mut world = World::new([0, 0]);
    let cycle = [Action::Send, Action::Noise, Action::Deliver, Action::Send, Action::Deliver, Action::Forget];
    for (number, action) in cycle.into_iter().cycle().take(90).enumerate() {
        world.act((number / 6 % 2, action, 1_000));
    }
    world
}

#[tokio::test]
async fn a_clone_is_another_log_with_the_same_records() {
    let log = some_world().log([usize::MAX; 2]).await;
    let archive = archived(&log).await;
    let (clone, done) = cloned(&archive, AsOf::Newest, CloneIdentity::Fresh).await.unwrap();
    for (place, done) in [runs(0), runs(1), changes()].iter().zip(&done) {
        assert_ne!(done.from_log_id, done.log_id);
        let (before, after) = (all(&*log, place).await, all(&*clone, place).await);
        assert_eq!((before.len(), done.left_out), (after.len(), 0));
        for (before, after) in before.iter().zip(&after) {
            let (RecordHeaders::Known(one), RecordHeaders::Known(other)) = (&before.headers, &after.headers)
            else {
                panic!("every record has headers");
            };
            assert_eq!(
                (before.offset, &before.key, one.event_id),
                (after.offset, &after.key, other.event_id)
            );
            assert_eq!((one.recorded_at_us, one.event_type), (other.recorded_at_us, other.event_type));
            let text = format!("{after:?}");
            assert!(!text.contains(&format!("{:?}", done.from_log_id)), "{text}");
            let names_a_log = one.event_type == tidewheel_schemas::EventType::LogCreated
                || matches!(one.author, Author::Outbox { .. });
            assert_eq!(before == after, !names_a_log);
        }
    }
    is_consistent(&clone, &done).await;
    // Both may be archived side by side.
    seal(&clone, &archive).await;
    let error = cloned(&archive, AsOf::Newest, CloneIdentity::Fresh).await.err().unwrap().to_string();
    assert!(error.contains("several logs"), "{error}");
}

#[tokio::test]
async fn whoever_replaces_a_lost_log_gets_it_byte_for_byte() {
    let log = some_world().log([usize::MAX; 2]).await;
    let archive = archived(&log).await;
    let (clone, _) = cloned(&archive, AsOf::Newest, CloneIdentity::Same).await.unwrap();
    for place in [runs(0), runs(1), changes()] {
        assert_eq!(all(&*clone, &place).await, all(&*log, &place).await);
    }
}

#[tokio::test]
async fn a_clone_as_of_a_position_ends_with_its_record() {
    let log = some_world().log([usize::MAX; 2]).await;
    let archive = archived(&log).await;
    let of = |log_id: LogId, offset| Position {
        log_id,
        family: TopicFamily::WorkflowEvents,
        datacenter: 0,
        partition: 1,
        offset,
    };
    let (clone, done) =
        cloned(&archive, AsOf::Position(of(log_id(1), 20)), CloneIdentity::Fresh).await.unwrap();
    assert_eq!(done[1].records, 21);
    assert!(done[0].left_out > 0 && done[0].records > 3);
    is_consistent(&clone, &done).await;
    for (position, word) in [(of(log_id(5), 20), "not archived here"), (of(log_id(1), 2_000), "offset 2000")]
    {
        let error =
            cloned(&archive, AsOf::Position(position), CloneIdentity::Fresh).await.err().unwrap().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test]
async fn an_import_into_a_log_that_holds_something_writes_nothing() {
    let world = some_world();
    let archive = archived(&world.log([usize::MAX; 2]).await).await;
    let (of_runs, of_changes) = (runs(0).topic, changes().topic);
    let plan = ImportPlan::make(&archive, &of_runs, &of_changes, AsOf::Newest, CloneIdentity::Fresh);
    let plan = plan.await.unwrap();
    let log: SharedLog = Arc::new(MemoryLog::new());
    log.create_topic(&runs(0).topic, 2).await.unwrap();
    log.append(&runs(1), vec![world.records[1][0].clone()]).await.unwrap();
    let error = import(&*log, &archive, &plan, &SystemClock::shared()).await.unwrap_err().to_string();
    assert!(error.contains("workflow.events[1]") && error.contains("empty log"), "{error}");
    assert_eq!(log.bounds(&runs(0)).await.unwrap().end, 0);
    assert_eq!(log.partitions(&changes().topic).await.unwrap(), None);
}

#[tokio::test]
async fn an_archive_that_is_not_whole_is_not_cloned() {
    let (_, nothing) = in_memory();
    let error = cloned(&nothing, AsOf::Newest, CloneIdentity::Fresh).await.err().unwrap().to_string();
    assert!(error.contains("holds nothing of it"), "{error}");
    let (store, archive) = in_memory();
    seal(&some_world().log([usize::MAX; 2]).await, &archive).await;
    let catalog = tidewheel_archive::Catalog::load(&archive, Some(&runs(1))).await.unwrap();
    use object_store::ObjectStoreExt as _;
    store.delete(&catalog.chains[0].ranges[1].name().into()).await.unwrap();
    match cloned(&archive, AsOf::Newest, CloneIdentity::Fresh).await {
        Err(ArchiveError::Gap { from: 9, last: 17, partition }) => assert_eq!(partition, runs(1)),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("a clone with a hole was made"),
    }
}
