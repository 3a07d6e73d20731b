//! How fast a replay may go: records per second over everything that works on it in this process, alterable while it
//! runs, and rest while it is paused.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A chunk of a slowed replay takes about this long.
const CHUNK: Duration = Duration::from_millis(100);

/// How fast a replay may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Speed {
    /// Whether it rests.
    pub paused: bool,
    /// Most records in a second; `None` for as many as it can.
    pub records_per_second: Option<u64>,
}

/// Who waits is woken in the order in which they began to wait, which tokio's `watch` does not promise: a simulated
/// process must do the same each time.
#[derive(Debug, Default)]
struct Told {
    speed: Mutex<Speed>,
    changed: Notify,
}

/// Says how fast a replay may go.
#[derive(Debug, Default)]
pub struct SpeedSender(Arc<Told>);

impl SpeedSender {
    /// It may go as fast as it can.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on it may go this fast.
    pub fn set(&self, speed: Speed) {
        if std::mem::replace(&mut *self.0.speed.lock(), speed) != speed {
            self.0.changed.notify_waiters();
        }
    }

    /// A pace of this speed.
    pub fn pace(&self) -> Pace {
        Pace { told: Arc::clone(&self.0), taken_until: Arc::new(Mutex::new(Instant::now())) }
    }
}

/// The pace of everything in this process that works on one replay. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Pace {
    told: Arc<Told>,
    /// When the records that were taken so far may have been done.
    taken_until: Arc<Mutex<Instant>>,
}

impl Pace {
    /// A pace that nobody alters: so many records in a second.
    pub fn constant(records_per_second: u64) -> Self {
        let sender = SpeedSender::new();
        sender.set(Speed { paused: false, records_per_second: Some(records_per_second) });
        sender.pace()
    }

    /// Whether it rests now.
    pub fn is_paused(&self) -> bool {
        self.told.speed.lock().paused
    }

    /// How long so many records take at this speed; no time where there is no rate.
    pub fn time_for(&self, records: usize) -> Duration {
        let rate = self.told.speed.lock().records_per_second;
        rate.map_or(Duration::ZERO, |rate| time_at(rate, records))
    }

    /// How many of at most `wanted` records may be done in one go, waiting until they may. Cancel-safe before it
    /// resolves; what it then allows counts as done.
    pub async fn take(&self, wanted: usize) -> usize {
        loop {
            let mut changed = std::pin::pin!(self.told.changed.notified());
            // Registered before looking, so that no change in between is missed.
            changed.as_mut().enable();
            let Speed { paused, records_per_second } = *self.told.speed.lock();
            if !paused {
                let Some(rate) = records_per_second else { return wanted };
                let most = usize::try_from(rate / 10).unwrap_or(usize::MAX).clamp(1, wanted.max(1));
                match self.reserve(most, rate) {
                    Ok(()) => return most,
                    Err(until) => {
                        tokio::select! {
                            biased;
                            () = tokio::time::sleep_until(until) => {}
                            () = changed => {}
                        }
                        continue;
                    }
                }
            }
            changed.await;
        }
    }

    /// Takes so many records now, or says when they may be taken.
    fn reserve(&self, records: usize, rate: u64) -> Result<(), Instant> {
        let now = Instant::now();
        let mut taken_until = self.taken_until.lock();
        if *taken_until > now {
            return Err(*taken_until);
        }
        // What was left over while nobody asked is lost but for one chunk, so that no burst follows a rest.
        let from = (*taken_until).max(now.checked_sub(CHUNK).unwrap_or(now));
        *taken_until = from + time_at(rate, records);
        Ok(())
    }
}

fn time_at(rate: u64, records: usize) -> Duration {
    let seconds = records as f64 / rate.max(1) as f64;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn records_in(pace: &Pace, time: Duration) -> usize {
        let mut records = 0;
        let until = Instant::now() + time;
        while let Ok(taken) = tokio::time::timeout_at(until, pace.take(1_000)).await {
            records += taken;
        }
        records
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_share_a_pace_together_go_as_fast_as_it_says() {
        let speed = SpeedSender::new();
        speed.set(Speed { paused: false, records_per_second: Some(5_000) });
        let pace = speed.pace();
        let time = Duration::from_secs(10);
        let (first, second) = (pace.clone(), pace);
        let (first, second) = tokio::join!(records_in(&first, time), records_in(&second, time));
        let records = first + second;
        assert!((49_000..=51_000).contains(&records), "{records}");
        assert!(first > 0 && second > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_altered_and_paused_while_somebody_waits_for_it() {
        let slow = Speed { paused: false, records_per_second: Some(1) };
        let speed = SpeedSender::new();
        speed.set(slow);
        let pace = speed.pace();
        assert_eq!(pace.take(1_000).await, 1);
        let waiting = tokio::spawn({
            let pace = pace.clone();
            async move { pace.take(1_000).await }
        });
        speed.set(Speed { paused: true, ..slow });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!waiting.is_finished(), "it rests");
        speed.set(Speed::default());
        assert_eq!(waiting.await.expect("it goes on"), 1_000);
    }
}
