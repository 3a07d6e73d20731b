//! Disks that are slow, full or broken.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tidewheel_log::file::Disk;
use tidewheel_log::suite::record;
use tidewheel_log::{Appended, EventLog, FileLog, FileLogOptions, LogError};

use crate::common::{all, open, place, small, values};

/// A disk whose faults are switched on by the test.
#[derive(Default)]
struct FaultyDisk {
    /// Groups are written by halves, then the write fails.
    full: AtomicBool,
    /// There is no room for another segment.
    no_segments: AtomicBool,
    sync_fails: AtomicBool,
    /// While there, every sync waits for a message.
    gate: Mutex<Option<Receiver<()>>>,
    syncs: AtomicUsize,
}

fn no_space() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl Disk for FaultyDisk {
    fn write_group(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            file.write_all_at(&bytes[..bytes.len() / 2], at)?;
            return Err(no_space());
        }
        file.write_all_at(bytes, at)
    }

    fn sync_group(&self, file: &File) -> io::Result<()> {
        let gate = self.gate.lock();
        if let Some(gate) = &*gate {
            gate.recv_timeout(Duration::from_secs(30)).map_err(io::Error::other)?;
        }
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the device does not answer"));
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
        file.sync_data()
    }

    fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        if self.no_segments.load(Ordering::SeqCst) {
            return Err(no_space());
        }
        file.write_all_at(&vec![0; usize::try_from(to - from).unwrap()], from)
    }
}

impl FaultyDisk {
    fn gated(&self) -> SyncSender<()> {
        let (sender, receiver) = sync_channel(100);
        *self.gate.lock() = Some(receiver);
        sender
    }
}

async fn open_faulty(folder: &TempDir) -> (FileLog, Arc<FaultyDisk>) {
    let disk = Arc::new(FaultyDisk::default());
    let faulty = Arc::clone(&disk) as Arc<dyn Disk>;
    (open(FileLogOptions { disk: faulty, ..small(folder.path()) }).await, disk)
}

/// Appends, and whether it worked.
async fn append(log: &FileLog, text: &str) -> Result<Appended, LogError> {
    log.append(&place(), vec![record(text)]).await
}

#[tokio::test]
async fn a_full_disk_refuses_batches_and_the_log_goes_on_when_there_is_room_again() {
    let folder = TempDir::new().unwrap();
    let (log, disk) = open_faulty(&folder).await;
    append(&log, "first").await.unwrap();
    disk.full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        match append(&log, "no room").await {
            Err(error @ LogError::Refused { .. }) => {
                assert!(error.to_string().contains("nothing was appended"), "{error}");
            }
            other => panic!("a full disk was answered with {other:?}"),
        }
    }
    assert_eq!(values(&all(&log, &place()).await), ["first"]);
    disk.full.store(false, Ordering::SeqCst);
    assert_eq!(append(&log, "second").await.unwrap().first(), 1);
    drop(log);
    assert_eq!(values(&all(&open(small(folder.path())).await, &place()).await), ["first", "second"]);
}

#[tokio::test]
async fn without_room_for_another_segment_batches_are_refused_until_there_is() {
    let folder = TempDir::new().unwrap();
    let (log, disk) = open_faulty(&folder).await;
    disk.no_segments.store(true, Ordering::SeqCst);
    let mut sent = Vec::new();
    loop {
        let text = format!("record {}", sent.len());
        match append(&log, &text).await {
            Ok(_) => sent.push(text),
            Err(LogError::Refused { .. }) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(sent.len() < 1_000, "the segment never filled");
    }
    assert!(append(&log, "still no room").await.is_err());
    assert_eq!(values(&all(&log, &place()).await), sent);
    disk.no_segments.store(false, Ordering::SeqCst);
    assert_eq!(append(&log, "room").await.unwrap().first(), i64::try_from(sent.len()).unwrap());
    sent.push("room".to_owned());
    drop(log);
    assert_eq!(values(&all(&open(small(folder.path())).await, &place()).await), sent);
}

#[tokio::test]
async fn a_failed_sync_ends_the_log_calls_the_hook_and_acknowledges_nothing() {
    let folder = TempDir::new().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let failures = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&failures);
    let options = FileLogOptions {
        disk: Arc::clone(&disk) as Arc<dyn Disk>,
        on_failure: Some(Arc::new(move |error: &LogError| seen.lock().push(error.to_string()))),
        ..small(folder.path())
    };
    let log = open(options).await;
    append(&log, "durable").await.unwrap();
    let mut tail = log.tail(&place(), 0).await.unwrap();
    assert_eq!(values(&tail.next(10).await.unwrap()), ["durable"]);

    disk.sync_fails.store(true, Ordering::SeqCst);
    let on_the_way: Vec<_> =
        (0..10).map(|number| log.append(&place(), vec![record(&number.to_string())])).collect();
    for append in on_the_way {
        assert!(matches!(append.await, Err(LogError::Failed(_))));
    }
    assert!(matches!(tail.next(10).await, Err(LogError::Failed(_))), "a tail waits for a failed log");
    disk.sync_fails.store(false, Ordering::SeqCst);
    let later = append(&log, "later").await;
    assert!(matches!(later, Err(LogError::Failed(_))), "a failed log took an append: {later:?}");
    assert!(log.create_topic(&tidewheel_schemas::Topic::new("later"), 1).await.is_err());
    assert_eq!(values(&all(&log, &place()).await), ["durable"]);
    assert_eq!(failures.lock().len(), 1);
    assert!(failures.lock()[0].contains("the device does not answer"));
}

#[tokio::test]
async fn nothing_is_visible_or_acknowledged_before_it_is_synced() {
    let folder = TempDir::new().unwrap();
    let (log, disk) = open_faulty(&folder).await;
    append(&log, "durable").await.unwrap();
    let gate = disk.gated();
    let mut tail = log.tail(&place(), 1).await.unwrap();
    for round in 1..=20 {
        let mut pending = log.append(&place(), vec![record("written"), record("not synced")]);
        let end = round * 2 - 1;
        // Long enough that the group lies in the file, waiting for its sync.
        let early = tokio::time::timeout(Duration::from_millis(3), &mut pending).await;
        assert!(early.is_err(), "acknowledged before it was synced");
        assert_eq!(log.bounds(&place()).await.unwrap().end, end);
        assert!(log.read(&place(), end, 10).await.unwrap().is_empty());
        assert!(log.read(&place(), end + 1, 10).await.is_err());
        assert_eq!(log.offset_for_time(&place(), i64::MAX).await.unwrap(), end);
        let early = tokio::time::timeout(Duration::from_millis(1), tail.next(10)).await;
        assert!(early.is_err(), "a tail saw what was not synced");
        gate.send(()).unwrap();
        assert_eq!(pending.await.unwrap().first(), end);
        assert_eq!(tail.next(10).await.unwrap().len(), 2);
    }
    drop(gate);
    *disk.gate.lock() = None;
}

#[tokio::test]
async fn what_queues_during_a_sync_shares_the_next_one() {
    let folder = TempDir::new().unwrap();
    let (log, disk) = open_faulty(&folder).await;
    let topic = tidewheel_schemas::Topic::new("four");
    log.create_topic(&topic, 4).await.unwrap();
    let gate = disk.gated();
    let before = disk.syncs.load(Ordering::SeqCst);
    let first = log.append(&place(), vec![record("first")]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let queued: Vec<_> = (0..100)
        .map(|number| tidewheel_schemas::TopicPartition::new(topic.clone(), number % 4))
        .map(|partition| log.append(&partition, vec![record("queued")]))
        .collect();
    (0..3).for_each(|_| gate.send(()).unwrap());
    first.await.unwrap();
    for append in queued {
        append.await.unwrap();
    }
    // The first one, the hundred together, and at most one more for what came while the first was taken.
    assert!(disk.syncs.load(Ordering::SeqCst) - before <= 3);
    drop(gate);
    *disk.gate.lock() = None;
}

#[tokio::test]
async fn over_the_bounds_of_the_queue_nothing_is_appended() {
    let folder = TempDir::new().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let faulty = Arc::clone(&disk) as Arc<dyn Disk>;
    let options = FileLogOptions {
        disk: faulty,
        queue_records_max: 10,
        queue_bytes_max: 2_000,
        segment_bytes: 64 << 10,
        ..small(folder.path())
    };
    let log = open(options).await;
    let gate = disk.gated();
    let mut accepted = Vec::new();
    for number in 0..10 {
        accepted.push(log.append(&place(), vec![record(&number.to_string())]));
    }
    assert!(matches!(append(&log, "one more").await, Err(LogError::Overloaded)));
    (0..20).for_each(|_| gate.send(()).unwrap());
    for append in accepted {
        append.await.unwrap();
    }
    let large = log.append(&place(), vec![record(&"x".repeat(1_800))]);
    assert!(matches!(append(&log, &"y".repeat(500)).await, Err(LogError::Overloaded)));
    large.await.unwrap();
    assert_eq!(append(&log, "room again").await.unwrap().first(), 11);
    assert_eq!(all(&log, &place()).await.len(), 12);
    drop(gate);
    *disk.gate.lock() = None;
}

#[tokio::test]
async fn the_last_group_is_synced_again_before_it_is_believed() {
    let folder = TempDir::new().unwrap();
    drop(open(small(folder.path())).await);
    let disk = Arc::new(FaultyDisk::default());
    disk.sync_fails.store(true, Ordering::SeqCst);
    let faulty = Arc::clone(&disk) as Arc<dyn Disk>;
    let refused = FileLog::open(FileLogOptions { disk: faulty, ..small(folder.path()) });
    assert!(matches!(refused, Err(LogError::Io { .. })));
    disk.sync_fails.store(false, Ordering::SeqCst);
    let opened = FileLog::open(FileLogOptions { disk, ..small(folder.path()) });
    assert!(opened.is_ok());
}
