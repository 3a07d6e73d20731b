//! Forwarding: a request about a run of another datacenter is asked there, and its answer handed on as it comes.
//!
//! Which datacenter that is, is said in `datacenters`; which routes are forwarded, in `forward/route.rs`.

mod answer;
mod headers;
mod outgoing;
pub mod route;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url, redirect};
use tidewheel_api::{Code, Problem};
use tidewheel_schemas::Name;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub use self::headers::FORWARDED;
pub(crate) use self::outgoing::Outgoing;
use crate::datacenters::{Datacenters, DatacentersError, Map, Place};
use crate::state::RETRY_AFTER_MS;

/// Limits of forwarding.
#[derive(Debug, Clone)]
pub struct ForwardLimits {
    /// How long a connection to another datacenter may take to be made.
    pub connect_timeout: Duration,
    /// How much longer than asked for an answer may take to begin.
    pub answer_slack: Duration,
    /// How long an answer that has begun may stay silent. Servers send a sign of life more often than that.
    pub idle_timeout: Duration,
    /// Requests that may be on their way to one datacenter at once, beside those that wait.
    pub requests_max: usize,
    /// Requests that may wait in one datacenter at once: followers of runs, waits for results.
    pub waits_max: usize,
}

impl Default for ForwardLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            answer_slack: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            requests_max: 1_000,
            waits_max: 2_000,
        }
    }
}

impl ForwardLimits {
    /// The limits where there are so many other datacenters: together they stay well below the connections a server
    /// takes, so that those which are slow leave room for everybody else.
    pub fn among(others: usize) -> Self {
        let limits = Self::default();
        let share = |limit: usize| (limit * 3 / others.max(3)).max(1);
        Self { requests_max: share(limits.requests_max), waits_max: share(limits.waits_max), ..limits }
    }
}

/// Connections without a request that are kept to one datacenter.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// How long they are kept: shorter than servers keep them, so that none is used while it is being closed.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// After this time without a sign of life a connection's peer is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Another datacenter that requests are forwarded to.
pub(crate) struct Neighbour {
    pub(crate) name: Name,
    pub(crate) label: u16,
    url: Url,
    requests: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    requests_max: usize,
    waits_max: usize,
}

/// Forwards requests to other datacenters. Cloning is cheap.
#[derive(Clone)]
pub struct Forwarder(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) map: Map,
    client: Client,
    limits: ForwardLimits,
    stopping: CancellationToken,
}

impl Forwarder {
    /// Forwards between these datacenters. Once `stopping` is cancelled, those who follow a run or wait in another
    /// datacenter are told to come again.
    ///
    /// # Errors
    /// When a name or a label is taken twice, or nothing can be forwarded to a URL.
    pub fn new(
        datacenters: Datacenters,
        limits: ForwardLimits,
        stopping: CancellationToken,
    ) -> Result<Self, DatacentersError> {
        let client = Client::builder()
            .connect_timeout(limits.connect_timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .tcp_keepalive(KEEP_ALIVE)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| DatacentersError::Client(error.to_string()))?;
        let map = Map::new(datacenters, |name, label, url| Neighbour {
            name,
            label,
            url,
            requests: Arc::new(Semaphore::new(limits.requests_max)),
            waits: Arc::new(Semaphore::new(limits.waits_max)),
            requests_max: limits.requests_max,
            waits_max: limits.waits_max,
        })?;
        Ok(Self(Arc::new(Shared { map, client, limits, stopping })))
    }

    /// The label of this process's datacenter.
    pub fn label(&self) -> u16 {
        self.0.map.label
    }

    /// Where a start belongs: where it asks to, else where its namespace's home is. One that was forwarded belongs
    /// here, whatever this process takes for the home.
    pub(crate) fn of_start(
        &self,
        namespace: &Name,
        asked: Option<&str>,
        is_forwarded: bool,
    ) -> Result<Place, Problem> {
        if is_forwarded && asked.is_none() {
            return Ok(Place::Here);
        }
        match self.0.map.of_start(namespace, asked)? {
            Place::There(neighbour) if is_forwarded => Err(self.mismatch(neighbour.name.as_str())),
            place => Ok(place),
        }
    }

    /// The problem of a request that was forwarded here and is meant for `other`.
    fn mismatch(&self, other: &str) -> Problem {
        let own = &self.0.map.own;
        let other: String = other.chars().take(160).collect();
        Problem::new(
            Code::DatacenterMismatch,
            format!(
                "the request was forwarded to `{own}`, but is meant for `{other}`; it changed nothing. Compare names, \
                 labels and URLs of the datacenters in the configurations of both"
            ),
        )
    }
}

impl Neighbour {
    /// A place among the requests that are forwarded at once.
    fn admit(&self, waits: bool) -> Result<OwnedSemaphorePermit, Problem> {
        let (places, places_max) =
            if waits { (&self.waits, self.waits_max) } else { (&self.requests, self.requests_max) };
        Arc::clone(places).try_acquire_owned().map_err(|_| {
            let detail = format!(
                "{places_max} requests are on their way to datacenter `{}` already; this one was not sent, nothing was \
                 appended, try again later",
                self.name
            );
            self.count("refused");
            Problem::new(Code::DatacenterUnreachable, detail).retry_after_ms(RETRY_AFTER_MS)
        })
    }

    fn count(&self, outcome: &'static str) {
        let name = self.name.to_string();
        metrics::counter!("tidewheel_forwarded_requests_total", "datacenter" => name, "outcome" => outcome)
            .increment(1);
    }

    /// The problem of a request that was not sent.
    fn not_sent(&self, why: &str) -> Problem {
        tracing::debug!(datacenter = %self.name, why, "a request was not forwarded");
        self.count("not_sent");
        let detail = format!(
            "datacenter `{}` cannot be reached: {why}; the request was not sent, nothing was appended, try again",
            self.name
        );
        Problem::new(Code::DatacenterUnreachable, detail).retry_after_ms(RETRY_AFTER_MS)
    }

    /// The problem of a request that was sent and got no whole answer.
    pub(crate) fn unanswered(&self, is_mutation: bool, why: &str) -> Problem {
        tracing::debug!(datacenter = %self.name, why, "a forwarded request got no whole answer");
        self.count("broken_off");
        let name = &self.name;
        let problem = if is_mutation {
            let detail = format!(
                "the request was sent to datacenter `{name}`, but no answer came: {why}. Whether it was appended is \
                 not known. Send it again with the same Idempotency-Key, which makes it the same event; without one, \
                 look first whether it happened"
            );
            Problem::new(Code::OutcomeUnknown, detail)
        } else {
            let detail = format!("datacenter `{name}` does not answer: {why}; try again");
            Problem::new(Code::DatacenterUnreachable, detail)
        };
        problem.retry_after_ms(RETRY_AFTER_MS)
    }
}
