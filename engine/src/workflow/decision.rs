//! What kind of thing an event is to the machine, and when a decision of the code equals one in the history.

use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{Event, Location};

/// What an event is to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Ends an await, or an attempt of one: it comes from outside the code.
    Result,
    /// The code, given what it had seen, could not but decide this.
    Decision,
    /// Comes from outside the run.
    External,
    /// About the code, not of it.
    Note,
    /// Not about a run.
    Control,
}

pub fn class(event: &Event) -> Class {
    match event {
        Event::StepCompleted(_) | Event::StepFailed(_) | Event::TimerFired(_) => Class::Result,
        Event::SignalReceived(received) if received.signals.is_empty() => Class::Result,
        Event::SignalReceived(_)
        | Event::TimerStarted(_)
        | Event::SignalAwaited(_)
        | Event::RunStateChanged(_)
        | Event::RunTagged(_)
        | Event::SignalSent(_)
        | Event::RunCancelling(_)
        | Event::RunCompleted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_) => Class::Decision,
        Event::RunStarted(_)
        | Event::RunSignaled(_)
        | Event::RunCancelRequested(_)
        | Event::RunTerminated(_)
        | Event::RunResumed(_)
        | Event::RunUnparked(_) => Class::External,
        Event::RunDiverged(_) => Class::Note,
        Event::LogCreated(_)
        | Event::PartitionClaimed(_)
        | Event::FoldRaised(_)
        | Event::OutboxTrimmed(_) => Class::Control,
    }
}

/// Where in the workflow an event belongs, if it belongs to one place.
pub fn location(event: &Event) -> Option<&Location> {
    match event {
        Event::StepCompleted(event) => Some(&event.location),
        Event::StepFailed(event) => Some(&event.location),
        Event::TimerStarted(event) => Some(&event.location),
        Event::TimerFired(event) => Some(&event.location),
        Event::SignalAwaited(event) => Some(&event.location),
        Event::SignalReceived(event) => Some(&event.location),
        Event::RunStateChanged(event) => Some(&event.location),
        Event::RunTagged(event) => Some(&event.location),
        Event::SignalSent(event) => Some(&event.location),
        Event::RunDiverged(event) => Some(&event.location),
        Event::RunCancelling(_)
        | Event::RunCompleted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_)
        | Event::RunStarted(_)
        | Event::RunSignaled(_)
        | Event::RunCancelRequested(_)
        | Event::RunTerminated(_)
        | Event::RunResumed(_)
        | Event::RunUnparked(_)
        | Event::LogCreated(_)
        | Event::PartitionClaimed(_)
        | Event::FoldRaised(_)
        | Event::OutboxTrimmed(_) => None,
    }
}

/// The coordinate of an event at the workflow's top level.
pub fn coordinate(location: &Location) -> Option<u32> {
    match &*location.0 {
        [coordinate] => Some(*coordinate),
        _ => None,
    }
}

/// Whether the code's decision is the one in the history. Payloads and times may differ: an edit that changes what
/// is said, not what is done, does not break the runs under way.
pub fn is_same(code: &Event, history: &Event) -> bool {
    if mutation::is(Mutation::DivergenceIgnored) {
        return true;
    }
    match (code, history) {
        (Event::TimerStarted(code), Event::TimerStarted(history)) => code.location == history.location,
        (Event::SignalAwaited(code), Event::SignalAwaited(history)) => {
            code.location == history.location
                && code.name == history.name
                && code.due_us.is_some() == history.due_us.is_some()
        }
        (Event::SignalReceived(code), Event::SignalReceived(history)) => code == history,
        (Event::RunStateChanged(code), Event::RunStateChanged(history)) => code.location == history.location,
        (Event::RunTagged(code), Event::RunTagged(history)) => code.location == history.location,
        (Event::SignalSent(code), Event::SignalSent(history)) => {
            (&code.location, code.target, &code.name) == (&history.location, history.target, &history.name)
        }
        (Event::RunCancelling(code), Event::RunCancelling(history)) => code == history,
        (Event::RunCompleted(_), Event::RunCompleted(_))
        | (Event::RunFailed(_), Event::RunFailed(_))
        | (Event::RunCancelled(_), Event::RunCancelled(_)) => true,
        _ => false,
    }
}
