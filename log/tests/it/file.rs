//! The file log: the suite with roomy and with tiny segments, reopening, locking, bounds.

use std::future::{Ready, ready};
use std::sync::Arc;

use tempfile::TempDir;
use tidewheel_log::suite::{record, record_at};
use tidewheel_log::{Durability, EventLog, FileLog, FileLogOptions, LogError, SharedLog};
use tidewheel_schemas::{Topic, TopicPartition};

use crate::common::{all, open, place, segments, small, values};

mod roomy {
    use super::*;

    fn make() -> Ready<(SharedLog, TempDir)> {
        let folder = TempDir::new().unwrap();
        let options = FileLogOptions { segment_bytes: 1 << 20, ..FileLogOptions::new(folder.path()) };
        ready((Arc::new(FileLog::open(options).unwrap()), folder))
    }

    tidewheel_log::log_suite!(make);
}

/// Segments of a few records, and nothing kept in memory: every read goes to the files.
mod tiny {
    use super::*;

    fn make() -> Ready<(SharedLog, TempDir)> {
        let folder = TempDir::new().unwrap();
        let options =
            FileLogOptions { recent_bytes_max: 0, durability: Durability::Os, ..small(folder.path()) };
        ready((Arc::new(FileLog::open(options).unwrap()), folder))
    }

    tidewheel_log::log_suite!(make);
}

#[tokio::test]
async fn a_reopened_log_has_everything_and_goes_on() {
    let folder = TempDir::new().unwrap();
    let mut sent = Vec::new();
    for round in 0..5 {
        let log = open(small(folder.path())).await;
        assert_eq!(values(&all(&log, &place()).await), sent);
        for number in 0..30 {
            let text = format!("{round}.{number}");
            let offset = log.append(&place(), vec![record_at(&text, number)]).await.unwrap().first();
            assert_eq!(offset, i64::try_from(sent.len()).unwrap());
            sent.push(text);
        }
        let other = Topic::new(&format!("other.{round}"));
        log.create_topic(&other, 2).await.unwrap();
        log.append(&TopicPartition::new(other, 1), vec![record("elsewhere")]).await.unwrap();
        assert_eq!(values(&all(&log, &place()).await), sent);
        log.verify().unwrap();
    }
    assert!(segments(folder.path()).len() > 5, "the test was to go through several segments");
    let log = open(small(folder.path())).await;
    assert_eq!(values(&all(&log, &place()).await), sent);
    assert_eq!(log.partitions(&Topic::new("other.3")).await.unwrap(), Some(2));
    let elsewhere = TopicPartition::new(Topic::new("other.3"), 1);
    assert_eq!(values(&all(&log, &elsewhere).await), ["elsewhere"]);
    assert!(matches!(
        log.create_topic(&place().topic, 2).await,
        Err(LogError::PartitionCount { found: 1, .. })
    ));
}

#[tokio::test]
async fn times_and_offsets_are_found_across_segments_with_and_without_saved_indexes() {
    let folder = TempDir::new().unwrap();
    let log = open(small(folder.path())).await;
    for number in 0..200 {
        log.append(&place(), vec![record_at(&number.to_string(), number * 10)]).await.unwrap();
    }
    drop(log);
    for remove_indexes in [false, true] {
        if remove_indexes {
            for segment in segments(folder.path()) {
                let _ = std::fs::remove_file(segment.with_extension("index"));
            }
        }
        let log = open(small(folder.path())).await;
        for number in (0..200).step_by(7) {
            assert_eq!(log.offset_for_time(&place(), number * 10 - 3).await.unwrap(), number);
            let found = log.read(&place(), number, 1).await.unwrap();
            assert_eq!(values(&found), [number.to_string()]);
        }
        assert_eq!(log.offset_for_time(&place(), i64::MAX).await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_tail_goes_from_the_segments_to_memory_without_a_gap() {
    let folder = TempDir::new().unwrap();
    // Room for a few records in memory, so that a slow tail falls out of it again and again.
    let log = open(FileLogOptions { recent_bytes_max: 4_000, ..small(folder.path()) }).await;
    let mut tail = log.tail(&place(), 0).await.unwrap();
    let mut found = Vec::new();
    for number in 0..400_usize {
        log.append(&place(), vec![record(&number.to_string())]).await.unwrap();
        if number % 50 < 10 {
            found.extend(tail.next(1 + number % 30).await.unwrap());
        }
    }
    while found.len() < 400 {
        found.extend(tail.next(100).await.unwrap());
    }
    let expected: Vec<String> = (0..400).map(|number| number.to_string()).collect();
    assert_eq!(values(&found), expected);
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_has_closed() {
    let folder = TempDir::new().unwrap();
    let log = open(small(folder.path())).await;
    let Err(LogError::Locked { path }) = FileLog::open(small(folder.path())) else {
        panic!("a second opener was let in");
    };
    assert_eq!(path, folder.path().display().to_string());
    log.close();
    assert!(FileLog::open(small(folder.path())).is_ok());
}

#[tokio::test]
async fn a_closed_log_has_written_what_was_submitted_and_ends_its_tails() {
    let folder = TempDir::new().unwrap();
    let log = open(small(folder.path())).await;
    let mut tail = log.tail(&place(), 0).await.unwrap();
    let appends: Vec<_> =
        (0..100).map(|number| log.append(&place(), vec![record(&number.to_string())])).collect();
    log.close();
    for append in appends {
        append.await.unwrap();
    }
    assert!(matches!(log.append(&place(), vec![record("late")]).await, Err(LogError::Closed)));
    let mut found = 0;
    while found < 100 {
        found += tail.next(1_000).await.unwrap().len();
    }
    assert!(matches!(tail.next(1).await, Err(LogError::Closed)));
}

#[tokio::test]
async fn a_batch_larger_than_a_segment_is_appended_whole() {
    let folder = TempDir::new().unwrap();
    let log = open(FileLogOptions { recent_bytes_max: 0, ..small(folder.path()) }).await;
    let large = "x".repeat(3_000);
    log.append(&place(), vec![record("before")]).await.unwrap();
    log.append(&place(), (0..10).map(|_| record(&large)).collect()).await.unwrap();
    log.append(&place(), vec![record("after")]).await.unwrap();
    drop(log);
    let log = open(small(folder.path())).await;
    let found = values(&all(&log, &place()).await);
    assert_eq!((found.len(), &*found[0], found[5] == large, &*found[11]), (12, "before", true, "after"));
}

#[tokio::test]
async fn an_open_log_keeps_no_more_in_memory_than_it_was_told() {
    let folder = TempDir::new().unwrap();
    let log =
        open(FileLogOptions { segment_bytes: 1 << 20, recent_bytes_max: 100_000, ..small(folder.path()) })
            .await;
    let value = bytes::Bytes::from(vec![7; 10_000]);
    for _ in 0..100 {
        let large = tidewheel_schemas::NewRecord { value: value.clone(), ..record("") };
        log.append(&place(), vec![large]).await.unwrap();
    }
    // A record kept in memory shares the bytes it was submitted with.
    let mut shared = 0;
    for offset in 0..100 {
        let found = log.read(&place(), offset, 1).await.unwrap();
        assert_eq!(found[0].value, value);
        shared += usize::from(found[0].value.as_ptr() == value.as_ptr());
    }
    assert!((1..=10).contains(&shared), "{shared} records of 10,000 bytes were kept");
}
