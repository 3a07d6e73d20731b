//! Trimming a file log: whole segments go, what others need stays, and a kill in between is finished by the next start.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tidewheel_log::suite::{record_at, texts};
use tidewheel_log::{Bounds, EventLog, FileLog, FileLogOptions, LogError};
use tidewheel_schemas::{Topic, TopicPartition};

use crate::common::{segments, small};

fn options(folder: &Path) -> FileLogOptions {
    FileLogOptions { recent_bytes_max: 0, ..small(folder) }
}

fn busy() -> TopicPartition {
    TopicPartition::new(Topic::new("busy"), 0)
}

fn kept() -> TopicPartition {
    TopicPartition::new(Topic::new("kept"), 0)
}

/// 600 records in the busy partition, one in a hundred also in the one that is never trimmed.
async fn filled(folder: &Path) -> FileLog {
    let log = FileLog::open(options(folder)).unwrap();
    log.create_topic(&busy().topic, 1).await.unwrap();
    log.create_topic(&kept().topic, 1).await.unwrap();
    for number in 0..600 {
        log.append(&busy(), vec![record_at(&format!("busy {number}"), number)]).await.unwrap();
        if number % 100 == 50 {
            log.append(&kept(), vec![record_at(&format!("kept {number}"), number)]).await.unwrap();
        }
    }
    log
}

async fn all(log: &FileLog, of: &TopicPartition) -> Vec<String> {
    let Bounds { start, end } = log.bounds(of).await.unwrap();
    let mut found = Vec::new();
    let mut next = start;
    while next < end {
        let records = log.read(of, next, 100).await.unwrap();
        next = records.last().unwrap().offset + 1;
        found.extend(texts(&records));
    }
    found
}

/// What must be there when the busy partition begins at `start`.
async fn check(log: &FileLog, start: i64) {
    assert_eq!(log.bounds(&busy()).await.unwrap(), Bounds { start, end: 600 });
    let expected: Vec<String> = (start..600).map(|number| format!("busy {number}")).collect();
    assert_eq!(all(log, &busy()).await, expected);
    let expected: Vec<String> = (0..6).map(|number| format!("kept {}", number * 100 + 50)).collect();
    assert_eq!(all(log, &kept()).await, expected);
    assert_eq!(log.bounds(&kept()).await.unwrap(), Bounds { start: 0, end: 6 });
    for time_us in [0, 49, 50, 51, 250, 333, 599] {
        assert_eq!(log.offset_for_time(&busy(), time_us).await.unwrap(), time_us.max(start), "at {time_us}");
        assert_eq!(
            log.offset_for_time(&kept(), time_us).await.unwrap(),
            (time_us + 49) / 100,
            "at {time_us}"
        );
    }
    log.verify().unwrap();
}

#[tokio::test]
async fn whole_segments_go_and_those_that_another_partition_needs_stay() {
    let folder = TempDir::new().unwrap();
    let log = filled(folder.path()).await;
    let before = segments(folder.path()).len();
    for limit in [150, 151, 420, 600] {
        log.trim(&[(busy(), limit)].into()).await.unwrap();
        let start = log.bounds(&busy()).await.unwrap().start;
        assert!(start > limit - 60 && start <= limit, "{start} is not just below {limit}");
        check(&log, start).await;
    }
    let after = segments(folder.path());
    assert!(after.len() <= 8 && after.len() >= 6, "{} of {before} segments are left", after.len());
    assert!(after[0].ends_with("00000000000000000000.segment") || after.len() < before);
    let start = log.bounds(&busy()).await.unwrap().start;
    drop(log);
    for _ in 0..2 {
        let log = FileLog::open(options(folder.path())).unwrap();
        check(&log, start).await;
    }
}

#[tokio::test]
async fn a_kill_between_the_note_and_the_last_removal_is_finished_by_the_next_start() {
    let folder = TempDir::new().unwrap();
    let copies = TempDir::new().unwrap();
    let log = filled(folder.path()).await;
    for path in segments(folder.path()) {
        fs::copy(&path, copies.path().join(path.file_name().unwrap())).unwrap();
    }
    log.trim(&[(busy(), 400)].into()).await.unwrap();
    let start = log.bounds(&busy()).await.unwrap().start;
    let left = segments(folder.path()).len();
    drop(log);
    let gone: Vec<_> = segments(copies.path())
        .into_iter()
        .filter(|path| !folder.path().join(path.file_name().unwrap()).exists())
        .collect();
    assert!(gone.len() > 5);
    // Whatever part of them had been removed.
    for kept in [1, gone.len() / 2, gone.len()] {
        for path in &gone[gone.len() - kept..] {
            fs::copy(path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        let log = FileLog::open(options(folder.path())).unwrap();
        check(&log, start).await;
        assert_eq!(segments(folder.path()).len(), left);
    }
}

#[tokio::test]
async fn a_segment_that_nobody_trimmed_and_a_damaged_note_are_refused() {
    let folder = TempDir::new().unwrap();
    let log = filled(folder.path()).await;
    log.trim(&[(busy(), 300)].into()).await.unwrap();
    drop(log);
    let lost = segments(folder.path())[3].clone();
    let bytes = fs::read(&lost).unwrap();
    fs::remove_file(&lost).unwrap();
    let missing = FileLog::open(options(folder.path())).unwrap_err();
    assert!(missing.to_string().contains(lost.file_name().unwrap().to_str().unwrap()), "{missing}");
    fs::write(&lost, bytes).unwrap();
    let note = folder.path().join("trimmed");
    let mut bytes = fs::read(&note).unwrap();
    bytes[20] ^= 1;
    fs::write(&note, &bytes).unwrap();
    assert!(matches!(FileLog::open(options(folder.path())), Err(LogError::Damaged { .. })));
    bytes[20] ^= 1;
    fs::write(&note, &bytes).unwrap();
    FileLog::open(options(folder.path())).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_writers_at_work_do_not_notice() {
    let folder = TempDir::new().unwrap();
    let log = std::sync::Arc::new(filled(folder.path()).await);
    let writer = {
        let log = std::sync::Arc::clone(&log);
        tokio::spawn(async move {
            for number in 600..2_000 {
                log.append(&busy(), vec![record_at(&format!("busy {number}"), number)]).await.unwrap();
            }
        })
    };
    let mut tail = log.tail(&busy(), 0).await.unwrap();
    let mut next = 0;
    while next < 2_000 {
        for record in tail.next(50).await.unwrap() {
            assert_eq!((record.offset, &*record.value), (next, format!("busy {next}").as_bytes()));
            next += 1;
        }
        // Right behind the reader.
        log.trim(&[(busy(), next)].into()).await.unwrap();
    }
    writer.await.unwrap();
    assert!(log.bounds(&busy()).await.unwrap().start > 1_900);
}

/// Pages are read from places that were kept where the last ones ended, of which there are fewer than readers here.
#[tokio::test]
async fn pages_go_on_where_the_last_ones_ended_whatever_is_appended_and_trimmed_meanwhile() {
    let folder = TempDir::new().unwrap();
    let log = filled(folder.path()).await;
    let mut readers: Vec<i64> = (0..24).map(|reader| reader * 20).collect();
    for round in 0..30 {
        let number = 600 + round;
        log.append(&busy(), vec![record_at(&format!("busy {number}"), number)]).await.unwrap();
        if round == 10 {
            log.trim(&[(busy(), 300)].into()).await.unwrap();
        }
        let Bounds { start, end } = log.bounds(&busy()).await.unwrap();
        for next in &mut readers {
            match log.read(&busy(), *next, 13).await {
                Ok(records) => {
                    let expected: Vec<String> =
                        (*next..end.min(*next + 13)).map(|number| format!("busy {number}")).collect();
                    assert_eq!(texts(&records), expected);
                    *next += i64::try_from(records.len()).unwrap();
                }
                Err(LogError::Trimmed { asked, .. }) => {
                    assert!(asked < start, "{asked} was not trimmed");
                    *next = start;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    // Pages that end where their partition does, and one in the segment that goes next.
    assert_eq!(all(&log, &kept()).await.len(), 6);
    let start = log.bounds(&busy()).await.unwrap().start;
    assert_eq!(log.read(&busy(), start, 2).await.unwrap().len(), 2);
    log.trim(&[(busy(), 600), (kept(), 6)].into()).await.unwrap();
    assert!(log.bounds(&busy()).await.unwrap().start > start + 2);
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open =
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).map(|path| path.display().to_string());
    let folder = folder.path().display().to_string();
    let gone: Vec<String> =
        open.filter(|path| path.starts_with(&folder) && path.ends_with("(deleted)")).collect();
    assert!(gone.is_empty(), "trimmed segments are held open: {gone:?}");
}
