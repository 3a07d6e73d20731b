//! The world outside: what producers were promised, which steps did something. Outlives every process.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tidewheel_schemas::{EventId, Location, RunId};

/// An append that was acknowledged to a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// The event.
    pub event_id: EventId,
    /// Where it lies.
    pub partition: u32,
    /// Where it lies.
    pub offset: i64,
}

/// An attempt of a step that was begun somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The run.
    pub run_id: RunId,
    /// Where in its workflow.
    pub location: Location,
    /// Which attempt.
    pub attempt: u32,
    /// Where the run's partition ended then: what caused it lies before.
    pub log_end: i64,
    /// Whether the step did what it is for.
    pub done: bool,
}

/// Everything that was promised and done.
#[derive(Debug, Default)]
pub struct Ledger {
    acknowledged: Mutex<Vec<Acknowledged>>,
    executions: Mutex<Vec<Execution>>,
    hostile: Mutex<BTreeSet<EventId>>,
}

impl Ledger {
    /// A producer was told that its event is durable.
    pub fn acknowledge(&self, acknowledged: Acknowledged) {
        self.acknowledged.lock().push(acknowledged);
    }

    /// What producers were promised.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().clone()
    }

    /// An event that must change nothing.
    pub fn note_hostile(&self, event_id: EventId) {
        self.hostile.lock().insert(event_id);
    }

    /// Events that must change nothing.
    pub fn hostile(&self) -> BTreeSet<EventId> {
        self.hostile.lock().clone()
    }

    /// A step was begun; returns its number.
    pub fn begin(&self, execution: Execution) -> usize {
        let mut executions = self.executions.lock();
        executions.push(execution);
        executions.len() - 1
    }

    /// A step did what it is for.
    pub fn done(&self, number: usize) {
        if let Some(execution) = self.executions.lock().get_mut(number) {
            execution.done = true;
        }
    }

    /// Every step that was begun.
    pub fn executions(&self) -> Vec<Execution> {
        self.executions.lock().clone()
    }
}
