//! The reference: the log folded from zero by nobody who lives in the world.

use tidewheel_engine::{Fold, FoldError, Run, RunStatus, Transition};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Entity, Event, RunId};

use crate::world::World;

/// The log of a world folded from its first records.
pub struct Refold {
    folds: Vec<Fold>,
    transitions: Vec<Vec<Transition>>,
    stopped: Vec<Option<FoldError>>,
}

impl Refold {
    /// Nothing folded yet.
    pub fn new(world: &World) -> Self {
        Self {
            folds: (0..world.partitions).map(Fold::new).collect(),
            transitions: (0..world.partitions).map(|_| Vec::new()).collect(),
            stopped: (0..world.partitions).map(|_| None).collect(),
        }
    }

    /// Folds what was appended since.
    pub async fn advance(&mut self, world: &World) {
        for partition in 0..world.partitions {
            let index = partition as usize;
            let from = self.folds[index].control().next_offset;
            if self.stopped[index].is_some() || world.bounds(partition).await.end <= from {
                continue;
            }
            for record in world.records(partition).await.into_iter().filter(|record| record.offset >= from) {
                match self.folds[index].apply(&record) {
                    Ok(transition) => self.transitions[index].push(transition),
                    Err(error) => {
                        self.stopped[index] = Some(error);
                        break;
                    }
                }
            }
        }
    }

    /// What the fold made of every record, partition by partition.
    pub fn transitions(&self) -> impl Iterator<Item = (u32, &[Transition])> {
        (0..).zip(self.transitions.iter().map(Vec::as_slice))
    }

    /// What the fold made of one record.
    pub fn transition(&self, partition: u32, offset: i64) -> Option<&Transition> {
        self.transitions.get(partition as usize)?.get(usize::try_from(offset).ok()?)
    }

    /// Every run.
    pub fn runs(&self) -> impl Iterator<Item = (u32, &Run)> {
        (0..)
            .zip(&self.folds)
            .flat_map(|(partition, fold)| fold.runs().values().map(move |run| (partition, run)))
    }

    /// A run.
    pub fn run(&self, run_id: RunId) -> Option<&Run> {
        let partition = partition_for(&Entity::Run(run_id).routing_key(), self.folds.len() as u32);
        self.folds.get(partition as usize)?.run(run_id)
    }

    /// Whether a run exists and has not ended.
    pub fn is_running(&self, run_id: RunId) -> bool {
        self.run(run_id).is_some_and(|run| run.header.status == RunStatus::Running)
    }

    /// Whether nothing is left to be done.
    pub fn is_at_rest(&self) -> bool {
        self.folds.iter().all(|fold| fold.outbox().is_empty())
            && self.runs().all(|(_, run)| run.header.status != RunStatus::Running)
    }

    /// What is left to be done.
    pub fn unrest(&self) -> String {
        let running: Vec<_> = self
            .runs()
            .filter(|(_, run)| run.header.status == RunStatus::Running)
            .map(|(partition, run)| {
                let last = run.history.last().map(|entry| &*entry.event);
                let last = last.map(|event| match event {
                    Event::RunStarted(_) => "run-started".to_owned(),
                    event => {
                        let mut text = format!("{event:?}");
                        text.truncate(200);
                        text
                    }
                });
                format!(
                    "run {} in partition {partition} (idle_seen {:?}, externals {}, timers {}, unread {}, last {last:?})",
                    run.header.run_id,
                    run.header.idle_seen,
                    run.header.externals,
                    run.timers.len(),
                    run.unread.len()
                )
            })
            .collect();
        let outbox: Vec<_> = self.folds.iter().map(|fold| fold.outbox().len()).collect();
        format!("{} runs under way: {:?}; outboxes {outbox:?}", running.len(), running.first())
    }
}
