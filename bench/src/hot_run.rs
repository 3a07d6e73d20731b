//! W5: one run that is signalled at a fixed rate. How long a signal takes to be acknowledged, how that grows with the
//! run's history, and whether the run keeps up.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use crate::histogram::Quantiles;
use crate::http::{Connection, Server};
use crate::load::{Operation, Plan, Wrong, measure};
use crate::report::milliseconds;
use crate::runs::{BenchError, Runs};

/// Parts of the measurement that are reported each for itself.
const PARTS: u32 = 5;
/// The payload after which the run ends.
const LAST: &str = "last";

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct HotRunReport {
    /// Signals per second that were asked for.
    pub rate_asked: f64,
    /// Signal to acknowledgement, in five parts one after the other.
    pub parts: Vec<Quantiles>,
    /// Signals that were acknowledged, and those that the run says it took, each without the last one.
    pub acknowledged: u64,
    /// See `acknowledged`.
    pub taken: u64,
    /// Signals that were refused or not answered.
    pub failed: u64,
    /// The first refusal.
    pub first_failure: Option<String>,
    /// Signals that were not sent because every client was busy.
    pub unsent: u64,
    /// From the last signal to the run's result: how far it was behind.
    pub behind_s: f64,
}

struct Tick {
    connection: Connection,
    request: Vec<u8>,
}

impl Operation for Tick {
    async fn perform(&mut self) -> Result<u64, Wrong> {
        let answer = self.connection.send(&self.request).await?;
        let is_taken = answer.is_success() && answer.contains(b"\"outcome\":\"accepted\"");
        if is_taken { Ok(1) } else { Err(Wrong::answer(&answer)) }
    }
}

/// Starts a run of the workflow `count` and signals it as `plan` says.
///
/// # Errors
/// When the run cannot be started, or does not end after its last signal.
pub async fn run(server: &Server, plan: &Plan, payload_bytes: usize) -> Result<HotRunReport, BenchError> {
    let mut runs = Runs::new(server);
    let run_id = runs.start(&json!({"workflow": "count", "input": null})).await?;
    let path = format!("/v1/namespaces/default/runs/{run_id}/signals");
    let request =
        |payload: &str| server.post(&path, &json!({"name": "tick", "payload": payload}).to_string());
    let tick = request(&crate::payload::payload(payload_bytes, 1));
    let mut report = HotRunReport {
        rate_asked: plan.rate.unwrap_or(0.0),
        parts: Vec::new(),
        acknowledged: 0,
        taken: 0,
        failed: 0,
        first_failure: None,
        unsent: 0,
        behind_s: 0.0,
    };
    for _ in 0..PARTS {
        let part = Plan { warm_up: Duration::ZERO, duration: plan.duration / PARTS, ..plan.clone() };
        let (server, tick) = (server.clone(), tick.clone());
        let measured =
            measure(part, move |_| Tick { connection: Connection::new(&server), request: tick.clone() })
                .await?;
        report.parts.push(measured.latencies.quantiles());
        report.acknowledged += measured.latencies.count();
        report.failed += measured.failed_count();
        let first = measured.failed.values().next().map(|failed| failed.first.clone());
        report.first_failure = report.first_failure.take().or(first);
        report.unsent += measured.open_loop.map_or(0, |open_loop| open_loop.unsent);
    }
    let ended = Instant::now();
    let answer = Connection::new(server)
        .send(&request(LAST))
        .await
        .map_err(Wrong::from)
        .and_then(|answer| if answer.is_success() { Ok(()) } else { Err(Wrong::answer(&answer)) });
    answer?;
    let result = runs.result(&run_id).await?;
    report.behind_s = ended.elapsed().as_secs_f64();
    report.taken = result.get("output").and_then(Value::as_u64).unwrap_or(0);
    Ok(report)
}

impl HotRunReport {
    /// Acknowledged signals that the run did not take.
    pub const fn lost(&self) -> u64 {
        self.acknowledged.saturating_sub(self.taken)
    }
}

impl fmt::Display for HotRunReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "workload    W5 hot run: {} signals/s to one run", self.rate_asked)?;
        for (number, part) in (1..).zip(&self.parts) {
            let Quantiles { p50_us, p99_us, max_us, .. } = *part;
            writeln!(
                out,
                "part {number}/{PARTS}    p50 {}  p99 {}  max {} ms",
                milliseconds(p50_us),
                milliseconds(p99_us),
                milliseconds(max_us)
            )?;
        }
        writeln!(
            out,
            "signals     {} acknowledged, {} taken by the run, {} failed, {} not sent",
            self.acknowledged, self.taken, self.failed, self.unsent
        )?;
        if let Some(first) = &self.first_failure {
            writeln!(out, "failure     {first}")?;
        }
        writeln!(out, "behind      {:.3} s from the last signal to the result", self.behind_s)
    }
}
