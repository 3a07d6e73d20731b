//! A clone: the archived records at the same offsets of an empty log, up to a consistent past.
//!
//! A clone is another log. Positions, engine-made event ids, and names of messages carry the log's id, so it gets ids
//! of its own, in the record that begins each partition and in every message between partitions; everything else is
//! written as it was. Only whoever replaces a lost log keeps its ids.

use std::collections::BTreeMap;

use serde::Serialize;
use tidewheel_log::{EventLog, LogError, SharedClock};
use tidewheel_schemas::{
    Author, ConfigEvent, Event, EventType, LogId, NewRecord, Position, Record, RecordHeaders, Topic,
    TopicPartition, decode, decode_config, encode, encode_config,
};

use crate::catalog::{Catalog, Chain};
use crate::cut::{consistent, records};
use crate::error::ArchiveError;
use crate::identity::created;
use crate::location::Archive;
use crate::wider::{Width, end_replays, widen};

/// Records appended at once, and the bytes of their values.
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: usize = 4 << 20;
/// How long an append rests that the log has no room for.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(20);

/// Up to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// Everything that is archived.
    Newest,
    /// In each partition what lies before the first record that was recorded later than this, microseconds since 1970.
    Time(i64),
    /// The record at this position and what was recorded no later than it.
    Position(Position),
}

/// Which log the clone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloneIdentity {
    /// One of its own.
    Fresh,
    /// The archived one, which must be gone for ever.
    Same,
}

/// What is to be imported.
#[derive(Debug, Clone)]
pub struct ImportPlan {
    runs: Vec<Part>,
    config: Vec<Part>,
    identity: CloneIdentity,
    width: Option<Width>,
}

/// A partition of the archive, and where it is cut.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) chain: Chain,
    pub(crate) until: i64,
}

/// A partition that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The partition it was, or was a part of.
    pub from_partition: u32,
    /// The log it was.
    pub from_log_id: LogId,
    /// The log it is.
    pub log_id: LogId,
    /// Records written.
    pub records: i64,
    /// Records that the archive holds behind them. Of a partition that became several, the first says it.
    pub left_out: i64,
    /// Records among them that changed nothing, such as those of an owner that was not the owner any more, and that were
    /// not moved to a wider log. Of a partition that became several, the first says it.
    pub void: i64,
}

impl ImportPlan {
    /// Looks for the topics in the archive and decides where each partition ends: `runs` and `config` are the topics'
    /// names, which must be those that were archived. Writes nothing.
    ///
    /// # Errors
    /// When the archive does not hold the topics whole, holds several logs of one, or cannot be read.
    pub async fn make(
        archive: &Archive,
        runs: &Topic,
        config: &Topic,
        as_of: AsOf,
        identity: CloneIdentity,
    ) -> Result<Self, ArchiveError> {
        let catalog = Catalog::load(archive, None).await?;
        let topics = [chains(archive, &catalog, runs).await?, chains(archive, &catalog, config).await?];
        let as_of = match as_of {
            AsOf::Position(position) => AsOf::Position(known(&topics, position)?),
            as_of => as_of,
        };
        let time_us = match as_of {
            AsOf::Newest => None,
            AsOf::Time(time_us) => Some(time_us),
            AsOf::Position(position) => Some(recorded_at(archive, &topics, position).await?),
        };
        let (mut runs, mut config) = (Vec::new(), Vec::new());
        for (is_runs, chains) in [true, false].into_iter().zip(topics) {
            let parts = if is_runs { &mut runs } else { &mut config };
            let mut cuts = Vec::new();
            for chain in &chains {
                cuts.push(match (as_of, time_us) {
                    (AsOf::Position(position), _) if position.log_id == chain.log_id => position.offset + 1,
                    (_, Some(time_us)) => first_later(archive, chain, time_us).await?,
                    (_, None) => chain.to(),
                });
            }
            if is_runs {
                cuts = consistent(archive, &chains, cuts).await?;
            }
            for (chain, until) in chains.into_iter().zip(cuts) {
                if until == 0 {
                    let what = "it had not begun by then; choose a later time".to_owned();
                    return Err(ArchiveError::Unknown { partition: chain.place, what });
                }
                parts.push(Part { chain, until });
            }
        }
        Ok(Self { runs, config, identity, width: None })
    }

    /// With so many partitions of runs, which must be as many as were archived or a whole multiple of them.
    ///
    /// # Errors
    /// [`ArchiveError::Width`] for any other number, and for more of them under the ids of the archived log, which are as
    /// many as its partitions.
    pub fn with_partitions(self, asked: u32) -> Result<Self, ArchiveError> {
        let archived = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        if asked == archived {
            return Ok(Self { width: None, ..self });
        }
        match (Width::new(archived, asked), self.identity) {
            (Some(width), CloneIdentity::Fresh) => Ok(Self { width: Some(width), ..self }),
            (Some(_), CloneIdentity::Same) => {
                let what =
                    "the same log cannot have more: import it as another one, without --same-log".to_owned();
                Err(ArchiveError::Width { asked, archived, what })
            }
            (None, _) => {
                let (twice, thrice) = (archived.saturating_mul(2), archived.saturating_mul(3));
                let what = format!("choose {archived}, or a whole multiple such as {twice} or {thrice}");
                Err(ArchiveError::Width { asked, archived, what })
            }
        }
    }

    /// Whether partitions of runs become several.
    pub const fn is_wider(&self) -> bool {
        self.width.is_some()
    }

    /// The topics and how many partitions each will have.
    pub fn topics(&self) -> BTreeMap<Topic, u32> {
        let mut topics = BTreeMap::new();
        for part in self.runs.iter().chain(&self.config) {
            *topics.entry(part.chain.place.topic.clone()).or_default() += 1;
        }
        if let (Some(width), Some(part)) = (self.width, self.runs.first()) {
            topics.insert(part.chain.place.topic.clone(), width.to());
        }
        topics
    }
}

/// The chains of a topic, by partition: one log each, whole from offset 0, as many as the log says it has.
async fn chains(archive: &Archive, catalog: &Catalog, topic: &Topic) -> Result<Vec<Chain>, ArchiveError> {
    let unknown = |partition: u32, what: String| ArchiveError::Unknown {
        partition: TopicPartition::new(topic.clone(), partition),
        what,
    };
    let mut chains: Vec<Chain> = Vec::new();
    for chain in catalog.chains.iter().filter(|chain| chain.place.topic == *topic) {
        let partition = chain.place.partition;
        match chains.last() {
            Some(before) if before.place == chain.place => {
                let what = format!(
                    "{archive} holds several logs of it ({}, {}); copy the one wanted to a place of its own",
                    before.log_id, chain.log_id
                );
                return Err(unknown(partition, what));
            }
            Some(_) | None => chains.push(chain.clone()),
        }
    }
    let Some(first) = chains.first() else {
        let others: std::collections::BTreeSet<_> =
            catalog.chains.iter().map(|chain| chain.place.topic.to_string()).collect();
        let others = others.into_iter().collect::<Vec<_>>().join(", ");
        let what = format!(
            "{archive} holds nothing of it, but of: {others}; configure the prefix and datacenter that were archived"
        );
        return Err(unknown(0, what));
    };
    let mut partitions = None;
    records(archive, first, 1, |record| {
        partitions = created(record).map(|created| created.partitions);
        Ok(())
    })
    .await?;
    let partitions = partitions.and_then(|partitions| u32::try_from(partitions).ok());
    let partitions = partitions
        .ok_or_else(|| unknown(0, "its first record is not the one that begins a log".to_owned()))?;
    for partition in 0..partitions {
        match chains.get(partition as usize) {
            Some(chain) if chain.place.partition == partition => chain.covers(0, chain.to())?,
            Some(_) | None => return Err(unknown(partition, format!("{archive} holds nothing of it"))),
        }
    }
    Ok(chains)
}

/// Refuses a position of a log or an offset that is not archived.
fn known(topics: &[Vec<Chain>], position: Position) -> Result<Position, ArchiveError> {
    let chain = topics.iter().flatten().find(|chain| chain.log_id == position.log_id);
    match chain {
        Some(chain) if chain.at(position.offset).is_some() => Ok(position),
        Some(chain) => {
            let what = format!("offset {} of the position given is not archived", position.offset);
            Err(ArchiveError::Unknown { partition: chain.place.clone(), what })
        }
        None => {
            let places = topics.iter().flatten().map(|chain| &chain.place);
            let partition =
                places.clone().find(|place| place.partition == position.partition).or(places.clone().next());
            let what =
                format!("the position given is of the log {}, which is not archived here", position.log_id);
            Err(match partition {
                Some(partition) => ArchiveError::Unknown { partition: partition.clone(), what },
                None => ArchiveError::Location { given: "the archive".to_owned(), what },
            })
        }
    }
}

/// The time of the record at a position; of a foreign record that of the one before it.
async fn recorded_at(
    archive: &Archive,
    topics: &[Vec<Chain>],
    position: Position,
) -> Result<i64, ArchiveError> {
    let mut time_us = i64::MIN;
    for chain in topics.iter().flatten().filter(|chain| chain.log_id == position.log_id) {
        records(archive, chain, position.offset + 1, |record| {
            if let RecordHeaders::Known(headers) = &record.headers {
                time_us = headers.recorded_at_us;
            }
            Ok(())
        })
        .await?;
    }
    Ok(time_us)
}

/// The offset of the first record that was recorded later.
async fn first_later(archive: &Archive, chain: &Chain, time_us: i64) -> Result<i64, ArchiveError> {
    let is_later = |last_us: i64| last_us > time_us;
    for range in chain.ranges.iter().filter(|range| range.recorded_last_us.is_some_and(is_later)) {
        let mut reader = archive.open_range(range).await?;
        loop {
            let read =
                reader.read(BATCH_RECORDS, BATCH_BYTES).map_err(|error| archive.damaged(range, error))?;
            if read.is_empty() {
                break;
            }
            let found = read.iter().find(|record| match &record.headers {
                RecordHeaders::Known(headers) => is_later(headers.recorded_at_us),
                RecordHeaders::Foreign(_) => false,
            });
            if let Some(found) = found {
                return Ok(found.offset);
            }
        }
    }
    Ok(chain.to())
}

/// Writes what was planned into a log that holds nothing of the topics.
///
/// # Errors
/// When the log holds records of the topics (nothing was written then), or log or archive fail. What was written by then
/// is of no use: remove it.
pub async fn import(
    log: &dyn EventLog,
    archive: &Archive,
    plan: &ImportPlan,
    clock: &SharedClock,
) -> Result<Vec<Imported>, ArchiveError> {
    for (topic, partitions) in plan.topics() {
        if log.partitions(&topic).await?.is_none() {
            continue;
        }
        for partition in 0..partitions {
            let partition = TopicPartition::new(topic.clone(), partition);
            if log.bounds(&partition).await?.end > 0 {
                let what = "it holds records already; import into an empty log".to_owned();
                return Err(ArchiveError::Unknown { partition, what });
            }
        }
    }
    for (topic, partitions) in plan.topics() {
        log.create_topic(&topic, partitions).await?;
    }
    let ids: BTreeMap<LogId, LogId> = plan
        .runs
        .iter()
        .chain(&plan.config)
        .map(|part| {
            let fresh = match plan.identity {
                CloneIdentity::Fresh => LogId::random(clock.random_16()),
                CloneIdentity::Same => part.chain.log_id,
            };
            (part.chain.log_id, fresh)
        })
        .collect();
    let mut done = match plan.width {
        Some(width) => widen(log, archive, &plan.runs, width, clock).await?,
        None => copies(log, archive, &plan.runs, &ids).await?,
    };
    // The configuration last: a process that begins too early finds no configuration of a clone that is not whole.
    let mut configured = copies(log, archive, &plan.config, &ids).await?;
    if let (true, Some(runs)) = (plan.is_wider(), plan.runs.first()) {
        for (part, imported) in plan.config.iter().zip(&mut configured) {
            imported.records += end_replays(log, &part.chain.place, &runs.chain.place.topic, clock).await?;
        }
    }
    done.extend(configured);
    Ok(done)
}

async fn copies(
    log: &dyn EventLog,
    archive: &Archive,
    parts: &[Part],
    ids: &BTreeMap<LogId, LogId>,
) -> Result<Vec<Imported>, ArchiveError> {
    let mut done = Vec::new();
    for part in parts {
        copy(log, archive, part, ids).await?;
        done.push(Imported {
            topic: part.chain.place.topic.to_string(),
            partition: part.chain.place.partition,
            from_partition: part.chain.place.partition,
            from_log_id: part.chain.log_id,
            log_id: ids.get(&part.chain.log_id).copied().unwrap_or(part.chain.log_id),
            records: part.until,
            left_out: part.chain.to() - part.until,
            void: 0,
        });
    }
    Ok(done)
}

async fn copy(
    log: &dyn EventLog,
    archive: &Archive,
    part: &Part,
    ids: &BTreeMap<LogId, LogId>,
) -> Result<(), ArchiveError> {
    let place = &part.chain.place;
    let mut next = 0;
    for range in part.chain.ranges.iter().filter(|range| range.from < part.until) {
        let mut reader = archive.open_range(range).await?;
        while next < part.until {
            let read =
                reader.read(BATCH_RECORDS, BATCH_BYTES).map_err(|error| archive.damaged(range, error))?;
            if read.is_empty() {
                break;
            }
            let batch: Vec<NewRecord> = read
                .into_iter()
                .filter(|record| record.offset < part.until)
                .map(|record| with_ids(record, ids))
                .collect();
            next = append(log, place, batch, next).await?;
        }
    }
    Ok(())
}

/// Appends records at `next`, where nobody else writes. Answers where the partition ends then.
pub(crate) async fn append(
    log: &dyn EventLog,
    place: &TopicPartition,
    batch: Vec<NewRecord>,
    next: i64,
) -> Result<i64, ArchiveError> {
    let (length, end) = (batch.len(), next + i64::try_from(batch.len()).unwrap_or(i64::MAX));
    let appended = loop {
        match log.append(place, batch.clone()).await {
            Err(LogError::Overloaded) => tokio::time::sleep(AGAIN).await,
            outcome => break outcome?,
        }
    };
    if appended.first() != next || appended.offset(length - 1) != end - 1 {
        let what = "somebody else writes to it; nothing may while a log is imported".to_owned();
        return Err(ArchiveError::Unknown { partition: place.clone(), what });
    }
    Ok(end)
}

/// The record of the clone: the same, but for the ids of logs in it.
fn with_ids(record: Record, ids: &BTreeMap<LogId, LogId>) -> NewRecord {
    let same = |record: Record| NewRecord { key: record.key, headers: record.headers, value: record.value };
    let RecordHeaders::Known(headers) = &record.headers else { return same(record) };
    let fresh = |log_id: &LogId| ids.get(log_id).copied().unwrap_or(*log_id);
    let mut author = headers.author.clone();
    if let Author::Outbox { source, .. } = &mut author {
        *source = fresh(source);
    }
    if author == headers.author && headers.event_type != EventType::LogCreated {
        return same(record);
    }
    if let Ok((mut envelope, mut event)) = decode(headers, &record.value) {
        envelope.author = author.clone();
        if let Event::LogCreated(created) = &mut event {
            created.log_id = fresh(&created.log_id);
        }
        if let Ok(encoded) = encode(&envelope, &event) {
            return encoded;
        }
    } else if let Ok((envelope, ConfigEvent::LogCreated(mut created))) = decode_config(headers, &record.value)
    {
        created.log_id = fresh(&created.log_id);
        if let Ok(encoded) = encode_config(&envelope, &created.into()) {
            return encoded;
        }
    }
    // What cannot be read is rejected at its place, here as there; Control looks at its headers all the same.
    let mut headers = headers.clone();
    headers.author = author;
    NewRecord { headers: RecordHeaders::Known(headers), ..same(record) }
}
