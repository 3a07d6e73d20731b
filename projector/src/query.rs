//! The routes that read: runs, histories, results, rejections, status. Nothing here appends.

mod answer;
pub mod events;
pub mod history;
pub mod list;
pub mod rejections;
pub mod run;
pub mod status;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use futures::future::BoxFuture;
use tidewheel_api::{AtLeast, Code, DurationParameter, Namespaces, Problem, Waiting};
use tidewheel_schemas::{Position, TopicFamily};
use tidewheel_store::StoreError;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::generations::Generations;
use crate::load::Views;
use crate::writer::{Projector, ProjectorError};

/// How long a read waits for `at_least` unless it says otherwise.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The end of a partition's log (one past its last record); `None` if it cannot be told now.
pub type LogEnd = Arc<dyn Fn(u32) -> BoxFuture<'static, Option<i64>> + Send + Sync>;

/// What the reading routes need of their node.
pub struct QueryOptions {
    /// The namespaces that exist.
    pub namespaces: Namespaces,
    /// Label of the datacenter whose topic is projected, 12 bits.
    pub datacenter: u16,
    /// Where the partitions' logs end.
    pub log_end: LogEnd,
    /// What the process says of itself in its status.
    pub process: status::Process,
    /// Cancelled when the node stops: long waits then end early with what is known.
    pub stopping: CancellationToken,
}

/// The state of the reading routes. Cloning is cheap.
#[derive(Clone)]
pub struct Reading(Arc<Shared>);

/// What one request reads: the generation that was the active one when it came, until it is answered.
#[derive(Clone)]
pub struct Reads {
    shared: Arc<Shared>,
    projector: Projector,
}

struct Shared {
    generations: Generations,
    waiting: Waiting,
    options: QueryOptions,
}

impl FromRef<Reading> for Namespaces {
    fn from_ref(reading: &Reading) -> Self {
        reading.0.options.namespaces.clone()
    }
}

impl FromRef<Reading> for Reads {
    fn from_ref(Reading(shared): &Reading) -> Self {
        Self { shared: Arc::clone(shared), projector: shared.generations.active() }
    }
}

impl Reading {
    /// The state of the reading routes over what `generations` hold. `waiting` must be told of every transition.
    pub fn new(generations: Generations, waiting: Waiting, options: QueryOptions) -> Self {
        Self(Arc::new(Shared { generations, waiting, options }))
    }
}

/// Every reading route, described.
pub fn router(reading: Reading) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list::list_runs))
        .routes(routes!(run::get_run))
        .routes(routes!(run::get_result))
        .routes(routes!(history::get_history))
        .routes(routes!(events::follow_run))
        .routes(routes!(rejections::list_rejections))
        .with_state(reading.clone())
        .merge(status_router(reading))
}

/// The route that every process has, whatever its roles: its status. Described.
pub fn status_router(reading: Reading) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(status::get_status)).with_state(reading)
}

impl Reads {
    /// Reads on in the generation that is the active one now: after a long wait the one before may be gone.
    fn renewed(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), projector: self.shared.generations.active() }
    }

    fn views(&self) -> &Views {
        self.projector.views()
    }

    /// The position of the record at `offset`.
    fn position(&self, partition: u32, offset: i64) -> Result<Position, Problem> {
        let log = self.projector.control(partition).and_then(|control| control.log);
        let log = log.ok_or_else(|| {
            Problem::new(Code::NotReady, "the node has not read its log yet; try again").retry_after_ms(1_000)
        })?;
        Ok(Position {
            log_id: log.log_id,
            family: TopicFamily::WorkflowEvents,
            datacenter: self.shared.options.datacenter,
            partition,
            offset,
        })
    }

    /// Waits until the views hold what anybody who waits was told before this call.
    ///
    /// Whoever follows a run calls it after registering: what was told before that, the follower is not told again.
    /// The end of most runs comes through the follower, so the views are not hurried for it.
    async fn catch_up(&self, partition: u32, timeout: Duration) -> Result<(), ProjectorError> {
        self.projector.wait_unhurried(partition, self.shared.waiting.published(partition), timeout).await
    }

    /// Waits until the views hold the record at `at_least`.
    async fn reach(
        &self,
        at_least: Option<AtLeast>,
        timeout: Option<DurationParameter>,
    ) -> Result<(), Problem> {
        let Some(AtLeast(position)) = at_least else { return Ok(()) };
        let foreign =
            |detail: &'static str| Err(Problem::new(Code::ForeignPosition, detail).field("at_least"));
        let (family, datacenter) = (TopicFamily::WorkflowEvents, self.shared.options.datacenter);
        if (position.family, position.datacenter) != (family, datacenter) {
            return foreign(
                "the position is of a topic that is not projected here; ask a node of its datacenter",
            );
        }
        let Some(control) = self.projector.control(position.partition) else {
            return foreign(
                "the position is of a partition that the topic does not have; was the log recreated?",
            );
        };
        let timeout = timeout.map_or(READ_TIMEOUT, |timeout| timeout.0);
        let reached = self.projector.wait_applied(position.partition, position.offset, timeout);
        if let Some(log) = control.log
            && log.log_id != position.log_id
        {
            return foreign(
                "the position is of another log than the one projected here; was the log recreated?",
            );
        }
        let reached = reached.await;
        // A log that was not read when we came is known now, whether or not the views got there in time.
        match self.projector.control(position.partition).and_then(|control| control.log) {
            Some(log) if log.log_id != position.log_id => {
                foreign("the position is of another log than the one projected here; was the log recreated?")
            }
            _ => reached.map_err(|error| projector_problem(&error, Some(position))),
        }
    }
}

fn projector_problem(error: &ProjectorError, position: Option<Position>) -> Problem {
    let code = match error {
        ProjectorError::NotApplied { .. } => Code::PositionNotReached,
        ProjectorError::Store(_)
        | ProjectorError::Closed
        | ProjectorError::UnknownPartition(_)
        | ProjectorError::Thread(_) => Code::ViewUnavailable,
    };
    Problem::new(code, error.to_string()).position(position).retry_after_ms(1_000)
}

fn store_problem(error: &StoreError) -> Problem {
    let code = match error {
        StoreError::BadCursor { .. } => Code::InvalidCursor,
        StoreError::UnknownTable { .. }
        | StoreError::Refused { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Damaged { .. }
        | StoreError::Locked { .. }
        | StoreError::Credentials { .. }
        | StoreError::UnknownDatacenter { .. }
        | StoreError::Forbidden { .. }
        | StoreError::NoKeyspace { .. }
        | StoreError::Keyspace { .. }
        | StoreError::Setting { .. }
        | StoreError::Failed(_)
        | StoreError::Unavailable(_) => Code::ViewUnavailable,
    };
    tracing::warn!(%error, "a view cannot be read");
    let problem = Problem::new(code, format!("the view cannot be read: {error}"));
    if matches!(error, StoreError::Unavailable(_)) { problem.retry_after_ms(1_000) } else { problem }
}
