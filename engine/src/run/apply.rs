//! What a record does to its run: external events here, engine events in `progress`.

use std::sync::Arc;

use tidewheel_schemas::event::RunStarted;
use tidewheel_schemas::limit::SIGNALS_WAITING_MAX;
use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{Author, Envelope, Event, EventType, Headers, Name, RunId};

use super::digest::{PartKey, PartsDigest};
use super::{HistoryEntry, Origin, Run, RunHeader, RunStatus, UnreadSignal};
use crate::remembered::{Remembered, RememberedEvents};
use crate::transition::{OutboxChange, PartChange, RunChange};
use crate::verdict::{Rejection, Verdict};

/// Where a record lies, as the rules need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) offset: i64,
    /// Log time of the partition after Control let the record through.
    pub(crate) log_time_us: i64,
}

/// What a record did.
pub(crate) struct Applied {
    pub(crate) verdict: Verdict,
    pub(crate) change: Option<Box<RunChange>>,
    pub(crate) standing: Option<Arc<RunHeader>>,
    pub(crate) outbox: Vec<OutboxChange>,
}

impl Applied {
    pub(crate) fn nothing(verdict: Verdict) -> Self {
        Self { verdict, change: None, standing: None, outbox: Vec::new() }
    }

    /// The verdict on a duplicate. Allocates nothing: a flood of retries must cost little.
    pub(crate) fn repeated(verdict: Verdict, run: &Run) -> Self {
        Self { standing: Some(Arc::clone(&run.header)), ..Self::nothing(verdict) }
    }

    /// A verdict that leaves the run as it stands; the header is shown so that a waiter can answer with it.
    pub(super) fn unchanged(verdict: Verdict, run: &Run) -> Self {
        let header = &run.header;
        Self {
            verdict,
            change: Some(Box::new(RunChange {
                before: Some(Arc::clone(header)),
                after: Arc::clone(header),
                entry: None,
                parts: Vec::new(),
                left_unread: Vec::new(),
            })),
            standing: None,
            outbox: Vec::new(),
        }
    }
}

/// The part of a change that the rules fill in.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) parts: Vec<PartChange>,
    pub(super) left_unread: Vec<UnreadSignal>,
    pub(super) outbox: Vec<OutboxChange>,
}

/// Applies one record, which Control let through, to its run.
pub(crate) fn apply(run: &mut Run, place: Place, envelope: &Envelope, event: Event) -> Applied {
    if place.offset <= run.header.applied_offset && !mutation::is(Mutation::AppliedOffsetIgnored) {
        return Applied::nothing(Verdict::Skipped);
    }
    if run.header.is_frozen() && !mutation::is(Mutation::ParkedGoesOn) {
        return Applied::unchanged(Verdict::Parked, run);
    }
    match &envelope.author {
        Author::Engine { seen, idle, .. } => {
            super::progress::apply_engine(run, place, envelope, event, *seen, *idle)
        }
        Author::Ingest { .. } | Author::Outbox { .. } | Author::Candidate { .. } => {
            apply_external(run, place, envelope, event)
        }
    }
}

/// The verdict on an external event that was judged before, told from its envelope alone. Dedup precedes every other
/// rule: a retry gets the first outcome whatever has happened since.
pub(crate) fn repeated(
    run: &Run,
    place: Place,
    headers: &Headers,
    namespace: Option<&str>,
) -> Option<Verdict> {
    let is_external = !matches!(headers.author, Author::Engine { .. });
    let is_new = place.offset > run.header.applied_offset || mutation::is(Mutation::AppliedOffsetIgnored);
    let is_taken = !run.header.is_frozen() || mutation::is(Mutation::ParkedGoesOn);
    let is_named =
        namespace == Some(run.header.namespace.as_str()) || mutation::is(Mutation::NamespaceUnchecked);
    let is_late = mutation::is(Mutation::DedupAfterFinished) && run.header.status.is_finished();
    if !(is_external && is_new && is_taken && is_named) || is_late {
        return None;
    }
    if let Some(remembered) = run.remembered.get(&headers.event_id) {
        return Some(Verdict::Duplicate(remembered.outcome));
    }
    let is_second = headers.event_type == EventType::RunStarted && !mutation::is(Mutation::SecondStartCounts);
    is_second.then_some(Verdict::Duplicate(Ok(())))
}

/// Applies one record to a run that does not exist: only a start creates it.
pub(crate) fn create(
    run_id: RunId,
    place: Place,
    envelope: &Envelope,
    event: Event,
) -> (Applied, Option<Run>) {
    let Event::RunStarted(started) = event else {
        return (Applied::nothing(Verdict::Rejected(Rejection::RunNotFound)), None);
    };
    let Some(namespace) = envelope.namespace.clone() else {
        return (Applied::nothing(Verdict::Rejected(Rejection::Undecodable)), None);
    };
    let (applied, run) = start(run_id, namespace, place, envelope, started);
    (applied, Some(run))
}

/// What a record does that nobody can read, although the owner wrote it: its run halts there. What is decided after it
/// is refused, since it was decided on what cannot be read; what comes from outside is taken in.
pub(crate) fn halt(run: &mut Run, place: Place, seen: u64) -> Applied {
    let header = &run.header;
    if place.offset <= header.applied_offset {
        return Applied::nothing(Verdict::Skipped);
    }
    if header.is_frozen() {
        return Applied::unchanged(Verdict::Parked, run);
    }
    // As of any other record of the owner then, so that it does not matter who can read this one.
    if header.status.is_finished() {
        return Applied::unchanged(Verdict::Rejected(Rejection::RunFinished), run);
    }
    if header.status == RunStatus::Parked || header.parked_at.is_some() || seen < run.decided_from {
        return Applied::unchanged(Verdict::Rejected(Rejection::RunParked), run);
    }
    let before = Arc::clone(&run.header);
    halt_at(run, place, before, Effects::default())
}

fn halt_at(run: &mut Run, place: Place, before: Arc<RunHeader>, effects: Effects) -> Applied {
    let header = Arc::make_mut(&mut run.header);
    header.parked_at = Some(place.offset);
    header.applied_offset = place.offset;
    changed(Verdict::Parked, before, run, None, effects)
}

/// As [`halt`], below the fold version that lets a halted run go on: nothing after the record is applied.
pub(crate) fn park(run: &mut Run, place: Place) -> Applied {
    let before = Arc::clone(&run.header);
    if before.parked_at.is_none() && place.offset > before.applied_offset {
        Arc::make_mut(&mut run.header).parked_at = Some(place.offset);
    }
    let mut applied = Applied::unchanged(Verdict::Parked, run);
    if let Some(change) = &mut applied.change {
        change.before = Some(before);
    }
    applied
}

fn apply_external(run: &mut Run, place: Place, envelope: &Envelope, event: Event) -> Applied {
    if envelope.namespace.as_ref() != Some(&run.header.namespace)
        && !mutation::is(Mutation::NamespaceUnchecked)
    {
        return Applied::nothing(Verdict::Rejected(Rejection::WrongNamespace));
    }
    if run.header.status.is_finished() {
        // Final, so the same record is refused for ever the same way without being remembered.
        return Applied::unchanged(Verdict::Rejected(Rejection::RunFinished), run);
    }
    if let Event::RunUnparked(unparked) = &event
        && run.header.parked_at.is_none()
        && run
            .history
            .iter()
            .any(|entry| entry.offset == unparked.offset && matches!(entry.origin, Origin::Engine { .. }))
    {
        // Others went on without a record that counts here. Going on would be another history than theirs, unnoticed.
        // Remembered, so that the same record sent again cannot halt the run again once somebody let it go on.
        let before = Arc::clone(&run.header);
        let mut effects = Effects::default();
        remember(run, place, envelope, Err(Rejection::NotParked), &mut effects);
        return halt_at(run, place, before, effects);
    }
    let signals_full = run.unread.len() >= SIGNALS_WAITING_MAX;
    let refusal = if matches!(event, Event::RunSignaled(_)) && signals_full {
        Some(Rejection::TooManySignals)
    } else if matches!(event, Event::RunResumed(_)) && run.header.status != RunStatus::Parked {
        Some(Rejection::NotParked)
    } else if let Event::RunUnparked(unparked) = &event
        && run.header.parked_at != Some(unparked.offset)
    {
        Some(Rejection::NotParked)
    } else {
        None
    };
    let before = Arc::clone(&run.header);
    let mut effects = Effects::default();
    remember(run, place, envelope, refusal.map_or(Ok(()), Err), &mut effects);
    let header = Arc::make_mut(&mut run.header);
    header.applied_offset = place.offset;
    if let Some(rejection) = refusal {
        return changed(Verdict::Rejected(rejection), before, run, None, effects);
    }
    header.externals += 1;
    header.version += 1;
    let ordinal = header.externals;
    if let Event::RunSignaled(signal) = &event {
        let unread = UnreadSignal {
            ordinal,
            offset: place.offset,
            event_id: envelope.event_id,
            name: signal.name.clone(),
        };
        header.parts.add(PartKey::Signal(ordinal), place.offset);
        effects.parts.push(PartChange::Signal(ordinal, Some(unread.clone())));
        run.unread.insert(ordinal, unread);
    } else if let Event::RunCancelRequested(cancel) = &event {
        header.reason.get_or_insert_with(|| cancel.reason.as_str().into());
    } else if let Event::RunTerminated(terminate) = &event {
        header.reason = Some(terminate.reason.as_str().into());
        finish(run, place, envelope, RunStatus::Terminated, &mut effects);
    } else if let Event::RunResumed(_) = &event {
        header.status = RunStatus::Running;
        header.divergence = None;
        header.idle_seen = None;
    } else if let Event::RunUnparked(_) = &event {
        header.parked_at = None;
        header.idle_seen = None;
        run.decided_from = ordinal;
    }
    let entry = push(run, place, envelope, Origin::External { ordinal }, event);
    changed(Verdict::Accepted, before, run, Some(entry), effects)
}

fn start(
    run_id: RunId,
    namespace: Name,
    place: Place,
    envelope: &Envelope,
    started: RunStarted,
) -> (Applied, Run) {
    let header = RunHeader {
        run_id,
        namespace,
        workflow: started.workflow.clone(),
        key: started.key.as_deref().map(Into::into),
        tags: Arc::new(started.tags.clone()),
        status: RunStatus::Running,
        created_at_us: envelope.recorded_at_us,
        finished_at_us: None,
        started_offset: place.offset,
        finished_offset: None,
        version: 1,
        externals: 0,
        idle_seen: None,
        next_due_us: None,
        state: None,
        failure: None,
        reason: None,
        divergence: None,
        parked_at: None,
        applied_offset: place.offset,
        parts: PartsDigest::default(),
    };
    let mut run = Run {
        header: Arc::new(header),
        history: Vec::with_capacity(8),
        unread: std::collections::BTreeMap::new(),
        timers: std::collections::BTreeMap::new(),
        resolved: std::collections::BTreeSet::new(),
        remembered: RememberedEvents::default(),
        decided_from: 0,
    };
    let entry = push(&mut run, place, envelope, Origin::External { ordinal: 0 }, started.into());
    let applied = Applied {
        verdict: Verdict::Accepted,
        change: Some(Box::new(RunChange {
            before: None,
            after: Arc::clone(&run.header),
            entry: Some(entry),
            parts: Vec::new(),
            left_unread: Vec::new(),
        })),
        standing: None,
        outbox: Vec::new(),
    };
    (applied, run)
}

pub(super) fn changed(
    verdict: Verdict,
    before: Arc<RunHeader>,
    run: &Run,
    entry: Option<HistoryEntry>,
    effects: Effects,
) -> Applied {
    Applied {
        verdict,
        change: Some(Box::new(RunChange {
            before: Some(before),
            after: Arc::clone(&run.header),
            entry,
            parts: effects.parts,
            left_unread: effects.left_unread,
        })),
        standing: None,
        outbox: effects.outbox,
    }
}

pub(super) fn push(
    run: &mut Run,
    place: Place,
    envelope: &Envelope,
    origin: Origin,
    event: Event,
) -> HistoryEntry {
    let entry = HistoryEntry {
        offset: place.offset,
        event_id: envelope.event_id,
        recorded_at_us: envelope.recorded_at_us,
        origin,
        event: Arc::new(event),
    };
    run.history.push(entry.clone());
    entry
}

/// Ends a run: nothing of it is due any more, and signals nobody read become rejections.
pub(super) fn finish(
    run: &mut Run,
    place: Place,
    envelope: &Envelope,
    status: RunStatus,
    effects: &mut Effects,
) {
    let header = Arc::make_mut(&mut run.header);
    header.status = status;
    header.finished_at_us = Some(envelope.recorded_at_us);
    header.finished_offset = Some(place.offset);
    header.next_due_us = None;
    header.idle_seen = None;
    header.divergence = None;
    for (location, timer) in std::mem::take(&mut run.timers) {
        header.parts.remove(PartKey::Timer(&location), timer.offset);
        effects.parts.push(PartChange::Timer(location, None));
    }
    for (ordinal, signal) in std::mem::take(&mut run.unread) {
        header.parts.remove(PartKey::Signal(ordinal), signal.offset);
        effects.parts.push(PartChange::Signal(ordinal, None));
        if !mutation::is(Mutation::UnreadForgotten) {
            effects.left_unread.push(signal);
        }
    }
}

fn remember(
    run: &mut Run,
    place: Place,
    envelope: &Envelope,
    outcome: Result<(), Rejection>,
    effects: &mut Effects,
) {
    let remembered = Remembered { offset: place.offset, log_time_us: place.log_time_us, outcome };
    let digest = &mut Arc::make_mut(&mut run.header).parts;
    digest.add(PartKey::Remembered(&envelope.event_id), place.offset);
    run.remembered.insert(envelope.event_id, remembered);
    effects.parts.push(PartChange::Remembered(envelope.event_id, Some(remembered)));
    while let Some((oldest, first)) = run.remembered.forget(place.log_time_us) {
        digest.remove(PartKey::Remembered(&oldest), first.offset);
        effects.parts.push(PartChange::Remembered(oldest, None));
    }
}
