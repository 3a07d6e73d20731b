//! Following a replay: a bar on a terminal, a line of JSON a second otherwise.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::is_over;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{cell, print};

const ASKED_EVERY: Duration = Duration::from_millis(500);
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// A share that has not moved for this long is shown.
const STALLED_AFTER_MS: u64 = 10_000;
/// Weight of the newest measurement in the rate that is shown.
const RATE_WEIGHT: f64 = 0.2;

/// Follows a replay until it has ended; how it stands then.
///
/// # Errors
/// When it was cancelled, or the server answers no more.
pub async fn until_over(client: &Client, json: bool, number: u64) -> Result<Value, Failure> {
    let bar = (!json && std::io::stderr().is_terminal()).then(bar);
    let (mut rate, mut row_rate) = (Rate::default(), Rate::default());
    let mut told = None;
    loop {
        let views = client.get("/v1/replays", &[]).await?.json()?;
        let replays = views["replays"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(replay) = replays.iter().find(|replay| replay["replay"].as_u64() == Some(number)) else {
            return Err(Failure::Failed(format!("the server knows no replay {number} any more")));
        };
        let field = |name: &str| replay[name].as_u64().unwrap_or_default();
        let (done, records) = (field("done"), field("records"));
        let records_per_second = rate.at(Instant::now(), done);
        // A rebuild's are those of what the server is at; a backfill's are counted.
        let rows = replay["rows"]
            .as_u64()
            .unwrap_or_else(|| shares(replay).filter_map(|share| share["rows"].as_u64()).sum());
        let rows_per_second = row_rate.at(Instant::now(), rows);
        let stalls: Vec<_> = shares(replay).filter_map(stall).collect();
        let is_over = is_over(replay);
        match &bar {
            Some(bar) => {
                bar.set_length(records);
                bar.set_position(done);
                bar.set_message(match stalls.first() {
                    Some(stall) => stall.clone(),
                    None => format!("{}, {rows} rows, {rows_per_second:.0}/s", cell(replay.get("status"))),
                });
            }
            None if is_over || told.is_none_or(|told: Instant| told.elapsed() >= TOLD_EVERY) => {
                told = Some(Instant::now());
                let eta = (records_per_second > 0.0)
                    .then(|| (records.saturating_sub(done) as f64 / records_per_second).ceil() as u64);
                print(
                    &json!({
                        "replay": number, "status": replay["status"], "done": done, "records": records,
                        "percent": super::percent(replay), "records_per_second": records_per_second.round() as u64,
                        "rows": rows, "rows_per_second": rows_per_second.round() as u64, "eta_seconds": eta,
                        "parts": replay["parts"], "parts_done": replay["parts_done"], "stalled": stalls,
                    })
                    .to_string(),
                )?;
            }
            None => {}
        }
        if is_over {
            if let Some(bar) = &bar {
                bar.finish();
            }
            return match replay["status"].as_str() {
                Some("finished") => Ok(replay.clone()),
                _ => Err(Failure::Failed(format!(
                    "replay {number} was cancelled: {}",
                    cell(replay.get("reason"))
                ))),
            };
        }
        tokio::time::sleep(ASKED_EVERY).await;
    }
}

fn shares(replay: &Value) -> impl Iterator<Item = &Value> {
    replay["shares"].as_array().into_iter().flatten()
}

/// What keeps a share from coming further, if it has not for a while.
pub fn stall(share: &Value) -> Option<String> {
    let still_for_ms = share["still_for_ms"].as_u64().unwrap_or_default();
    if still_for_ms < STALLED_AFTER_MS && share.get("failure").is_none() {
        return None;
    }
    let mut text = format!(
        "partition {} has stood at offset {} for {} s",
        cell(share.get("partition")),
        cell(share.get("next_offset")),
        still_for_ms / 1_000
    );
    for (name, title) in [("run_id", "run"), ("failure", "because")] {
        if let Some(value) = share.get(name) {
            text += &format!(", {title} {}", cell(Some(value)));
        }
    }
    Some(text)
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(1);
    let template =
        "{bar:30} {percent_precise}% {human_pos} of {human_len} records, {per_sec}, {eta} left  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Records a second, of late.
#[derive(Default)]
struct Rate {
    last: Option<(Instant, u64)>,
    smoothed: f64,
}

impl Rate {
    fn at(&mut self, now: Instant, done: u64) -> f64 {
        if let Some((at, before)) = self.last {
            let seconds = now.duration_since(at).as_secs_f64().max(0.001);
            let rate = done.saturating_sub(before) as f64 / seconds;
            self.smoothed = if self.smoothed == 0.0 {
                rate
            } else {
                self.smoothed + RATE_WEIGHT * (rate - self.smoothed)
            };
        }
        self.last = Some((now, done));
        self.smoothed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_stands_still_is_named_with_partition_offset_and_run() {
        let share = json!({"partition": 3, "next_offset": 17, "still_for_ms": 12_000, "run_id": "r", "failure": "away"});
        assert_eq!(
            stall(&share).as_deref(),
            Some("partition 3 has stood at offset 17 for 12 s, run r, because away")
        );
        assert_eq!(stall(&json!({"partition": 3, "next_offset": 17, "still_for_ms": 900})), None);
    }

    #[test]
    fn the_rate_follows_what_was_done_of_late() {
        let (mut rate, began) = (Rate::default(), Instant::now());
        assert_eq!(rate.at(began, 0), 0.0);
        assert_eq!(rate.at(began + Duration::from_secs(1), 1_000).round(), 1_000.0);
        assert_eq!(rate.at(began + Duration::from_secs(2), 1_000).round(), 800.0);
    }
}
