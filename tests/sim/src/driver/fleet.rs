//! The processes of a world, and what befalls them. Usually one of them is in charge; when it ends or stands still
//! another one takes over, and the first may wake up beside it.

use std::sync::Arc;
use std::time::Duration;

use tidewheel_replay::RebuildOptions;
use tidewheel_runtime::Duty;
use tidewheel_store::Generation;
use tokio::time::Instant;

use crate::fault::Fault;
use crate::process::{End, Process, Setup};
use crate::world::World;

/// Most processes at once.
const PROCESSES_MAX: usize = 3;
/// How long an orderly stop may take before the process is killed.
const STOPS: Duration = Duration::from_secs(8);

pub(super) struct Fleet {
    world: Arc<World>,
    setup: Setup,
    processes: Vec<Member>,
    started: usize,
}

struct Member {
    process: Process,
    wakes_at: Option<Instant>,
    /// When it is told that another one is in charge, and ends.
    leaves_at: Option<Instant>,
    /// When its duties are all of them again.
    restored_at: Option<Instant>,
}

impl Fleet {
    pub(super) fn new(world: &Arc<World>) -> Self {
        let random = &world.random;
        let setup = Setup {
            linger: Duration::from_millis(random.between(1, 60)),
            records_max: random.between(1, 60) as usize,
            active_max: if random.chance(400) { random.between(1, 5) as usize } else { 1_000 },
            steps_max: if random.chance(300) { random.between(1, 4) as usize } else { 64 },
            rebuild: RebuildOptions {
                chunk_records: random.between(1, 40) as usize,
                runs_max: random.between(1, 8) as usize,
                near: i64::try_from(random.below(20)).unwrap_or(0),
                ..RebuildOptions::default()
            },
        };
        Self { world: Arc::clone(world), setup, processes: Vec::new(), started: 0 }
    }

    fn start(&mut self) {
        self.started += 1;
        let skew_us = if self.world.is_calm() {
            0
        } else {
            i64::try_from(self.world.random.below(6_000_000)).unwrap_or(0) - 3_000_000
        };
        let process = Process::start(&self.world, self.started, &self.setup, skew_us);
        self.processes.push(Member { process, wakes_at: None, leaves_at: None, restored_at: None });
    }

    /// Takes one that has ended out, and says how.
    pub(super) async fn ended(&mut self) -> Option<End> {
        let index = self.processes.iter().position(|member| member.process.has_ended())?;
        let end = self.processes.remove(index).process.end().await;
        if let End::Defect(what) = &end {
            let invariant = if what.contains("spins") { "progress" } else { "no_defect" };
            self.world.violate(invariant, || what.clone());
        }
        Some(end)
    }

    /// Starts a process if there is none.
    pub(super) async fn keep_one(&mut self) {
        while let Some(end) = self.ended().await {
            self.judge(&end);
        }
        if self.processes.is_empty() {
            self.start();
        }
    }

    /// As [`Fleet::keep_one`], where the end of a process is what is looked for.
    pub(super) fn keep_one_whatever_ended(&mut self) {
        if self.processes.is_empty() {
            self.start();
        }
    }

    /// Ends that no fault of the time of faults accounts for.
    fn judge(&self, end: &End) {
        match end {
            End::Mismatch(what) => {
                self.world.violate("checkpoints_match", || format!("the log was not touched, but: {what}"));
            }
            End::TooOld => {
                self.world.violate("nobody_is_too_old", || "the fold version was not raised".to_owned());
            }
            End::Failed(what) if what.contains("do not fit") => {
                self.world.violate("loads_are_whole", || what.clone());
            }
            End::Crashed | End::Stopped | End::Failed(_) | End::Defect(_) => {}
        }
    }

    /// Something happens to somebody, or nothing.
    pub(super) async fn trouble(&mut self) {
        while let Some(end) = self.ended().await {
            self.judge(&end);
        }
        self.keep_appointments();
        let world = Arc::clone(&self.world);
        let random = &world.random;
        let active = self.processes.iter().filter(|member| !member.process.is_paused()).count();
        // The files of an embedded store are locked: there is never a second process.
        let room = if world.atomic { 1 } else { PROCESSES_MAX };
        if self.processes.len() < room {
            if active == 0 && random.chance(700) {
                self.start();
            } else if active == 1 && random.chance(25) {
                world.faults.add(Fault::Overlap);
                let leaves_at = Instant::now() + Duration::from_millis(random.between(500, 8_000));
                self.processes.iter_mut().for_each(|member| member.leaves_at = Some(leaves_at));
                self.start();
            }
        }
        if random.chance(280) && !self.processes.is_empty() {
            let index = random.below(self.processes.len() as u64) as usize;
            self.befall(index);
        }
    }

    fn keep_appointments(&mut self) {
        let now = Instant::now();
        let others = self.processes.len() > 1;
        for member in &mut self.processes {
            if member.wakes_at.is_some_and(|at| at <= now) {
                member.wakes_at = None;
                if others {
                    self.world.faults.add(Fault::Zombie);
                    let leaves = Duration::from_millis(self.world.random.between(200, 6_000));
                    member.leaves_at = Some(now + leaves);
                }
                member.process.port.wake();
            }
            if member.restored_at.is_some_and(|at| at <= now) {
                member.restored_at = None;
                member.process.does_everything();
            }
            if member.leaves_at.is_some_and(|at| at <= now) {
                member.leaves_at = None;
                if !member.process.stop.is_cancelled() && self.world.random.chance(500) {
                    member.process.stop.cancel();
                    member.leaves_at = Some(now + STOPS);
                } else {
                    self.world.faults.add(Fault::Crash);
                    member.process.port.kill();
                }
            }
        }
    }

    fn befall(&mut self, index: usize) {
        let world = Arc::clone(&self.world);
        let (random, now) = (&world.random, Instant::now());
        let Some(member) = self.processes.get_mut(index) else { return };
        let (process, port) = (&member.process, &member.process.port);
        match random.below(110) {
            100.. => {
                world.faults.add(Fault::DutyMoved);
                let partition = random.below(u64::from(world.partitions)) as u32;
                let duty = Duty { leads: random.chance(300), projects: random.chance(300) };
                process.duties.change(|duties| {
                    duties.insert(partition, duty);
                });
                member.restored_at = Some(now + Duration::from_millis(random.between(100, 6_000)));
            }
            0..10 => {
                world.faults.add(Fault::Crash);
                port.kill();
            }
            10..32 => port.kill_after(i64::try_from(random.below(120)).unwrap_or(0)),
            32..38 => {
                process.stop.cancel();
                member.leaves_at = Some(now + STOPS);
            }
            38..56 => {
                if !process.is_paused() {
                    world.faults.add(Fault::Pause);
                    port.pause();
                    member.wakes_at = Some(now + Duration::from_millis(random.between(300, 9_000)));
                }
            }
            56..64 => {
                world.faults.add(Fault::LogUnreachable);
                port.troubles.lock().log_until = now + Duration::from_millis(random.between(50, 4_000));
            }
            64..74 => {
                world.faults.add(Fault::StoreUnavailable);
                port.troubles.lock().store_until = now + Duration::from_millis(random.between(50, 4_000));
            }
            74..77 => {
                world.faults.add(Fault::StoreGone);
                port.troubles.lock().store_until = now + Duration::from_secs(3_600);
                member.leaves_at = Some(now + Duration::from_millis(random.between(2_000, 8_000)));
            }
            77..84 => {
                world.faults.add(Fault::Slow);
                port.troubles.lock().slow_until = now + Duration::from_millis(random.between(100, 3_000));
            }
            84..92 => {
                world.faults.add(Fault::ClockAhead);
                process.clock.jump(i64::try_from(random.below(40_000_000)).unwrap_or(0));
            }
            _ => {
                world.faults.add(Fault::ClockBack);
                process.clock.jump(-i64::try_from(random.below(40_000_000)).unwrap_or(0));
            }
        }
    }

    /// Faults are about to stop: one process that lived through them goes on, the others end. False if there is none.
    pub(super) async fn keep_survivor(&mut self) -> bool {
        while let Some(end) = self.ended().await {
            self.judge(&end);
        }
        let is_fit = |member: &Member| {
            !member.process.stop.is_cancelled()
                && self.world.generations.lock().contains_key(&member.process.who)
        };
        let Some(index) = self.processes.iter().position(is_fit) else { return false };
        let mut survivor = self.processes.remove(index);
        self.end_all().await;
        (survivor.wakes_at, survivor.leaves_at, survivor.restored_at) = (None, None, None);
        survivor.process.does_everything();
        survivor.process.clock.set_right();
        survivor.process.port.wake();
        self.processes.push(survivor);
        true
    }

    /// Ends every process at once.
    pub(super) async fn end_all(&mut self) {
        for member in std::mem::take(&mut self.processes) {
            member.process.port.kill();
            let end = member.process.end().await;
            self.judge(&end);
        }
    }

    /// Asks every process to stop and waits for it.
    pub(super) async fn stop_all(&mut self) -> Vec<End> {
        let mut ends = Vec::new();
        for member in std::mem::take(&mut self.processes) {
            member.process.stop.cancel();
            match tokio::time::timeout(Duration::from_secs(120), member.process.end()).await {
                Ok(end) => ends.push(end),
                Err(_) => ends.push(End::Failed("it did not stop within two minutes".to_owned())),
            }
        }
        ends
    }

    /// Waits for the one process to end by itself.
    pub(super) async fn end_of_one(&mut self, within: Duration) -> Option<End> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Some(end) = self.ended().await {
                return Some(end);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        None
    }

    /// Whether every generation of the views holds the whole log, and the one process reads the one to be read.
    pub(super) async fn has_projected(&self, world: &World) -> bool {
        let Some(generations) = world.generations.lock().values().next().cloned() else { return false };
        let state = world.views_state().await;
        for generation in state.generations.keys() {
            let Some(projector) = generations.get(Generation(*generation)) else { return false };
            for partition in 0..world.partitions {
                if projector.applied_offset(partition) + 1 < world.bounds(partition).await.end {
                    return false;
                }
            }
        }
        state.running().is_none() && generations.active().generation().0 == state.active
    }
}
