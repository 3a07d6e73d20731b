//! Turns: how many runs may have a machine at once, and which wait for theirs. Beyond the bound a run keeps only its
//! id in memory, so that a flood of starts costs ids, not machines and histories.

use std::collections::BTreeSet;

use tidewheel_schemas::RunId;
use tidewheel_schemas::mutation::{self, Mutation};

use super::Partition;

/// Runs that wait for a machine.
pub(super) struct Turns {
    /// Most machines at once.
    pub(super) most: usize,
    /// Waiting, in memory: activated as soon as there is room.
    pub(super) here: BTreeSet<RunId>,
    /// Waiting, not in memory: loaded as soon as there is room.
    pub(super) elsewhere: BTreeSet<RunId>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { most: usize::MAX, here: BTreeSet::new(), elsewhere: BTreeSet::new() }
    }
}

impl Turns {
    pub(super) fn clear(&mut self) {
        self.here.clear();
        self.elsewhere.clear();
    }
}

impl Partition {
    /// Bounds how many runs have a machine at once. At least 1.
    pub fn limit_active(&mut self, most: usize) {
        self.turns.most = most.max(1);
    }

    /// Whether another run may have a machine now.
    pub fn has_room(&self) -> bool {
        self.active.len() < self.turns.most
    }

    /// Whether [`Partition::tick`] would activate somebody, or [`Partition::take_turns`] names somebody.
    pub fn has_turns(&self) -> bool {
        self.is_leader()
            && self.has_room()
            && !(self.turns.here.is_empty() && self.turns.elsewhere.is_empty())
    }

    /// Notes that a run has work to do now, as found in `open_work`, without loading it.
    pub fn defer(&mut self, run_id: RunId) {
        let is_unknown = self.fold.run(run_id).is_none() && !mutation::is(Mutation::OpenWorkIgnored);
        if self.is_leader() && is_unknown {
            self.wait_for_turn(run_id);
        }
    }

    pub(super) fn wait_for_turn(&mut self, run_id: RunId) {
        if self.fold.run(run_id).is_some() {
            self.turns.here.insert(run_id);
        } else {
            self.turns.elsewhere.insert(run_id);
        }
    }

    /// Runs whose turn has come but that are not in memory, at most `most`: load and [`Partition::insert`] them,
    /// then tick.
    pub fn take_turns(&mut self, most: usize) -> Vec<RunId> {
        if !self.is_leader() {
            return Vec::new();
        }
        let room = self.turns.most.saturating_sub(self.active.len() + self.turns.here.len());
        let mut taken = Vec::new();
        while taken.len() < room.min(most)
            && let Some(run_id) = self.turns.elsewhere.pop_first()
        {
            taken.push(run_id);
        }
        taken
    }

    pub(super) fn activate_pending(&mut self, now_us: i64) {
        while self.has_room()
            && let Some(run_id) = self.turns.here.pop_first()
        {
            self.activate(run_id, now_us);
            self.schedule(run_id);
        }
    }
}
