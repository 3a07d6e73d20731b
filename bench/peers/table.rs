//! The table: medians over the rounds, and the median of the rounds' ratios.

use std::fmt::Write as _;

use serde_json::json;
use tidewheel_bench::report::{Report, milliseconds};

/// One workload with one number of clients.
pub struct Cell {
    pub workload: String,
    pub clients: usize,
    /// One report a round.
    pub ours: Vec<Report>,
    /// One report a round; none where the peer has nothing like it.
    pub peer: Vec<Report>,
}

impl Cell {
    /// Every report.
    pub fn json(&self) -> String {
        json!({
            "workload": self.workload,
            "clients": self.clients,
            "tidewheel": self.ours,
            "restate": self.peer,
            "ratio": self.ratio(),
        })
        .to_string()
    }

    /// How many times the peer's rate, each round compared with itself.
    fn ratio(&self) -> Option<f64> {
        let rounds = self.ours.iter().zip(&self.peer);
        median(rounds.filter(|(_, peer)| peer.rate > 0.0).map(|(ours, peer)| ours.rate / peer.rate))
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(*upper);
    }
    Some((values.get(middle.checked_sub(1)?)? + upper) / 2.0)
}

fn median_of(reports: &[Report], value: impl Fn(&Report) -> Option<f64>) -> Option<f64> {
    median(reports.iter().filter_map(value))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures are positive and fit")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "a latency fits")]
fn latency(reports: &[Report], value: impl Fn(&Report) -> u64) -> String {
    let middle = median_of(reports, |report| Some(value(report) as f64));
    middle.map_or_else(|| "-".to_owned(), |us| milliseconds(whole(us)))
}

/// With a separator between the thousands.
fn grouped(value: f64) -> String {
    let digits = whole(value).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "a size in MiB fits")]
fn figures(reports: &[Report]) -> [String; 8] {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), grouped);
    [
        number(median_of(reports, |report| Some(report.rate))),
        latency(reports, |report| report.latency.p50_us),
        latency(reports, |report| report.latency.p99_us),
        latency(reports, |report| report.latency.p99_9_us),
        number(median_of(reports, |report| report.server_cpu_us)),
        number(median_of(reports, |report| report.server_disk_written_bytes)),
        number(median_of(reports, |report| report.server_written_bytes)),
        number(reports.last().and_then(|last| Some((last.server_resident_bytes? >> 20) as f64))),
    ]
}

/// The table in Markdown. Latencies in milliseconds.
pub fn table(cells: &[Cell]) -> String {
    let mut text = String::from(
        "| workload | clients | ratio | Tidewheel /s | p50 | p99 | p99.9 | CPU µs | disk bytes | charged bytes | MiB | Restate /s | p50 | p99 | p99.9 | CPU µs | disk bytes | charged bytes | MiB |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for cell in cells {
        let ratio = cell.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("**{ratio:.1}**"));
        let (ours, peer) = (figures(&cell.ours), figures(&cell.peer));
        let figures: Vec<_> = ours.into_iter().chain(peer).collect();
        let _ =
            writeln!(text, "| {} | {} | {ratio} | {} |", cell.workload, cell.clients, figures.join(" | "));
    }
    let errors: u64 =
        cells.iter().flat_map(|cell| cell.ours.iter().chain(&cell.peer)).map(Report::error_count).sum();
    let _ = write!(text, "\nFailed operations in all rounds together: {errors}.");
    let mut doubts: Vec<String> = Vec::new();
    for cell in cells {
        for (name, reports) in [("Tidewheel", &cell.ours), ("Restate", &cell.peer)] {
            for doubt in reports.iter().flat_map(|report| &report.doubts) {
                doubts.push(format!("\n{}, {} clients, {name}: {doubt}.", cell.workload, cell.clients));
            }
        }
    }
    doubts.dedup();
    text.extend(doubts);
    text
}

/// A report in a line.
pub fn line(report: &Report) -> String {
    let [rate, p50, p99, p99_9, cpu_us, bytes, _, mebibytes] = figures(std::slice::from_ref(report));
    format!(
        "{rate}/s, p50 {p50}, p99 {p99}, p99.9 {p99_9} ms, {cpu_us} us CPU, {bytes} bytes, {mebibytes} MiB, \
         generator {:.1} us",
        report.generator_cpu_us.unwrap_or(0.0)
    )
}

/// The machine, and whether it has something else to do.
pub fn machine(sync_us: u64) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let information = read("/proc/cpuinfo");
    let model = information.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
    let mut text = format!("{cores} cores, {model}; 4 KiB appended and synced in {sync_us} us; load {load}");
    #[expect(clippy::cast_precision_loss, reason = "a number of cores fits")]
    if load.parse::<f64>().is_ok_and(|load| load > cores as f64 / 2.0) {
        text.push_str("\nwarning: this machine has something else to do; the figures say little");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn thousands_are_separated() {
        let texts = [0.4, 999.0, 1_000.0, 1_234_567.0].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
