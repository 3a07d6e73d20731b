//! Whether the URLs of the datacenters answer, and how their clocks compare.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use jiff::fmt::rfc2822;
use tidewheel::check::{self, Finding};
use tidewheel::config::Config;

/// How long a datacenter may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A `Date` header tells whole seconds: on average half a second has passed since.
const DATE_STEP_US: i64 = 1_000_000;

/// Asks every URL of the configuration.
pub async fn inspect(config: &Config) -> Vec<Finding> {
    let client = match reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build() {
        Ok(client) => client,
        Err(error) => {
            return vec![Finding::error("this program", format!("it cannot ask over HTTP: {error}"))];
        }
    };
    let urls = config.datacenters.iter().filter_map(|(name, datacenter)| {
        let is_own = *name == config.datacenter;
        datacenter.url.as_ref().map(|url| (name.as_str(), url.as_str(), is_own))
    });
    let asks = urls.map(|(name, url, is_own)| ask(&client, name, url, is_own));
    join_all(asks).await.into_iter().flatten().collect()
}

async fn ask(client: &reqwest::Client, name: &str, url: &str, is_own: bool) -> Vec<Finding> {
    let subject = format!("URL {url} of {name}");
    let before = now_us();
    let answered = client.get(format!("{}/health/live", url.trim_end_matches('/'))).send().await;
    let after = now_us();
    let response = match answered {
        Ok(response) => response,
        Err(error) => {
            let what = format!("it does not answer: {}", innermost(&error));
            // Before the first process is started nobody answers there.
            let why = if is_own { "" } else { "; requests about its runs cannot be forwarded" };
            return vec![Finding::warning(subject, format!("{what}{why}"))];
        }
    };
    let status = response.status();
    let first = if status.is_success() {
        Finding::ok(subject, "it answers")
    } else {
        Finding::warning(
            subject,
            format!("it answers with HTTP {status} to /health/live; is it a Tidewheel server?"),
        )
    };
    let date = response.headers().get("date").and_then(|date| date.to_str().ok()).and_then(date_us);
    let clock = date.map(|date| clock(name, date, before, after));
    std::iter::once(first).chain(clock).collect()
}

fn clock(name: &str, date_us: i64, before: i64, after: i64) -> Finding {
    let ahead = date_us + DATE_STEP_US / 2 - before.midpoint(after);
    check::clock(format!("clock of {name}"), ahead, DATE_STEP_US / 2 + (after - before) / 2)
}

fn date_us(date: &str) -> Option<i64> {
    let time = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(time.as_microsecond())
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tidewheel::check::Level;

    use super::*;

    #[test]
    fn a_date_header_tells_the_time_to_a_second() {
        assert_eq!(date_us("Tue, 14 Nov 2023 22:13:20 GMT"), Some(1_700_000_000_000_000));
        assert_eq!(date_us("yesterday"), None);
    }

    #[test]
    fn a_header_without_fractions_makes_no_clock_wrong() {
        let date = 1_700_000_000_000_000;
        for fraction in [0, 300_000, 999_999] {
            let now = date + fraction;
            assert_eq!(clock("beta", date, now, now + 20_000).level, Level::Ok, "{fraction}");
        }
        for late in [-2_600_000, 3_600_000] {
            assert_eq!(clock("beta", date, date + late, date + late).level, Level::Warning, "{late}");
        }
    }
}
