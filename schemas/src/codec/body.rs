//! The fields of every event type in the order of its Avro record. Their meaning is said in [`crate::event`].

use super::binary::{Input, Malformed, Unencodable, Wire, write_long};
use crate::event::*;

macro_rules! records {
    ($($record:ident { $($field:ident),* $(,)? })+) => {
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

        impl Event {
            pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
                write_long(self.event_type() as i64, out);
                match self { $(Self::$record(event) => event.write(out)),+ }
            }

            pub(super) fn read(event_type: EventType, input: &mut Input<'_>) -> Result<Self, Malformed> {
                match event_type { $(EventType::$record => Wire::read(input).map(Self::$record)),+ }
            }

            pub(super) fn size_hint(&self) -> usize {
                match self { $(Self::$record(event) => event.size_hint()),+ }
            }
        }
    };
}

records! {
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
}

/// The event type at a place in the body's union.
pub(super) fn event_type_at(branch: i64) -> Option<EventType> {
    usize::try_from(branch).ok().and_then(|index| EventType::ALL.get(index)).copied()
}
