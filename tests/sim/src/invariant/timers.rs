//! Timers, once faults have stopped.

use std::collections::BTreeMap;

use tidewheel_schemas::Event;

use super::Refold;
use crate::world::World;

/// Longest a timer may be late: a process has to begin, to catch up and to claim first.
const LATE_US: i64 = 120 * 1_000_000;

/// A timer that is due after faults have stopped, or was then, fires soon. `calm_us` is when they stopped.
pub(super) fn timers_are_punctual(world: &World, refold: &Refold, calm_us: i64) {
    for (partition, run) in refold.runs() {
        let mut due = BTreeMap::new();
        for entry in &run.history {
            let (location, fires) = match &*entry.event {
                Event::TimerStarted(timer) => {
                    due.insert(&timer.location, timer.due_us);
                    continue;
                }
                Event::SignalAwaited(wait) => {
                    due.extend(wait.due_us.map(|due_us| (&wait.location, due_us)));
                    continue;
                }
                Event::TimerFired(timer) => (&timer.location, true),
                Event::SignalReceived(received) => (&received.location, received.signals.is_empty()),
                _ => continue,
            };
            let Some(due_us) = due.remove(location).filter(|_| fires) else { continue };
            let late_us = entry.recorded_at_us.saturating_sub(due_us.max(calm_us));
            if late_us > LATE_US {
                world.violate("timers_are_punctual", || {
                    format!(
                        "partition {partition} run {} location {location}: {} s late at offset {}",
                        run.header.run_id,
                        late_us / 1_000_000,
                        entry.offset
                    )
                });
            }
        }
    }
}
