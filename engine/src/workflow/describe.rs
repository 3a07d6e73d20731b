//! Words for what code does and histories say: the two sides of a divergence.

use tidewheel_schemas::{Event, Location};

use super::decision::coordinate;
use super::journal::{Journal, Kind};

/// An event in words.
pub fn event(event: &Event) -> String {
    match event {
        Event::StepCompleted(event) => format!("step `{}`, completed", event.name),
        Event::StepFailed(event) => format!("step `{}`, attempt {} failed", event.name, event.attempt),
        Event::TimerStarted(_) => "sleep".to_owned(),
        Event::TimerFired(_) => "sleep, ended".to_owned(),
        Event::SignalAwaited(event) => signal_wait(&event.name, event.due_us.is_some()),
        Event::SignalReceived(event) if event.signals.is_empty() => {
            format!("wait for signal `{}`, timed out", event.name)
        }
        Event::SignalReceived(event) => {
            let ordinals: Vec<_> = event.signals.iter().take(8).map(ToString::to_string).collect();
            let more = if event.signals.len() > 8 { ", …" } else { "" };
            format!("signal `{}` taken, external records {}{more}", event.name, ordinals.join(", "))
        }
        Event::RunStateChanged(_) => "set state".to_owned(),
        Event::RunTagged(_) => "set tags".to_owned(),
        Event::SignalSent(event) => format!("signal `{}` to run {}", event.name, event.target),
        Event::RunCancelling(event) => {
            let places: Vec<_> = event.locations.iter().take(8).map(ToString::to_string).collect();
            let more = if event.locations.len() > 8 { ", …" } else { "" };
            format!("cancel of what waits at {}{more}", places.join(", "))
        }
        Event::RunCompleted(_) => "the workflow returns a result".to_owned(),
        Event::RunFailed(_) => "the workflow fails".to_owned(),
        Event::RunCancelled(_) => "the workflow ends cancelled".to_owned(),
        Event::RunStarted(_)
        | Event::RunSignaled(_)
        | Event::RunCancelRequested(_)
        | Event::RunTerminated(_)
        | Event::RunResumed(_)
        | Event::RunUnparked(_)
        | Event::RunDiverged(_)
        | Event::LogCreated(_)
        | Event::PartitionClaimed(_)
        | Event::FoldRaised(_)
        | Event::OutboxTrimmed(_) => format!("the record `{}`", event.event_type().as_str()),
    }
}

/// What the code does at a location, as far as the journal knows.
pub fn code(journal: &Journal, location: &Location, is_finished: bool) -> String {
    if let Some(open) = coordinate(location).and_then(|coordinate| journal.open.get(&coordinate)) {
        return kind(&open.kind);
    }
    if is_finished {
        return "nothing: the workflow returned".to_owned();
    }
    let waits = journal.open.iter().filter(|(_, open)| open.wanted);
    let waits: Vec<_> =
        waits.take(3).map(|(coordinate, open)| format!("{} at {coordinate}", kind(&open.kind))).collect();
    format!("nothing: the workflow waits for {}", waits.join(" and "))
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Step { name, .. } => format!("step `{name}`"),
        Kind::Sleep => "sleep".to_owned(),
        Kind::Signals { name, timed, .. } => signal_wait(name, *timed),
    }
}

fn signal_wait(name: &str, timed: bool) -> String {
    let timeout = if timed { "with" } else { "without" };
    format!("wait for signal `{name}` {timeout} timeout")
}
