//! What the demonstration shows: progress on standard error, and the table at the end.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tidewheel_replay::Report;

use super::Outage;
use super::order::{self, Plan};
use super::traffic::{Ended, Traffic};
use crate::output::fields;
use crate::sample::Outcome;

/// Progress.
#[derive(Debug, Clone)]
pub(super) struct Shown(ProgressBar);

impl Shown {
    pub(super) fn new(orders: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(orders);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} orders started, {elapsed}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn say(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    pub(super) fn advance(&self) {
        self.0.inc(1);
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// What was measured and found.
#[derive(Debug)]
pub(super) struct Figures {
    orders: u32,
    elapsed: Duration,
    down: Duration,
    durations: Vec<Duration>,
    repeated: u64,
    shipped: usize,
    given_back: usize,
    retried: usize,
    recovered: usize,
    records: u64,
    rows: u64,
    differences: u64,
    /// Orders that ended as they should not.
    pub(super) wrong: Vec<String>,
}

impl Figures {
    pub(super) fn of(
        traffic: &Traffic,
        results: &[Ended],
        report: &Report,
        elapsed: Duration,
        outage: Outage,
    ) -> Self {
        let mut figures = Self {
            orders: traffic.orders,
            elapsed,
            down: outage.down,
            durations: traffic.durations(),
            repeated: traffic.repeated(),
            shipped: 0,
            given_back: 0,
            retried: 0,
            recovered: 0,
            records: report.records,
            rows: report.compared_rows(),
            differences: report.difference_count,
            wrong: Vec::new(),
        };
        for ended in results {
            figures.judge(ended, outage);
        }
        figures
    }

    fn judge(&mut self, ended: &Ended, outage: Outage) {
        let Ended { number, run } = ended;
        let expected = order::expected(*number);
        let status = run.get("status").and_then(Value::as_str);
        let output = run.get("output").cloned().unwrap_or_default();
        match serde_json::from_value::<Outcome>(output) {
            Ok(outcome) if status == Some("completed") && outcome == expected => {
                if outcome.parcel.is_some() {
                    self.shipped += 1;
                } else {
                    self.given_back += 1;
                }
                self.retried += usize::from(matches!(order::plan(*number), Plan::Retried(_)));
            }
            _ => self.wrong.push(format!("order {}: expected {expected:?}, got {run}", order::key(*number))),
        }
        let time = |name: &str| -> Option<SystemTime> {
            let text = run.get(name)?.as_str()?;
            Some(text.parse::<jiff::Timestamp>().ok()?.into())
        };
        // By the node's own clock, which is this machine's: under way when it was killed, ended afterwards.
        let was_open = time("created_at").is_some_and(|created| created < outage.killed_at);
        let ended_after = time("finished_at").is_some_and(|finished| finished > outage.gone_at);
        self.recovered += usize::from(was_open && ended_after);
    }

    /// The table.
    pub(super) fn table(&self) -> String {
        let milliseconds = |percent: usize| match percentile(&self.durations, percent) {
            Some(duration) => format!("{:.1} ms", duration.as_secs_f64() * 1_000.0),
            None => "none".to_owned(),
        };
        let rate = f64::from(self.orders) / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let seconds = |duration: Duration| format!("{:.2} s", duration.as_secs_f64());
        fields(&[
            ("orders", self.orders.to_string()),
            ("  shipped", format!("{} (charged again after failures: {})", self.shipped, self.retried)),
            ("  given back", format!("{} (declined or not paid)", self.given_back)),
            ("  wrong", self.wrong.len().to_string()),
            (
                "time",
                format!("{}, of which the node was gone for {}", seconds(self.elapsed), seconds(self.down)),
            ),
            ("orders/s", format!("{rate:.0}")),
            ("request p50", milliseconds(50)),
            ("request p99", milliseconds(99)),
            ("sent again", format!("{} requests that the kill left unanswered", self.repeated)),
            ("recovered", format!("{} orders that were open at the kill", self.recovered)),
            ("events", self.records.to_string()),
            ("rows compared", self.rows.to_string()),
            ("differences", self.differences.to_string()),
        ])
    }
}

/// The smallest duration that `percent` of the sorted durations do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&sorted, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&sorted[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }
}
