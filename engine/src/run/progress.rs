//! What an engine record does to its run: steps, timers, signals taken, ends.

use std::sync::Arc;

use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{Envelope, Event, Location, OutboxName};

use super::apply::{Applied, Effects, Place, changed, finish, push};
use super::digest::PartKey;
use super::{Divergence, Origin, Run, RunStatus, Timer, TimerKind};
use crate::outbox::OutboxEntry;
use crate::transition::{OutboxChange, PartChange};
use crate::verdict::{Rejection, Verdict};

pub(super) fn apply_engine(
    run: &mut Run,
    place: Place,
    envelope: &Envelope,
    event: Event,
    seen: u64,
    idle: bool,
) -> Applied {
    if run.header.status.is_finished() {
        return Applied::unchanged(Verdict::Rejected(Rejection::RunFinished), run);
    }
    let is_halted = run.header.parked_at.is_some() && !mutation::is(Mutation::ParkedGoesOn);
    if run.header.status == RunStatus::Parked || is_halted {
        return Applied::unchanged(Verdict::Rejected(Rejection::RunParked), run);
    }
    if envelope.namespace.as_ref() != Some(&run.header.namespace) {
        return Applied::unchanged(Verdict::Rejected(Rejection::WrongNamespace), run);
    }
    // On its way when the run was let go on, and decided on the record that it goes on without.
    if seen < run.decided_from {
        return Applied::unchanged(Verdict::Rejected(Rejection::RunParked), run);
    }
    let before = Arc::clone(&run.header);
    let mut effects = Effects::default();
    if let Err(rejection) = progress(run, place, envelope, &event, &mut effects) {
        return Applied::unchanged(Verdict::Rejected(rejection), run);
    }
    let due = run.timers.values().map(|timer| timer.due_us).min();
    let header = Arc::make_mut(&mut run.header);
    header.applied_offset = place.offset;
    header.version += 1;
    if header.status == RunStatus::Running {
        header.idle_seen = idle.then_some(seen);
        header.next_due_us = due;
    }
    let entry = push(run, place, envelope, Origin::Engine { seen, idle }, event);
    changed(Verdict::Accepted, before, run, Some(entry), effects)
}

/// Changes parts and status. Leaves the run untouched when it refuses.
fn progress(
    run: &mut Run,
    place: Place,
    envelope: &Envelope,
    event: &Event,
    effects: &mut Effects,
) -> Result<(), Rejection> {
    match event {
        Event::StepCompleted(step) => {
            resolve(run, &step.location)?;
            remove_timer(run, &step.location, effects);
        }
        Event::StepFailed(step) => match step.retry_at_us {
            Some(due_us) => {
                free(run, &step.location)?;
                let attempt = u32::try_from(step.attempt).unwrap_or(u32::MAX).saturating_add(1);
                set_timer(run, place, &step.location, due_us, TimerKind::Retry { attempt }, effects);
            }
            None => {
                resolve(run, &step.location)?;
                remove_timer(run, &step.location, effects);
            }
        },
        Event::TimerStarted(timer) => {
            free(run, &timer.location)?;
            set_timer(run, place, &timer.location, timer.due_us, TimerKind::Sleep, effects);
        }
        Event::TimerFired(timer) => {
            armed(run, &timer.location, TimerKind::Sleep)?;
            resolve(run, &timer.location)?;
            remove_timer(run, &timer.location, effects);
        }
        Event::SignalAwaited(wait) => {
            free(run, &wait.location)?;
            if let Some(due_us) = wait.due_us {
                set_timer(run, place, &wait.location, due_us, TimerKind::SignalTimeout, effects);
            }
        }
        Event::SignalReceived(received) => {
            if received.signals.is_empty() {
                armed(run, &received.location, TimerKind::SignalTimeout)?;
            }
            for ordinal in &received.signals {
                let waiting = u64::try_from(*ordinal).ok().and_then(|ordinal| run.unread.get(&ordinal));
                if waiting.is_none_or(|signal| signal.name != received.name) {
                    return Err(Rejection::LocationTaken);
                }
            }
            resolve(run, &received.location)?;
            remove_timer(run, &received.location, effects);
            for ordinal in received.signals.iter().filter_map(|ordinal| u64::try_from(*ordinal).ok()) {
                if let Some(signal) = run.unread.remove(&ordinal) {
                    Arc::make_mut(&mut run.header).parts.remove(PartKey::Signal(ordinal), signal.offset);
                    effects.parts.push(PartChange::Signal(ordinal, None));
                }
            }
        }
        Event::RunStateChanged(change) => {
            resolve(run, &change.location)?;
            Arc::make_mut(&mut run.header).state = Some(change.state.clone());
        }
        Event::RunTagged(change) => {
            resolve(run, &change.location)?;
            Arc::make_mut(&mut run.header).tags = Arc::new(change.tags.clone());
        }
        Event::SignalSent(signal) => {
            resolve(run, &signal.location)?;
            effects.outbox.push(OutboxChange::Put(OutboxEntry {
                name: OutboxName { offset: place.offset, index: 0 },
                sender: run.header.run_id,
                namespace: run.header.namespace.clone(),
                target: signal.target,
                signal: signal.name.clone(),
                payload: signal.payload.clone(),
            }));
        }
        Event::RunCancelling(cancelling) => {
            for location in &cancelling.locations {
                run.resolved.insert(location.clone());
                remove_timer(run, location, effects);
            }
        }
        Event::RunCompleted(_) => finish(run, place, envelope, RunStatus::Completed, effects),
        Event::RunFailed(failed) => {
            finish(run, place, envelope, RunStatus::Failed, effects);
            Arc::make_mut(&mut run.header).failure = Some(failed.failure.clone());
        }
        Event::RunCancelled(_) => finish(run, place, envelope, RunStatus::Cancelled, effects),
        Event::RunDiverged(diverged) => {
            let header = Arc::make_mut(&mut run.header);
            header.status = RunStatus::Parked;
            header.idle_seen = None;
            header.next_due_us = None;
            header.divergence = Some(Arc::new(Divergence {
                location: diverged.location.clone(),
                expected: diverged.expected.clone(),
                found: diverged.found.clone(),
            }));
        }
        Event::LogCreated(_)
        | Event::PartitionClaimed(_)
        | Event::FoldRaised(_)
        | Event::OutboxTrimmed(_)
        | Event::RunStarted(_)
        | Event::RunSignaled(_)
        | Event::RunCancelRequested(_)
        | Event::RunTerminated(_)
        | Event::RunResumed(_)
        | Event::RunUnparked(_) => return Err(Rejection::WrongAuthor),
    }
    Ok(())
}

/// Calls `resolved` with every location an accepted engine event gives its result: the same places as in
/// [`progress`], which a property test holds against each other.
pub(super) fn resolved_by(event: &Event, mut resolved: impl FnMut(&Location)) {
    match event {
        Event::StepCompleted(step) => resolved(&step.location),
        Event::StepFailed(step) if step.retry_at_us.is_none() => resolved(&step.location),
        Event::TimerFired(timer) => resolved(&timer.location),
        Event::SignalReceived(received) => resolved(&received.location),
        Event::RunStateChanged(change) => resolved(&change.location),
        Event::RunTagged(change) => resolved(&change.location),
        Event::SignalSent(signal) => resolved(&signal.location),
        Event::RunCancelling(cancelling) => cancelling.locations.iter().for_each(resolved),
        Event::StepFailed(_)
        | Event::TimerStarted(_)
        | Event::SignalAwaited(_)
        | Event::RunCompleted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_)
        | Event::RunDiverged(_)
        | Event::LogCreated(_)
        | Event::PartitionClaimed(_)
        | Event::FoldRaised(_)
        | Event::OutboxTrimmed(_)
        | Event::RunStarted(_)
        | Event::RunSignaled(_)
        | Event::RunCancelRequested(_)
        | Event::RunTerminated(_)
        | Event::RunResumed(_)
        | Event::RunUnparked(_) => {}
    }
}

/// A location without a result.
fn free(run: &Run, location: &Location) -> Result<(), Rejection> {
    let is_taken = run.resolved.contains(location) && !mutation::is(Mutation::SecondResultCounts);
    if is_taken { Err(Rejection::LocationTaken) } else { Ok(()) }
}

/// Gives a location its result: at most one is accepted.
fn resolve(run: &mut Run, location: &Location) -> Result<(), Rejection> {
    let is_free = run.resolved.insert(location.clone()) || mutation::is(Mutation::SecondResultCounts);
    if is_free { Ok(()) } else { Err(Rejection::LocationTaken) }
}

fn armed(run: &Run, location: &Location, kind: TimerKind) -> Result<(), Rejection> {
    match run.timers.get(location) {
        Some(timer) if timer.kind == kind => Ok(()),
        Some(_) | None => Err(Rejection::LocationTaken),
    }
}

fn set_timer(
    run: &mut Run,
    place: Place,
    location: &Location,
    due_us: i64,
    kind: TimerKind,
    effects: &mut Effects,
) {
    let timer = Timer { due_us, kind, offset: place.offset };
    let replaced = run.timers.insert(location.clone(), timer);
    let digest = &mut Arc::make_mut(&mut run.header).parts;
    if let Some(replaced) = replaced {
        digest.remove(PartKey::Timer(location), replaced.offset);
    }
    digest.add(PartKey::Timer(location), place.offset);
    effects.parts.push(PartChange::Timer(location.clone(), Some(timer)));
}

fn remove_timer(run: &mut Run, location: &Location, effects: &mut Effects) {
    if let Some(timer) = run.timers.remove(location) {
        Arc::make_mut(&mut run.header).parts.remove(PartKey::Timer(location), timer.offset);
        effects.parts.push(PartChange::Timer(location.clone(), None));
    }
}
