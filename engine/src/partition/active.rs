//! Runs with a machine in memory: activation from history, proposals, and launches held until their cause is read
//! back.

use std::collections::{BTreeSet, VecDeque};

use tidewheel_schemas::event::RunDiverged;
use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{Entity, Location, Name, RunId};

use super::{Partition, StepLaunch};
use crate::run::{Divergence, Run, RunStatus};
use crate::workflow::{Launch, Machine, Proposal, RunInfo};

/// A run whose machine is in memory.
pub(super) struct Active {
    pub(super) machine: Machine,
    namespace: Name,
    /// Sequence number of the last record proposed for this run, until it is read back.
    unconfirmed: Option<u64>,
    /// Launches, each waiting for the record with this sequence number to be accepted.
    held: VecDeque<(u64, Launch)>,
    /// Timers already fired under this reign, named by location and the offset that set them.
    fired: BTreeSet<(Location, i64)>,
    /// Its divergence was proposed: a second one, read back after a resume, would park the run again.
    diverged: bool,
}

impl Active {
    /// Whether the run may leave memory: nothing runs and nothing is on its way to the log.
    pub(super) fn is_idle(&self) -> bool {
        self.machine.is_idle() && self.unconfirmed.is_none() && self.held.is_empty()
    }

    /// Whether this timer has not fired yet; marks it as fired.
    pub(super) fn fire_once(&mut self, location: &Location, offset: i64) -> bool {
        self.fired.insert((location.clone(), offset))
    }
}

impl Partition {
    /// Builds the machine of a run from its history. False if the run is not here, not running, or its workflow is
    /// not registered (it then waits for a process that knows it).
    pub(super) fn activate(&mut self, run_id: RunId, now_us: i64) -> bool {
        if !self.is_leader() {
            return false;
        }
        if self.active.contains_key(&run_id) {
            return true;
        }
        let Some(run) = self.fold.run(run_id) else { return false };
        if run.header.status != RunStatus::Running || run.header.parked_at.is_some() {
            return false;
        }
        let (Some(workflow), Some(start)) = (self.workflows.get(&run.header.workflow), run.history.first())
        else {
            return false;
        };
        let mut machine = Machine::new(workflow.as_ref(), run_info(run), start);
        let divergence = machine.replay(&run.history).err();
        let active = Active {
            machine,
            namespace: run.header.namespace.clone(),
            unconfirmed: None,
            held: VecDeque::new(),
            fired: BTreeSet::new(),
            diverged: false,
        };
        self.active.insert(run_id, active);
        self.collect(run_id, divergence, now_us);
        true
    }

    /// Turns what a machine put out into proposals and launches.
    pub(super) fn collect(&mut self, run_id: RunId, divergence: Option<Divergence>, now_us: i64) {
        let entity = Entity::Run(run_id);
        // A divergence is judged on the whole history, however little of it the code had taken in by then.
        let judged_on = self.fold.run(run_id).map_or(0, |run| run.header.externals);
        let Some(active) = self.active.get_mut(&run_id).filter(|active| !active.diverged) else { return };
        active.diverged = divergence.is_some();
        let namespace = active.namespace.clone();
        let output = active.machine.take_output();
        let idle = divergence.is_none() && active.machine.is_idle();
        let unconfirmed = active.unconfirmed;
        let count = output.proposals.len();
        let mut seqs = Vec::with_capacity(count + 1);
        for (index, proposal) in output.proposals.into_iter().enumerate() {
            let idle = idle && index + 1 == count;
            let Proposal { seen, recorded_at_us, event } = proposal;
            seqs.push(self.propose(&entity, Some(&namespace), seen, idle, event, recorded_at_us));
        }
        let launches = if let Some(Divergence { location, expected, found }) = divergence {
            let event = RunDiverged { location, expected, found };
            seqs.push(self.propose(&entity, Some(&namespace), judged_on, false, event.into(), now_us));
            Vec::new()
        } else {
            output.launches
        };
        self.abort(run_id, output.aborts);
        let Some(active) = self.active.get_mut(&run_id) else { return };
        for launch in launches {
            let cause =
                launch.after_proposals.checked_sub(1).and_then(|index| seqs.get(index).copied().flatten());
            // Without a proposal before it in this output, its cause is at most the last one still unconfirmed.
            let is_early = mutation::is(Mutation::EffectsBeforeAccepted);
            match cause.or(unconfirmed).filter(|_| !is_early) {
                Some(seq) => active.held.push_back((seq, launch)),
                None => self.effects.launches.push(StepLaunch { run_id, launch }),
            }
        }
        active.unconfirmed = seqs.last().copied().flatten().or(unconfirmed);
    }

    /// A record of ours was read back: what waited for it may happen.
    pub(super) fn confirm(&mut self, entity: &Entity, seq: u64) {
        let Some(run_id) = entity.run_id() else { return };
        let Some(active) = self.active.get_mut(&run_id) else { return };
        while let Some((_, launch)) = active.held.pop_front_if(|(cause, _)| *cause <= seq) {
            self.effects.launches.push(StepLaunch { run_id, launch });
        }
        if active.unconfirmed.is_some_and(|last| last <= seq) {
            active.unconfirmed = None;
        }
    }

    /// A run stopped running: its machine goes, its steps in flight are aborted.
    pub(super) fn retire(&mut self, run_id: RunId) {
        if let Some(active) = self.active.remove(&run_id) {
            self.abort(run_id, active.machine.open_steps());
        }
        self.turns.here.remove(&run_id);
        self.wakeups.set(run_id, None);
    }

    /// Has steps aborted, also those the shell was not told to launch yet.
    fn abort(&mut self, run_id: RunId, locations: Vec<Location>) {
        for location in locations {
            self.effects
                .launches
                .retain(|step| step.run_id != run_id || step.launch.call.location != location);
            self.effects.aborts.push((run_id, location));
        }
    }

    /// Keeps the wake-up of a run true: the earliest timer that has not fired yet.
    pub(super) fn schedule(&mut self, run_id: RunId) {
        let Some(run) = self.fold.run(run_id) else { return };
        let active = self.active.get(&run_id);
        let next = run
            .timers
            .iter()
            .filter(|(location, timer)| {
                active.is_none_or(|active| !active.fired.contains(&((*location).clone(), timer.offset)))
            })
            .map(|(_, timer)| timer.due_us)
            .min();
        let runs = run.header.status == RunStatus::Running && run.header.parked_at.is_none();
        self.wakeups.set(run_id, next.filter(|_| runs));
    }
}

fn run_info(run: &Run) -> RunInfo {
    RunInfo {
        run_id: run.header.run_id,
        namespace: run.header.namespace.clone(),
        workflow: run.header.workflow.clone(),
        key: run.header.key.clone(),
    }
}
