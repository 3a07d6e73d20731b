//! What crashes and rotten disks leave behind: torn last groups are cut off, damage is refused with its place.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tidewheel_log::suite::record;
use tidewheel_log::{EventLog, FileLog, FileLogOptions, LogError};

use crate::common::{all, groups, open, place, segments, small, values};

/// A closed log of `records` groups in one segment: the options to open it with, and the segment's bytes.
async fn written(folder: &Path, records: usize) -> (FileLogOptions, Vec<u8>) {
    let options = FileLogOptions { segment_bytes: 64 << 10, ..FileLogOptions::new(folder) };
    let log = open(options.clone()).await;
    for number in 0..records {
        log.append(&place(), vec![record(&format!("record {number}"))]).await.unwrap();
    }
    drop(log);
    let bytes = fs::read(&segments(folder)[0]).unwrap();
    (options, bytes)
}

/// Opens the log and checks that it holds the first `records` records, takes one more, and still has all of them
/// when opened again.
async fn holds(options: &FileLogOptions, records: usize, what: &str) {
    let mut expected: Vec<String> = (0..records).map(|number| format!("record {number}")).collect();
    let log = open(options.clone()).await;
    assert_eq!(values(&all(&log, &place()).await), expected, "{what}");
    log.append(&place(), vec![record("more")]).await.unwrap();
    expected.push("more".to_owned());
    drop(log);
    let log = open(options.clone()).await;
    assert_eq!(values(&all(&log, &place()).await), expected, "{what}, opened again");
}

#[tokio::test]
async fn a_torn_last_group_is_truncated() {
    let folder = TempDir::new().unwrap();
    let (options, bytes) = written(folder.path(), 4).await;
    let path = &segments(folder.path())[0];
    let last = *groups(&bytes).last().unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // Nothing of it, parts of its header, the header alone, parts of its frames, all but a byte.
    let cuts = [0, 1, 4, 5, 23, 40, 43, 44, 45, 60, end - last - 1];
    for cut in cuts {
        // The file as short as the cut, and as long as it was reserved.
        fs::write(path, &bytes[..last + cut]).unwrap();
        holds(&options, 3, &format!("cut after {cut} bytes, short file")).await;
        let mut zeroed = bytes.clone();
        zeroed[last + cut..].fill(0);
        fs::write(path, &zeroed).unwrap();
        holds(&options, 3, &format!("cut after {cut} bytes, reserved file")).await;
    }
}

#[tokio::test]
async fn a_tail_of_garbage_is_truncated() {
    let folder = TempDir::new().unwrap();
    let (options, bytes) = written(folder.path(), 4).await;
    let path = &segments(folder.path())[0];
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for garbage in [1, 43, 44, 200, 5_000] {
        let mut torn = bytes.clone();
        for (number, byte) in torn[end..end + garbage].iter_mut().enumerate() {
            *byte = (number * 131 % 255) as u8 + 1;
        }
        fs::write(path, &torn).unwrap();
        holds(&options, 4, &format!("{garbage} bytes of garbage")).await;
    }
    // A last group whose bytes arrived in the wrong order: the end without the middle.
    let last = *groups(&bytes).last().unwrap();
    let mut torn = bytes.clone();
    torn[last + 50..last + 60].fill(0);
    fs::write(path, &torn).unwrap();
    holds(&options, 3, "a hole in the last group").await;
}

#[tokio::test]
async fn leftovers_of_a_torn_group_never_come_back() {
    let folder = TempDir::new().unwrap();
    let (options, bytes) = written(folder.path(), 4).await;
    let path = &segments(folder.path())[0];
    let last = *groups(&bytes).last().unwrap();
    let mut torn = bytes.clone();
    torn[last] ^= 1;
    fs::write(path, &torn).unwrap();
    drop(open(options).await);
    let mended = fs::read(path).unwrap();
    assert_eq!(mended[..last], bytes[..last]);
    assert!(mended[last..].iter().all(|byte| *byte == 0), "the torn group was left in the file");
}

#[tokio::test]
async fn one_flipped_byte_in_the_middle_is_refused_with_its_place() {
    let folder = TempDir::new().unwrap();
    let (options, bytes) = written(folder.path(), 6).await;
    let path = &segments(folder.path())[0];
    let begins = groups(&bytes);
    // Group 0 creates the topic; any byte of group 3, in its header or in its frames.
    for at in begins[3]..begins[4] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x40;
        fs::write(path, &flipped).unwrap();
        match FileLog::open(options.clone()) {
            Err(LogError::Damaged { segment, group, byte, what }) => {
                assert_eq!(segment, path.file_name().unwrap().to_str().unwrap());
                assert_eq!((group, byte), (3, begins[3] as u64), "byte {at}: {what}");
            }
            Err(other) => panic!("byte {at} flipped: {other}"),
            Ok(_) => panic!("byte {at} flipped, and the log was opened"),
        }
        assert_eq!(fs::read(path).unwrap(), flipped, "a refused log was changed");
    }
    fs::write(path, &bytes).unwrap();
    holds(&options, 6, "the byte flipped back").await;
}

#[tokio::test]
async fn a_flipped_byte_in_a_complete_segment_is_refused_where_it_is_read() {
    let folder = TempDir::new().unwrap();
    let log = open(small(folder.path())).await;
    for number in 0..100 {
        log.append(&place(), vec![record(&number.to_string())]).await.unwrap();
    }
    drop(log);
    let path = &segments(folder.path())[1];
    let mut bytes = fs::read(path).unwrap();
    let begins = groups(&bytes);
    bytes[begins[2] + 70] ^= 1;
    fs::write(path, &bytes).unwrap();
    let log = open(small(folder.path())).await;
    let damaged = |error: LogError| match error {
        LogError::Damaged { segment, byte, .. } => {
            assert_eq!(segment, path.file_name().unwrap().to_str().unwrap());
            assert_eq!(byte, begins[2] as u64);
        }
        other => panic!("{other}"),
    };
    damaged(log.verify().unwrap_err());
    let mut tail = log.tail(&place(), 0).await.unwrap();
    let mut next = 0;
    let error = loop {
        match tail.next(1).await {
            Ok(records) => {
                assert_eq!(records[0].offset, next);
                next += 1;
            }
            Err(error) => break error,
        }
    };
    damaged(error);
    assert!(next > 0, "the records before the damage are readable");
    // What lies behind it still is, too, for who asks for it.
    assert_eq!(values(&log.read(&place(), 99, 1).await.unwrap()), ["99"]);
}

#[tokio::test]
async fn missing_cut_and_foreign_segments_are_refused() {
    let folder = TempDir::new().unwrap();
    let log = open(small(folder.path())).await;
    for number in 0..100 {
        log.append(&place(), vec![record(&number.to_string())]).await.unwrap();
    }
    drop(log);
    let paths = segments(folder.path());
    let refused = |what: &str| {
        let error = FileLog::open(small(folder.path())).err();
        assert!(matches!(error, Some(LogError::Damaged { .. })), "{what}: {error:?}");
    };
    for path in [&paths[0], &paths[1]] {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        refused("a missing segment");
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        refused("a complete segment cut by a byte");
        fs::write(path, fs::read(&paths[2]).unwrap()).unwrap();
        refused("a segment under the wrong name");
        fs::write(path, &bytes).unwrap();
    }
    let last = paths.last().unwrap();
    let bytes = fs::read(last).unwrap();
    let mut flipped = bytes.clone();
    flipped[30] ^= 1;
    fs::write(last, &flipped).unwrap();
    refused("a flipped byte in the header of the last segment");
    fs::write(last, &bytes).unwrap();
    assert_eq!(all(&open(small(folder.path())).await, &place()).await.len(), 100);
}
