//! What comparing the rebuilt views with their log takes.

use std::time::Instant;

use serde::Serialize;
use tidewheel_replay::{VerifyError, VerifyOptions, Views, verify_with};

use crate::process::Usage;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedReport {
    /// Records that were folded.
    pub records: u64,
    /// Stored rows that were compared.
    pub rows: u64,
    /// Rows that were not what the log says.
    pub differences: u64,
    /// Passes over the log.
    pub passes: u32,
    /// Wall-clock time.
    pub duration_s: f64,
    /// Processor time of the whole process.
    pub cpu_s: f64,
    /// Records by wall-clock time.
    pub records_per_second: f64,
    /// Records by processor time: what one core that did nothing else would do.
    pub records_per_core_second: f64,
}

/// Compares the views with their log, on a thread for each processor.
pub(super) async fn measure(views: &Views) -> Result<VerifiedReport, VerifyError> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let options = VerifyOptions { threads, records_at_once: 1_024, ..VerifyOptions::default() };
    let (began, before) = (Instant::now(), Usage::of_self());
    let report = verify_with(views, &options).await?;
    let (duration_s, after) = (began.elapsed().as_secs_f64(), Usage::of_self());
    let cpu_us = before.zip(after).map_or(0, |(before, after)| after.cpu_us.saturating_sub(before.cpu_us));
    #[expect(clippy::cast_precision_loss, reason = "counts and times of a measurement fit")]
    let (records, cpu_s) = (report.records as f64, cpu_us as f64 / 1e6);
    Ok(VerifiedReport {
        records: report.records,
        rows: report.compared_rows(),
        differences: report.difference_count,
        passes: report.passes,
        duration_s,
        cpu_s,
        records_per_second: records / duration_s,
        records_per_core_second: if cpu_s > 0.0 { records / cpu_s } else { 0.0 },
    })
}

impl std::fmt::Display for VerifiedReport {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            out,
            "verified    {} rows, {} differences, {} passes over the log; {:.2} s, {:.2} s of processor time",
            self.rows, self.differences, self.passes, self.duration_s, self.cpu_s
        )?;
        writeln!(
            out,
            "rate        {:.0} records/s, {:.0} records per second of one core",
            self.records_per_second, self.records_per_core_second
        )
    }
}
