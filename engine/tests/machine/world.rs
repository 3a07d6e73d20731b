//! A world for one run: a log, a machine, and everything that may happen to them, crashes included.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tidewheel_engine::run::{Divergence, HistoryEntry, Origin};
use tidewheel_engine::workflow::{Launch, Machine, Proposal, RunInfo, StepFailure, Workflow};
use tidewheel_schemas::event::{RunCancelRequested, RunResumed, RunSignaled, RunStarted};
use tidewheel_schemas::{Event, EventId, Failure, Location, Payload, RunId};

use super::script::name;

pub const START_US: i64 = 1_000_000;

pub fn info() -> RunInfo {
    RunInfo {
        run_id: RunId::fresh(1, 1, [0; 8]),
        namespace: name("default"),
        workflow: name("script"),
        key: None,
    }
}

pub fn entry(offset: usize, recorded_at_us: i64, origin: Origin, event: Event) -> HistoryEntry {
    let offset = i64::try_from(offset).unwrap();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&offset.to_be_bytes());
    HistoryEntry { offset, event_id: EventId::random(id), recorded_at_us, origin, event: Arc::new(event) }
}

pub fn start() -> HistoryEntry {
    let event =
        RunStarted { workflow: name("script"), key: None, input: Payload::null(), tags: BTreeMap::new() };
    entry(0, START_US, Origin::External { ordinal: 0 }, event.into())
}

pub fn machine(workflow: &dyn Workflow, history: &[HistoryEntry]) -> Result<Machine, Divergence> {
    let mut machine = Machine::new(workflow, info(), &history[0]);
    machine.replay(history).map(|()| machine)
}

/// The timers the fold would derive from a history.
pub fn timers(log: &[HistoryEntry]) -> BTreeMap<Location, i64> {
    let mut timers = BTreeMap::new();
    for entry in log {
        match &*entry.event {
            Event::TimerStarted(event) => {
                timers.insert(event.location.clone(), event.due_us);
            }
            Event::SignalAwaited(event) => {
                if let Some(due_us) = event.due_us {
                    timers.insert(event.location.clone(), due_us);
                }
            }
            Event::StepFailed(event) => {
                timers.remove(&event.location);
                if let Some(due_us) = event.retry_at_us {
                    timers.insert(event.location.clone(), due_us);
                }
            }
            Event::StepCompleted(event) => {
                timers.remove(&event.location);
            }
            Event::TimerFired(event) => {
                timers.remove(&event.location);
            }
            Event::SignalReceived(event) => {
                timers.remove(&event.location);
            }
            Event::RunCancelling(event) => event.locations.iter().for_each(|place| {
                timers.remove(place);
            }),
            _ => {}
        }
    }
    timers
}

pub struct World<'a> {
    workflow: &'a dyn Workflow,
    pub log: Vec<HistoryEntry>,
    pub machine: Machine,
    /// Proposed, not yet in the log; with the launches that wait for the log to hold this many proposals.
    unwritten: VecDeque<Proposal>,
    written: usize,
    proposed: usize,
    held: Vec<(usize, Launch)>,
    running: Vec<(Location, u32)>,
    unrevealed: VecDeque<HistoryEntry>,
    externals: u64,
    now_us: i64,
    nonce: u32,
}

impl<'a> World<'a> {
    pub fn new(workflow: &'a dyn Workflow, log: Vec<HistoryEntry>) -> Result<Self, Divergence> {
        let machine = machine(workflow, &log)?;
        let externals =
            log.iter().filter(|entry| matches!(entry.origin, Origin::External { ordinal } if ordinal > 0));
        let externals = externals.count() as u64;
        let now_us = log.iter().map(|entry| entry.recorded_at_us).max().unwrap_or(START_US);
        let mut world = Self {
            workflow,
            log,
            machine,
            unwritten: VecDeque::new(),
            written: 0,
            proposed: 0,
            held: Vec::new(),
            running: Vec::new(),
            unrevealed: VecDeque::new(),
            externals,
            now_us,
            nonce: 0,
        };
        world.collect();
        Ok(world)
    }

    fn collect(&mut self) {
        let output = self.machine.take_output();
        for launch in output.launches {
            assert!(
                launch.after_proposals <= output.proposals.len(),
                "a launch waits for what was never proposed"
            );
            let place = &launch.call.location;
            assert!(
                !self.running.iter().any(|(running, _)| running == place),
                "a step runs twice at one time"
            );
            self.held.push((self.proposed + launch.after_proposals, launch));
        }
        self.proposed += output.proposals.len();
        let mut seen = self.unwritten.back().map_or(0, |proposal| proposal.seen);
        for proposal in &output.proposals {
            assert!(
                proposal.seen >= seen && proposal.seen <= self.externals,
                "seen goes backwards or too far"
            );
            seen = proposal.seen;
        }
        self.unwritten.extend(output.proposals);
        for abort in output.aborts {
            self.held.retain(|(_, launch)| launch.call.location != abort);
            self.running.retain(|(place, _)| *place != abort);
        }
        self.launch();
    }

    fn launch(&mut self) {
        let written = self.written;
        for (_, launch) in self.held.extract_if(.., |(after, _)| *after <= written) {
            self.running.push((launch.call.location, launch.call.attempt));
        }
    }

    pub fn write(&mut self, count: usize) {
        for _ in 0..count {
            let Some(proposal) = self.unwritten.pop_front() else { break };
            let idle = self.unwritten.is_empty() && self.machine.is_idle();
            let origin = Origin::Engine { seen: proposal.seen, idle };
            self.log.push(entry(self.log.len(), proposal.recorded_at_us, origin, proposal.event));
            self.written += 1;
        }
        self.launch();
    }

    pub fn is_done(&self) -> bool {
        self.machine.is_finished() && self.unwritten.is_empty()
    }

    pub fn external(&mut self, event: Event) {
        // Once the end is in the log, the fold rejects what comes later.
        if self.is_done() {
            return;
        }
        self.externals += 1;
        self.now_us += 1_000;
        let origin = Origin::External { ordinal: self.externals };
        let entry = entry(self.log.len(), self.now_us, origin, event);
        self.unrevealed.push_back(entry.clone());
        self.log.push(entry);
    }

    pub fn signal(&mut self, number: u8) {
        self.nonce += 1;
        let payload = Payload::json(format!("signal-{}", self.nonce));
        self.external(RunSignaled { name: name(&format!("signal{number}")), payload }.into());
    }

    pub fn reveal(&mut self) {
        if let Some(entry) = self.unrevealed.pop_front() {
            self.machine.reveal_external(&entry).unwrap();
            self.collect();
        }
    }

    pub fn end_step(&mut self, pick: usize, how: u8) {
        if self.running.is_empty() {
            return;
        }
        let (location, attempt) = self.running.swap_remove(pick % self.running.len());
        self.now_us += 7_000;
        self.nonce += 1;
        let ended = match how % 4 {
            0 | 1 => {
                let output = Payload::json(format!("output-{}", self.nonce));
                self.machine.step_completed(&location, attempt, output, self.now_us)
            }
            how => {
                let failure = Failure::new(format!("failure-{}", self.nonce), "no luck");
                let failure = StepFailure { failure, retryable: how == 2 };
                self.machine.step_failed(&location, attempt, failure, self.now_us, self.nonce)
            }
        };
        assert_eq!(ended, Ok(true), "the result of a running step is taken");
        self.collect();
    }

    pub fn fire(&mut self, pick: usize) {
        let timers = timers(&self.log);
        if timers.is_empty() {
            return;
        }
        let (location, due_us) = timers.iter().nth(pick % timers.len()).unwrap();
        self.now_us = self.now_us.max(*due_us) + 1;
        // False for what has ended already, its end not being written yet.
        self.machine.timer_due(location, self.now_us).unwrap();
        self.collect();
    }

    pub fn crash(&mut self) {
        let log = std::mem::take(&mut self.log);
        let (now_us, nonce) = (self.now_us, self.nonce);
        *self = Self::new(self.workflow, log).unwrap();
        (self.now_us, self.nonce) = (now_us, nonce);
    }

    /// One random thing happens.
    pub fn happen(&mut self, what: u16) {
        let pick = usize::from(what >> 8);
        match what % 24 {
            0..=1 => self.signal(0),
            2 => self.signal(1),
            3 if pick % 4 == 0 => self.external(RunCancelRequested { reason: "enough".to_owned() }.into()),
            3 => self.external(RunResumed {}.into()),
            4..=7 => self.reveal(),
            8..=12 => self.end_step(pick, (what >> 5) as u8),
            13..=15 => self.fire(pick),
            16..=20 => self.write(1 + pick % 3),
            21 => self.write(usize::MAX),
            22 => self.crash(),
            _ => {
                self.reveal();
                self.end_step(pick, 0);
            }
        }
    }

    /// Everything works and everything awaited comes, until the run ends.
    pub fn drain(&mut self) {
        for round in 0..500 {
            if self.is_done() {
                return;
            }
            while !self.unrevealed.is_empty() {
                self.reveal();
            }
            while !self.running.is_empty() {
                self.end_step(0, 0);
                self.write(usize::MAX);
            }
            self.write(usize::MAX);
            self.fire(round);
            self.signal((round % 2) as u8);
        }
        panic!("the run does not end: {:#?}", self.log);
    }
}
