//! Cold rebuild (W7): how fast the views of a log are built from the log alone, and how much memory it takes.

mod verified;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tidewheel_log::{EventLog, FileLog, FileLogOptions, LogError};
use tidewheel_replay::{RebuildError, RebuildOptions, Rebuilt, Turns, VerifyError, Views, rebuild};
use tidewheel_schemas::{Topic, TopicPartition};
use tidewheel_store::{EmbeddedOptions, EmbeddedStore, Generation, StoreError};

pub use self::verified::VerifiedReport;
use crate::history::{History, HistoryError};
use crate::process::Usage;

/// Records appended at once when a log is made.
const BATCH_RECORDS: usize = 2_000;
/// When the sample history begins, microseconds since 1970.
const START_US: i64 = 1_700_000_000_000_000;

/// What is rebuilt.
#[derive(Debug, Clone)]
pub struct RebuildBench {
    /// Folder of the log.
    pub log_folder: PathBuf,
    /// Where the views are built: a folder of its own is made in here and removed afterwards.
    pub scratch: PathBuf,
    /// The topic.
    pub topic: Topic,
    /// Partitions of a log that is made.
    pub partitions: u32,
    /// Records of a log that is made, all partitions together.
    pub records: u64,
    /// Bytes of the inputs, signals and results in it.
    pub payload_bytes: usize,
    /// How much is held in memory.
    pub options: RebuildOptions,
    /// Whether the views are compared with the log afterwards.
    pub verify: bool,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct RebuildReport {
    /// Partitions, rebuilt at once.
    pub partitions: u32,
    /// Records folded.
    pub records: u64,
    /// Rows put and deleted.
    pub rows: u64,
    /// Chunks written.
    pub chunks: u64,
    /// Wall-clock time.
    pub duration_s: f64,
    /// Processor time of the whole process, the store's own threads included.
    pub cpu_s: f64,
    /// Records by wall-clock time.
    pub records_per_second: f64,
    /// Records by processor time: what one core that did nothing else would do.
    pub records_per_core_second: f64,
    /// The most memory the process ever held.
    pub peak_resident_bytes: u64,
    /// Bytes of the log's segments.
    pub log_bytes: u64,
    /// Bytes of the views on disk at the end.
    pub store_bytes: u64,
    /// What comparing them with the log took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<VerifiedReport>,
}

/// A rebuild that could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum RebuildBenchError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sample history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The rebuild.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The comparison.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A folder.
    #[error("{folder} cannot be used: {error}")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The log is of something else.
    #[error("the log in {folder} has no topic {topic}; give an empty folder, or the data folder of a node")]
    NoTopic {
        /// The folder.
        folder: PathBuf,
        /// The topic asked for.
        topic: Topic,
    },
    /// A task ended early.
    #[error("a task of the rebuild ended early: {0}")]
    Task(String),
}

/// Makes the log if the folder has none, and rebuilds its views.
///
/// # Errors
/// See [`RebuildBenchError`].
pub async fn run(bench: &RebuildBench) -> Result<RebuildReport, RebuildBenchError> {
    let is_new = std::fs::read_dir(&bench.log_folder).map_or(true, |mut entries| entries.next().is_none());
    let log = Arc::new(FileLog::open(FileLogOptions::new(&bench.log_folder))?);
    if is_new {
        make(&log, bench).await?;
    }
    let Some(partitions) = log.partitions(&bench.topic).await? else {
        return Err(RebuildBenchError::NoTopic {
            folder: bench.log_folder.clone(),
            topic: bench.topic.clone(),
        });
    };
    let scratch = tempfile::Builder::new()
        .prefix("rebuild-")
        .tempdir_in(&bench.scratch)
        .map_err(|error| RebuildBenchError::Folder { folder: bench.scratch.clone(), error })?;
    let store = Arc::new(EmbeddedStore::open(&EmbeddedOptions::new(scratch.path()))?);
    let views = Views {
        log: Arc::clone(&log) as Arc<dyn EventLog>,
        topic: bench.topic.clone(),
        partitions,
        store: Arc::clone(&store) as Arc<dyn tidewheel_store::StateStore>,
        generation: Generation(1),
    };
    let (began, before) = (Instant::now(), Usage::of_self());
    let turns = Turns::for_store(true);
    let tasks: Vec<_> = (0..partitions)
        .map(|partition| {
            let (views, options, turns) = (views.clone(), bench.options, turns.clone());
            tokio::spawn(async move { rebuild(&views, partition, &options, &turns).await })
        })
        .collect();
    let mut total = Rebuilt::default();
    for task in tasks {
        let rebuilt = task.await.map_err(|error| RebuildBenchError::Task(error.to_string()))??;
        total.records += rebuilt.records;
        total.rows += rebuilt.rows;
        total.chunks += rebuilt.chunks;
    }
    let (duration_s, after) = (began.elapsed().as_secs_f64(), Usage::of_self());
    let cpu_us = before.zip(after).map_or(0, |(before, after)| after.cpu_us.saturating_sub(before.cpu_us));
    #[expect(clippy::cast_precision_loss, reason = "counts and times of a measurement fit")]
    let (records, cpu_s) = (total.records as f64, cpu_us as f64 / 1e6);
    let peak_resident_bytes = peak_resident_bytes();
    let verified = if bench.verify { Some(verified::measure(&views).await?) } else { None };
    Ok(RebuildReport {
        partitions,
        records: total.records,
        rows: total.rows,
        chunks: total.chunks,
        duration_s,
        cpu_s,
        records_per_second: records / duration_s,
        records_per_core_second: if cpu_s > 0.0 { records / cpu_s } else { 0.0 },
        peak_resident_bytes,
        log_bytes: folder_bytes(&bench.log_folder),
        store_bytes: store.disk_bytes()?,
        verified,
    })
}

/// Writes the sample history, all partitions in turn.
async fn make(log: &FileLog, bench: &RebuildBench) -> Result<(), RebuildBenchError> {
    log.create_topic(&bench.topic, bench.partitions).await?;
    let each = bench.records / u64::from(bench.partitions.max(1));
    for partition in 0..bench.partitions {
        let place = TopicPartition::new(bench.topic.clone(), partition);
        let mut history = History::new(partition, bench.partitions, bench.payload_bytes, START_US)?;
        let (mut made, mut before) = (0, None);
        while made < each {
            let count = usize::try_from(each - made).unwrap_or(usize::MAX).min(BATCH_RECORDS);
            let records = history.next(count, made + count as u64 >= each)?;
            made += records.len() as u64;
            // One batch is written while the next is made.
            let appending = log.append(&place, records);
            if let Some(before) = before.replace(appending) {
                before.await?;
            }
        }
        if let Some(before) = before {
            before.await?;
        }
    }
    Ok(())
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// The most memory this process ever held; 0 where the system does not tell.
fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

impl std::fmt::Display for RebuildReport {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mebibytes = |bytes: u64| bytes / (1024 * 1024);
        writeln!(
            out,
            "rebuilt     {} records of {} partitions into {} rows, {} chunks",
            self.records, self.partitions, self.rows, self.chunks
        )?;
        writeln!(out, "time        {:.2} s, {:.2} s of processor time", self.duration_s, self.cpu_s)?;
        writeln!(
            out,
            "rate        {:.0} records/s, {:.0} records per second of one core",
            self.records_per_second, self.records_per_core_second
        )?;
        writeln!(out, "memory      {} MiB at most", mebibytes(self.peak_resident_bytes))?;
        writeln!(
            out,
            "disk        {} MiB of log, {} MiB of views",
            mebibytes(self.log_bytes),
            mebibytes(self.store_bytes)
        )?;
        self.verified.as_ref().map_or(Ok(()), |verified| verified.fmt(out))
    }
}
