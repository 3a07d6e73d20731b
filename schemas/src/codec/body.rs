//! The fields of every event type in the order of its Avro record. Their meaning is said in [`crate::event`].

use super::binary::{Input, Malformed, Unencodable, Wire, write_long};
use crate::event::*;

macro_rules! records {
    (
        workflow { $($record:ident { $($field:ident),* $(,)? })+ }
        config { $($config:ident { $($config_field:ident),* $(,)? })+ }
    ) => {
        records!(wire $($record { $($field),* })+ $($config { $($config_field),* })+);

        impl Event {
            pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
                // Types of workflow events come first and in the order of their union.
                write_long(self.event_type() as i64, out);
                match self { $(Self::$record(event) => event.write(out)),+ }
            }

            pub(super) fn read(event_type: EventType, input: &mut Input<'_>) -> Result<Self, Malformed> {
                match event_type {
                    $(EventType::$record => Wire::read(input).map(Self::$record),)+
                    $(EventType::$config => Err(input.malformed("this event is of another topic")),)+
                }
            }

            pub(super) fn size_hint(&self) -> usize {
                match self { $(Self::$record(event) => event.size_hint()),+ }
            }
        }
    };
    (wire $($record:ident { $($field:ident),* })+) => {
        $(impl Wire for $record {
            #[allow(unused_variables, clippy::redundant_closure, reason = "one record has no fields")]
            fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
                $(self.$field.write(out)?;)*
                Ok(())
            }

            #[allow(unused_variables, reason = "one record has no fields")]
            fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
                Ok(Self { $($field: Wire::read(input)?),* })
            }

            fn size_hint(&self) -> usize {
                0 $(+ self.$field.size_hint())*
            }
        })+
    };
}

records! {
    workflow {
        LogCreated { log_id, epoch_us, partitions, fold }
        PartitionClaimed { replaces }
        FoldRaised { fold }
        OutboxTrimmed { offset, index }
        RunStarted { workflow, key, input, tags }
        RunSignaled { name, payload }
        RunCancelRequested { reason }
        RunTerminated { reason }
        RunResumed {}
        StepCompleted { location, name, attempt, output }
        StepFailed { location, name, attempt, failure, retry_at_us }
        TimerStarted { location, due_us }
        TimerFired { location }
        SignalAwaited { location, name, due_us }
        SignalReceived { location, name, signals }
        RunStateChanged { location, state }
        RunTagged { location, tags }
        SignalSent { location, target, name, payload }
        RunCancelling { locations }
        RunCompleted { output }
        RunFailed { failure }
        RunCancelled { reason }
        RunDiverged { location, expected, found }
        RunUnparked { offset, reason }
    }
    config {
        NamespaceCreated { home }
        TokenCreated { name, hash, roles, namespaces }
        TokenRotated { hash, previous_until_us, expected_version }
        TokenRevoked { reason }
        ReplayStarted { replay, kind, generation, scope, ends, records_per_second, activates }
        ReplayPaused { replay }
        ReplayResumed { replay }
        ReplayRateChanged { replay, records_per_second }
        ReplayCancelled { replay, reason }
        ReplayProgressed { replay, partition, done, rows }
        ReplayFinished { replay }
        GenerationActivated { generation, replaces, lag, compared_rows }
        GenerationDropped { generation }
        ViewsMended { generation, number }
    }
}

records!(wire ReplayScope {
    partitions, runs, namespaces, event_types, from_offset, until_offset, from_us, until_us
});

impl ConfigEvent {
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        let branch = Self::TYPES.iter().position(|event_type| *event_type == self.event_type());
        write_long(branch.unwrap_or_default() as i64, out);
        match self {
            Self::LogCreated(event) => event.write(out),
            Self::FoldRaised(event) => event.write(out),
            Self::NamespaceCreated(event) => event.write(out),
            Self::TokenCreated(event) => event.write(out),
            Self::TokenRotated(event) => event.write(out),
            Self::TokenRevoked(event) => event.write(out),
            Self::ReplayStarted(event) => event.write(out),
            Self::ReplayPaused(event) => event.write(out),
            Self::ReplayResumed(event) => event.write(out),
            Self::ReplayRateChanged(event) => event.write(out),
            Self::ReplayCancelled(event) => event.write(out),
            Self::ReplayProgressed(event) => event.write(out),
            Self::ReplayFinished(event) => event.write(out),
            Self::GenerationActivated(event) => event.write(out),
            Self::GenerationDropped(event) => event.write(out),
            Self::ViewsMended(event) => event.write(out),
        }
    }

    pub(super) fn read(event_type: EventType, input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok(match event_type {
            EventType::LogCreated => Self::LogCreated(Wire::read(input)?),
            EventType::FoldRaised => Self::FoldRaised(Wire::read(input)?),
            EventType::NamespaceCreated => Self::NamespaceCreated(Wire::read(input)?),
            EventType::TokenCreated => Self::TokenCreated(Wire::read(input)?),
            EventType::TokenRotated => Self::TokenRotated(Wire::read(input)?),
            EventType::TokenRevoked => Self::TokenRevoked(Wire::read(input)?),
            EventType::ReplayStarted => Self::ReplayStarted(Wire::read(input)?),
            EventType::ReplayPaused => Self::ReplayPaused(Wire::read(input)?),
            EventType::ReplayResumed => Self::ReplayResumed(Wire::read(input)?),
            EventType::ReplayRateChanged => Self::ReplayRateChanged(Wire::read(input)?),
            EventType::ReplayCancelled => Self::ReplayCancelled(Wire::read(input)?),
            EventType::ReplayProgressed => Self::ReplayProgressed(Wire::read(input)?),
            EventType::ReplayFinished => Self::ReplayFinished(Wire::read(input)?),
            EventType::GenerationActivated => Self::GenerationActivated(Wire::read(input)?),
            EventType::GenerationDropped => Self::GenerationDropped(Wire::read(input)?),
            EventType::ViewsMended => Self::ViewsMended(Wire::read(input)?),
            EventType::PartitionClaimed
            | EventType::OutboxTrimmed
            | EventType::RunStarted
            | EventType::RunSignaled
            | EventType::RunCancelRequested
            | EventType::RunTerminated
            | EventType::RunResumed
            | EventType::StepCompleted
            | EventType::StepFailed
            | EventType::TimerStarted
            | EventType::TimerFired
            | EventType::SignalAwaited
            | EventType::SignalReceived
            | EventType::RunStateChanged
            | EventType::RunTagged
            | EventType::SignalSent
            | EventType::RunCancelling
            | EventType::RunCompleted
            | EventType::RunFailed
            | EventType::RunCancelled
            | EventType::RunDiverged
            | EventType::RunUnparked => return Err(input.malformed("this event is of another topic")),
        })
    }
}

/// The event type at a place in the body's union, of which these are the branches.
pub(super) fn event_type_at(branch: i64, union: &[EventType]) -> Option<EventType> {
    usize::try_from(branch).ok().and_then(|index| union.get(index)).copied()
}
