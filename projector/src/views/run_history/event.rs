//! The fields of an entry of `run_history` that say what happened: one event to and from them.

use std::fmt::Write as _;

use compact_str::CompactString;
use tidewheel_schemas::event::{
    RunCancelRequested, RunCancelled, RunCancelling, RunCompleted, RunDiverged, RunFailed, RunResumed,
    RunSignaled, RunStarted, RunStateChanged, RunTagged, RunTerminated, RunUnparked, SignalAwaited,
    SignalReceived, SignalSent, StepCompleted, StepFailed, TimerFired, TimerStarted,
};
use tidewheel_schemas::{Event, EventType, Failure, Location, Name, Payload, RunId};
use tidewheel_store::{FieldWriter, StoreError};

use crate::columns::{self, Columns};
use crate::views::runs::{read_tags, tags_value};

/// The values as far as an event has them; null otherwise.
#[derive(Default)]
struct Fields<'a> {
    location: Option<&'a Location>,
    name: Option<&'a Name>,
    attempt: Option<i32>,
    due_us: Option<i64>,
    ordinals: Option<&'a [i64]>,
    locations: Option<&'a [Location]>,
    failure: Option<&'a Failure>,
    target: Option<RunId>,
    reason: Option<&'a str>,
    run_key: Option<&'a str>,
    tags: Option<&'a std::collections::BTreeMap<String, String>>,
    differing: Option<(&'a str, &'a str)>,
    payload: Option<&'a Payload>,
}

fn fields(event: &Event) -> Fields<'_> {
    let none = Fields::default();
    match event {
        Event::RunStarted(event) => Fields {
            name: Some(&event.workflow),
            run_key: event.key.as_deref(),
            payload: Some(&event.input),
            tags: Some(&event.tags),
            ..none
        },
        Event::RunSignaled(event) => {
            Fields { name: Some(&event.name), payload: Some(&event.payload), ..none }
        }
        Event::RunCancelRequested(event) => Fields { reason: Some(&event.reason), ..none },
        Event::RunTerminated(event) => Fields { reason: Some(&event.reason), ..none },
        Event::StepCompleted(event) => Fields {
            location: Some(&event.location),
            name: Some(&event.name),
            attempt: Some(event.attempt),
            payload: Some(&event.output),
            ..none
        },
        Event::StepFailed(event) => Fields {
            location: Some(&event.location),
            name: Some(&event.name),
            attempt: Some(event.attempt),
            failure: Some(&event.failure),
            due_us: event.retry_at_us,
            ..none
        },
        Event::TimerStarted(event) => {
            Fields { location: Some(&event.location), due_us: Some(event.due_us), ..none }
        }
        Event::TimerFired(event) => Fields { location: Some(&event.location), ..none },
        Event::SignalAwaited(event) => {
            Fields { location: Some(&event.location), name: Some(&event.name), due_us: event.due_us, ..none }
        }
        Event::SignalReceived(event) => Fields {
            location: Some(&event.location),
            name: Some(&event.name),
            ordinals: Some(&event.signals),
            ..none
        },
        Event::RunStateChanged(event) => {
            Fields { location: Some(&event.location), payload: Some(&event.state), ..none }
        }
        Event::RunTagged(event) => {
            Fields { location: Some(&event.location), tags: Some(&event.tags), ..none }
        }
        Event::SignalSent(event) => Fields {
            location: Some(&event.location),
            target: Some(event.target),
            name: Some(&event.name),
            payload: Some(&event.payload),
            ..none
        },
        Event::RunCancelling(event) => Fields { locations: Some(&event.locations), ..none },
        Event::RunCompleted(event) => Fields { payload: Some(&event.output), ..none },
        Event::RunFailed(event) => Fields { failure: Some(&event.failure), ..none },
        Event::RunCancelled(event) => Fields { reason: Some(&event.reason), ..none },
        Event::RunDiverged(event) => Fields {
            location: Some(&event.location),
            differing: Some((&event.expected, &event.found)),
            ..none
        },
        Event::RunResumed(_) => none,
        Event::RunUnparked(event) => Fields {
            ordinals: Some(std::slice::from_ref(&event.offset)),
            reason: Some(&event.reason),
            ..none
        },
        // Records of the partition itself belong to no run's history; only their type would be kept.
        Event::LogCreated(_)
        | Event::PartitionClaimed(_)
        | Event::FoldRaised(_)
        | Event::OutboxTrimmed(_) => none,
    }
}

fn joined<T: std::fmt::Display>(items: &[T]) -> CompactString {
    let mut out = CompactString::default();
    for (index, item) in items.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{}{item}", if index == 0 { "" } else { "," });
    }
    out
}

/// Appends the fields of an event, from `location` to `payload`.
pub(super) fn push(out: &mut FieldWriter<'_>, event: &Event) {
    let fields = fields(event);
    match fields.location {
        Some(location) => out.text(&columns::shown_text(location)),
        None => out.null(),
    }
    out.maybe_text(fields.name.map(|name| &**name));
    out.maybe_int(fields.attempt.map(i64::from));
    out.maybe_int(fields.due_us);
    out.maybe_text(fields.ordinals.map(joined).as_deref());
    out.maybe_text(fields.locations.map(joined).as_deref());
    out.maybe_text(fields.failure.map(|failure| failure.code.as_str()));
    out.maybe_text(fields.failure.map(|failure| failure.message.as_str()));
    match fields.target {
        Some(target) => out.uuid(target.as_bytes()),
        None => out.null(),
    }
    out.maybe_text(fields.reason);
    out.maybe_text(fields.run_key);
    match fields.tags {
        Some(tags) => out.value(&tags_value(tags)),
        None => out.null(),
    }
    out.maybe_text(fields.differing.map(|(expected, _)| expected));
    out.maybe_text(fields.differing.map(|(_, found)| found));
    match fields.payload {
        Some(payload) => {
            out.maybe_text(columns::content_type(payload));
            out.blob(&payload.data);
        }
        None => {
            out.null();
            out.null();
        }
    }
}

fn split<T: std::str::FromStr>(columns: &Columns, list: &str) -> Result<Vec<T>, StoreError>
where
    T::Err: std::fmt::Display,
{
    if list.is_empty() {
        return Ok(Vec::new());
    }
    list.split(',').map(|item| columns.parsed(item)).collect()
}

/// Reads the event back.
pub(super) fn read(event_type: EventType, columns: &mut Columns) -> Result<Event, StoreError> {
    let location = columns.maybe_text()?.map(|text| columns.parsed::<Location>(&text)).transpose()?;
    let name = columns.maybe_name()?;
    let attempt = columns.maybe_int()?.and_then(|attempt| i32::try_from(attempt).ok());
    let due_us = columns.maybe_int()?;
    let ordinals = columns.maybe_text()?.map(|list| split(columns, &list)).transpose()?;
    let locations = columns.maybe_text()?.map(|list| split(columns, &list)).transpose()?;
    let code = columns.maybe_text()?;
    let failure = code.zip(columns.maybe_text()?).map(|(code, message)| Failure { code, message });
    let target = columns.maybe_uuid()?.map(RunId::from_bytes);
    let reason = columns.maybe_text()?;
    let key = columns.maybe_text()?;
    let tags = read_tags(columns)?;
    let expected = columns.maybe_text()?;
    let found = columns.maybe_text()?;
    let payload = columns.maybe_payload()?;
    let lacking = || columns.corrupt(format!("an entry of type {} lacks a column", event_type.as_str()));
    let event = match event_type {
        EventType::RunStarted => {
            RunStarted { workflow: name.ok_or_else(lacking)?, key, input: payload.ok_or_else(lacking)?, tags }
                .into()
        }
        EventType::RunSignaled => {
            RunSignaled { name: name.ok_or_else(lacking)?, payload: payload.ok_or_else(lacking)? }.into()
        }
        EventType::RunCancelRequested => RunCancelRequested { reason: reason.ok_or_else(lacking)? }.into(),
        EventType::RunTerminated => RunTerminated { reason: reason.ok_or_else(lacking)? }.into(),
        EventType::RunResumed => RunResumed {}.into(),
        EventType::RunUnparked => RunUnparked {
            offset: ordinals.and_then(|ordinals| ordinals.first().copied()).ok_or_else(lacking)?,
            reason: reason.ok_or_else(lacking)?,
        }
        .into(),
        EventType::StepCompleted => StepCompleted {
            location: location.ok_or_else(lacking)?,
            name: name.ok_or_else(lacking)?,
            attempt: attempt.ok_or_else(lacking)?,
            output: payload.ok_or_else(lacking)?,
        }
        .into(),
        EventType::StepFailed => StepFailed {
            location: location.ok_or_else(lacking)?,
            name: name.ok_or_else(lacking)?,
            attempt: attempt.ok_or_else(lacking)?,
            failure: failure.ok_or_else(lacking)?,
            retry_at_us: due_us,
        }
        .into(),
        EventType::TimerStarted => {
            TimerStarted { location: location.ok_or_else(lacking)?, due_us: due_us.ok_or_else(lacking)? }
                .into()
        }
        EventType::TimerFired => TimerFired { location: location.ok_or_else(lacking)? }.into(),
        EventType::SignalAwaited => {
            SignalAwaited { location: location.ok_or_else(lacking)?, name: name.ok_or_else(lacking)?, due_us }
                .into()
        }
        EventType::SignalReceived => SignalReceived {
            location: location.ok_or_else(lacking)?,
            name: name.ok_or_else(lacking)?,
            signals: ordinals.ok_or_else(lacking)?,
        }
        .into(),
        EventType::RunStateChanged => {
            RunStateChanged { location: location.ok_or_else(lacking)?, state: payload.ok_or_else(lacking)? }
                .into()
        }
        EventType::RunTagged => RunTagged { location: location.ok_or_else(lacking)?, tags }.into(),
        EventType::SignalSent => SignalSent {
            location: location.ok_or_else(lacking)?,
            target: target.ok_or_else(lacking)?,
            name: name.ok_or_else(lacking)?,
            payload: payload.ok_or_else(lacking)?,
        }
        .into(),
        EventType::RunCancelling => RunCancelling { locations: locations.ok_or_else(lacking)? }.into(),
        EventType::RunCompleted => RunCompleted { output: payload.ok_or_else(lacking)? }.into(),
        EventType::RunFailed => RunFailed { failure: failure.ok_or_else(lacking)? }.into(),
        EventType::RunCancelled => RunCancelled { reason: reason.ok_or_else(lacking)? }.into(),
        EventType::RunDiverged => RunDiverged {
            location: location.ok_or_else(lacking)?,
            expected: expected.ok_or_else(lacking)?,
            found: found.ok_or_else(lacking)?,
        }
        .into(),
        EventType::LogCreated
        | EventType::PartitionClaimed
        | EventType::FoldRaised
        | EventType::OutboxTrimmed
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
        | EventType::ViewsMended => {
            return Err(columns.corrupt("a record of something else lies in a run's history"));
        }
    };
    Ok(event)
}
