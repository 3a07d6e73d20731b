//! Time and randomness as what records are stamped with: one trait, so that a simulator can be the clock of a whole
//! process. Nothing is decided here.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a process takes time and randomness from.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970. For people, timers and log time, never for ordering: it may jump either way.
    fn now_us(&self) -> i64;

    /// 16 random bytes.
    fn random_16(&self) -> [u8; 16];

    /// 32 random bits.
    fn random_u32(&self) -> u32 {
        let [a, b, c, d, ..] = self.random_16();
        u32::from_le_bytes([a, b, c, d])
    }
}

/// A clock shared by the roles of a process.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock and its source of randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The machine's clock, to be shared.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|elapsed| i64::try_from(elapsed.as_micros()).ok())
            .unwrap_or(0)
    }

    fn random_16(&self) -> [u8; 16] {
        // Version and variant of a UUID are not random, so two are mixed.
        let (first, second) = (uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes());
        std::array::from_fn(|index| first[index] ^ second[(index + 5) % 16])
    }
}
