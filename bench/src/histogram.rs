//! Latencies as HDR histograms in microseconds, and what they are reported as.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longer ones count as this.
const LATENCY_US_MAX: u64 = 600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

/// What latencies are reported as. Microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// The mean, rounded.
    pub mean_us: u64,
    /// Half are no longer than this.
    pub p50_us: u64,
    /// 90 % are no longer than this.
    pub p90_us: u64,
    /// 99 % are no longer than this.
    pub p99_us: u64,
    /// 99.9 % are no longer than this.
    pub p99_9_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        let made = Histogram::new_with_bounds(1, LATENCY_US_MAX, SIGNIFICANT_DIGITS);
        // The bounds are constants that the library accepts; a histogram that grows would do as well.
        let histogram = made.unwrap_or_else(|_| grown());
        Self { histogram }
    }

    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.histogram.saturating_record(microseconds(latency));
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.histogram.add(&other.histogram);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency that the share `quantile` of all does not exceed.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        if self.histogram.is_empty() { 0 } else { self.histogram.value_at_quantile(quantile) }
    }

    /// What is reported.
    pub fn quantiles(&self) -> Quantiles {
        if self.histogram.is_empty() {
            return Quantiles::default();
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean of latencies fits"
        )]
        let mean_us = self.histogram.mean().round() as u64;
        Quantiles {
            mean_us,
            p50_us: self.quantile_us(0.5),
            p90_us: self.quantile_us(0.9),
            p99_us: self.quantile_us(0.99),
            p99_9_us: self.quantile_us(0.999),
            max_us: self.histogram.max(),
        }
    }

    /// What a client would have seen that asks every `interval`: a client that waits for each answer sends nothing
    /// during a stall, so the requests it did not send are filled in, each waiting one `interval` less
    /// (coordinated omission).
    pub fn corrected(&self, interval: Duration) -> Self {
        Self { histogram: self.histogram.clone_correct(microseconds(interval).max(1)) }
    }
}

#[expect(clippy::expect_used, reason = "a constant that the library documents as valid")]
fn grown() -> Histogram<u64> {
    Histogram::new(SIGNIFICANT_DIGITS).expect("three digits are allowed")
}

fn microseconds(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        for us in 1..=1_000 {
            latencies.record(Duration::from_micros(us));
        }
        let quantiles = latencies.quantiles();
        assert_eq!((quantiles.p50_us, quantiles.p90_us, quantiles.p99_us), (500, 900, 990));
        assert_eq!((quantiles.p99_9_us, quantiles.max_us, latencies.count()), (999, 1_000, 1_000));
        assert_eq!(Latencies::new().quantiles(), Quantiles::default());
    }

    #[test]
    fn a_stall_counts_for_every_request_that_it_kept_from_being_sent() {
        let mut latencies = Latencies::new();
        for _ in 0..9_900 {
            latencies.record(Duration::from_millis(1));
        }
        latencies.record(Duration::from_secs(1));
        assert!(latencies.quantiles().p99_us < 2_000, "one of 9,901 is no p99");
        let corrected = latencies.corrected(Duration::from_millis(1));
        assert_eq!(corrected.count(), 9_900 + 1_000);
        assert!(corrected.quantiles().p99_us > 500_000);
    }

    #[test]
    fn merging_adds_up() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_millis(1));
        latencies.merge(&latencies.clone());
        assert_eq!(latencies.count(), 2);
    }
}
