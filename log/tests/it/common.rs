//! Folders, logs and appends the tests share.

use std::fs;
use std::path::{Path, PathBuf};

use tidewheel_log::{EventLog, FileLog, FileLogOptions};
use tidewheel_schemas::{Record, Topic, TopicPartition};

/// Options with segments so small that a few records fill one.
pub fn small(directory: &Path) -> FileLogOptions {
    FileLogOptions { segment_bytes: 4096, ..FileLogOptions::new(directory) }
}

pub fn place() -> TopicPartition {
    TopicPartition::new(Topic::new("tests"), 0)
}

/// Opens a log that has the partition [`place`].
pub async fn open(options: FileLogOptions) -> FileLog {
    let log = FileLog::open(options).unwrap();
    log.create_topic(&place().topic, 1).await.unwrap();
    log
}

pub async fn all(log: &FileLog, from: &TopicPartition) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let offset = records.last().map_or(0, |last| last.offset + 1);
        let next = log.read(from, offset, 1_000).await.unwrap();
        if next.is_empty() {
            return records;
        }
        records.extend(next);
    }
}

pub fn values(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
}

/// The segment files, ascending.
pub fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    paths.sort();
    paths
}

/// Where the groups in a segment's bytes begin.
pub fn groups(bytes: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = bytes.windows(4).position(|window| window == b"TWG1");
    while let Some(begin) = at {
        found.push(begin);
        let length = u32::from_le_bytes(bytes[begin + 4..begin + 8].try_into().unwrap());
        let next = begin + 44 + usize::try_from(length).unwrap();
        at = bytes.get(next..next + 4).is_some_and(|magic| magic == b"TWG1").then_some(next);
    }
    found
}
