//! What the routes share: the node behind them, the sets of names, timeouts and counters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::PrometheusHandle;
use tidewheel_api::{Code, Namespaces, Problem, Waiting};
use tidewheel_engine::Verdict;
use tidewheel_schemas::{Name, Position, Topic, TopicFamily};
use tokio_util::sync::CancellationToken;

use crate::forward::Forwarder;
use crate::producer::Producer;

/// How long a mutation waits for the fold's verdict unless the request says otherwise.
pub const VERDICT_TIMEOUT: Duration = Duration::from_secs(10);

/// When to try again after being refused over load, in milliseconds.
pub(crate) const RETRY_AFTER_MS: u64 = 1_000;

/// What differs between nodes.
pub struct Settings {
    /// The namespaces that exist.
    pub namespaces: Namespaces,
    /// The workflows that may be started; `None` for any.
    pub workflows: Option<BTreeSet<Name>>,
    /// Knows the datacenter of this process and the way to the others.
    pub forwarder: Forwarder,
    /// The topics whose schemas are shown, with their families.
    pub topics: Vec<(TopicFamily, Topic)>,
    /// The fold version in force for a partition, as this process has read it; 0 before its first record.
    pub in_force: Arc<dyn Fn(u32) -> u32 + Send + Sync>,
    /// How long a mutation waits for the fold's verdict; [`VERDICT_TIMEOUT`] if nothing speaks against it.
    pub verdict_timeout: Duration,
    /// Renders `/metrics`; without it that route is empty. Install the recorder before making [`Ingest`].
    pub metrics: Option<PrometheusHandle>,
    /// Cancelled when the node stops: long waits then end early with what is known.
    pub stopping: CancellationToken,
}

/// The state of every route of this crate. Cloning is cheap.
#[derive(Clone)]
pub struct Ingest(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) producer: Arc<dyn Producer>,
    pub(crate) waiting: Waiting,
    pub(crate) settings: Settings,
    pub(crate) meters: Meters,
}

/// Counters of this crate; fetched once, since looking one up by name is too slow for every request.
pub(crate) struct Meters {
    pub(crate) appended: Counter,
    pub(crate) append_failed: Counter,
    pub(crate) append_seconds: Histogram,
    pub(crate) verdict_seconds: Histogram,
    accepted: Counter,
    duplicate: Counter,
    rejected: Counter,
    parked: Counter,
    stale: Counter,
    pub(crate) pending: Counter,
}

impl Meters {
    fn new() -> Self {
        let verdicts = |verdict: &'static str| metrics::counter!("tidewheel_ingest_verdicts_total", "verdict" => verdict);
        Self {
            appended: metrics::counter!("tidewheel_ingest_appended_records_total"),
            append_failed: metrics::counter!("tidewheel_ingest_failed_appends_total"),
            append_seconds: metrics::histogram!("tidewheel_ingest_append_seconds"),
            verdict_seconds: metrics::histogram!("tidewheel_ingest_verdict_seconds"),
            accepted: verdicts("accepted"),
            duplicate: verdicts("duplicate"),
            rejected: verdicts("rejected"),
            parked: verdicts("parked"),
            stale: verdicts("stale"),
            pending: verdicts("pending"),
        }
    }

    pub(crate) fn count(&self, verdict: Verdict) {
        match verdict {
            Verdict::Accepted => &self.accepted,
            Verdict::Duplicate(_) => &self.duplicate,
            Verdict::Rejected(_) => &self.rejected,
            Verdict::Parked => &self.parked,
            Verdict::Stale => &self.stale,
            Verdict::Skipped => &self.pending,
        }
        .increment(1);
    }
}

impl Ingest {
    /// The routes' state. `waiting` must be told of every transition the fold makes.
    pub fn new(producer: Arc<dyn Producer>, waiting: Waiting, settings: Settings) -> Self {
        Self(Arc::new(Shared { producer, waiting, settings, meters: Meters::new() }))
    }

    /// Refuses new work while the node cannot or should not take it.
    pub(crate) fn admit(&self) -> Result<(), Problem> {
        if !self.0.producer.ready() {
            return Err(not_ready());
        }
        if self.0.producer.lag_over_limit() {
            return Err(Problem::new(
                Code::Lagging,
                "the views are further behind the log than max_lag; nothing was appended, try again later",
            )
            .retry_after_ms(RETRY_AFTER_MS));
        }
        Ok(())
    }

    /// The token of a place in the topic of workflow events.
    pub(crate) fn position(&self, partition: u32, offset: i64) -> Result<Position, Problem> {
        let log_id = self.0.producer.log_id(partition).ok_or_else(not_ready)?;
        let (family, datacenter) = (TopicFamily::WorkflowEvents, self.0.settings.forwarder.label());
        Ok(Position { log_id, family, datacenter, partition, offset })
    }
}

fn not_ready() -> Problem {
    Problem::new(Code::NotReady, "the node is starting or stopping; nothing was appended, try again")
        .retry_after_ms(RETRY_AFTER_MS)
}

impl FromRef<Ingest> for Namespaces {
    fn from_ref(ingest: &Ingest) -> Self {
        ingest.0.settings.namespaces.clone()
    }
}
