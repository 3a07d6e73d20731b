//! What was measured, in numbers for programs and in words for people.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::histogram::Quantiles;
use crate::load::Measured;
#[cfg(doc)]
use crate::process::Usage;

/// Above this share of one core the generator itself may be what was measured.
const GENERATOR_SHARE_MAX: f64 = 0.9;
/// An open loop whose generator was later than this is not the load that was asked for.
const LATENESS_US_MAX: u64 = 1_000;

/// The report of one workload.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The workload, such as `start (W1)`.
    pub workload: String,
    /// What its latency is the time of.
    pub measures: String,
    /// Clients.
    pub clients: usize,
    /// The open loop's operations per second; absent for a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_asked: Option<f64>,
    /// Length of the measurement.
    pub duration_s: f64,
    /// Operations that ended well within it.
    pub operations: u64,
    /// Units per second: operations, or the runs of batches.
    pub rate: f64,
    /// Latencies as the clients saw them; of an open loop since the intended time of sending.
    pub latency: Quantiles,
    /// Those of a closed loop, corrected for coordinated omission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_corrected: Option<Quantiles>,
    /// Failed operations by kind, of the warm-up too.
    pub errors: BTreeMap<String, u64>,
    /// The first failure of each kind.
    pub first_errors: BTreeMap<String, String>,
    /// Operations of an open loop that were not sent because every client was busy and the queue full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsent: Option<u64>,
    /// 99 % of the open loop's operations were handed out no later than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_late_p99_us: Option<u64>,
    /// The generator's processor time per operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_cpu_us: Option<f64>,
    /// The generator's share of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_share: Option<f64>,
    /// The server's processor time per unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_us: Option<f64>,
    /// Bytes that the system charges the server with, per unit; whole folios of the page cache, see [`Usage`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_written_bytes: Option<f64>,
    /// Bytes that the whole machine wrote to the server's disk, per unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_disk_written_bytes: Option<f64>,
    /// Memory the server held at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_resident_bytes: Option<u64>,
    /// What makes these figures doubtful.
    pub doubts: Vec<String>,
}

impl Report {
    /// The report of `measured`. `rate_asked` is the open loop's.
    #[expect(clippy::cast_precision_loss, reason = "counts and sizes of a measurement fit")]
    pub fn new(workload: &str, measures: &str, rate_asked: Option<f64>, measured: &Measured) -> Self {
        let per = |amount: u64, count: u64| if count == 0 { 0.0 } else { amount as f64 / count as f64 };
        let duration_s = measured.duration.as_secs_f64();
        let (units, operations) = (measured.units, measured.operations);
        let mut report = Self {
            workload: workload.to_owned(),
            measures: measures.to_owned(),
            clients: measured.clients,
            rate_asked,
            duration_s,
            operations,
            rate: measured.rate(),
            latency: measured.latencies.quantiles(),
            latency_corrected: measured.corrected().map(|latencies| latencies.quantiles()),
            errors: measured.failed.iter().map(|(kind, failed)| (kind.clone(), failed.count)).collect(),
            first_errors: measured
                .failed
                .iter()
                .map(|(kind, failed)| (kind.clone(), failed.first.clone()))
                .collect(),
            unsent: measured.open_loop.as_ref().map(|open_loop| open_loop.unsent),
            generator_late_p99_us: measured
                .open_loop
                .as_ref()
                .map(|open_loop| open_loop.lateness.quantile_us(0.99)),
            generator_cpu_us: measured.generator.map(|used| per(used.cpu_us, operations)),
            generator_share: measured.generator.map(|used| used.cpu_us as f64 / 1e6 / duration_s),
            server_cpu_us: measured.server.map(|used| per(used.cpu_us, units)),
            server_written_bytes: measured.server.map(|used| per(used.written_bytes, units)),
            server_disk_written_bytes: measured.server.map(|used| per(used.disk_written_bytes, units)),
            server_resident_bytes: measured.server.map(|used| used.resident_bytes),
            doubts: Vec::new(),
        };
        report.doubts = report.find_doubts();
        report
    }

    fn find_doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.operations == 0 {
            doubts.push("no operation ended within the measurement".to_owned());
        }
        if let Some(share) = self.generator_share.filter(|share| *share > GENERATOR_SHARE_MAX) {
            let percent = share * 100.0;
            doubts.push(format!("the generator used {percent:.0} % of a core: it may be what was measured"));
        }
        if let Some(unsent) = self.unsent.filter(|unsent| *unsent > 0) {
            doubts.push(format!(
                "{unsent} operations were not sent: every client was busy and the queue full; the server is slower \
                 than the rate, or more clients are needed"
            ));
        }
        if let Some(late) = self.generator_late_p99_us.filter(|late| *late > LATENESS_US_MAX) {
            doubts
                .push(format!("the generator could not keep up with the rate: it was {late} us late (p99)"));
        }
        doubts
    }

    /// Failed operations of every kind.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loop_kind = match self.rate_asked {
            Some(rate) => format!("open loop at {rate}/s"),
            None => "closed loop".to_owned(),
        };
        writeln!(out, "workload    {}: {}", self.workload, self.measures)?;
        writeln!(out, "load        {loop_kind}, {} clients, {} s", self.clients, self.duration_s)?;
        writeln!(out, "rate        {:.0}/s ({} operations)", self.rate, self.operations)?;
        writeln!(out, "latency     {}", line(&self.latency))?;
        if let Some(corrected) = &self.latency_corrected {
            writeln!(out, "corrected   {}", line(corrected))?;
        }
        if self.errors.is_empty() {
            writeln!(out, "errors      none")?;
        }
        for (kind, count) in &self.errors {
            let first = self.first_errors.get(kind).map_or("", String::as_str);
            writeln!(out, "errors      {count} x {kind}, first: {first}")?;
        }
        if let (Some(cpu_us), Some(share)) = (self.generator_cpu_us, self.generator_share) {
            writeln!(out, "generator   {cpu_us:.1} us CPU per operation, {:.0} % of a core", share * 100.0)?;
        }
        if let (Some(cpu_us), Some(charged), Some(written), Some(resident)) = (
            self.server_cpu_us,
            self.server_written_bytes,
            self.server_disk_written_bytes,
            self.server_resident_bytes,
        ) {
            let resident = resident / (1024 * 1024);
            writeln!(
                out,
                "server      {cpu_us:.1} us CPU, {written:.0} bytes to the disk ({charged:.0} charged) each, \
                 {resident} MiB resident"
            )?;
        }
        for doubt in &self.doubts {
            writeln!(out, "doubt       {doubt}")?;
        }
        Ok(())
    }
}

fn line(quantiles: &Quantiles) -> String {
    let Quantiles { p50_us, p90_us, p99_us, p99_9_us, max_us, .. } = *quantiles;
    format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  max {} ms",
        milliseconds(p50_us),
        milliseconds(p90_us),
        milliseconds(p99_us),
        milliseconds(p99_9_us),
        milliseconds(max_us)
    )
}

/// Three digits are enough and all that is known.
pub fn milliseconds(us: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a latency fits")]
    let ms = us as f64 / 1_000.0;
    let decimals = if ms < 10.0 { 2 } else { usize::from(ms < 100.0) };
    format!("{ms:.decimals$}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::histogram::Latencies;
    use crate::load::{Failed, OpenLoop};
    use crate::process::Usage;

    fn measured() -> Measured {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_millis(2));
        Measured {
            clients: 1,
            duration: Duration::from_secs(10),
            operations: 500,
            units: 1_000,
            latencies,
            failed: BTreeMap::new(),
            open_loop: None,
            server: Some(Usage { cpu_us: 50_000, written_bytes: 4_000_000, ..Usage::default() }),
            generator: Some(Usage { cpu_us: 5_000, ..Usage::default() }),
        }
    }

    #[test]
    fn what_was_used_is_told_per_unit_and_the_generators_share_per_operation() {
        let report = Report::new("w", "m", None, &measured());
        assert!((report.rate - 100.0).abs() < 1e-9);
        assert_eq!((report.server_cpu_us, report.server_written_bytes), (Some(50.0), Some(4_000.0)));
        assert_eq!(report.generator_cpu_us, Some(10.0));
        assert_eq!(report.doubts, Vec::<String>::new());
        assert!(report.to_string().contains("errors      none"));
    }

    #[test]
    fn what_makes_figures_doubtful_is_said() {
        let mut lateness = Latencies::new();
        lateness.record(Duration::from_millis(5));
        let open_loop = Some(OpenLoop { intended: 10, unsent: 3, lateness });
        let generator = Some(Usage { cpu_us: 9_500_000, ..Usage::default() });
        let report = Report::new("w", "m", Some(5.0), &Measured { open_loop, generator, ..measured() });
        let shown = report.to_string();
        for what in ["95 % of a core", "3 operations were not sent", "could not keep up", "open loop at 5/s"]
        {
            assert!(shown.contains(what), "{shown}");
        }
        let nothing = Report::new("w", "m", None, &Measured { operations: 0, units: 0, ..measured() });
        assert_eq!(nothing.doubts, ["no operation ended within the measurement"]);
        assert_eq!(nothing.server_cpu_us, Some(0.0));
    }

    #[test]
    fn failures_are_shown_with_the_first_of_each_kind() {
        let failed = [("503".to_owned(), Failed { count: 7, first: "status 503: busy".to_owned() })];
        let report = Report::new("w", "m", None, &Measured { failed: failed.into(), ..measured() });
        assert_eq!(report.error_count(), 7);
        assert!(report.to_string().contains("errors      7 x 503, first: status 503: busy"));
    }
}
