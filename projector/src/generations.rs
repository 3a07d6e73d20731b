//! The generations of the views that a process writes and reads, and the one that is read. Who decides that is the
//! configuration's log; how a generation is filled is said in `replay`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_store::Generation;

use crate::writer::{Projector, ProjectorError};

/// Which partition of which generation is not far enough for reads to move there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "partition {partition} of generation {generation} stands at offset {applied}, what is read stands at {needed}"
)]
pub struct Behind {
    /// The generation that is to be read.
    pub generation: u32,
    /// The partition.
    pub partition: u32,
    /// The last offset it holds.
    pub applied: i64,
    /// The last offset that the generation read until now holds.
    pub needed: i64,
}

#[derive(Debug)]
struct State {
    active: u32,
    projectors: BTreeMap<u32, Projector>,
    /// By partition: the generation into which its owner hands what it folds. Whoever fills the others reads the log.
    fed: BTreeMap<u32, u32>,
}

/// The generations of a process. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Generations(Arc<RwLock<State>>);

impl Generations {
    /// One generation, which is read.
    pub fn new(projector: Projector) -> Self {
        let active = projector.generation().0;
        let state = State { active, projectors: BTreeMap::from([(active, projector)]), fed: BTreeMap::new() };
        Self(Arc::new(RwLock::new(state)))
    }

    /// The projector of the generation that is read. Whoever holds it reads one generation, however long that takes.
    pub fn active(&self) -> Projector {
        let state = self.0.read();
        // The active one is never removed.
        state.projectors[&state.active].clone()
    }

    /// The projector of a generation, if it is written here.
    pub fn get(&self, generation: Generation) -> Option<Projector> {
        self.0.read().projectors.get(&generation.0).cloned()
    }

    /// Every projector, in the order of generations.
    pub fn all(&self) -> Vec<Projector> {
        self.0.read().projectors.values().cloned().collect()
    }

    /// Another generation is written from now on.
    pub fn add(&self, projector: Projector) {
        self.0.write().projectors.entry(projector.generation().0).or_insert(projector);
    }

    /// A generation is written no more; its projector is the caller's to close. The one that is read stays.
    pub fn remove(&self, generation: Generation) -> Option<Projector> {
        let mut state = self.0.write();
        if state.active == generation.0 {
            return None;
        }
        state.projectors.remove(&generation.0)
    }

    /// How far what is read is: the offset of the last record of a partition. An owner may forget whatever lies at or
    /// below it, because reads never move to a generation that is not as far.
    pub fn applied_offset(&self, partition: u32) -> i64 {
        let state = self.0.read();
        // Under the lock: between picking the generation and asking it, reads must not move.
        state.projectors[&state.active].applied_offset(partition)
    }

    /// Moves every read of this process to another generation, unless that is behind the one read until now: what was
    /// told or forgotten on the word of one is then in the other as well. Moving to the active one does nothing.
    ///
    /// # Errors
    /// The first partition that is not far enough; try again later. A generation not written here counts as empty.
    pub fn activate(&self, generation: Generation) -> Result<(), Behind> {
        let mut state = self.0.write();
        if state.active == generation.0 {
            return Ok(());
        }
        let from = &state.projectors[&state.active];
        let to = state.projectors.get(&generation.0);
        for partition in 0..from.partitions() {
            let needed = from.applied_offset(partition);
            let applied = to.map_or(-1, |to| to.applied_offset(partition));
            if (applied < needed && !mutation::is(Mutation::ReadsMoveBehind)) || to.is_none() {
                return Err(Behind { generation: generation.0, partition, applied, needed });
            }
        }
        state.active = generation.0;
        Ok(())
    }

    /// Resolves with the reason when the projector stops whose generation is read, or is to be: one that is dropped,
    /// or that was never read, may stop.
    pub async fn failed(&self) -> ProjectorError {
        loop {
            let active = self.active();
            let error = active.failed().await;
            if self.active().generation() == active.generation() {
                return error;
            }
        }
    }

    /// From now on the owner of a partition hands what it folds to the generation that is read now, which is told.
    pub fn feed(&self, partition: u32) -> Projector {
        let mut state = self.0.write();
        let active = state.active;
        state.fed.insert(partition, active);
        state.projectors[&active].clone()
    }

    /// The projector to which the owner of a partition hands what it folds; `None` once that generation was dropped,
    /// or before [`Generations::feed`].
    pub fn fed(&self, partition: u32) -> Option<Projector> {
        let state = self.0.read();
        state.fed.get(&partition).and_then(|generation| state.projectors.get(generation)).cloned()
    }

    /// Whether the owner of a partition has said into which generation it hands what it folds. Before it has, nobody else
    /// need begin: it may be about to do so.
    pub fn has_owner(&self, partition: u32) -> bool {
        self.0.read().fed.contains_key(&partition)
    }

    /// Whether a partition of a generation is filled by its owner, so that nobody else needs to.
    pub fn is_fed(&self, partition: u32, generation: Generation) -> bool {
        self.0.read().fed.get(&partition) == Some(&generation.0)
    }
}
