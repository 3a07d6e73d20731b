//! W4: many timers due within one second. Lateness: from when a timer was due to when its end was recorded.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::histogram::{Latencies, Quantiles};
use crate::http::Server;
use crate::load::Wrong;
use crate::report::milliseconds;
use crate::runs::{BenchError, Runs, for_each, text};

/// Connections that ask what became of the runs, after the timers have fired.
const CONNECTIONS: usize = 16;

/// How many timers, and when.
#[derive(Debug, Clone, Copy)]
pub struct Timers {
    /// How many.
    pub count: u32,
    /// The first is due so long after the last run was started.
    pub lead: Duration,
    /// They are due evenly over so long; zero means all at the same instant.
    pub spread: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct TimersReport {
    /// Timers.
    pub count: u64,
    /// They were due over so long.
    pub spread_s: f64,
    /// From due to recorded.
    pub lateness: Quantiles,
    /// Timers that fired before they were due: none.
    pub early: u64,
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Starts the runs, waits until all timers have fired, and reads their histories.
///
/// # Errors
/// When a run cannot be started, or does not end.
pub async fn run(server: &Server, timers: Timers) -> Result<TimersReport, BenchError> {
    // The runs are to sleep before the first of them is due; starting ten thousand takes a few seconds at most.
    let starting = Duration::from_millis(u64::from(timers.count) / 2 + 500);
    let first_ms = now_ms() + i64::try_from((starting + timers.lead).as_millis()).unwrap_or(i64::MAX);
    let spread_ms = i64::try_from(timers.spread.as_millis()).unwrap_or(0);
    let count = i64::from(timers.count.max(1));
    let inputs: Vec<_> =
        (0..count).map(|number| json!({"until_ms": first_ms + number * spread_ms / count})).collect();
    let run_ids = Runs::new(server).start_all("sleep", &inputs).await?;
    let (now, last_ms) = (now_ms(), first_ms + spread_ms);
    if now >= first_ms {
        return Err(BenchError::Late("starting took longer than expected; take a longer --lead".to_owned()));
    }
    let rest_ms = u64::try_from(last_ms - now).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(rest_ms) + Duration::from_secs(1)).await;
    let latenesses_us = for_each(server, CONNECTIONS, run_ids, |mut runs, run_id| async move {
        let lateness = lateness_us(&mut runs, &run_id).await;
        (runs, lateness)
    })
    .await?;
    let (mut lateness, mut early) = (Latencies::new(), 0);
    for late_us in latenesses_us {
        match u64::try_from(late_us) {
            Ok(late_us) => lateness.record(Duration::from_micros(late_us)),
            Err(_) => early += 1,
        }
    }
    Ok(TimersReport {
        count: lateness.count() + early,
        spread_s: timers.spread.as_secs_f64(),
        lateness: lateness.quantiles(),
        early,
    })
}

/// How late the timer of a run was, microseconds.
async fn lateness_us(runs: &mut Runs, run_id: &str) -> Result<i64, Wrong> {
    let ended = runs.result(run_id).await?;
    let entries = runs.history(run_id, &text(&ended, "position")?).await?;
    let time = |event_type: &str, member: &str| {
        let entry =
            entries.iter().find(|entry| entry.get("type").and_then(Value::as_str) == Some(event_type));
        let entry = entry.ok_or_else(|| Wrong::Body(format!("run {run_id} has no {event_type}")))?;
        let time: Timestamp =
            text(entry, member)?.parse().map_err(|_| Wrong::Body(format!("{member} is no time: {entry}")))?;
        Ok::<_, Wrong>(time.as_microsecond())
    };
    Ok(time("timer-fired", "recorded_at")? - time("timer-started", "due_at")?)
}

impl fmt::Display for TimersReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quantiles { p50_us, p90_us, p99_us, p99_9_us, max_us, .. } = self.lateness;
        writeln!(out, "workload    W4 timers: {} due within {} s", self.count, self.spread_s)?;
        writeln!(
            out,
            "lateness    p50 {}  p90 {}  p99 {}  p99.9 {}  max {} ms",
            milliseconds(p50_us),
            milliseconds(p90_us),
            milliseconds(p99_us),
            milliseconds(p99_9_us),
            milliseconds(max_us)
        )?;
        writeln!(out, "early       {}", self.early)
    }
}
