//! Time and randomness: the only place of the runtime that reads them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970. For people, timers and log time, never for ordering.
pub fn now_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|elapsed| i64::try_from(elapsed.as_micros()).ok())
        .unwrap_or(0)
}

/// 16 random bytes.
pub fn random_16() -> [u8; 16] {
    // Version 4 UUIDs carry 122 random bits, which is what every id of ours keeps.
    uuid::Uuid::new_v4().into_bytes()
}

/// 32 random bits.
pub fn random_u32() -> u32 {
    let [a, b, c, d, ..] = random_16();
    u32::from_le_bytes([a, b, c, d])
}
