//! Control: what decides, before and apart from any entity, whether a record of this partition counts.
//!
//! It reads headers, and the values of control records only. Entity outcomes never change it (DESIGN §4, §5).

use std::collections::BTreeMap;
use std::sync::Arc;

use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{Author, Claim, EventId, EventType, Headers, LogId, OutboxName, RunId};

use crate::verdict::{Rejection, Verdict};

/// What `LogCreated` settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogInfo {
    /// Name of the partition's log.
    pub log_id: LogId,
    /// Base of write timestamps, microseconds.
    pub epoch_us: i64,
    /// Partitions of the topic, for ever.
    pub partitions: u32,
}

/// The control state of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The partition's number.
    pub partition: u32,
    /// The log, once its first record was read.
    pub log: Option<LogInfo>,
    /// Fold version in force; 0 before `LogCreated`.
    pub fold: u32,
    /// The claim in force.
    pub claim: Option<Claim>,
    /// The process that made the claim, for people.
    pub claimed_by: Option<Arc<str>>,
    /// The sequence number the next engine record must carry.
    pub next_seq: u64,
    /// The largest `recorded_at` of a record accepted under a claim, microseconds since 1970.
    pub log_time_us: i64,
    /// The last outbox message accepted from each source partition.
    pub sources: BTreeMap<(LogId, u32), OutboxName>,
    /// The largest time in the fresh run ids that records of this partition named, milliseconds since 1970: no run
    /// with a later one exists. None if a build wrote the checkpoint that did not count them.
    pub newest_fresh_ms: Option<u64>,
    /// The offset to be folded next.
    pub next_offset: i64,
    /// Event id of the last record folded (none for foreign ones): resuming verifies that the log holds it there.
    pub last_event_id: Option<EventId>,
}

/// Which authors may write an event of this type.
fn may_write(event_type: EventType, author: &Author) -> bool {
    use EventType as T;
    match event_type {
        T::LogCreated | T::PartitionClaimed => matches!(author, Author::Candidate { .. }),
        T::FoldRaised
        | T::RunStarted
        | T::RunCancelRequested
        | T::RunTerminated
        | T::RunResumed
        | T::RunUnparked => {
            matches!(author, Author::Ingest { .. })
        }
        T::NamespaceCreated
        | T::TokenCreated
        | T::TokenRotated
        | T::TokenRevoked
        | T::ReplayStarted
        | T::ReplayPaused
        | T::ReplayResumed
        | T::ReplayRateChanged
        | T::ReplayCancelled
        | T::ReplayProgressed
        | T::ReplayFinished
        | T::GenerationActivated
        | T::GenerationDropped
        | T::ViewsMended => matches!(author, Author::Ingest { .. }),
        T::RunSignaled => author.is_external(),
        T::OutboxTrimmed
        | T::StepCompleted
        | T::StepFailed
        | T::TimerStarted
        | T::TimerFired
        | T::SignalAwaited
        | T::SignalReceived
        | T::RunStateChanged
        | T::RunTagged
        | T::SignalSent
        | T::RunCancelling
        | T::RunCompleted
        | T::RunFailed
        | T::RunCancelled
        | T::RunDiverged => matches!(author, Author::Engine { .. }),
    }
}

impl Control {
    /// The control state before the first record.
    pub fn new(partition: u32) -> Self {
        Self {
            partition,
            log: None,
            fold: 0,
            claim: None,
            claimed_by: None,
            next_seq: 0,
            log_time_us: i64::MIN,
            sources: BTreeMap::new(),
            newest_fresh_ms: Some(0),
            next_offset: 0,
            last_event_id: None,
        }
    }

    /// The write timestamp of the record at `offset`: `epoch_us + 8 * offset`. Zero-based before `LogCreated`.
    pub fn write_timestamp_us(&self, offset: i64) -> i64 {
        let offset = if mutation::is(Mutation::TimestampUnordered) { 0 } else { offset };
        self.log.map_or(0, |log| log.epoch_us).saturating_add(offset.saturating_mul(8))
    }

    /// Notes the time in a fresh run id, whatever becomes of the record that names it.
    pub(crate) fn note_run(&mut self, run_id: RunId) {
        if let (Some(newest_ms), Some(fresh_ms)) = (&mut self.newest_fresh_ms, run_id.fresh_ms()) {
            *newest_ms = (*newest_ms).max(fresh_ms);
        }
    }

    /// Judges the author of a record whose headers are known. `Accepted` means: go on to the entity.
    ///
    /// Fencing (DESIGN §5): an engine record counts only under the claim in force and as the next in its dense
    /// sequence; an outbox message only right after the one accepted before it from the same source.
    pub(crate) fn admit(&mut self, headers: &Headers) -> Verdict {
        if !may_write(headers.event_type, &headers.author) && !mutation::is(Mutation::AuthorUnchecked) {
            return Verdict::Rejected(Rejection::WrongAuthor);
        }
        match &headers.author {
            Author::Ingest { .. } | Author::Candidate { .. } => Verdict::Accepted,
            Author::Engine { claim, seq, .. } => {
                let is_claim = self.claim == Some(*claim) || mutation::is(Mutation::ClaimUnchecked);
                let is_next = self.next_seq == *seq || mutation::is(Mutation::SequenceUnchecked);
                if !is_claim || !is_next {
                    return Verdict::Stale;
                }
                self.next_seq = *seq + 1;
                self.log_time_us = self.log_time_us.max(headers.recorded_at_us);
                Verdict::Accepted
            }
            Author::Outbox { source, partition, name, predecessor } => {
                let last = self.sources.get(&(*source, *partition)).copied();
                if *predecessor == last || mutation::is(Mutation::OutboxAcceptsGaps) {
                    if last.is_some_and(|last| *name <= last) {
                        return Verdict::Stale;
                    }
                    self.sources.insert((*source, *partition), *name);
                    Verdict::Accepted
                } else if last.is_some_and(|last| *name <= last) {
                    if mutation::is(Mutation::OutboxAcceptsOlder) {
                        self.sources.insert((*source, *partition), *name);
                        return Verdict::Accepted;
                    }
                    Verdict::Duplicate(Ok(()))
                } else {
                    Verdict::Stale
                }
            }
        }
    }

    pub(crate) fn log_created(
        &mut self,
        offset: i64,
        event: &tidewheel_schemas::event::LogCreated,
    ) -> Verdict {
        let (Ok(partitions), Ok(fold)) = (u32::try_from(event.partitions), u32::try_from(event.fold)) else {
            return Verdict::Rejected(Rejection::Void);
        };
        let comes_late =
            (self.log.is_some() || offset != 0) && !mutation::is(Mutation::SecondLogCreatedCounts);
        if comes_late || partitions == 0 || fold == 0 {
            return Verdict::Rejected(Rejection::Void);
        }
        self.log = Some(LogInfo { log_id: event.log_id, epoch_us: event.epoch_us, partitions });
        self.fold = fold;
        Verdict::Accepted
    }

    pub(crate) fn partition_claimed(
        &mut self,
        offset: i64,
        process: &Arc<str>,
        event: &tidewheel_schemas::event::PartitionClaimed,
    ) -> Verdict {
        // A claim that replaces an older one lost the race; its process reads this and claims again.
        if event.replaces != self.claim && !mutation::is(Mutation::ClaimReplacesAny) {
            return Verdict::Stale;
        }
        self.claim = Some(offset);
        self.claimed_by = Some(Arc::clone(process));
        self.next_seq = 0;
        Verdict::Accepted
    }

    pub(crate) fn fold_raised(&mut self, event: &tidewheel_schemas::event::FoldRaised) -> Verdict {
        match u32::try_from(event.fold) {
            Ok(fold) if fold > self.fold => {
                if !mutation::is(Mutation::FoldRaisedIgnored) {
                    self.fold = fold;
                }
                Verdict::Accepted
            }
            Ok(_) | Err(_) => Verdict::Rejected(Rejection::Void),
        }
    }
}
