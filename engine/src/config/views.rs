//! The views of a datacenter: which generations there are, which one is read, and the replays that fill or mend them.
//! What a record does to them; who carries it out is said in `replay`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidewheel_schemas::event::{
    GenerationActivated, GenerationDropped, ReplayProgressed, ReplayScope, ReplayStarted, ViewsMended,
};
use tidewheel_schemas::{ConfigEvent, Entity, Envelope, EventId, Name};

use super::judged::Judged;
use super::namespace::principal;
use crate::run::apply::Place;
use crate::verdict::{Rejection, Verdict};

/// The generation that every datacenter begins with.
pub const FIRST_GENERATION: u32 = 1;
/// How many generations there may be at once: each is one more copy of the views, written all the time.
pub const GENERATIONS_MAX: usize = 2;
/// How often rows of one generation may be mended in place: the number is added to write timestamps, which leave room
/// for seven between two records.
pub const MENDINGS_MAX: u32 = 7;
/// Replays that are remembered after their end.
const REPLAYS_KEPT: usize = 100;

/// The views of a datacenter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewsState {
    /// The datacenter.
    pub datacenter: Name,
    /// The generation that is read.
    pub active: u32,
    /// The one that was read before, while it exists.
    pub previous: Option<u32>,
    /// The generations that are written.
    pub generations: BTreeMap<u32, GenerationState>,
    /// The newest generation there ever was.
    pub generation_last: u32,
    /// Replays that run, and the newest of those that have ended.
    pub replays: BTreeMap<u32, ReplayState>,
    /// The newest replay there ever was; 0 before the first.
    pub replay_last: u32,
    /// Number of records it accepted.
    pub version: u64,
    judged: Judged,
}

/// A generation of the views.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GenerationState {
    /// The replay that fills or filled it; `None` for the first.
    pub filled_by: Option<u32>,
    /// When it was last made the active one, microseconds since 1970.
    pub activated_at_us: Option<i64>,
    /// How often rows of it were mended in place.
    pub mendings: u32,
}

/// What a replay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayKind {
    /// Fills a new generation.
    Rebuild,
    /// Writes rows of an existing one again.
    Backfill,
}

/// How a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayStatus {
    /// It works.
    Running,
    /// It rests until it is resumed.
    Paused,
    /// It did everything.
    Finished,
    /// It was ended before its time.
    Cancelled,
}

/// How far a backfill is in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionDone {
    /// Parts that are done.
    pub parts: u64,
    /// Rows written.
    pub rows: u64,
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayState {
    /// Its number.
    pub number: u32,
    /// What it does.
    pub kind: ReplayKind,
    /// The generation it writes.
    pub generation: u32,
    /// What of it.
    pub scope: Arc<ReplayScope>,
    /// Where the log ended at its start, by partition.
    pub ends: Arc<[i64]>,
    /// Most records it folds in a second, all partitions together; `None` for as many as it can.
    pub records_per_second: Option<u64>,
    /// Whether its generation becomes active by itself.
    pub activates: bool,
    /// How it stands.
    pub status: ReplayStatus,
    /// When it was started, microseconds since 1970.
    pub started_at_us: i64,
    /// Who started it.
    pub started_by: Arc<str>,
    /// When it ended, microseconds since 1970.
    pub ended_at_us: Option<i64>,
    /// Why it was cancelled.
    pub reason: Option<Arc<str>>,
    /// How far a backfill is, by partition.
    pub done: BTreeMap<u32, PartitionDone>,
    /// The number of the mending that a backfill writes rows as, once there was a row to write; see
    /// [`ViewsState::mending_id`].
    pub mending: Option<u32>,
}

impl ReplayKind {
    /// The word in records and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild",
            Self::Backfill => "backfill",
        }
    }

    /// The kind with this word.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Rebuild, Self::Backfill].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl ReplayStatus {
    /// The word for people and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether there is nothing left to do.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled)
    }
}

impl ViewsState {
    /// The views of a datacenter of which no record speaks: one generation, which is read.
    pub fn initial(datacenter: Name) -> Self {
        Self {
            datacenter,
            active: FIRST_GENERATION,
            previous: None,
            generations: BTreeMap::from([(FIRST_GENERATION, GenerationState::default())]),
            generation_last: FIRST_GENERATION,
            replays: BTreeMap::new(),
            replay_last: 0,
            version: 0,
            judged: Judged::default(),
        }
    }

    /// The replay that has not ended.
    pub fn running(&self) -> Option<&ReplayState> {
        self.replays.values().find(|replay| !replay.status.is_over())
    }

    /// The id of the record by which whoever carries out a part of a backfill takes the number of its mending. The number
    /// is in it: one that somebody else took meanwhile is refused, and the next one is asked for under an id of its own.
    pub fn mending_id(datacenter: &Name, replay: u32, number: u32) -> EventId {
        let name = format!("backfill/{}", Entity::Views(datacenter.clone()));
        EventId::idempotent("", &name, &format!("{replay}/{number}"))
    }

    /// Whether a replay that has not ended still fills this generation.
    pub fn is_being_filled(&self, generation: u32) -> bool {
        self.running()
            .is_some_and(|replay| replay.kind == ReplayKind::Rebuild && replay.generation == generation)
    }

    pub(super) fn apply(&mut self, place: Place, envelope: &Envelope, event: &ConfigEvent) -> Verdict {
        if let Some(repeated) = self.judged.repeated(envelope.event_id) {
            return repeated;
        }
        let at_us = envelope.recorded_at_us;
        let outcome = match event {
            ConfigEvent::ReplayStarted(started) => self.start(envelope, started),
            ConfigEvent::ReplayPaused(event) => {
                self.steer(event.replay, |replay| replay.status = ReplayStatus::Paused)
            }
            ConfigEvent::ReplayResumed(event) => {
                self.steer(event.replay, |replay| replay.status = ReplayStatus::Running)
            }
            ConfigEvent::ReplayRateChanged(event) => match rate(event.records_per_second) {
                Some(rate) => self.steer(event.replay, |replay| replay.records_per_second = rate),
                None => Err(Rejection::Undecodable),
            },
            ConfigEvent::ReplayProgressed(event) => self.progress(event),
            ConfigEvent::ReplayFinished(event) => self.steer(event.replay, |replay| {
                replay.status = ReplayStatus::Finished;
                replay.ended_at_us = Some(at_us);
            }),
            ConfigEvent::ReplayCancelled(event) => {
                let reason = event.reason.as_str();
                self.cancel(event.replay, reason, at_us)
            }
            ConfigEvent::GenerationActivated(event) => self.activate(event, at_us),
            ConfigEvent::GenerationDropped(event) => self.drop_generation(event),
            ConfigEvent::ViewsMended(event) => self.mend(envelope.event_id, event),
            ConfigEvent::LogCreated(_)
            | ConfigEvent::FoldRaised(_)
            | ConfigEvent::NamespaceCreated(_)
            | ConfigEvent::TokenCreated(_)
            | ConfigEvent::TokenRotated(_)
            | ConfigEvent::TokenRevoked(_) => Err(Rejection::Undecodable),
        };
        if outcome.is_ok() {
            self.version = self.version.saturating_add(1);
        }
        self.judged.judge(place, envelope.event_id, outcome)
    }

    fn start(&mut self, envelope: &Envelope, started: &ReplayStarted) -> Result<(), Rejection> {
        let kind = ReplayKind::from_text(&started.kind).ok_or(Rejection::Undecodable)?;
        let records_per_second = rate(started.records_per_second).ok_or(Rejection::Undecodable)?;
        if self.running().is_some() {
            return Err(Rejection::ReplayRunning);
        }
        let number = next(self.replay_last, started.replay)?;
        let generation = match kind {
            ReplayKind::Rebuild => next(self.generation_last, started.generation)?,
            ReplayKind::Backfill => self.existing(started.generation)?,
        };
        if kind == ReplayKind::Rebuild {
            if self.generations.len() >= GENERATIONS_MAX {
                return Err(Rejection::TooManyGenerations);
            }
            self.generation_last = generation;
            let filled = GenerationState { filled_by: Some(number), ..GenerationState::default() };
            self.generations.insert(generation, filled);
        }
        self.replay_last = number;
        self.replays.insert(
            number,
            ReplayState {
                number,
                kind,
                generation,
                scope: Arc::new(started.scope.clone()),
                ends: started.ends.as_slice().into(),
                records_per_second,
                activates: started.activates,
                status: ReplayStatus::Running,
                started_at_us: envelope.recorded_at_us,
                started_by: principal(envelope),
                ended_at_us: None,
                reason: None,
                done: BTreeMap::new(),
                mending: None,
            },
        );
        while self.replays.len() > REPLAYS_KEPT {
            self.replays.pop_first();
        }
        Ok(())
    }

    /// Changes a replay that has not ended.
    fn steer(&mut self, number: i32, change: impl FnOnce(&mut ReplayState)) -> Result<(), Rejection> {
        let replay = u32::try_from(number).ok().and_then(|number| self.replays.get_mut(&number));
        let replay = replay.ok_or(Rejection::ReplayNotFound)?;
        if replay.status.is_over() {
            return Err(Rejection::ReplayEnded);
        }
        change(replay);
        Ok(())
    }

    /// What two processes that both believe they do a partition say goes forward only.
    fn progress(&mut self, progressed: &ReplayProgressed) -> Result<(), Rejection> {
        let natural = |number: i64| u64::try_from(number).map_err(|_| Rejection::Undecodable);
        let partition = u32::try_from(progressed.partition).map_err(|_| Rejection::Undecodable)?;
        let done = PartitionDone { parts: natural(progressed.done)?, rows: natural(progressed.rows)? };
        let mut is_behind = false;
        self.steer(progressed.replay, |replay| {
            let before = replay.done.entry(partition).or_default();
            is_behind = done.parts <= before.parts;
            if !is_behind {
                *before = done;
            }
        })?;
        if is_behind { Err(Rejection::VersionConflict) } else { Ok(()) }
    }

    fn cancel(&mut self, number: i32, reason: &str, at_us: i64) -> Result<(), Rejection> {
        let mut dropped = None;
        self.steer(number, |replay| {
            replay.status = ReplayStatus::Cancelled;
            replay.ended_at_us = Some(at_us);
            replay.reason = Some(reason.into());
            dropped = (replay.kind == ReplayKind::Rebuild).then_some(replay.generation);
        })?;
        if let Some(generation) = dropped {
            self.generations.remove(&generation);
        }
        Ok(())
    }

    fn existing(&self, generation: i32) -> Result<u32, Rejection> {
        let generation = u32::try_from(generation).map_err(|_| Rejection::GenerationNotFound)?;
        if self.generations.contains_key(&generation) {
            Ok(generation)
        } else {
            Err(Rejection::GenerationNotFound)
        }
    }

    fn activate(&mut self, activated: &GenerationActivated, at_us: i64) -> Result<(), Rejection> {
        let generation = self.existing(activated.generation)?;
        if u32::try_from(activated.replaces) != Ok(self.active) {
            return Err(Rejection::VersionConflict);
        }
        if generation == self.active {
            return Err(Rejection::GenerationActive);
        }
        if self.is_being_filled(generation) {
            return Err(Rejection::ReplayRunning);
        }
        self.previous = Some(std::mem::replace(&mut self.active, generation));
        if let Some(state) = self.generations.get_mut(&generation) {
            state.activated_at_us = Some(at_us);
        }
        Ok(())
    }

    fn drop_generation(&mut self, dropped: &GenerationDropped) -> Result<(), Rejection> {
        let generation = self.existing(dropped.generation)?;
        if generation == self.active {
            return Err(Rejection::GenerationActive);
        }
        // Cancelling is what ends it; a backfill of it would write rows that nobody drops.
        if self.running().is_some_and(|replay| replay.generation == generation) {
            return Err(Rejection::ReplayRunning);
        }
        self.generations.remove(&generation);
        self.previous = self.previous.filter(|previous| *previous != generation);
        Ok(())
    }

    /// A backfill takes one number, however many processes carry it out: two that ask at once ask with the same id, or one
    /// of them asks for a number that is taken.
    fn mend(&mut self, event_id: EventId, mended: &ViewsMended) -> Result<(), Rejection> {
        let generation = self.existing(mended.generation)?;
        let Some(state) = self.generations.get_mut(&generation) else {
            return Err(Rejection::GenerationNotFound);
        };
        let number = next(state.mendings, mended.number)?;
        if number > MENDINGS_MAX {
            return Err(Rejection::TooManyMendings);
        }
        state.mendings = number;
        let backfill = self.replays.values_mut().rev().find(|replay| !replay.status.is_over());
        if let Some(backfill) = backfill.filter(|replay| {
            replay.kind == ReplayKind::Backfill
                && replay.generation == generation
                && replay.mending.is_none()
                && event_id == Self::mending_id(&self.datacenter, replay.number, number)
        }) {
            backfill.mending = Some(number);
        }
        Ok(())
    }
}

/// The number given, if it is the one after `last`: two who decide at once decide on the same.
fn next(last: u32, number: i32) -> Result<u32, Rejection> {
    let expected = last.saturating_add(1);
    if u32::try_from(number) == Ok(expected) { Ok(expected) } else { Err(Rejection::VersionConflict) }
}

/// A rate as it is kept; `None` for one that is none: nothing would ever be done.
fn rate(records_per_second: Option<i64>) -> Option<Option<u64>> {
    match records_per_second {
        None => Some(None),
        Some(rate) => u64::try_from(rate).ok().filter(|rate| *rate > 0).map(Some),
    }
}
