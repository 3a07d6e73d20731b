//! What raising the fold version needs to know of the node, and how one partition is raised. Not the route.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRef;
use futures::future::BoxFuture;
use serde::Serialize;
use tidewheel_api::{Code, Namespaces, Principal, Problem};
use tidewheel_engine::{Rejection, Run, Verdict};
use tidewheel_schemas::event::FoldRaised;
use tidewheel_schemas::{Author, Entity, Envelope, EventId, Position, RunId, encode};
use utoipa::ToSchema;

use crate::state::Ingest;

/// A process that leads or follows partitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its name, as far as it has one.
    pub name: String,
    /// The newest fold version it knows; `None` where it does not say.
    pub fold_newest: Option<u32>,
}

/// Tells which processes there are now besides this one; the text of an error says why nobody knows.
pub type Members = Arc<dyn Fn() -> BoxFuture<'static, Result<Vec<Member>, String>> + Send + Sync>;

/// Reads a run from the views; `None` if they do not hold it, and the text of an error says why they cannot be read.
pub type Stored = Arc<dyn Fn(RunId) -> BoxFuture<'static, Result<Option<Run>, String>> + Send + Sync>;

/// What a node that raises the fold version tells the route.
#[derive(Clone)]
pub struct Raising {
    /// Where records are appended and verdicts come back.
    pub ingest: Ingest,
    /// The processes there are.
    pub members: Members,
    /// The fold version in force for a partition, as this process has read it; 0 before its first record.
    pub in_force: Arc<dyn Fn(u32) -> u32 + Send + Sync>,
    /// A run as the views that are read hold it.
    pub stored: Stored,
}

/// What became of one partition.
#[derive(Debug, Serialize, ToSchema)]
pub struct RaisedPartition {
    /// Its number.
    pub partition: u32,
    /// The fold version before.
    pub before: u32,
    /// `raised` now, `in_force` before, or `pending`: appended and not judged in time.
    pub outcome: &'static str,
    /// Where the record lies that raises it; absent where there was nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub position: Option<Position>,
}

impl Raising {
    /// Refuses while a process would be stopped by `to`.
    pub(crate) async fn check(&self, to: u32) -> Result<(), Problem> {
        let members = (self.members)().await.map_err(|what| {
            let detail = format!("it cannot be told which fold versions the other processes know: {what}");
            Problem::new(Code::LogUnavailable, detail).retry_after_ms(1_000)
        })?;
        let knows = |member: &Member| member.fold_newest.is_some_and(|newest| newest >= to);
        let mut lacking: Vec<_> =
            members.into_iter().filter(|member| !knows(member)).map(|member| member.name).collect();
        lacking.dedup();
        if lacking.is_empty() {
            return Ok(());
        }
        let detail = format!(
            "{} of the processes of this datacenter do not know fold version {to} and would stop: {}; upgrade them \
             first, or wait until those that have ended have left their groups",
            lacking.len(),
            lacking.join(", ")
        );
        Err(Problem::new(Code::FoldUnknown, detail))
    }

    /// Raises one partition, unless it is there already.
    pub(crate) async fn raise(
        &self,
        partition: u32,
        to: u32,
        principal: &Principal,
        deadline: Instant,
    ) -> Result<RaisedPartition, Problem> {
        let before = (self.in_force)(partition);
        if before >= to {
            return Ok(RaisedPartition { partition, before, outcome: "in_force", position: None });
        }
        let producer = &self.ingest.0.producer;
        let envelope = Envelope {
            event_id: EventId::random(producer.random()),
            entity: Entity::Partition(partition),
            namespace: None,
            recorded_at_us: producer.now_us(),
            cause: None,
            traceparent: None,
            author: Author::Ingest { principal: Arc::clone(&principal.0) },
        };
        let event = FoldRaised { fold: i32::try_from(to).unwrap_or(i32::MAX) };
        let record = encode(&envelope, &event.into())
            .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let judged = self.ingest.submit(partition, envelope.event_id, record, deadline, None).await?;
        let outcome = match judged.outcome.map(|outcome| outcome.verdict) {
            Some(Verdict::Accepted) => "raised",
            // Somebody else was faster.
            Some(Verdict::Rejected(Rejection::Void)) => "in_force",
            Some(Verdict::Rejected(rejection)) => return Err(Problem::rejected(rejection)),
            _ => "pending",
        };
        Ok(RaisedPartition { partition, before, outcome, position: Some(judged.position) })
    }
}

impl FromRef<Raising> for Namespaces {
    fn from_ref(raising: &Raising) -> Self {
        Self::from_ref(&raising.ingest)
    }
}
