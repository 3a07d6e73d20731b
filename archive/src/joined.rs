//! Log and archive as one log: what was trimmed is read from the archive, everything else from the log itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidewheel_log::{Appending, Bounds, EventLog, LogError, SharedLog, Tail};
use tidewheel_schemas::{NewRecord, Record, RecordHeaders, Topic, TopicPartition};

use crate::catalog::Chain;
use crate::error::ArchiveError;
use crate::history::Files;
use crate::identity::identify;
use crate::location::Archive;

/// How long a refusal of the archive is believed before it is asked again.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// How long a reader rests while the archive is away.
const AWAY_RESTS: Duration = Duration::from_secs(1);
/// Records looked at at once when searching for a time.
const TIME_PAGE: usize = 1_000;

/// A log whose trimmed beginning is in an archive. Cloning shares it.
///
/// It begins where the archive begins, as far as the archive leads up to the log without a hole and is provably of the
/// same log; otherwise where the log begins, and who asks for less is told what is missing
/// ([`LogError::Archive`]). Nothing is asked of the archive as long as the log has what is asked for.
#[derive(Clone)]
pub struct JoinedLog(Arc<Shared>);

struct Shared {
    log: SharedLog,
    files: Files,
    known: Mutex<HashMap<TopicPartition, Known>>,
}

#[derive(Clone)]
enum Known {
    /// The chain leads from its beginning up into the log.
    Joined(Arc<Chain>),
    Refused(ArchiveError, Instant),
}

impl JoinedLog {
    /// Joins a log and its archive. Asks neither yet.
    pub fn new(log: SharedLog, archive: Archive) -> Self {
        Self(Arc::new(Shared { log, files: Files::new(archive), known: Mutex::default() }))
    }

    /// The log alone.
    pub fn log(&self) -> &SharedLog {
        &self.0.log
    }

    /// The archive alone.
    pub fn archive(&self) -> &Archive {
        self.0.files.archive()
    }

    /// The archived ranges that lead up to the log, for a log that begins at `bounds.start` above 0.
    ///
    /// # Errors
    /// [`ArchiveError::Gap`] with the missing offsets, [`ArchiveError::OtherLog`] if the archive holds another log, and
    /// whatever keeps either from being read.
    pub async fn chain(&self, of: &TopicPartition, bounds: Bounds) -> Result<Arc<Chain>, ArchiveError> {
        let known = self.0.known.lock().get(of).cloned();
        match known {
            Some(Known::Joined(chain)) if chain.to() > bounds.start => return Ok(chain),
            Some(Known::Refused(error, since)) if since.elapsed() < REFUSED_FOR => return Err(error),
            Some(_) | None => {}
        }
        let found = self.look(of, bounds).await;
        let known = match &found {
            Ok(chain) => Known::Joined(Arc::clone(chain)),
            Err(error) => Known::Refused(error.clone(), Instant::now()),
        };
        self.0.known.lock().insert(of.clone(), known);
        found
    }

    async fn look(&self, of: &TopicPartition, bounds: Bounds) -> Result<Arc<Chain>, ArchiveError> {
        let missing = || ArchiveError::Gap { partition: of.clone(), from: 0, last: bounds.start - 1 };
        let found = identify(&*self.0.log, &self.0.files, of, bounds).await?;
        let (_, chain) = found.ok_or_else(missing)?;
        let chain = chain.ok_or_else(missing)?;
        chain.covers(0, bounds.start)?;
        Ok(Arc::new(chain))
    }

    /// Records from the archive, at least one, for an offset below the log's start.
    async fn archived(
        &self,
        from: &TopicPartition,
        offset: i64,
        records_max: usize,
        bounds: Bounds,
    ) -> Result<Vec<Record>, LogError> {
        let failed = |error| refusal(from, bounds.start, error);
        let chain = self.chain(from, bounds).await.map_err(failed)?;
        let Some(range) = chain.at(offset) else {
            return Err(LogError::Trimmed { partition: from.clone(), asked: offset, start: chain.from() });
        };
        self.0.files.read(range, offset, records_max).await.map_err(failed)
    }
}

/// An error of the archive as one of the log it completes.
fn refusal(of: &TopicPartition, start: i64, error: ArchiveError) -> LogError {
    let is_transient = error.is_transient();
    match error {
        ArchiveError::Log(error) => error,
        error => LogError::Archive { partition: of.clone(), start, what: error.to_string(), is_transient },
    }
}

#[async_trait]
impl EventLog for JoinedLog {
    async fn create_topic(&self, topic: &Topic, partitions: u32) -> Result<(), LogError> {
        self.0.log.create_topic(topic, partitions).await
    }

    async fn partitions(&self, topic: &Topic) -> Result<Option<u32>, LogError> {
        self.0.log.partitions(topic).await
    }

    fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Appending {
        self.0.log.append(to, records)
    }

    async fn tail(&self, from: &TopicPartition, offset: i64) -> Result<Box<dyn Tail>, LogError> {
        let bounds = self.0.log.bounds(from).await?;
        let inner = if offset < bounds.start {
            // Refused before the first record is handed out, not in the middle.
            self.archived(from, offset, 1, bounds).await?;
            None
        } else {
            Some(self.0.log.tail(from, offset).await?)
        };
        Ok(Box::new(JoinedTail { log: self.clone(), from: from.clone(), next: offset, inner }))
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: i64,
        records_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        match self.0.log.read(from, offset, records_max).await {
            Err(LogError::Trimmed { .. }) => {}
            outcome => return outcome,
        }
        let bounds = self.0.log.bounds(from).await?;
        self.archived(from, offset, records_max, bounds).await
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        let bounds = self.0.log.bounds(of).await?;
        if bounds.start == 0 {
            return Ok(bounds);
        }
        // Whoever only wants to know the end must not wait for an archive that is away.
        match self.chain(of, bounds).await {
            Ok(chain) => Ok(Bounds { start: chain.from().min(bounds.start), ..bounds }),
            Err(error) => {
                tracing::debug!(partition = %of, %error, "what was trimmed cannot be read from the archive");
                Ok(bounds)
            }
        }
    }

    async fn offset_for_time(&self, of: &TopicPartition, time_us: i64) -> Result<i64, LogError> {
        let bounds = self.0.log.bounds(of).await?;
        if bounds.start == 0 {
            return self.0.log.offset_for_time(of, time_us).await;
        }
        let chain = self.chain(of, bounds).await.map_err(|error| refusal(of, bounds.start, error))?;
        let late = chain.ranges.iter().filter(|range| {
            range.from < bounds.start && range.recorded_last_us.is_some_and(|last_us| last_us >= time_us)
        });
        for range in late {
            let mut next = range.from;
            while next < range.to.min(bounds.start) {
                let records = self.archived(of, next, TIME_PAGE, bounds).await?;
                for record in &records {
                    let is_late = match &record.headers {
                        RecordHeaders::Known(headers) => headers.recorded_at_us >= time_us,
                        RecordHeaders::Foreign(_) => false,
                    };
                    if is_late && record.offset < bounds.start {
                        return Ok(record.offset);
                    }
                    next = record.offset + 1;
                }
            }
        }
        self.0.log.offset_for_time(of, time_us).await
    }

    async fn foreign_headers(
        &self,
        of: &TopicPartition,
        offset: i64,
    ) -> Result<Vec<(String, Bytes)>, LogError> {
        self.0.log.foreign_headers(of, offset).await
    }

    async fn trim(&self, before: &BTreeMap<TopicPartition, i64>) -> Result<(), LogError> {
        self.0.log.trim(before).await
    }
}

/// Follows the archive until the log goes on, then the log; back to the archive if a trim overtakes it.
struct JoinedTail {
    log: JoinedLog,
    from: TopicPartition,
    next: i64,
    inner: Option<Box<dyn Tail>>,
}

impl JoinedTail {
    async fn try_next(&mut self, records_max: usize) -> Result<Option<Vec<Record>>, LogError> {
        if let Some(inner) = &mut self.inner {
            match inner.next(records_max).await {
                Err(LogError::Trimmed { start, .. }) if start > self.next => {
                    self.inner = None;
                    return Ok(None);
                }
                outcome => return outcome.map(Some),
            }
        }
        let bounds = self.log.0.log.bounds(&self.from).await?;
        if self.next < bounds.start {
            return self.log.archived(&self.from, self.next, records_max, bounds).await.map(Some);
        }
        match self.log.0.log.tail(&self.from, self.next).await {
            Ok(inner) => self.inner = Some(inner),
            // Trimmed in this moment: the archive has it.
            Err(LogError::Trimmed { start, .. }) if start > self.next => {}
            Err(error) => return Err(error),
        }
        Ok(None)
    }
}

#[async_trait]
impl Tail for JoinedTail {
    async fn next(&mut self, records_max: usize) -> Result<Vec<Record>, LogError> {
        loop {
            match self.try_next(records_max.max(1)).await {
                Ok(Some(records)) => {
                    if let Some(last) = records.last() {
                        self.next = last.offset + 1;
                    }
                    return Ok(records);
                }
                Ok(None) => {}
                Err(
                    error @ (LogError::Archive { is_transient: true, .. } | LogError::Unreachable { .. }),
                ) => {
                    tracing::warn!(partition = %self.from, %error, "a reader waits for the archive");
                    tokio::time::sleep(AWAY_RESTS).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
