//! How fast a replay may go: records per second over everything that works on it in this process, alterable while it
//! runs, and rest while it is paused.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
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

/// The pace of everything in this process that works on one replay. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Pace {
    speed: watch::Receiver<Speed>,
    /// When the records that were taken so far may have been done.
    taken_until: Arc<Mutex<Instant>>,
}

impl Pace {
    /// A pace at the speed that `speed` tells.
    pub fn new(speed: watch::Receiver<Speed>) -> Self {
        Self { speed, taken_until: Arc::new(Mutex::new(Instant::now())) }
    }

    /// How many of at most `wanted` records may be done in one go, waiting until they may. Cancel-safe before it
    /// resolves; what it then allows counts as done.
    pub async fn take(&self, wanted: usize) -> usize {
        let mut speed = self.speed.clone();
        loop {
            let now = *speed.borrow_and_update();
            let Speed { paused, records_per_second } = now;
            if !paused {
                let Some(rate) = records_per_second else { return wanted };
                let most = usize::try_from(rate / 10).unwrap_or(usize::MAX).clamp(1, wanted.max(1));
                match self.reserve(most, rate) {
                    Ok(()) => return most,
                    Err(until) => {
                        tokio::select! {
                            () = tokio::time::sleep_until(until) => {}
                            _ = changed(&mut speed) => {}
                        }
                        continue;
                    }
                }
            }
            changed(&mut speed).await;
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
        *taken_until = from + Duration::from_secs_f64(records as f64 / rate as f64);
        Ok(())
    }
}

/// Resolves at the next change; never once nobody can change anything, which is before whoever waits is dropped.
async fn changed(speed: &mut watch::Receiver<Speed>) {
    if speed.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
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
        let (_speed, receiver) = watch::channel(Speed { paused: false, records_per_second: Some(5_000) });
        let pace = Pace::new(receiver);
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
        let (speed, receiver) = watch::channel(slow);
        let pace = Pace::new(receiver);
        assert_eq!(pace.take(1_000).await, 1);
        let waiting = tokio::spawn({
            let pace = pace.clone();
            async move { pace.take(1_000).await }
        });
        speed.send_replace(Speed { paused: true, ..slow });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!waiting.is_finished(), "it rests");
        speed.send_replace(Speed::default());
        assert_eq!(waiting.await.expect("it goes on"), 1_000);
    }
}
