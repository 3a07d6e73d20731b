//! The embedded log: own segment files, one writer thread whose single sync serves every partition.
//!
//! The way of a batch: `append` -> bounded queue -> writer: one group of everything queued, write, sync, publish
//! -> tails (from memory) and the append's future. Reading back and recovery have files of their own.

mod bytes;
mod disk;
mod frame;
mod group;
mod header;
mod idle;
mod index;
mod options;
mod partition;
mod prepare;
mod queue;
mod reader;
mod recovery;
mod scan;
mod segment;
mod shared;
mod tail;
mod trim;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
pub use disk::{Disk, SystemDisk};
use futures::FutureExt;
pub use options::{Durability, FailureHook, FileLogOptions};
use parking_lot::{Mutex, RwLock};
use tidewheel_folder::FolderLock;
use tidewheel_schemas::{LogId, NewRecord, Record, Topic, TopicPartition};
use tokio::sync::oneshot;

use self::idle::Idle;
use self::partition::{Lookup, Partition};
use self::queue::{Item, Queue};
use self::reader::Cursor;
use self::recovery::{Recovered, recover};
use self::scan::{Scan, io};
use self::segment::{Segment, SegmentHeader, segment_path, sync_directory};
use self::shared::{Shared, Topics};
use self::tail::{FileTail, or_trimmed};
use self::trim::Trimmed;
use self::writer::{Settings, Writer};
use crate::limits::{check_batch, check_offset};
use crate::{Appended, Appending, Bounds, EventLog, LogError, Tail};

/// Who has it locked has the folder.
const LOCK_FILE: &str = "lock";
/// Most partitions of one topic.
const PARTITIONS_MAX: u32 = 4_096;

/// A log in a folder of this machine.
///
/// Dropping it closes it: what was submitted is written first. Reading from segments is done on the calling
/// thread, at most a few MiB at a time, mostly out of the page cache.
pub struct FileLog {
    shared: Arc<Shared>,
    idle: Arc<Idle>,
    writer: Mutex<Option<Running>>,
}

struct Running {
    writer: JoinHandle<()>,
    /// Held as long as the writer runs.
    lock: FolderLock,
}

impl std::fmt::Debug for FileLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FileLog").field("directory", &self.shared.directory).finish_non_exhaustive()
    }
}

impl FileLog {
    /// Opens the log in a folder, or begins one there. A torn last group is cut off; the last good one is
    /// written and synced again before it is believed. Complete segments are checked when they are read (or all
    /// at once by [`FileLog::verify`]), so opening takes no longer for a long log.
    ///
    /// # Errors
    /// [`LogError::Locked`] if another process has it open, [`LogError::Damaged`] if the files are not what was
    /// written, [`LogError::Io`] if they cannot be read or written.
    pub fn open(options: FileLogOptions) -> Result<Self, LogError> {
        let directory = options.directory.clone();
        fs::create_dir_all(&directory)
            .map_err(|error| io(format!("creating {}", directory.display()), error))?;
        let lock = lock(&directory)?;
        let recovered = match recover(&directory, &*options.disk)? {
            Some(recovered) => recovered,
            None => begin(&directory, &options)?,
        };
        let Recovered { log_id, segments, trimmed, scan, next_group, file, end } = recovered;
        tracing::info!(
            directory = %directory.display(),
            durability = options.durability.as_str(),
            segments = segments.len(),
            "opened the embedded log"
        );
        let shared = Arc::new(Shared {
            directory,
            log_id,
            queue: Queue::new(options.queue_bytes_max, options.queue_records_max),
            topics: RwLock::new(Arc::new(Topics::recovered(&scan, &trimmed))),
            segments: RwLock::new(segments),
            sealed_indexes: Mutex::new(VecDeque::new()),
            trimmed: Mutex::new(trimmed),
        });
        let settings = Settings {
            durability: options.durability,
            segment_bytes: options.segment_bytes,
            recent_bytes_max: options.recent_bytes_max,
            disk: options.disk,
            on_failure: options.on_failure,
        };
        let writer = Writer::new(Arc::clone(&shared), settings, file, end, next_group, scan.slots)?;
        let writer = std::thread::Builder::new()
            .name("tidewheel-log".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| io("starting the log's writer", error))?;
        Ok(Self { shared, idle: Arc::default(), writer: Mutex::new(Some(Running { writer, lock })) })
    }

    /// Reads everything the log holds and checks it. Takes as long as reading the whole log.
    ///
    /// # Errors
    /// [`LogError::Damaged`] with the first place that is not what was written.
    pub fn verify(&self) -> Result<(), LogError> {
        let segments = self.shared.segments.read().clone();
        recovery::verify(&self.shared.directory, &segments)
    }

    fn read_segments(
        &self,
        partition: &Arc<Partition>,
        offset: i64,
        records_max: usize,
        end: i64,
    ) -> Result<Vec<Record>, LogError> {
        // Who asks for one record wants that one.
        let is_page = records_max > 1;
        let kept = if is_page { self.idle.take(partition, offset) } else { None };
        let mut cursor = match kept {
            Some(cursor) => cursor,
            None => Cursor::at_offset(&self.shared, partition, offset)?,
        };
        let records = cursor.read(records_max, end)?;
        if is_page && cursor.is_before(end) {
            self.idle.keep(cursor);
        }
        Ok(records)
    }

    /// Takes no more appends, writes those submitted, and lets go of the folder. Blocks meanwhile.
    pub fn close(&self) {
        self.shared.queue.close();
        if let Some(running) = self.writer.lock().take() {
            // A panicked writer has already failed the log.
            let _ = running.writer.join();
            drop(running.lock);
        }
    }

    fn submit(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Answer, LogError> {
        let bytes = check_batch(&records)?;
        let topics = self.shared.topics.read();
        let partition = topics.partition(to).ok_or_else(|| LogError::UnknownPartition(to.clone()))?;
        let slot = partition.slot;
        drop(topics);
        let (done, answer) = oneshot::channel();
        self.shared.queue.submit(Item::Append { slot, bytes, records, done })?;
        Ok(answer)
    }
}

type Answer = oneshot::Receiver<Result<i64, LogError>>;

impl Drop for FileLog {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock(directory: &Path) -> Result<FolderLock, LogError> {
    FolderLock::take(directory, LOCK_FILE).map_err(|error| match error {
        TryLockError::WouldBlock => LogError::Locked { path: directory.display().to_string() },
        TryLockError::Error(error) => io(format!("locking {}", directory.join(LOCK_FILE).display()), error),
    })
}

/// Creates the first segment of a new log.
fn begin(directory: &Path, options: &FileLogOptions) -> Result<Recovered, LogError> {
    let log_id = LogId::random(*uuid::Uuid::new_v4().as_bytes());
    let header = SegmentHeader { log_id, segment: 0, first_group: 0, previous_bytes: 0, topics: Vec::new() };
    let bytes = header.to_bytes();
    let create = || {
        let file = prepare::prepare_now(directory, 0, options.segment_bytes, &*options.disk)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        fs::rename(prepare::prepared_path(directory, 0), segment_path(directory, 0))?;
        sync_directory(directory)?;
        // The folder itself may be new, too.
        directory.parent().map_or(Ok(()), |parent| {
            sync_directory(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
        })?;
        Ok(file)
    };
    let file = create().map_err(|error| io(format!("beginning a log in {}", directory.display()), error))?;
    let end = bytes.len() as u64;
    let scan = Scan::new(&header);
    let segment = Segment::new(&header, end, end, Some(scan.index.clone()));
    let (segments, trimmed) = (vec![Arc::new(segment)], Trimmed::default());
    Ok(Recovered { log_id, segments, trimmed, scan, next_group: 0, file, end })
}

#[async_trait]
impl EventLog for FileLog {
    async fn create_topic(&self, topic: &Topic, partitions: u32) -> Result<(), LogError> {
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            let error = std::io::Error::other(format!("a topic has 1 to {PARTITIONS_MAX} partitions"));
            return Err(io(format!("creating topic {topic} with {partitions} partitions"), error));
        }
        let (done, answer) = oneshot::channel();
        self.shared.queue.submit(Item::CreateTopic { topic: topic.clone(), partitions, done })?;
        answer.await.unwrap_or(Err(LogError::Closed))
    }

    async fn partitions(&self, topic: &Topic) -> Result<Option<u32>, LogError> {
        let topics = self.shared.topics.read();
        Ok(topics.partitions(topic).map(|found| u32::try_from(found.len()).unwrap_or(u32::MAX)))
    }

    fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Appending {
        match self.submit(to, records) {
            Ok(answer) => {
                // A writer that dropped the answer has failed without one.
                let unknown = || Err(LogError::Failed("its writer stopped unexpectedly".to_owned()));
                answer
                    .map(move |answer| answer.unwrap_or_else(|_| unknown()).map(Appended::consecutive))
                    .boxed()
            }
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn tail(&self, from: &TopicPartition, offset: i64) -> Result<Box<dyn Tail>, LogError> {
        let partition = self.shared.partition(from)?;
        check_offset(from, offset, partition.bounds())?;
        Ok(Box::new(FileTail::new(Arc::clone(&self.shared), from.clone(), partition, offset)))
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: i64,
        records_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        let partition = self.shared.partition(from)?;
        check_offset(from, offset, partition.bounds())?;
        match partition.lookup(offset, records_max) {
            Lookup::AtEnd => Ok(Vec::new()),
            Lookup::Records(records) => Ok(records),
            Lookup::OnDisk { end } => self
                .read_segments(&partition, offset, records_max, end)
                .map_err(|error| or_trimmed(from, &partition, offset, error)),
        }
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        Ok(self.shared.partition(of)?.bounds())
    }

    async fn offset_for_time(&self, of: &TopicPartition, time_us: i64) -> Result<i64, LogError> {
        let partition = self.shared.partition(of)?;
        let mut start = partition.start();
        loop {
            match reader::offset_for_time(&self.shared, &partition, time_us) {
                // Trimmed meanwhile: what is left is looked through again.
                Err(_) if partition.start() > start => start = partition.start(),
                outcome => return outcome,
            }
        }
    }

    async fn trim(&self, before: &BTreeMap<TopicPartition, i64>) -> Result<(), LogError> {
        let (shared, idle, before) = (Arc::clone(&self.shared), Arc::clone(&self.idle), before.clone());
        let trim = move || {
            let trimmed = trim::trim(&shared, &before);
            idle.drop_trimmed();
            trimmed
        };
        tokio::task::spawn_blocking(trim).await.unwrap_or(Err(LogError::Closed))
    }
}
