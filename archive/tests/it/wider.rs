//! A wider clone: every run as it was, in as many partitions as were asked for, and every message exactly once.

#[path = "wider/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use tidewheel_archive::{
    Archive, ArchiveError, AsOf, CloneIdentity, ExportOptions, ImportPlan, Imported, export, import,
};
use tidewheel_engine::config::ConfigFold;
use tidewheel_engine::run::digest::PartsDigest;
use tidewheel_engine::{Fold, Rejection, Run, RunHeader, Verdict};
use tidewheel_log::{MemoryLog, SharedLog, SystemClock};
use tidewheel_schemas::event::{PartitionClaimed, RunSignaled, RunUnparked, StepCompleted};
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, LogId, NewRecord, OutboxName, Payload, Position, Record, RunId,
    TopicFamily, encode,
};
use tokio::sync::mpsc;

use self::world::{Action, START_US, World, any_steps, changes, name, of_run, partition_of, runs};
use crate::common::{all, in_memory};

async fn seal(log: &SharedLog, partitions: u32) -> Archive {
    let (_, archive) = in_memory();
    let places = (0..partitions).map(runs).chain([changes()]).collect();
    let options = ExportOptions { range_records: 37, ..ExportOptions::new(places, SystemClock::shared()) };
    let (progress, mut heard) = mpsc::channel(4);
    let listening = tokio::spawn(async move { while heard.recv().await.is_some() {} });
    export(log, &archive, &options, &progress).await.unwrap();
    drop(progress);
    listening.await.unwrap();
    archive
}

async fn widened(
    archive: &Archive,
    as_of: AsOf,
    partitions: u32,
) -> Result<(SharedLog, Vec<Imported>), ArchiveError> {
    let identity = CloneIdentity::Fresh;
    let plan = ImportPlan::make(archive, &runs(0).topic, &changes().topic, as_of, identity).await?;
    let plan = plan.with_partitions(partitions)?;
    assert_eq!(plan.topics()[&runs(0).topic], partitions);
    let log: SharedLog = Arc::new(MemoryLog::new());
    let done = import(&*log, archive, &plan, &SystemClock::shared()).await?;
    Ok((log, done))
}

/// The partitions of a log, as far as they are of interest.
async fn read(log: &SharedLog, partitions: u32) -> Vec<Vec<Record>> {
    let mut read = Vec::new();
    for partition in 0..partitions {
        read.push(all(&**log, &runs(partition)).await);
    }
    read
}

/// What each record about a run came to, in order, by run; without what Control refused.
type Fates = BTreeMap<RunId, Vec<(EventId, Verdict)>>;

struct Told {
    folds: Vec<Fold>,
    fates: Fates,
    /// Verdicts on records about nothing that is known, by partition.
    strange: Vec<Vec<Verdict>>,
    stale: usize,
}

fn is_new_to_control(fold: &Fold, author: &Author) -> bool {
    match author {
        Author::Outbox { source, partition, name, .. } => {
            fold.control().sources.get(&(*source, *partition)).is_none_or(|last| last < name)
        }
        Author::Engine { .. } | Author::Ingest { .. } | Author::Candidate { .. } => true,
    }
}

fn told(log: &[Vec<Record>]) -> Told {
    let mut told = Told { folds: Vec::new(), fates: Fates::new(), strange: Vec::new(), stale: 0 };
    for (partition, records) in (0..).zip(log) {
        let mut fold = Fold::new(partition);
        let mut strange = Vec::new();
        for record in records {
            let is_new = of_run(record).is_none_or(|(_, author)| is_new_to_control(&fold, author));
            let transition = fold.apply(record).unwrap();
            if transition.verdict == Verdict::Stale || !is_new {
                told.stale += 1;
                continue;
            }
            match (of_run(record), &transition.headers) {
                // Records in the wrong partition are told of apart: their run does not notice them.
                (Some(_), Some(_)) if transition.verdict == Verdict::Rejected(Rejection::WrongPartition) => {
                    strange.push(transition.verdict);
                }
                (Some((run_id, _)), Some(headers)) => {
                    told.fates.entry(run_id).or_default().push((headers.event_id, transition.verdict));
                }
                _ if transition.verdict != Verdict::Accepted => strange.push(transition.verdict),
                _ => {}
            }
        }
        told.folds.push(fold);
        told.strange.push(strange);
    }
    told
}

/// An event that a run knows, when it was judged, and how.
type Remembered = (EventId, i64, Result<(), Rejection>);

/// A run without the offsets that it names.
fn without_offsets(run: &Run) -> (Run, Vec<Remembered>) {
    assert_eq!(PartsDigest::of(run), run.header.parts);
    let header = RunHeader {
        started_offset: 0,
        finished_offset: run.header.finished_offset.map(|_| 0),
        parked_at: run.header.parked_at.map(|_| 0),
        applied_offset: 0,
        parts: PartsDigest::default(),
        ..(*run.header).clone()
    };
    let remembered = run
        .remembered
        .iter()
        .map(|(event_id, first)| (*event_id, first.log_time_us, first.outcome))
        .collect();
    let mut bare = run.clone();
    bare.header = Arc::new(header);
    for entry in &mut bare.history {
        entry.offset = 0;
        // That it names the right record is told by what was said of it.
        if let Event::RunUnparked(unparked) = &*entry.event {
            entry.event = Arc::new(RunUnparked { offset: 0, ..unparked.clone() }.into());
        }
    }
    bare.unread.values_mut().for_each(|signal| signal.offset = 0);
    bare.timers.values_mut().for_each(|timer| timer.offset = 0);
    bare.remembered = Default::default();
    (bare, remembered)
}

/// Compares a wider clone with the original, as far as it was cloned.
fn is_the_same(original: &[Vec<Record>], clone: &[Vec<Record>], done: &[Imported]) {
    let (before, after) = (told(original), told(clone));
    let (old, new) = (original.len(), clone.len());
    assert_eq!(after.stale, 0, "Control refuses a record of the clone");
    let void: i64 = done.iter().map(|done| done.void).sum();
    assert_eq!(usize::try_from(void).unwrap(), before.stale);
    assert_eq!(before.fates, after.fates);
    for (number, fold) in after.folds.iter().enumerate() {
        let (control, from) = (fold.control(), before.folds[number % old].control());
        let log = control.log.unwrap();
        assert_eq!((log.partitions as usize, log.log_id), (new, done[number].log_id));
        assert_eq!(done[number].from_partition as usize, number % old);
        assert_eq!(i64::try_from(clone[number].len()).unwrap(), done[number].records);
        assert_eq!((control.fold, control.claim.is_some()), (from.fold, from.claim.is_some()));
        assert_eq!(control.log_time_us, from.log_time_us);
        for (log_id, partition) in control.sources.keys() {
            assert_eq!(done[*partition as usize].log_id, *log_id);
        }
        if number >= old {
            continue;
        }
        let strange: Vec<_> =
            (number..new).step_by(old).flat_map(|part| after.strange[part].clone()).collect();
        assert_eq!(strange.len(), before.strange[number].len());
    }
    let runs_of = |folds: &[Fold]| {
        let runs = folds.iter().flat_map(|fold| fold.runs().values());
        runs.map(|run| (run.header.run_id, without_offsets(run))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(runs_of(&before.folds), runs_of(&after.folds));
    let waiting = |folds: &[Fold]| {
        let entries = folds.iter().flat_map(|fold| fold.outbox().values());
        entries.map(|entry| (entry.payload.data.clone(), entry.target, entry.sender)).collect::<BTreeSet<_>>()
    };
    assert_eq!(waiting(&before.folds), waiting(&after.folds));
}

/// New owners claim their partitions and deliver what is on its way, as owners do: whatever the destination has not
/// accepted yet, in order. Then they do so again. Answers what arrived, by payload.
fn delivered(clone: &[Vec<Record>], done: &[Imported]) -> BTreeMap<Vec<u8>, usize> {
    let mut log = clone.to_vec();
    let mut folds = told(&log).folds;
    let mut put = |folds: &mut Vec<Fold>, partition: usize, record: NewRecord| {
        let NewRecord { key, headers, value } = record;
        let record = Record { offset: i64::try_from(log[partition].len()).unwrap(), key, headers, value };
        let verdict = folds[partition].apply(&record).unwrap().verdict;
        log[partition].push(record);
        verdict
    };
    for partition in 0..clone.len() {
        let author = Author::Candidate { process: "new".into() };
        let claimed = PartitionClaimed { replaces: folds[partition].control().claim };
        let entity = Entity::Partition(u32::try_from(partition).unwrap());
        let claim = encoded([200; 16], entity, author, &claimed.into());
        assert_eq!(put(&mut folds, partition, claim), Verdict::Accepted);
    }
    for _ in 0..2 {
        for partition in 0..clone.len() {
            let (source, number) = (done[partition].log_id, u32::try_from(partition).unwrap());
            let entries: Vec<_> = folds[partition].outbox().values().cloned().collect();
            for entry in entries {
                let destination = partition_of(entry.target, u32::try_from(clone.len()).unwrap()) as usize;
                let last = folds[destination].control().sources.get(&(source, number)).copied();
                if last.is_some_and(|last| entry.name <= last) {
                    continue;
                }
                let OutboxName { offset, index } = entry.name;
                let author =
                    Author::Outbox { source, partition: number, name: entry.name, predecessor: last };
                let event = RunSignaled { name: entry.signal, payload: entry.payload };
                let id = *EventId::outbox(source, offset, index).as_bytes();
                let message = encoded(id, Entity::Run(entry.target), author, &event.into());
                assert_ne!(put(&mut folds, destination, message), Verdict::Stale);
                assert_eq!(folds[destination].control().sources[&(source, number)], entry.name);
            }
        }
    }
    let mut arrived = BTreeMap::new();
    for (partition, records) in (0..).zip(&log) {
        let mut fold = Fold::new(partition);
        for record in records {
            let is_new = of_run(record).is_some_and(|(_, author)| is_new_to_control(&fold, author));
            let verdict = fold.apply(record).unwrap().verdict;
            if let Some((_, Author::Outbox { .. })) = of_run(record)
                && is_new
                && verdict != Verdict::Stale
            {
                *arrived.entry(payload(record)).or_default() += 1;
            }
        }
    }
    arrived
}

fn encoded(id: [u8; 16], entity: Entity, author: Author, event: &Event) -> NewRecord {
    let namespace = matches!(entity, Entity::Run(_)).then(|| name("default"));
    let event_id = EventId::from_bytes(id);
    let (cause, traceparent, recorded_at_us) = (None, None, START_US);
    encode(&Envelope { event_id, entity, namespace, recorded_at_us, cause, traceparent, author }, event)
        .unwrap()
}

fn payload(record: &Record) -> Vec<u8> {
    let tidewheel_schemas::RecordHeaders::Known(headers) = &record.headers else { return Vec::new() };
    match tidewheel_schemas::decode(headers, &record.value) {
        Ok((_, Event::RunSignaled(signal))) => signal.payload.data.to_vec(),
        Ok(_) | Err(_) => panic!("a message is a signal: {record:?}"),
    }
}

/// Every message that a run of the original sent, by payload.
fn sent(original: &[Vec<Record>]) -> BTreeSet<Vec<u8>> {
    let mut sent = BTreeSet::new();
    for (partition, records) in (0..).zip(original) {
        let mut fold = Fold::new(partition);
        for record in records {
            for change in fold.apply(record).unwrap().outbox {
                if let tidewheel_engine::OutboxChange::Put(entry) = change {
                    sent.insert(entry.payload.data.to_vec());
                }
            }
        }
    }
    sent
}

/// The original as far as it was cloned.
fn cut(mut original: Vec<Vec<Record>>, done: &[Imported]) -> Vec<Vec<Record>> {
    for (records, done) in original.iter_mut().zip(done) {
        let left_out = usize::try_from(done.left_out).unwrap();
        records.truncate(records.len() - left_out);
    }
    original
}

async fn check(log: &SharedLog, partitions: u32, times: u32, as_of: AsOf) -> Option<SharedLog> {
    let archive = seal(log, partitions).await;
    let (clone, done) = match widened(&archive, as_of, partitions * times).await {
        Ok(done) => done,
        // Before its partition began.
        Err(ArchiveError::Unknown { what, .. }) if what.contains("not begun") => return None,
        Err(error) => panic!("{error}"),
    };
    let original = cut(read(log, partitions).await, &done);
    let read = read(&clone, partitions * times).await;
    is_the_same(&original, &read, &done);
    let arrived = delivered(&read, &done);
    assert!(arrived.values().all(|times| *times == 1), "a message arrived twice: {arrived:?}");
    assert_eq!(arrived.into_keys().collect::<BTreeSet<_>>(), sent(&original));
    Some(clone)
}

fn in_runtime(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_wider_clone_has_every_run_as_it_was_and_every_message_once(
        partitions in 1_u32..4, times in 2_u32..4, steps in any_steps(250), again in 2_u32..4,
    ) {
        let mut world = World::new(partitions);
        steps.into_iter().for_each(|step| world.act(step));
        in_runtime(async {
            let clone = check(&world.log().await, partitions, times, AsOf::Newest).await.unwrap();
            check(&clone, partitions * times, again, AsOf::Newest).await.unwrap();
        });
    }

    #[test]
    fn a_wider_clone_of_any_time_is_the_past_of_that_time(
        partitions in 1_u32..4, steps in any_steps(150), at_us in 0_i64..150_000_000,
    ) {
        let mut world = World::new(partitions);
        steps.into_iter().for_each(|step| world.act(step));
        in_runtime(async {
            check(&world.log().await, partitions, 2, AsOf::Time(START_US + at_us)).await;
        });
    }
}

#[test]
fn what_a_run_remembers_of_events_it_forgets_at_the_same_record() {
    let mut world = World::new(1);
    // Two runs that part.
    let run = world.run_ids[0];
    let other = *world.run_ids.iter().find(|id| partition_of(**id, 2) != partition_of(run, 2)).unwrap();
    world.start(run);
    world.start(other);
    let signal = || Event::from(RunSignaled { name: name("go"), payload: Payload::null() });
    let step = |world: &mut World, coordinate: u32| {
        world.now_us += 400_000_000;
        let location = tidewheel_schemas::Location::top(coordinate);
        let (name, output) = (name("step"), Payload::null());
        world.owner_says(other, StepCompleted { location, name, attempt: 1, output }.into());
    };
    step(&mut world, 5_555);
    let first = world.outside_says(run, signal());
    for number in 0..1_005 {
        if number % 400 == 399 {
            step(&mut world, number);
        }
        world.outside_says(run, signal());
    }
    // After 800 seconds it is known, after 1,200 and another event it is not.
    world.outside_repeats(first, run, &signal());
    assert_eq!(world.folds[0].run(run).unwrap().header.externals, 1_006);
    step(&mut world, 9_999);
    world.outside_says(run, signal());
    world.outside_repeats(first, run, &signal());
    assert_eq!(world.folds[0].run(run).unwrap().header.externals, 1_008);
    in_runtime(async {
        check(&world.log().await, 1, 2, AsOf::Newest).await.unwrap();
    });
}

fn some_world() -> World {
    let mut world = World::new(2);
    let cycle = [Action::Start, Action::Send, Action::Signal, Action::Send, Action::Deliver, Action::Step];
    for (number, action) in cycle.into_iter().cycle().take(400).enumerate() {
        world.act((action, number / 3, number / 2, 1_000));
    }
    world
}

#[tokio::test]
async fn a_wider_clone_as_of_a_position_ends_with_its_record() {
    let log = some_world().log().await;
    let position = Position {
        log_id: world::log_id(1),
        family: TopicFamily::WorkflowEvents,
        datacenter: 0,
        partition: 1,
        offset: 50,
    };
    let archive = seal(&log, 2).await;
    let (_, done) = widened(&archive, AsOf::Position(position), 4).await.unwrap();
    let end = i64::try_from(read(&log, 2).await[1].len()).unwrap();
    assert_eq!(end - done[1].left_out, 51);
    check(&log, 2, 2, AsOf::Position(position)).await.unwrap();
}

#[tokio::test]
async fn a_replay_that_counts_offsets_of_other_partitions_ends_with_them() {
    let log = some_world().log().await;
    let archive = seal(&log, 2).await;
    for (partitions, is_running) in [(2, true), (6, false)] {
        let (clone, done) = widened(&archive, AsOf::Newest, partitions).await.unwrap();
        let mut fold = ConfigFold::new(0);
        let records = all(&*clone, &changes()).await;
        records.iter().for_each(|record| assert_eq!(fold.apply(record).unwrap().verdict, Verdict::Accepted));
        assert_eq!(done.last().unwrap().records, i64::try_from(records.len()).unwrap());
        assert_eq!(fold.views()[&name("local")].running().is_some(), is_running);
        // Another datacenter's partitions are not in this archive, nor in this clone.
        assert!(fold.views()[&name("elsewhere")].running().is_some());
        assert_eq!(fold.views()[&name("local")].active, 1);
    }
}

#[tokio::test]
async fn a_number_of_partitions_that_is_no_whole_multiple_is_refused_with_those_that_are() {
    let archive = seal(&some_world().log().await, 2).await;
    for asked in [0, 1, 3, 5] {
        let error = widened(&archive, AsOf::Newest, asked).await.err().unwrap().to_string();
        assert!(error.contains(&format!("{asked} partitions")) && error.contains("2, or a whole"), "{error}");
        assert!(error.contains("4 or 6"), "{error}");
    }
    let (topic, changes) = (runs(0).topic, changes().topic);
    let same = ImportPlan::make(&archive, &topic, &changes, AsOf::Newest, CloneIdentity::Same).await.unwrap();
    let error = same.with_partitions(4).unwrap_err().to_string();
    assert!(error.contains("--same-log"), "{error}");
}

#[tokio::test]
async fn a_message_of_a_record_that_sent_nothing_is_refused_by_name() {
    let mut world = World::new(1);
    let run = world.run_ids[0];
    world.start(run);
    // A stranger pretends that the claim, which every part gets, had sent a message.
    let author = Author::Outbox {
        source: world::log_id(0),
        partition: 0,
        name: OutboxName { offset: 1, index: 0 },
        predecessor: None,
    };
    let signal = RunSignaled { name: name("go"), payload: Payload::null() };
    world.records[0].push(encoded([7; 16], Entity::Run(run), author, &signal.into()));
    let archive = seal(&world.log().await, 1).await;
    match widened(&archive, AsOf::Newest, 2).await {
        Err(ArchiveError::Unmoved { offset: 3, what, .. }) => {
            assert!(what.contains("says nothing"), "{what}")
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was moved"),
    }
    let (topic, changes) = (runs(0).topic, changes().topic);
    let plain = ImportPlan::make(&archive, &topic, &changes, AsOf::Newest, CloneIdentity::Fresh).await;
    import(&MemoryLog::new(), &archive, &plain.unwrap(), &SystemClock::shared()).await.unwrap();
}

#[test]
fn log_ids_of_a_wider_clone_are_its_own() {
    in_runtime(async {
        let archive = seal(&some_world().log().await, 2).await;
        let (_, done) = widened(&archive, AsOf::Newest, 6).await.unwrap();
        let ids: BTreeSet<LogId> = done.iter().flat_map(|done| [done.log_id, done.from_log_id]).collect();
        // Six parts of two, and the configuration's one.
        assert_eq!(ids.len(), 7 + 3);
    });
}
