//! What happened in a world, as a hash: two runs of one seed must agree in it. Printed on demand.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// The trace of one world.
#[derive(Debug)]
pub struct Trace {
    hash: AtomicU64,
    events: AtomicU64,
    print: bool,
    began: Instant,
}

impl Trace {
    /// An empty trace; with `print`, every event is told on standard error as it happens.
    pub fn new(print: bool) -> Self {
        Self {
            hash: AtomicU64::new(0xcbf2_9ce4_8422_2325),
            events: AtomicU64::new(0),
            print,
            began: Instant::now(),
        }
    }

    fn mix(&self, word: u64) {
        let hash = (self.hash.load(Ordering::Relaxed) ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        self.hash.store(hash.rotate_left(23), Ordering::Relaxed);
    }

    /// Notes an event of `kind` by process `who`, with what tells it from others.
    pub fn note(&self, who: usize, kind: &'static str, numbers: &[i64]) {
        self.events.fetch_add(1, Ordering::Relaxed);
        let at_us = self.began.elapsed().as_micros();
        self.mix(u64::try_from(at_us).unwrap_or(u64::MAX));
        self.mix(who as u64);
        kind.bytes().for_each(|byte| self.mix(u64::from(byte)));
        numbers.iter().for_each(|number| self.mix(number.cast_unsigned()));
        if self.print {
            eprintln!("{:>12.3} ms  p{who} {kind} {numbers:?}", at_us as f64 / 1_000.0);
        }
    }

    /// Says something only where the trace is printed.
    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.print {
            eprintln!("{:>12.3} ms  {}", self.began.elapsed().as_micros() as f64 / 1_000.0, text());
        }
    }

    /// Notes text that must be the same in every run of the seed.
    pub fn note_text(&self, text: &str) {
        text.bytes().for_each(|byte| self.mix(u64::from(byte)));
        self.say(|| text.to_owned());
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}
