//! Steps: what was accepted happened, and what happened had a durable cause.

use std::collections::BTreeMap;

use tidewheel_schemas::{Event, Location};

use super::Refold;
use crate::program::Planned;
use crate::world::World;

/// A result of a step in the log is that of an execution that did what the step is for.
pub(super) fn accepted_results_happened(world: &World, refold: &Refold) {
    let executions = world.ledger.executions();
    for (_, run) in refold.runs() {
        for entry in &run.history {
            let Event::StepCompleted(done) = &*entry.event else { continue };
            let told: Result<crate::program::Done, _> = serde_json::from_slice(&done.output.data);
            let happened =
                told.ok().and_then(|told| executions.get(told.execution)).is_some_and(|execution| {
                    execution.done
                        && execution.run_id == run.header.run_id
                        && execution.location == done.location
                        && i64::from(execution.attempt) == i64::from(done.attempt)
                });
            if !happened {
                world.violate("accepted_results_happened", || {
                    format!("run {} location {}: nobody did this", run.header.run_id, done.location)
                });
            }
        }
    }
}

fn location_of(event: &Event) -> Option<&Location> {
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
        Event::LogCreated(_)
        | Event::PartitionClaimed(_)
        | Event::FoldRaised(_)
        | Event::OutboxTrimmed(_)
        | Event::RunStarted(_)
        | Event::RunSignaled(_)
        | Event::RunCancelRequested(_)
        | Event::RunTerminated(_)
        | Event::RunResumed(_)
        | Event::RunCancelling(_)
        | Event::RunCompleted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_)
        | Event::RunDiverged(_)
        | Event::RunUnparked(_) => None,
    }
}

/// When a step begins, the records that led to it lie in the log: the start, the failure of the attempt before it, and,
/// in a program that does one thing after the other, everything at earlier locations.
pub(super) fn no_effect_before_its_cause(world: &World, planned: &[Planned], refold: &Refold) {
    let sequential: BTreeMap<_, _> =
        planned.iter().map(|planned| (planned.run_id, planned.program.is_sequential())).collect();
    for execution in world.ledger.executions() {
        let Some(run) = refold.run(execution.run_id) else {
            world.violate("no_effect_before_its_cause", || {
                format!("a step of run {} that is not there", execution.run_id)
            });
            continue;
        };
        let sequential = sequential.get(&execution.run_id).copied().unwrap_or(false);
        let late = run.history.iter().find(|entry| {
            let is_cause = match &*entry.event {
                Event::RunStarted(_) => true,
                Event::StepFailed(failed) if failed.location == execution.location => {
                    i64::from(failed.attempt) < i64::from(execution.attempt)
                }
                event => {
                    sequential && location_of(event).is_some_and(|location| *location < execution.location)
                }
            };
            is_cause && entry.offset >= execution.log_end
        });
        let tried_before = execution.attempt == 1
            || run.history.iter().any(|entry| match &*entry.event {
                Event::StepFailed(failed) => {
                    failed.location == execution.location
                        && i64::from(failed.attempt) == i64::from(execution.attempt) - 1
                }
                _ => false,
            });
        if late.is_some() || !tried_before {
            world.violate("no_effect_before_its_cause", || {
                format!(
                    "run {} location {} attempt {} began when its partition ended at {}, before its cause {late:?}",
                    execution.run_id, execution.location, execution.attempt, execution.log_end
                )
            });
        }
    }
}
