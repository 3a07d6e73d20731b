//! One partition taken apart: the same fold as ever says of each record whether it counts, and each part is folded while
//! it is written, so that nothing is said of a record there that was not said of it before.
//!
//! A run's records follow the run, and lie in the order they had. What is about the partition, every part gets. Written
//! anew is what names a place: claims and sequences of the owner, senders of messages and what was delivered of them, and
//! the records that runs go on without.
//! Left out is what Control refused: it changed nothing, and would be in the way of what follows.

use std::collections::{BTreeMap, VecDeque};

use tidewheel_engine::{Control, Fold, FoldError, Rejection, Verdict};
use tidewheel_schemas::event::{LogCreated, OutboxTrimmed, PartitionClaimed, RunUnparked};
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, EventType, Headers, LogId, NewRecord, OutboxName, Record,
    RecordHeaders, TopicPartition, codec, decode, encode,
};

use super::Width;
use super::moved::Moved;
use crate::error::ArchiveError;

/// What a partition became.
#[derive(Debug)]
pub(crate) struct Source {
    /// The log and the number of each part.
    pub(crate) ids: Vec<(LogId, u32)>,
    /// Where its records lie.
    pub(crate) moved: Moved,
    /// Where the parts end.
    pub(crate) ends: Vec<i64>,
}

/// How messages name their senders' records.
pub(crate) enum Names<'a> {
    /// As they did: only where records will lie is of interest, and values are left alone.
    Old,
    /// As they lie now. Sources that are not named here are not of this clone.
    New(&'a BTreeMap<(LogId, u32), Source>),
}

/// A partition that is taken apart.
pub(crate) struct Split<'a> {
    place: TopicPartition,
    width: Width,
    original: Fold,
    parts: Vec<Part>,
    names: Names<'a>,
    /// Records that changed nothing and were left out.
    void: i64,
    /// The record that is being moved.
    at: i64,
}

/// One of the partitions that it becomes.
struct Part {
    number: u32,
    log_id: LogId,
    fold: Fold,
    /// Records that sent a message that was not yet said to be delivered: where they lay, and lie.
    waiting: VecDeque<(i64, i64)>,
    written: Vec<NewRecord>,
}

/// Whether an accepted record of this type sends a message. One record sends one at most.
const fn sends(event_type: EventType) -> bool {
    match event_type {
        EventType::SignalSent => true,
        EventType::LogCreated
        | EventType::PartitionClaimed
        | EventType::FoldRaised
        | EventType::OutboxTrimmed
        | EventType::RunStarted
        | EventType::RunSignaled
        | EventType::RunCancelRequested
        | EventType::RunTerminated
        | EventType::RunResumed
        | EventType::RunUnparked
        | EventType::StepCompleted
        | EventType::StepFailed
        | EventType::TimerStarted
        | EventType::TimerFired
        | EventType::SignalAwaited
        | EventType::SignalReceived
        | EventType::RunStateChanged
        | EventType::RunTagged
        | EventType::RunCancelling
        | EventType::RunCompleted
        | EventType::RunFailed
        | EventType::RunCancelled
        | EventType::RunDiverged
        | EventType::NamespaceCreated
        | EventType::TokenCreated
        | EventType::TokenRotated
        | EventType::TokenRevoked
        | EventType::ReplayStarted
        | EventType::ReplayPaused
        | EventType::ReplayResumed
        | EventType::ReplayRateChanged
        | EventType::ReplayCancelled
        | EventType::ReplayProgressed
        | EventType::ReplayFinished
        | EventType::GenerationActivated
        | EventType::GenerationDropped
        | EventType::ViewsMended => false,
    }
}

impl Part {
    const fn control(&self) -> &Control {
        self.fold.control()
    }

    /// The author of the owner's next record here.
    fn engine(&self, seen: u64, idle: bool) -> Option<Author> {
        let Control { claim, next_seq, .. } = self.control();
        claim.map(|claim| Author::Engine { claim, seq: *next_seq, seen, idle })
    }
}

impl<'a> Split<'a> {
    pub(crate) fn new(place: &TopicPartition, width: Width, ids: &[(LogId, u32)], names: Names<'a>) -> Self {
        let part = |(log_id, number): &(LogId, u32)| Part {
            number: *number,
            log_id: *log_id,
            fold: Fold::new(*number),
            waiting: VecDeque::new(),
            written: Vec::new(),
        };
        Self {
            place: place.clone(),
            width,
            original: Fold::new(place.partition),
            parts: ids.iter().map(part).collect(),
            names,
            void: 0,
            at: 0,
        }
    }

    /// Records that changed nothing and were left out.
    pub(crate) const fn void(&self) -> i64 {
        self.void
    }

    /// Where the parts end.
    pub(crate) fn ends(&self) -> Vec<i64> {
        self.parts.iter().map(|part| part.control().next_offset).collect()
    }

    /// What was written since the last time, by the number of the part.
    pub(crate) fn take_written(&mut self) -> Vec<(u32, Vec<NewRecord>)> {
        self.parts.iter_mut().map(|part| (part.number, std::mem::take(&mut part.written))).collect()
    }

    /// Forgets what was written.
    pub(crate) fn discard(&mut self) {
        self.parts.iter_mut().for_each(|part| part.written.clear());
    }

    /// The error of a record that cannot be moved.
    pub(crate) fn refused(&self, what: String) -> ArchiveError {
        ArchiveError::Unmoved { partition: self.place.clone(), offset: self.at, what }
    }

    /// Moves the next record. Answers where it lies if it lies in one place.
    pub(crate) fn take(&mut self, record: &Record) -> Result<Option<(usize, i64)>, ArchiveError> {
        self.at = record.offset;
        let seq = self.original.control().next_seq;
        let verdict = self.original.pass_over(record).map_err(|error| self.unfoldable(&error))?;
        let RecordHeaders::Known(headers) = &record.headers else {
            return self.put_at(0, same(record), verdict);
        };
        if matches!(verdict, Verdict::Stale | Verdict::Duplicate(_)) {
            self.void += 1;
            return Ok(None);
        }
        let is_control = matches!(headers.entity, Entity::Partition(_));
        if is_control && verdict == Verdict::Accepted {
            self.control(record, headers)?;
            return Ok(None);
        }
        // What is refused as the partition's own is refused where the partition keeps its number.
        let index = if is_control { 0 } else { self.width.part_of(self.place.partition, &record.key) };
        let author = match &headers.author {
            Author::Engine { seen, idle, .. } if self.original.control().next_seq != seq => {
                self.parts[index].engine(*seen, *idle)
            }
            Author::Outbox { source, partition, name, .. } if verdict == Verdict::Accepted => {
                self.keep_time(index, headers)?;
                Some(self.message(index, *source, *partition, *name)?)
            }
            Author::Ingest { .. } if verdict == Verdict::Accepted => {
                self.keep_time(index, headers)?;
                None
            }
            Author::Engine { .. }
            | Author::Ingest { .. }
            | Author::Outbox { .. }
            | Author::Candidate { .. } => None,
        };
        let moved = match author {
            Some(author) => self.by(record, headers, author)?,
            // Only where the offset was looked at; anything else is refused as it stands.
            None if headers.event_type == EventType::RunUnparked
                && matches!(
                    verdict,
                    Verdict::Accepted | Verdict::Parked | Verdict::Rejected(Rejection::NotParked)
                ) =>
            {
                self.unparked(index, record, headers)?
            }
            None => same(record),
        };
        let place = self.put_at(index, moved, verdict)?;
        if let Some((_, offset)) = place
            && verdict == Verdict::Accepted
            && sends(headers.event_type)
        {
            self.parts[index].waiting.push_back((record.offset, offset));
        }
        Ok(place)
    }

    /// Makes the time of every part's log that of the original.
    pub(crate) fn finish(&mut self) -> Result<(), ArchiveError> {
        (0..self.parts.len()).try_for_each(|index| self.mark_time(index))
    }

    /// A record that is written as it was, but for its author.
    fn by(&self, record: &Record, headers: &Headers, author: Author) -> Result<NewRecord, ArchiveError> {
        let value = match (&self.names, codec::open(headers, &record.value)) {
            // What cannot be read is refused at its place, there as here; Control looks at its headers all the same.
            (Names::Old, _) | (_, Err(_)) => record.value.clone(),
            (Names::New(_), Ok(opened)) => opened.with_author(&author).ok_or_else(|| {
                self.refused(format!("schema {} is not one this build can write anew", headers.schema_id))
            })?,
        };
        let headers = Headers { author, ..headers.clone() };
        Ok(NewRecord { key: record.key.clone(), headers: RecordHeaders::Known(headers), value })
    }

    /// What lets a run go on names the record that parked it, which lies elsewhere now. What named no record of the run's
    /// part names none there.
    fn unparked(&self, index: usize, record: &Record, headers: &Headers) -> Result<NewRecord, ArchiveError> {
        let (Names::New(sources), Ok((envelope, Event::RunUnparked(unparked)))) =
            (&self.names, decode(headers, &record.value))
        else {
            return Ok(same(record));
        };
        let own = self.original.control().log.map(|log| (log.log_id, self.place.partition));
        let moved = own.and_then(|own| sources.get(&own)?.moved.find(unparked.offset));
        let offset = moved.filter(|(part, _)| *part == index).map_or(-1, |(_, offset)| offset);
        let event = RunUnparked { offset, ..unparked };
        encode(&envelope, &event.into()).map_err(|error| self.refused(error.to_string()))
    }

    /// Who sent a message, as the clone names it.
    fn message(
        &self,
        index: usize,
        source: LogId,
        partition: u32,
        name: OutboxName,
    ) -> Result<Author, ArchiveError> {
        let known = match self.names {
            Names::New(sources) => sources.get(&(source, partition)),
            Names::Old => None,
        };
        let (source, partition, name) = match known {
            Some(known) => {
                let (part, offset) = known.moved.find(name.offset).ok_or_else(|| {
                    let what = format!(
                        "it is a message of a record that says nothing, {} of partition {partition}",
                        name.offset
                    );
                    self.refused(what)
                })?;
                let (log_id, number) = known.ids[part];
                (log_id, number, OutboxName { offset, index: name.index })
            }
            None => (source, partition, name),
        };
        let predecessor = self.parts[index].control().sources.get(&(source, partition)).copied();
        Ok(Author::Outbox { source, partition, name, predecessor })
    }

    /// What is about the partition itself, for each part as it concerns it.
    fn control(&mut self, record: &Record, headers: &Headers) -> Result<(), ArchiveError> {
        let (envelope, event) =
            decode(headers, &record.value).map_err(|error| self.refused(error.to_string()))?;
        for index in 0..self.parts.len() {
            let part = &mut self.parts[index];
            let own = Envelope { entity: Entity::Partition(part.number), ..envelope.clone() };
            let (envelope, event): (Envelope, Event) = match &event {
                Event::LogCreated(created) => {
                    let partitions = i32::try_from(self.width.to()).unwrap_or(i32::MAX);
                    (own, LogCreated { log_id: part.log_id, partitions, ..created.clone() }.into())
                }
                Event::PartitionClaimed(_) => {
                    (own, PartitionClaimed { replaces: part.control().claim }.into())
                }
                Event::OutboxTrimmed(trimmed) => {
                    let is_delivered = |(old, _): &mut (i64, i64)| {
                        *old < trimmed.offset || *old == trimmed.offset && trimmed.index >= 0
                    };
                    let mut last = None;
                    while let Some((_, offset)) = part.waiting.pop_front_if(is_delivered) {
                        last = Some(offset);
                    }
                    let Some(offset) = last else { continue };
                    self.trim(index, OutboxTrimmed { offset, index: 0 }, envelope.recorded_at_us)?;
                    continue;
                }
                event => (own, event.clone()),
            };
            let moved = encode(&envelope, &event).map_err(|error| self.refused(error.to_string()))?;
            self.put(index, moved, Verdict::Accepted)?;
        }
        Ok(())
    }

    /// What happens to a run from outside is remembered for a time that the owner's records tell. Those of the other parts
    /// do not lie here, so before an event that may be remembered the log is told what time it was. A run's start is not
    /// remembered: there is a run or there is none.
    fn keep_time(&mut self, index: usize, headers: &Headers) -> Result<(), ArchiveError> {
        if headers.event_type == EventType::RunStarted { Ok(()) } else { self.mark_time(index) }
    }

    fn mark_time(&mut self, index: usize) -> Result<(), ArchiveError> {
        let (time_us, own) = (self.original.control().log_time_us, self.parts[index].control());
        if own.log_time_us == time_us || own.claim.is_none() {
            return Ok(());
        }
        // Nothing lies before the record that begins the log: this forgets no message.
        self.trim(index, OutboxTrimmed { offset: 0, index: 0 }, time_us)
    }

    fn trim(
        &mut self,
        index: usize,
        trimmed: OutboxTrimmed,
        recorded_at_us: i64,
    ) -> Result<(), ArchiveError> {
        let part = &self.parts[index];
        let (Some(author), Some(claim)) = (part.engine(0, false), part.control().claim) else {
            return Err(self.refused("nobody has claimed the partition".to_owned()));
        };
        let envelope = Envelope {
            event_id: EventId::engine(part.log_id, claim, part.control().next_seq),
            entity: Entity::Partition(part.number),
            namespace: None,
            recorded_at_us,
            cause: None,
            traceparent: None,
            author,
        };
        let moved = encode(&envelope, &trimmed.into()).map_err(|error| self.refused(error.to_string()))?;
        self.put(index, moved, Verdict::Accepted).map(|_| ())
    }

    fn put_at(
        &mut self,
        index: usize,
        record: NewRecord,
        verdict: Verdict,
    ) -> Result<Option<(usize, i64)>, ArchiveError> {
        self.put(index, record, verdict).map(|offset| Some((index, offset)))
    }

    /// Writes a record behind the others of a part, where it must be judged as it was.
    fn put(&mut self, index: usize, record: NewRecord, verdict: Verdict) -> Result<i64, ArchiveError> {
        let part = &mut self.parts[index];
        let NewRecord { key, headers, value } = record;
        let offset = part.control().next_offset;
        let record = Record { offset, key, headers, value };
        let found = part.fold.pass_over(&record);
        let Record { key, headers, value, .. } = record;
        part.written.push(NewRecord { key, headers, value });
        match found {
            Ok(found) if found == verdict => Ok(offset),
            Ok(found) => Err(self.refused(format!("it was {verdict:?} and would be {found:?}"))),
            Err(error) => Err(self.unfoldable(&error)),
        }
    }

    fn unfoldable(&self, error: &FoldError) -> ArchiveError {
        ArchiveError::Unknown { partition: self.place.clone(), what: error.to_string() }
    }
}

fn same(record: &Record) -> NewRecord {
    NewRecord { key: record.key.clone(), headers: record.headers.clone(), value: record.value.clone() }
}
