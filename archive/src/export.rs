//! Sealing: the log's records from where the archive ends, range after range, until where the log ends now.
//!
//! First the file, then its manifest, both under names that are given once. Whoever is stopped in between leaves a
//! file that nobody reads, and whoever comes next goes on behind the last manifest.

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tidewheel_log::{Bounds, SharedClock, SharedLog};
use tidewheel_schemas::{LogId, RecordHeaders, TopicPartition};
use tokio::sync::mpsc;

use crate::catalog::Catalog;
use crate::container::{Packed, Writer};
use crate::error::ArchiveError;
use crate::history::Files;
use crate::identity::identify;
use crate::location::{Archive, Created};
use crate::manifest::{FORMAT, Manifest, checksum, file_name};

/// Records read at once.
const READ_RECORDS: usize = 1_000;

/// What to seal, and how.
#[derive(Clone)]
pub struct ExportOptions {
    /// The partitions.
    pub places: Vec<TopicPartition>,
    /// Seal only what lies before the first record at or after this time, microseconds since 1970.
    pub until_us: Option<i64>,
    /// A range ends when its records have this many bytes, before they are deflated.
    pub range_bytes: usize,
    /// A range ends when it has this many records.
    pub range_records: usize,
    /// Partitions worked on at once; each needs the memory of a range.
    pub partitions_at_once: usize,
    /// When a range was sealed.
    pub clock: SharedClock,
}

impl ExportOptions {
    /// Everything of `places`, in ranges of 32 MiB or a million records, four partitions at once.
    pub const fn new(places: Vec<TopicPartition>, clock: SharedClock) -> Self {
        Self {
            places,
            until_us: None,
            range_bytes: 32 << 20,
            range_records: 1_000_000,
            partitions_at_once: 4,
            clock,
        }
    }
}

/// A range that was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Its first offset.
    pub from: i64,
    /// One past its last offset.
    pub to: i64,
    /// Where this export will end in the partition.
    pub until: i64,
    /// The file's size.
    pub bytes: u64,
}

/// What an export did in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Its log; none if the partition is empty.
    pub log_id: Option<LogId>,
    /// Where the archive ended before.
    pub from: i64,
    /// Where it ends now.
    pub to: i64,
    /// Ranges sealed now.
    pub ranges: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// Seals everything up to where each partition's log ends when its turn comes. `progress` hears of every range; nobody
/// has to listen. Several exports of one log may run at once: they seal one after the other what the other did not.
///
/// # Errors
/// When log or archive cannot be read or written, when offsets are nowhere, or when the archive holds another log.
pub async fn export(
    log: &SharedLog,
    archive: &Archive,
    options: &ExportOptions,
    progress: &mpsc::Sender<Progress>,
) -> Result<Vec<Exported>, ArchiveError> {
    let files = Files::new(archive.clone());
    let one = |place: &TopicPartition| {
        let (files, place) = (&files, place.clone());
        async move { Work { log, files, options, progress, place }.run().await }
    };
    let work: Vec<_> = options.places.iter().map(one).collect();
    futures::stream::iter(work).buffered(options.partitions_at_once.max(1)).try_collect().await
}

struct Work<'a> {
    log: &'a SharedLog,
    files: &'a Files,
    options: &'a ExportOptions,
    progress: &'a mpsc::Sender<Progress>,
    place: TopicPartition,
}

impl Work<'_> {
    async fn run(&self) -> Result<Exported, ArchiveError> {
        let bounds = self.log.bounds(&self.place).await?;
        let mut done = Exported {
            topic: self.place.topic.to_string(),
            partition: self.place.partition,
            log_id: None,
            from: 0,
            to: 0,
            ranges: 0,
            bytes: 0,
        };
        let Some((log_id, chain)) = identify(&**self.log, self.files, &self.place, bounds).await? else {
            return Ok(done);
        };
        done.log_id = Some(log_id);
        if let Some(chain) = &chain {
            // A hole in the middle is not filled by going on behind it.
            chain.covers(0, chain.to())?;
            done.from = chain.to();
            done.to = chain.to();
        }
        if done.to < bounds.start {
            let (partition, from) = (self.place.clone(), done.to);
            return Err(ArchiveError::Gap { partition, from, last: bounds.start - 1 });
        }
        let until = self.until(bounds).await?;
        while done.to < until {
            let (to, bytes) = self.seal(log_id, done.to, until).await?;
            if let Some(bytes) = bytes {
                done.ranges += 1;
                done.bytes += bytes;
                let (topic, partition) = (done.topic.clone(), done.partition);
                let said = Progress { topic, partition, from: done.to, to, until, bytes };
                // Nobody has to listen.
                let _ = self.progress.send(said).await;
            }
            done.to = to;
        }
        Ok(done)
    }

    async fn until(&self, bounds: Bounds) -> Result<i64, ArchiveError> {
        Ok(match self.options.until_us {
            Some(time_us) => self.log.offset_for_time(&self.place, time_us).await?.min(bounds.end),
            None => bounds.end,
        })
    }

    /// Seals one range from `from` on. Answers where it ends and its file's size; no size if somebody else sealed it.
    async fn seal(&self, log_id: LogId, from: i64, until: i64) -> Result<(i64, Option<u64>), ArchiveError> {
        let packed = self.pack(log_id, from, until).await?;
        let sha256 = checksum(&packed.bytes);
        let manifest = Manifest {
            format: FORMAT,
            log_id,
            topic: self.place.topic.to_string(),
            partition: self.place.partition,
            from,
            to: packed.to,
            records: (packed.to - from).unsigned_abs(),
            file: file_name(from, packed.to, &sha256),
            bytes: packed.bytes.len() as u64,
            sha256,
            schemas: packed.schemas,
            recorded_first_us: packed.recorded.map(|(first, _)| first),
            recorded_last_us: packed.recorded.map(|(_, last)| last),
            sealed_at_us: self.options.clock.now_us(),
        };
        let archive = self.files.archive();
        // One that is there already has the same bytes: its name holds their checksum.
        archive.create(&manifest.file_name(), packed.bytes).await?;
        let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        match archive.create(&manifest.name(), text.into()).await? {
            Created::Now => Ok((manifest.to, Some(manifest.bytes))),
            Created::Before => Ok((self.sealed_by_another(log_id, from).await?, None)),
        }
    }

    /// Where the range ends that another export sealed from `from` on.
    async fn sealed_by_another(&self, log_id: LogId, from: i64) -> Result<i64, ArchiveError> {
        let catalog = Catalog::load(self.files.archive(), Some(&self.place)).await?;
        let chain = catalog.of(&self.place).find(|chain| chain.log_id == log_id);
        let range = chain.and_then(|chain| chain.at(from));
        let missing = || ArchiveError::Damaged {
            object: format!(
                "{}/{}",
                self.files.archive(),
                crate::manifest::manifest_name(&self.place, log_id, from)
            ),
            what: "it was there and is gone".to_owned(),
        };
        let range = range.ok_or_else(missing)?;
        let offset = range.to - 1;
        let (archived, held) =
            (self.files.read(range, offset, 1).await?, self.log.read(&self.place, offset, 1).await?);
        if archived.first() != held.first() {
            return Err(ArchiveError::Diverged { partition: self.place.clone(), log_id, offset });
        }
        Ok(range.to)
    }

    async fn pack(&self, log_id: LogId, from: i64, until: i64) -> Result<Packed, ArchiveError> {
        let mut writer = Writer::new(self.place.clone(), log_id, from);
        while writer.to() < until
            && writer.raw_bytes() < self.options.range_bytes
            && writer.to() - from < i64::try_from(self.options.range_records).unwrap_or(i64::MAX).max(1)
        {
            let left = usize::try_from(until - writer.to()).unwrap_or(usize::MAX);
            let room = self.options.range_records.max(1)
                - usize::try_from(writer.to() - from).unwrap_or(usize::MAX).min(self.options.range_records);
            let records =
                self.log.read(&self.place, writer.to(), READ_RECORDS.min(left).min(room.max(1))).await?;
            if records.is_empty() {
                let (partition, archived) = (self.place.clone(), until);
                return Err(ArchiveError::AheadOfLog { partition, archived, end: writer.to() });
            }
            let mut foreign = Vec::with_capacity(records.len());
            for record in &records {
                foreign.push(match &record.headers {
                    RecordHeaders::Known(_) => Vec::new(),
                    RecordHeaders::Foreign(_) => self.log.foreign_headers(&self.place, record.offset).await?,
                });
            }
            // Deflating is work for a processor, not for a thread that others wait on.
            let packing = tokio::task::spawn_blocking(move || {
                for (record, foreign) in records.iter().zip(&foreign) {
                    writer.push(record, foreign);
                }
                writer
            });
            writer = packing.await.map_err(|_| ArchiveError::Log(tidewheel_log::LogError::Closed))?;
        }
        Ok(writer.finish())
    }
}
