//! Replay: the code is driven through a history again, and every decision is checked against it.
//!
//! The order in which things became visible is recovered from `seen`: each engine entry says how many externals
//! preceded it, so code that races a step against a signal takes the same turn for ever.

use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{Event, Location};

use super::decision::{self, Class};
use super::journal::{Journal, Kind, Left, Outcome, Phase, Value, lock};
use super::{Machine, WorkflowError, describe};
use crate::run::{Divergence, HistoryEntry, Origin};

impl Machine {
    pub(super) fn replay_all(&mut self, history: &[HistoryEntry]) -> Result<(), Divergence> {
        let mut externals = history
            .iter()
            .filter(|entry| matches!(entry.origin, Origin::External { ordinal } if ordinal > 0))
            .peekable();
        let unparked: Vec<u64> = history.iter().filter_map(unparked_by).collect();
        self.poll()?;
        for entry in history {
            let Origin::Engine { seen, .. } = entry.origin else {
                if mutation::is(Mutation::SeenIgnored)
                    && let Some(external) = externals.next_if(|external| external.offset == entry.offset)
                {
                    self.reveal(external)?;
                }
                continue;
            };
            let seen = if mutation::is(Mutation::SeenIgnored) { self.seen() } else { seen };
            if decision::class(&entry.event) == Class::Note {
                continue;
            }
            let decided_anew_until = unparked.iter().rev().find(|ordinal| **ordinal <= seen).copied();
            while self.seen() < seen {
                // A decision made before this external would stand before this entry, unless it was lost with a record
                // that the run went on without, and made anew after that.
                if decided_anew_until.is_none_or(|ordinal| self.seen() >= ordinal) {
                    self.nothing_unmatched(entry)?;
                }
                let Some(external) = externals.next() else {
                    let expected = format!("{} external records in the history", self.seen());
                    return Err(self.divergence(None, expected, format!("an entry decided on {seen}")));
                };
                self.reveal(external)?;
            }
            if self.seen() > seen {
                let expected = format!("an entry decided on {} external records or more", self.seen());
                let found = format!("{}, decided on {seen}", describe::event(&entry.event));
                return Err(self.divergence(decision::location(&entry.event), expected, found));
            }
            self.match_entry(entry)?;
        }
        for external in externals {
            self.reveal(external)?;
        }
        Ok(())
    }

    fn match_entry(&mut self, entry: &HistoryEntry) -> Result<(), Divergence> {
        match decision::class(&entry.event) {
            Class::Decision => self.match_decision(entry),
            Class::Result => {
                self.nothing_unmatched(entry)?;
                self.match_result(entry)
            }
            Class::External | Class::Note | Class::Control => {
                let found = describe::event(&entry.event);
                Err(self.divergence(None, "a record of the run's own".to_owned(), found))
            }
        }
    }

    fn match_decision(&mut self, entry: &HistoryEntry) -> Result<(), Divergence> {
        let mut journal = lock(&self.journal);
        match journal.emitted.front() {
            Some(front) if decision::is_same(&front.event, &entry.event) => {}
            Some(_) => {
                drop(journal);
                return self.nothing_unmatched(entry);
            }
            None => {
                drop(journal);
                return Err(self.unexpected(entry));
            }
        }
        journal.emitted.pop_front();
        journal.advance(entry.recorded_at_us);
        Ok(())
    }

    fn match_result(&mut self, entry: &HistoryEntry) -> Result<(), Divergence> {
        let Some(coordinate) = decision::location(&entry.event).and_then(decision::coordinate) else {
            return Err(self.unexpected(entry));
        };
        let mut journal = lock(&self.journal);
        let after = journal.emitted_total;
        let matching = journal
            .open
            .get_mut(&coordinate)
            .and_then(|open| match_kind(&mut open.kind, &entry.event, after));
        let Some(end) = matching else {
            drop(journal);
            return Err(self.unexpected(entry));
        };
        journal.advance(entry.recorded_at_us);
        let ended = end.and_then(|outcome| journal.resolve(coordinate, outcome));
        drop(journal);
        self.wake(ended);
        self.poll()
    }

    /// The history goes on with `entry`, so the code must not have decided anything the history does not have.
    fn nothing_unmatched(&self, entry: &HistoryEntry) -> Result<(), Divergence> {
        let journal = lock(&self.journal);
        let Some(front) = journal.emitted.front() else { return Ok(()) };
        let end = Location::top(journal.next);
        let ours = decision::location(&front.event).unwrap_or(&end);
        let theirs = decision::location(&entry.event).unwrap_or(&end);
        let is_theirs_first = theirs < ours && !is_open_for(&journal, entry);
        let divergence = if is_theirs_first {
            Divergence {
                location: theirs.clone(),
                expected: describe::code(&journal, theirs, self.is_finished()),
                found: describe::event(&entry.event),
            }
        } else {
            let theirs_text = describe::event(&entry.event);
            let mut found = if theirs == ours {
                theirs_text
            } else {
                format!("nothing there before {theirs_text} at {theirs}")
            };
            let mut expected = describe::event(&front.event);
            if decision::is_same(&front.event, &entry.event) {
                expected = format!("{expected}, having seen {} external records", front.seen);
                found = format!("{found}, having seen more");
            }
            Divergence { location: ours.clone(), expected, found }
        };
        Err(divergence)
    }

    /// The history has an entry where the code does something else, or nothing.
    fn unexpected(&self, entry: &HistoryEntry) -> Divergence {
        let journal = lock(&self.journal);
        // An end belongs to no place; where the code goes on to wait instead is where they part.
        let waits = || journal.open.iter().find(|(_, open)| open.wanted).map(|(coordinate, _)| *coordinate);
        let end = || Location::top(waits().unwrap_or(journal.next));
        let location = decision::location(&entry.event).cloned().unwrap_or_else(end);
        let expected = describe::code(&journal, &location, self.is_finished());
        Divergence { location, expected, found: describe::event(&entry.event) }
    }
}

/// The ordinal of an external that let the run go on without a record.
fn unparked_by(entry: &HistoryEntry) -> Option<u64> {
    match (&*entry.event, entry.origin) {
        (Event::RunUnparked(_), Origin::External { ordinal }) => Some(ordinal),
        _ => None,
    }
}

/// Whether the code has, or had when it returned, an await open at the entry's place that the entry could end.
fn is_open_for(journal: &Journal, entry: &HistoryEntry) -> bool {
    let Some(coordinate) = decision::location(&entry.event).and_then(decision::coordinate) else {
        return false;
    };
    let is_left = || match (journal.left.get(&coordinate), &*entry.event) {
        (Some(Left::Step(name)), Event::StepCompleted(event)) => *name == event.name,
        (Some(Left::Step(name)), Event::StepFailed(event)) => *name == event.name,
        (Some(Left::Sleep), Event::TimerFired(_)) => true,
        (Some(Left::Signals(name)), Event::SignalReceived(event)) => *name == event.name,
        _ => false,
    };
    journal.open.get(&coordinate).is_some_and(|open| fits(&open.kind, &entry.event)) || is_left()
}

fn fits(kind: &Kind, event: &Event) -> bool {
    match (kind, event) {
        (Kind::Step { name, .. }, Event::StepCompleted(event)) => *name == event.name,
        (Kind::Step { name, .. }, Event::StepFailed(event)) => *name == event.name,
        (Kind::Sleep, Event::TimerFired(_)) => true,
        (Kind::Signals { name, timed: true, .. }, Event::SignalReceived(event)) => {
            *name == event.name && event.signals.is_empty()
        }
        _ => false,
    }
}

/// What a result of the history does to an open await: `None` if it does not fit, otherwise how it ends, if it does.
fn match_kind(kind: &mut Kind, event: &Event, after: u64) -> Option<Option<Outcome>> {
    if !fits(kind, event) {
        return None;
    }
    match (kind, event) {
        (Kind::Step { .. }, Event::StepCompleted(event)) => {
            Some(Some(Ok(Value::Output(event.output.clone()))))
        }
        (Kind::Step { attempt, phase, .. }, Event::StepFailed(event)) => {
            if event.retry_at_us.is_none() {
                return Some(Some(Err(WorkflowError::Failed(event.failure.clone()))));
            }
            *attempt = u32::try_from(event.attempt).unwrap_or(0).saturating_add(1);
            *phase = Phase::Backoff { after };
            Some(None)
        }
        (Kind::Sleep, _) => Some(Some(Ok(Value::Unit))),
        (Kind::Signals { .. }, _) => Some(Some(Ok(Value::Signals(Vec::new())))),
        _ => None,
    }
}
