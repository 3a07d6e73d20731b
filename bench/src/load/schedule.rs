//! When an open loop sends: intended times at a fixed rate, handed to whichever client is free through a bounded queue.

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

use super::OpenLoop;

/// Operations that may wait for a client, in seconds of the rate.
const QUEUE_S: f64 = 5.0;
const QUEUE_MIN: usize = 16;
const QUEUE_MAX: usize = 1_000_000;

/// Hands out the intended times.
#[derive(Debug)]
pub(super) struct Pacer {
    pub rate: f64,
    pub start: Instant,
    /// What is intended from here on is measured.
    pub begin: Instant,
    pub end: Instant,
    pub times: mpsc::Sender<Instant>,
}

/// Where clients take them.
#[derive(Debug)]
pub(super) struct Schedule {
    times: Mutex<mpsc::Receiver<Instant>>,
    end: Instant,
}

impl Schedule {
    /// `rate` operations per second from `start` to `end`.
    pub(super) fn new(rate: f64, start: Instant, begin: Instant, end: Instant) -> (Self, Pacer) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let queue = ((rate * QUEUE_S).ceil() as usize).clamp(QUEUE_MIN, QUEUE_MAX);
        let (times, received) = mpsc::channel(queue);
        (Self { times: Mutex::new(received), end }, Pacer { rate, start, begin, end, times })
    }

    /// The next operation's intended time, once it has come; `None` after the last.
    pub(super) async fn next(&self) -> Option<Instant> {
        self.times.lock().await.recv().await
    }

    /// Whether nothing more will be handed out.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

impl Pacer {
    /// Hands out each operation at its time. Needs a thread of its own: the event loop's timers are exact to a
    /// millisecond only, which is as long as what is measured.
    pub(super) fn run(self) -> OpenLoop {
        let mut outcome = OpenLoop::default();
        let mut number = 0_u64;
        loop {
            #[expect(clippy::cast_precision_loss, reason = "a count of operations fits")]
            let intended = self.start + Duration::from_secs_f64(number as f64 / self.rate);
            if intended >= self.end || self.times.is_closed() {
                return outcome;
            }
            let mut now = Instant::now();
            if now < intended {
                std::thread::sleep(intended - now);
                now = Instant::now();
            }
            let is_unsent = self.times.try_send(intended).is_err();
            if intended >= self.begin {
                outcome.intended += 1;
                outcome.unsent += u64::from(is_unsent);
                outcome.lateness.record(now.saturating_duration_since(intended));
            }
            number += 1;
        }
    }
}
