//! The clock of one simulated process: the world's time plus its own error, and its own stream of chance.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tidewheel_log::Clock;
use tokio::time::Instant;

use crate::random::Random;

/// When every world begins, microseconds since 1970.
pub const BEGINNING_US: i64 = 1_750_000_000_000_000;
/// Reads at one instant after which a process is said to spin: no world of ours has that much to do at once.
const READS_MAX: u64 = 200_000;

/// A clock that can be set and jumps.
#[derive(Debug)]
pub struct SimClock {
    began: Instant,
    offset_us: AtomicI64,
    random: Random,
    last_us: AtomicI64,
    reads: AtomicU64,
}

impl SimClock {
    /// A clock that is wrong by `offset_us`.
    pub fn new(began: Instant, offset_us: i64, random: Random) -> Arc<Self> {
        let (last_us, reads) = (AtomicI64::new(0), AtomicU64::new(0));
        Arc::new(Self { began, offset_us: AtomicI64::new(offset_us), random, last_us, reads })
    }

    /// Jumps.
    pub fn jump(&self, by_us: i64) {
        self.offset_us.fetch_add(by_us, Ordering::Relaxed);
    }

    /// Is right again.
    pub fn set_right(&self) {
        self.offset_us.store(0, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> i64 {
        let elapsed_us = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        if self.last_us.swap(elapsed_us, Ordering::Relaxed) == elapsed_us {
            // Simulated time stands still while a task never waits, so nothing else could stop it.
            let reads = self.reads.fetch_add(1, Ordering::Relaxed);
            assert!(reads < READS_MAX, "planned: a process spins without waiting for anything");
        } else {
            self.reads.store(0, Ordering::Relaxed);
        }
        BEGINNING_US + elapsed_us + self.offset_us.load(Ordering::Relaxed)
    }

    fn random_16(&self) -> [u8; 16] {
        self.random.bytes_16()
    }
}
