//! Histories of runs.

use std::collections::BTreeSet;

use tidewheel_engine::RunStatus;
use tidewheel_schemas::Event;

use super::Refold;
use crate::world::World;

/// A location has at most one result, an attempt at most one outcome, a run one start and one end.
pub(super) fn one_result_per_location(world: &World, refold: &Refold) {
    for (_, run) in refold.runs() {
        let (mut resolved, mut attempts, mut starts, mut ends) = (BTreeSet::new(), BTreeSet::new(), 0, 0);
        for entry in &run.history {
            let once = match &*entry.event {
                Event::StepCompleted(done) => {
                    attempts.insert((done.location.clone(), done.attempt))
                        && resolved.insert(done.location.clone())
                }
                Event::StepFailed(failed) => {
                    attempts.insert((failed.location.clone(), failed.attempt))
                        && !resolved.contains(&failed.location)
                        && (failed.retry_at_us.is_some() || resolved.insert(failed.location.clone()))
                }
                Event::TimerFired(fired) => resolved.insert(fired.location.clone()),
                Event::SignalReceived(received) => resolved.insert(received.location.clone()),
                Event::RunStarted(_) => {
                    starts += 1;
                    starts == 1
                }
                Event::RunCompleted(_)
                | Event::RunFailed(_)
                | Event::RunCancelled(_)
                | Event::RunTerminated(_) => {
                    ends += 1;
                    ends == 1
                }
                Event::LogCreated(_)
                | Event::PartitionClaimed(_)
                | Event::FoldRaised(_)
                | Event::OutboxTrimmed(_)
                | Event::RunSignaled(_)
                | Event::RunCancelRequested(_)
                | Event::RunResumed(_)
                | Event::TimerStarted(_)
                | Event::SignalAwaited(_)
                | Event::RunStateChanged(_)
                | Event::RunTagged(_)
                | Event::SignalSent(_)
                | Event::RunCancelling(_)
                | Event::RunDiverged(_)
                | Event::RunUnparked(_) => true,
            };
            if !once {
                world.violate("one_result_per_location", || {
                    format!("run {} offset {}: a second {:?}", run.header.run_id, entry.offset, entry.event)
                });
            }
        }
    }
}

/// The one program of a world is deterministic and never edited, so its history always fits.
pub(super) fn healthy_workflows_never_diverge(world: &World, refold: &Refold) {
    for (partition, run) in refold.runs() {
        let diverged = run.history.iter().any(|entry| matches!(&*entry.event, Event::RunDiverged(_)));
        if diverged || run.header.status == RunStatus::Parked || run.header.parked_at.is_some() {
            world.violate("healthy_workflows_never_diverge", || {
                format!("run {} in partition {partition}: {:?}", run.header.run_id, run.header.divergence)
            });
        }
    }
}
