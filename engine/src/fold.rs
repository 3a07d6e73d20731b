//! The fold: the one function that turns a partition's records into state. Engine, projector and replay call it,
//! and nothing else changes state. Total and deterministic: no history can fail to load.

mod unseen;

use std::collections::BTreeMap;

use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, Headers, OutboxName, Record, RecordHeaders, RunId, codec,
    partition::partition_for, registry,
};

use self::unseen::Unseen;
use crate::control::Control;
use crate::outbox::OutboxEntry;
use crate::run::Run;
use crate::run::apply::{Applied, Place, apply, create, halt, park, repeated};
use crate::run::rewind::rewind;
use crate::transition::{OutboxChange, Transition};
use crate::verdict::{Rejection, Verdict};

/// The log is ahead of this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// `FoldRaised` went past this build.
    #[error(
        "partition {partition} folds by version {fold} from offset {offset} on, this build knows {known}; upgrade this process"
    )]
    Newer {
        /// The partition.
        partition: u32,
        /// Where.
        offset: i64,
        /// The version in force.
        fold: u32,
        /// The newest one this process knows.
        known: u32,
    },
    /// A record that is not the next one was given.
    #[error(
        "partition {partition}: record {found} was given where {expected} or a later one was due; this is a defect, restart the process"
    )]
    OutOfOrder {
        /// The partition.
        partition: u32,
        /// The offset due.
        expected: i64,
        /// The offset given.
        found: i64,
    },
}

/// The state of one partition: control, outbox, and the runs that are in memory.
///
/// The caller keeps one rule: before a record is folded, its run, if [`Fold::wanted`] names it, is in memory or known not
/// to exist in the view that everything evicted was written to.
#[derive(Debug, Clone)]
pub struct Fold {
    control: Control,
    runs: BTreeMap<RunId, Run>,
    outbox: BTreeMap<OutboxName, OutboxEntry>,
    unseen: Unseen,
}

/// Refuses to go on where the log is ahead of this process. Whoever resumes from a checkpoint asks before it does
/// anything else: it must not even claim what it could not lead.
///
/// # Errors
/// [`FoldError::Newer`].
pub fn check(control: &Control) -> Result<(), FoldError> {
    let (fold, known) = (control.fold, registry::fold_newest());
    if fold <= known {
        return Ok(());
    }
    let Control { partition, next_offset: offset, .. } = *control;
    Err(FoldError::Newer { partition, offset, fold, known })
}

impl Fold {
    /// The state before the first record.
    pub fn new(partition: u32) -> Self {
        Self::resume(Control::new(partition), [])
    }

    /// The state at a checkpoint: its control row and outbox rows. Runs are loaded as they are wanted.
    pub fn resume(control: Control, outbox: impl IntoIterator<Item = OutboxEntry>) -> Self {
        let outbox = outbox.into_iter().map(|entry| (entry.name, entry)).collect();
        let unseen = Unseen::since(control.newest_fresh_ms);
        Self { control, runs: BTreeMap::new(), outbox, unseen }
    }

    /// The control state.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The outbox entries not yet trimmed.
    pub const fn outbox(&self) -> &BTreeMap<OutboxName, OutboxEntry> {
        &self.outbox
    }

    /// A run in memory.
    pub fn run(&self, run_id: RunId) -> Option<&Run> {
        self.runs.get(&run_id)
    }

    /// The runs in memory.
    pub const fn runs(&self) -> &BTreeMap<RunId, Run> {
        &self.runs
    }

    /// Brings a loaded run into memory, unless it is there already. Rows that are further than this fold are rewound to
    /// where it stands, so that the records in between do all they do; `false` if the run was not started by then.
    pub fn insert(&mut self, run: Run) -> bool {
        let next_offset = self.control.next_offset;
        let is_ahead = run.header.applied_offset >= next_offset
            || run.header.parked_at.is_some_and(|parked_at| parked_at >= next_offset);
        let stays = mutation::is(Mutation::RowsAheadSkipped) || mutation::is(Mutation::AppliedOffsetIgnored);
        let Some(run) = (if is_ahead && !stays { rewind(&run, next_offset) } else { Some(run) }) else {
            return false;
        };
        self.runs.entry(run.header.run_id).or_insert(run);
        true
    }

    /// Drops a run from memory if a view holds everything up to `applied_offset`.
    pub fn evict(&mut self, run_id: RunId, applied_offset: i64) -> bool {
        let safe = self.runs.get(&run_id).is_some_and(|run| {
            let is_held =
                run.header.applied_offset <= applied_offset || mutation::is(Mutation::EvictsTooEarly);
            is_held && (!run.header.is_frozen() || mutation::is(Mutation::EvictsParked))
        });
        if safe {
            self.runs.remove(&run_id);
            self.unseen.left(run_id);
        }
        safe
    }

    /// The run a record is about, if it is not in memory and may exist: load it before folding the record. None for a
    /// record that lies in the wrong partition: its run is another owner's, whatever the views know of it.
    pub fn wanted(&self, record: &Record) -> Option<RunId> {
        match &record.headers {
            RecordHeaders::Known(headers) => headers
                .entity
                .run_id()
                .filter(|run_id| !self.runs.contains_key(run_id) && !self.unseen.contains(*run_id))
                .filter(|run_id| self.lies_here(record, *run_id)),
            RecordHeaders::Foreign(_) => None,
        }
    }

    /// Whether a record about this run carries the run's key and belongs into this partition.
    fn lies_here(&self, record: &Record, run_id: RunId) -> bool {
        let Some(log) = &self.control.log else { return false };
        let mut text = [0; 36];
        let key = run_id.as_uuid().hyphenated().encode_lower(&mut text).as_bytes();
        record.key == key && partition_for(key, log.partitions) == self.control.partition
    }

    /// Drops a run from memory, whatever a view holds of it: for whoever folds a part of the runs, and neither loads nor
    /// decides. Records about it must be passed over from here on.
    pub fn forget(&mut self, run_id: RunId) {
        self.runs.remove(&run_id);
    }

    /// Stands where the partition stood before a record: for whoever folds some of its records, and knows of the others
    /// what they left.
    pub fn stand_at(&mut self, control: Control) {
        self.control = control;
    }

    /// Folds the next record as far as it concerns the partition, and leaves its run alone: for whoever folds a part of
    /// the runs. What is about the partition itself is folded as by [`Fold::apply`]. Says what Control says of the record;
    /// what its run would say is not known.
    ///
    /// # Errors
    /// As [`Fold::apply`].
    pub fn pass_over(&mut self, record: &Record) -> Result<Verdict, FoldError> {
        let headers = match &record.headers {
            RecordHeaders::Known(headers) => Some(headers),
            RecordHeaders::Foreign(_) => None,
        };
        if let Some(Headers { entity: Entity::Partition(_), .. }) = headers {
            return self.apply(record).map(|transition| transition.verdict);
        }
        self.expect(record)?;
        let verdict = match headers.map(|headers| (headers, self.check_place(record, headers))) {
            None => Verdict::Rejected(Rejection::Undecodable),
            Some((_, Err(rejection))) => Verdict::Rejected(rejection),
            Some((headers, Ok(()))) => {
                if let Entity::Run(run_id) = headers.entity {
                    self.control.note_run(run_id);
                }
                self.control.admit(headers)
            }
        };
        self.passed(record, headers)?;
        Ok(verdict)
    }

    /// Whether this record is the next one, and one that this build may fold.
    fn expect(&self, record: &Record) -> Result<(), FoldError> {
        // There may be holes: a log may use offsets for marks of its own.
        if record.offset < self.control.next_offset {
            return Err(FoldError::OutOfOrder {
                partition: self.control.partition,
                expected: self.control.next_offset,
                found: record.offset,
            });
        }
        check(&self.control)
    }

    fn passed(&mut self, record: &Record, headers: Option<&Headers>) -> Result<(), FoldError> {
        self.control.next_offset = record.offset + 1;
        self.control.last_event_id = headers.map(|headers| headers.event_id);
        // Not only at the next record: until that one comes nothing may be decided, nor shown, by an older version.
        check(&self.control)
    }

    /// Folds the next record.
    ///
    /// # Errors
    /// Only when the partition must stop: the log is ahead of this build, or records were given out of order.
    pub fn apply(&mut self, record: &Record) -> Result<Transition, FoldError> {
        self.expect(record)?;
        let headers = match &record.headers {
            RecordHeaders::Known(headers) => Some(headers),
            RecordHeaders::Foreign(_) => None,
        };
        let applied = match headers {
            Some(headers) => self.judge(record, headers),
            None => Applied::nothing(Verdict::Rejected(Rejection::Undecodable)),
        };
        if mutation::is(Mutation::OutcomeChangesControl)
            && let (Verdict::Rejected(_), Some(Author::Engine { seq, .. })) =
                (applied.verdict, headers.map(|headers| &headers.author))
        {
            self.control.next_seq = *seq;
        }
        self.passed(record, headers)?;
        for change in &applied.outbox {
            match change {
                OutboxChange::Put(entry) => {
                    self.outbox.insert(entry.name, entry.clone());
                }
                OutboxChange::Trimmed(through) => {
                    self.outbox = self.outbox.split_off(&OutboxName {
                        offset: through.offset,
                        index: through.index.saturating_add(1),
                    });
                }
            }
        }
        Ok(Transition {
            partition: self.control.partition,
            offset: record.offset,
            headers: headers.cloned(),
            verdict: applied.verdict,
            run: applied.change,
            standing: applied.standing,
            outbox: applied.outbox,
        })
    }

    fn judge(&mut self, record: &Record, headers: &Headers) -> Applied {
        if let Err(rejection) = self.check_place(record, headers) {
            return Applied::nothing(Verdict::Rejected(rejection));
        }
        if let Entity::Run(run_id) = headers.entity {
            self.control.note_run(run_id);
        }
        let admitted = self.control.admit(headers);
        if admitted != Verdict::Accepted {
            return Applied::nothing(admitted);
        }
        let place = Place { offset: record.offset, log_time_us: self.control.log_time_us };
        let opened = codec::open(headers, &record.value);
        if let (Entity::Run(run_id), Ok(opened)) = (&headers.entity, &opened)
            && let Some(run) = self.runs.get(run_id)
            && let Some(verdict) = repeated(run, place, headers, opened.namespace())
        {
            return Applied::repeated(verdict, run);
        }
        let decoded = opened.and_then(codec::Opened::decode);
        match (&headers.entity, decoded) {
            (Entity::Partition(_), Ok((envelope, event))) => {
                self.control_event(record.offset, &envelope, &event)
            }
            (Entity::Partition(_), Err(_)) => Applied::nothing(Verdict::Rejected(Rejection::Undecodable)),
            (Entity::Namespace(_) | Entity::Token(_) | Entity::Views(_), _) => {
                Applied::nothing(Verdict::Rejected(Rejection::NotInFold))
            }
            (Entity::Run(run_id), Ok((envelope, event))) => self.run_event(*run_id, place, &envelope, event),
            (Entity::Run(run_id), Err(_)) => {
                // The owner wrote something this build cannot read: applying what follows would be guessing.
                if let (Author::Engine { seen, .. }, Some(run)) = (&headers.author, self.runs.get_mut(run_id))
                {
                    if self.control.fold < registry::FOLD_UNPARKS {
                        park(run, place)
                    } else {
                        halt(run, place, *seen)
                    }
                } else {
                    Applied::nothing(Verdict::Rejected(Rejection::Undecodable))
                }
            }
        }
    }

    /// Whether the record may lie here at all: right key, right partition, a type of the fold in force.
    fn check_place(&self, record: &Record, headers: &Headers) -> Result<(), Rejection> {
        if self.control.log.is_none() {
            return match headers.entity {
                Entity::Partition(number) if number == self.control.partition => Ok(()),
                Entity::Partition(_)
                | Entity::Run(_)
                | Entity::Namespace(_)
                | Entity::Token(_)
                | Entity::Views(_) => Err(Rejection::Void),
            };
        }
        if !registry::allowed(self.control.fold, headers.event_type, headers.schema_id) {
            return Err(Rejection::NotInFold);
        }
        let here = match &headers.entity {
            Entity::Partition(number) => *number == self.control.partition,
            Entity::Run(run_id) => self.lies_here(record, *run_id),
            // What is configured has a topic of its own.
            Entity::Namespace(_) | Entity::Token(_) | Entity::Views(_) => false,
        };
        if here || mutation::is(Mutation::PartitionUnchecked) {
            Ok(())
        } else {
            Err(Rejection::WrongPartition)
        }
    }

    fn control_event(&mut self, offset: i64, envelope: &Envelope, event: &Event) -> Applied {
        if let Event::OutboxTrimmed(trimmed) = event
            && let Ok(index) = u32::try_from(trimmed.index)
        {
            let through = OutboxName { offset: trimmed.offset, index };
            let outbox = vec![OutboxChange::Trimmed(through)];
            return Applied { outbox, ..Applied::nothing(Verdict::Accepted) };
        }
        let verdict = if let Event::LogCreated(created) = event {
            self.control.log_created(offset, created)
        } else if self.control.log.is_none() {
            Verdict::Rejected(Rejection::Void)
        } else if let (Event::PartitionClaimed(claimed), Author::Candidate { process }) =
            (event, &envelope.author)
        {
            self.control.partition_claimed(offset, process, claimed)
        } else if let Event::FoldRaised(raised) = event {
            self.control.fold_raised(raised)
        } else {
            Verdict::Rejected(Rejection::Undecodable)
        };
        Applied::nothing(verdict)
    }

    fn run_event(&mut self, run_id: RunId, place: Place, envelope: &Envelope, event: Event) -> Applied {
        match self.runs.get_mut(&run_id) {
            Some(run) => apply(run, place, envelope, event),
            None => {
                let (applied, run) = create(run_id, place, envelope, event);
                if let Some(run) = run {
                    self.runs.insert(run_id, run);
                }
                applied
            }
        }
    }
}
