//! The owner of one partition, without IO: records, step results and ticks in; appends, step launches, outbox
//! messages and wake-up times out. `engine/runtime` does the IO; the simulator drives the same type.
//!
//! An effect leaves this type only once its cause was read back from the log and accepted (DESIGN §5).

mod active;
mod leadership;
mod turns;
mod wakeups;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{
    Author, Entity, EventId, EventType, Location, LogId, NewRecord, OutboxName, Payload, Record, RunId,
};

use self::active::Active;
use self::leadership::Leadership;
use self::turns::Turns;
use self::wakeups::Wakeups;
use crate::control::Control;
use crate::fold::{Fold, FoldError};
use crate::outbox::OutboxEntry;
use crate::run::{Run, RunStatus};
use crate::transition::Transition;
use crate::verdict::Verdict;
use crate::workflow::{Launch, StepFailure, Workflows};

/// What the shell is to do.
#[derive(Default)]
pub struct Effects {
    /// Records for this partition, to be appended in this order as one batch.
    pub appends: Vec<NewRecord>,
    /// Steps to run; each answers through [`Partition::step_finished`].
    pub launches: Vec<StepLaunch>,
    /// Steps whose results nobody waits for any more.
    pub aborts: Vec<(RunId, Location)>,
    /// The reign ended: abort every step, read on, claim again with jitter.
    pub deposed: bool,
}

/// A step to run.
pub struct StepLaunch {
    /// The run.
    pub run_id: RunId,
    /// What to run.
    pub launch: Launch,
}

/// The result of a step's attempt.
pub struct StepResult {
    /// The run.
    pub run_id: RunId,
    /// Where in its workflow.
    pub location: Location,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What it returned.
    pub result: Result<Payload, StepFailure>,
    /// A random number for the jitter of the backoff.
    pub jitter: u32,
}

/// The owner of one partition.
pub struct Partition {
    fold: Fold,
    process: Arc<str>,
    workflows: Arc<Workflows>,
    leadership: Leadership,
    active: BTreeMap<RunId, Active>,
    /// Runs that wait for a machine, to be built from their history.
    turns: Turns,
    /// When the timers of runs are due; also of runs that are not in memory.
    wakeups: Wakeups,
    /// Changed runs by the offset of the change, oldest first: what may leave memory once a view holds it.
    evictable: VecDeque<(i64, RunId)>,
    effects: Effects,
}

impl Partition {
    /// A partition that folds on from `fold` and does not lead yet. `process` names it in claims, for people.
    pub fn new(fold: Fold, process: Arc<str>, workflows: Arc<Workflows>) -> Self {
        Self {
            fold,
            process,
            workflows,
            leadership: Leadership::Following,
            active: BTreeMap::new(),
            turns: Turns::default(),
            wakeups: Wakeups::default(),
            evictable: VecDeque::new(),
            effects: Effects::default(),
        }
    }

    /// The fold as it stands.
    pub const fn fold(&self) -> &Fold {
        &self.fold
    }

    /// The control state.
    pub const fn control(&self) -> &Control {
        self.fold.control()
    }

    /// Whether this process leads the partition.
    pub const fn is_leader(&self) -> bool {
        matches!(self.leadership, Leadership::Leading { .. })
    }

    /// Runs with a machine in memory.
    pub fn active_runs(&self) -> usize {
        self.active.len()
    }

    /// The runs these records are about that must be loaded before [`Partition::records`] is called with them.
    pub fn wanted(&self, records: &[Record]) -> BTreeSet<RunId> {
        records.iter().filter_map(|record| self.fold.wanted(record)).collect()
    }

    /// Brings a run loaded from a view into memory.
    pub fn insert(&mut self, run: Run) {
        let run_id = run.header.run_id;
        if self.fold.run(run_id).is_some() {
            return;
        }
        self.turns.elsewhere.remove(&run_id);
        if !self.fold.insert(run) {
            return;
        }
        let Some(header) = self.fold.run(run_id).map(|run| &run.header) else { return };
        let (due, applied_offset) = (header.work_due_us(), header.applied_offset);
        // What it is loaded for may change nothing; it must be able to leave memory all the same.
        self.evictable.push_back((applied_offset, run_id));
        if self.is_leader() {
            self.note_work(run_id, due);
        }
    }

    /// Notes when a run in memory without a machine has work, as [`RunHeader::work_due_us`] says it.
    ///
    /// [`RunHeader::work_due_us`]: crate::RunHeader::work_due_us
    fn note_work(&mut self, run_id: RunId, due: Option<i64>) {
        if due == Some(i64::MIN) {
            self.turns.here.insert(run_id);
        } else {
            self.wakeups.set(run_id, due);
        }
    }

    /// The record that claims this partition, replacing the claim in force. The shell appends it when it has read
    /// to the end of the log; reading it back makes this process the leader. None before the log was created, while
    /// this process leads, or while a claim of its own is on its way: a second one would never let the first one
    /// count where appends take longer than candidates wait. If that append fails, [`Partition::depose`] it.
    pub fn claim(&mut self, event_id: EventId, now_us: i64) -> Option<NewRecord> {
        if self.leadership != Leadership::Following || self.control().log.is_none() {
            return None;
        }
        let record = leadership::claim(self.control(), &self.process, event_id, now_us);
        self.leadership = Leadership::Claiming { event_id };
        Some(record)
    }

    /// Folds the next records and reacts to them.
    ///
    /// # Errors
    /// See [`FoldError`]: the partition must stop.
    pub fn records(&mut self, records: &[Record], now_us: i64) -> Result<Vec<Transition>, FoldError> {
        let mut transitions = Vec::with_capacity(records.len());
        for record in records {
            let transition = self.fold.apply(record)?;
            self.observe(&transition, now_us);
            transitions.push(transition);
        }
        self.activate_pending(now_us);
        Ok(transitions)
    }

    fn observe(&mut self, transition: &Transition, now_us: i64) {
        let Some(headers) = &transition.headers else { return };
        if let (Entity::Run(run_id), Some(_)) = (&headers.entity, &transition.run) {
            self.evictable.push_back((transition.offset, *run_id));
        }
        if headers.event_type == EventType::PartitionClaimed && transition.verdict == Verdict::Accepted {
            self.claimed(headers.event_id, transition.offset);
            return;
        }
        let Leadership::Leading { claim, .. } = self.leadership else { return };
        if let Author::Engine { claim: by, seq, .. } = headers.author
            && by == claim
        {
            if transition.verdict == Verdict::Stale && !mutation::is(Mutation::DroppedRecordIgnored) {
                // A record of ours was dropped, so one before it was lost: never guess, start afresh.
                self.step_down();
                return;
            }
            self.confirm(&headers.entity, seq);
        }
        let (Entity::Run(run_id), Some(change)) = (&headers.entity, &transition.run) else { return };
        let run_id = *run_id;
        if change.after.status != RunStatus::Running || change.after.parked_at.is_some() {
            self.retire(run_id);
        } else if let (Verdict::Accepted, Some(entry)) = (transition.verdict, &change.entry)
            && headers.author.is_external()
        {
            match self.active.get_mut(&run_id) {
                Some(active) => {
                    let divergence = active.machine.reveal_external(entry).err();
                    self.collect(run_id, divergence, now_us);
                }
                None => {
                    self.turns.here.insert(run_id);
                }
            }
        }
        if transition.verdict == Verdict::Accepted {
            self.schedule(run_id);
        }
    }

    /// A step's attempt ended.
    pub fn step_finished(&mut self, result: StepResult, now_us: i64) {
        let StepResult { run_id, location, attempt, result, jitter } = result;
        let Some(active) = self.active.get_mut(&run_id) else { return };
        let outcome = match result {
            Ok(output) => active.machine.step_completed(&location, attempt, output, now_us),
            Err(failure) => active.machine.step_failed(&location, attempt, failure, now_us, jitter),
        };
        self.collect(run_id, outcome.err(), now_us);
    }

    /// Runs whose timers are due but that are not in memory: load and [`Partition::insert`] them, then tick. None
    /// while there is no room for them; a tick then lets them wait for their turn.
    pub fn due_elsewhere(&self, now_us: i64) -> Vec<RunId> {
        if !self.has_room() {
            return Vec::new();
        }
        self.wakeups.due(now_us).filter(|run_id| self.fold.run(*run_id).is_none()).collect()
    }

    /// Notes that a run that is not in memory has a timer, as found in `open_work`.
    pub fn expect(&mut self, run_id: RunId, due_us: i64) {
        if self.fold.run(run_id).is_none() && !mutation::is(Mutation::OpenWorkIgnored) {
            self.wakeups.set(run_id, Some(due_us));
        }
    }

    /// Fires every timer that is due.
    pub fn tick(&mut self, now_us: i64) {
        if !self.is_leader() {
            return;
        }
        // Runs that were just loaded may have timers that are due.
        self.activate_pending(now_us);
        while let Some(run_id) = self.wakeups.pop_due(now_us) {
            self.fire(run_id, now_us);
        }
    }

    fn fire(&mut self, run_id: RunId, now_us: i64) {
        if !self.active.contains_key(&run_id) && !self.has_room() {
            // Its wake-up comes back when it is activated.
            self.wait_for_turn(run_id);
            return;
        }
        if !self.activate(run_id, now_us) {
            return;
        }
        let (Some(run), Some(active)) = (self.fold.run(run_id), self.active.get_mut(&run_id)) else { return };
        let due: Vec<_> = run
            .timers
            .iter()
            .filter(|(location, timer)| timer.due_us <= now_us && active.fire_once(location, timer.offset))
            .map(|(location, _)| location.clone())
            .collect();
        let mut divergence = None;
        for location in due {
            divergence = active.machine.timer_due(&location, now_us).err();
            if divergence.is_some() {
                break;
            }
        }
        self.collect(run_id, divergence, now_us);
        self.schedule(run_id);
    }

    /// When [`Partition::tick`] has something to do next.
    pub fn wake_at_us(&self) -> Option<i64> {
        self.wakeups.first_us()
    }

    /// What the shell is to do now.
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// An append failed or its fate is unknown: stop leading, read on, claim again, decide afresh.
    pub fn depose(&mut self) {
        if !mutation::is(Mutation::LeadsAfterFailedAppend) {
            self.step_down();
        }
    }

    fn step_down(&mut self) {
        if !matches!(self.leadership, Leadership::Following) {
            self.leadership = Leadership::Following;
            self.active.clear();
            self.turns.clear();
            self.wakeups.clear();
            self.effects = Effects { deposed: true, ..Effects::default() };
        }
    }

    fn claimed(&mut self, event_id: EventId, offset: i64) {
        if self.leadership == (Leadership::Claiming { event_id }) {
            self.leadership = Leadership::Leading { claim: offset, next_seq: 0 };
            let work: Vec<_> = (self.fold.runs().iter())
                .filter_map(|(run_id, run)| Some((*run_id, run.header.work_due_us()?)))
                .collect();
            for (run_id, due_us) in work {
                self.note_work(run_id, Some(due_us));
            }
        } else {
            self.step_down();
        }
    }

    /// Drops idle runs and finished ones from memory where the view holds everything up to `applied_offset`.
    /// Returns how many were dropped. Timers due before `horizon_us` stay known, later ones are found in
    /// `open_work` in time.
    pub fn evict(&mut self, applied_offset: i64, horizon_us: i64) -> usize {
        let mut evicted = 0;
        let is_early = mutation::is(Mutation::EvictsTooEarly);
        while let Some((offset, run_id)) =
            self.evictable.pop_front_if(|(offset, _)| *offset <= applied_offset || is_early)
        {
            let waits = self.turns.here.contains(&run_id);
            let works = self.active.get(&run_id).is_some_and(|run| !run.is_idle());
            let busy = waits && self.has_room() || works && !mutation::is(Mutation::EvictsBusy);
            let Some(run) = self.fold.run(run_id) else { continue };
            // A newer record of the run stands further back in the queue.
            if busy || run.header.applied_offset > offset {
                continue;
            }
            if self.fold.evict(run_id, applied_offset) {
                self.active.remove(&run_id);
                if self.turns.here.remove(&run_id) {
                    self.turns.elsewhere.insert(run_id);
                }
                evicted += 1;
                let forgets = mutation::is(Mutation::EvictedTimersForgotten);
                self.wakeups.forget_after(run_id, if forgets { i64::MIN } else { horizon_us });
            }
        }
        evicted
    }

    /// Outbox entries after `after` (all when `None`), oldest first, that this partition has to deliver while it
    /// leads.
    pub fn undelivered(&self, after: Option<OutboxName>) -> impl Iterator<Item = &OutboxEntry> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.fold.outbox().range((from, std::ops::Bound::Unbounded)).map(|(_, entry)| entry)
    }

    /// Every outbox entry up to `through` was delivered: propose to forget them.
    pub fn delivered(&mut self, through: OutboxName, now_us: i64) {
        let event = tidewheel_schemas::event::OutboxTrimmed {
            offset: through.offset,
            index: i32::try_from(through.index).unwrap_or(i32::MAX),
        };
        let entity = Entity::Partition(self.control().partition);
        self.propose(&entity, None, 0, false, event.into(), now_us);
    }

    /// The log's id, once created.
    pub fn log_id(&self) -> Option<LogId> {
        self.control().log.map(|log| log.log_id)
    }
}
