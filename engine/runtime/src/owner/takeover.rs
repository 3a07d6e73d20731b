//! Takeover: what a new owner finds in `open_work`, page by page: what is due now and the next ten minutes first,
//! later work before its time.

use super::{OwnerError, OwnerOptions};
use crate::views::OpenWork;

/// How far ahead timers are kept in memory, microseconds.
const AHEAD_US: i64 = 10 * 60 * 1_000_000;

/// Timers due before this stay in memory when their run is evicted.
pub(super) const fn horizon_us(now_us: i64) -> i64 {
    now_us + AHEAD_US
}

/// Progress through `open_work`.
#[derive(Default)]
pub(super) struct Takeover {
    scan: Option<Scan>,
    /// When to look again, microseconds since 1970.
    again_at_us: Option<i64>,
}

struct Scan {
    until_us: i64,
    page: Option<Vec<u8>>,
}

impl Takeover {
    /// A new reign: everything is looked through.
    pub(super) fn begin(&mut self) {
        self.scan = None;
        self.again_at_us = Some(i64::MIN);
    }

    /// Whether [`Takeover::next`] has something to do.
    pub(super) fn is_due(&self, now_us: i64) -> bool {
        self.scan.is_some() || self.again_at_us.is_some_and(|at_us| at_us <= now_us)
    }

    /// The next page of work, if one is due.
    pub(super) async fn next(
        &mut self,
        options: &OwnerOptions,
        partition: u32,
        now_us: i64,
    ) -> Result<Vec<OpenWork>, OwnerError> {
        if self.scan.is_none() && self.is_due(now_us) {
            // Half the horizon later, so that a page is never read after the time it covers has begun; twice the
            // horizon ahead, because evicted runs keep only timers up to one horizon.
            self.scan = Some(Scan { until_us: now_us + 2 * AHEAD_US, page: None });
            self.again_at_us = Some(now_us + AHEAD_US / 2);
        }
        let Some(scan) = &mut self.scan else { return Ok(Vec::new()) };
        let (work, next) = match options.views.open_work(partition, scan.until_us, scan.page.clone()).await {
            Ok(page) => page,
            Err(error) if error.transient => {
                tracing::warn!(partition, %error, "open work cannot be read, trying again");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        match next {
            Some(page) => scan.page = Some(page),
            None => self.scan = None,
        }
        Ok(work)
    }
}
