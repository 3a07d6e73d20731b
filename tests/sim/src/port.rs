//! A process's only way to the world: it can be paused, slowed, cut off, and ended after any access. What it submits
//! to the log and the store goes through here. See `port/log.rs` and `port/store.rs`.

mod log;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidewheel_replay::Standings;
use tidewheel_schemas::TopicPartition;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use self::log::Batch;
pub use self::log::LogPort;
pub use self::store::StorePort;
use crate::fault::Fault;
use crate::random::Random;
use crate::world::World;

/// Whether a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It stands still.
    Paused,
    /// It has ended; nothing it asks for is answered any more.
    Dead,
}

/// Until when something does not work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Troubles {
    pub(crate) log_until: Instant,
    pub(crate) store_until: Instant,
    pub(crate) slow_until: Instant,
}

/// A process's way to the world.
pub struct Port {
    pub(crate) world: Arc<World>,
    pub(crate) who: usize,
    pub(crate) random: Random,
    pub(crate) troubles: Mutex<Troubles>,
    life: Mutex<Life>,
    /// Told of every change. Not a `watch`: that wakes those who wait in an order of its own choice.
    changed: Notify,
    /// Accesses left until the process ends; negative for no end.
    left: AtomicI64,
    /// Most microseconds an access takes.
    latency_us: AtomicU64,
    /// How far its process is with the generations it fills.
    pub(crate) standings: Standings,
    producers: Mutex<BTreeMap<TopicPartition, mpsc::Sender<Batch>>>,
}

impl Port {
    /// The port of process `who`.
    pub fn new(world: &Arc<World>, who: usize) -> Arc<Self> {
        let now = world.began;
        Arc::new(Self {
            who,
            random: world.random.fork(),
            troubles: Mutex::new(Troubles { log_until: now, store_until: now, slow_until: now }),
            life: Mutex::new(Life::Running),
            changed: Notify::new(),
            left: AtomicI64::new(-1),
            latency_us: AtomicU64::new(world.random.between(0, 3_000)),
            standings: Standings::default(),
            producers: Mutex::default(),
            world: Arc::clone(world),
        })
    }

    /// Whether it lives.
    pub fn life(&self) -> Life {
        *self.life.lock()
    }

    /// The process ends now.
    pub fn kill(&self) {
        if self.life() != Life::Dead {
            self.world.trace.note(self.who, "dead", &[]);
            self.turn(Life::Dead);
        }
    }

    /// The process ends at its n-th access from now on.
    pub fn kill_after(&self, accesses: i64) {
        self.left.store(accesses, Ordering::Relaxed);
    }

    /// The process stands still.
    pub fn pause(&self) {
        if self.life() == Life::Running {
            self.world.trace.note(self.who, "paused", &[]);
            self.turn(Life::Paused);
        }
    }

    /// The process goes on.
    pub fn wake(&self) {
        if self.life() == Life::Paused {
            self.world.trace.note(self.who, "awake", &[]);
            self.turn(Life::Running);
        }
    }

    fn turn(&self, life: Life) {
        *self.life.lock() = life;
        self.changed.notify_waiters();
    }

    async fn wait_for(&self, is_it: impl Fn(Life) -> bool) -> Life {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change in between is missed.
            changed.as_mut().enable();
            let life = self.life();
            if is_it(life) {
                return life;
            }
            changed.await;
        }
    }

    /// Resolves when the process has ended.
    pub async fn died(&self) {
        self.wait_for(|life| life == Life::Dead).await;
    }

    /// Waits until the process may go on; false if it has ended.
    pub(crate) async fn awake(&self) -> bool {
        self.wait_for(|life| life != Life::Paused).await == Life::Running
    }

    /// How long the next access takes.
    pub(crate) fn delay(&self) -> Duration {
        let most_us = self.latency_us.load(Ordering::Relaxed);
        let slow = !self.world.is_calm() && Instant::now() < self.troubles.lock().slow_until;
        // Most accesses are answered at once, so that tasks also meet without any time between them.
        let us = if slow {
            self.random.between(20_000, 400_000)
        } else if self.random.chance(700) {
            0
        } else {
            self.random.below(most_us + 1)
        };
        Duration::from_micros(us)
    }

    /// One access: may be the last one, may take time, is not answered while the process stands still.
    pub(crate) async fn access(&self) {
        if !self.world.count_operation() {
            std::future::pending::<()>().await;
        }
        if !self.world.is_calm()
            && self.left.load(Ordering::Relaxed) >= 0
            && self.left.fetch_sub(1, Ordering::Relaxed) == 0
        {
            self.world.faults.add(Fault::CrashBetweenWrites);
            self.kill();
        }
        let delay = self.delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if !self.awake().await {
            std::future::pending::<()>().await;
        }
    }
}
